//! The operators' address of a running process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;

use super::process::Process;
use super::{client, until};

pub struct Operators {
    client: reqwest::Client,
    address: SocketAddr,
}

impl Operators {
    pub fn at(address: SocketAddr) -> Self {
        Self { client: client(), address }
    }

    /// Waits until the process is ready; how long that took.
    pub async fn ready(&self, process: &mut Process) -> Duration {
        let started = Instant::now();
        loop {
            process.assert_alive();
            if self.get("/ready").await.is_some_and(|(status, _)| status == 200) {
                return started.elapsed();
            }
            assert!(started.elapsed() < super::PATIENCE, "never ready:\n{}", process.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The status and the text of a page, if anyone answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// What each route is doing, by its full name.
    pub async fn routes(&self) -> BTreeMap<String, Value> {
        let (_, text) = self.get("/status").await.unwrap();
        let routes: Vec<Value> = serde_json::from_str(&text).unwrap();
        let named = |route: Value| (route["route"].as_str().unwrap().to_owned(), route);
        routes.into_iter().map(named).collect()
    }

    /// Waits until a route is in this state; what is said of it.
    pub async fn state(&self, route: &str, state: &str) -> Value {
        until(&format!("{route} is {state}"), async || {
            self.routes().await.remove(route).filter(|route| route["state"] == state)
        })
        .await
    }

    /// Waits until a route waits for a reason that says all of this; what is said of it.
    pub async fn waits(&self, route: &str, parts: &[&str]) -> Value {
        let says = |status: &Value| {
            let reason = status["reason"].as_str().unwrap_or_default();
            status["state"] == "waiting" && parts.iter().all(|part| reason.contains(part))
        };
        until(&format!("{route} waits: {parts:?}"), async || {
            self.routes().await.remove(route).filter(says)
        })
        .await
    }

    /// Waits until nothing is left to deliver: what is processed first, for sinks deliver what comes of it.
    pub async fn caught_up(&self) {
        for role in ["processor", "sink"] {
            let since = now();
            for (name, route) in self.routes().await {
                if route["role"] == role {
                    self.measured_empty(&name, since).await;
                }
            }
        }
    }

    /// Waits until nothing is left of what a route reads.
    pub async fn route_caught_up(&self, route: &str) {
        self.measured_empty(route, now()).await;
    }

    async fn measured_empty(&self, route: &str, since: i64) {
        until(&format!("{route} has caught up"), async || {
            let route = self.routes().await.remove(route)?;
            let measured = route["lag_at"].as_i64().is_some_and(|at| at >= since);
            (measured && route["lag_events"] == 0).then_some(())
        })
        .await;
    }

    /// The value of the metric whose line starts like this; 0 if there is none yet.
    pub async fn metric(&self, line: &str) -> f64 {
        let (_, text) = self.get("/metrics").await.unwrap();
        let value = |found: &str| found.rsplit(' ').next()?.parse::<f64>().ok();
        text.lines().filter(|found| found.starts_with(line)).filter_map(value).sum()
    }
}

/// Milliseconds since the Unix epoch.
fn now() -> i64 {
    UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}
