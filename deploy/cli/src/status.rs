//! `passerelle status` and `accept`: asks the running process.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use crate::addresses::Addresses;
use crate::arguments::{Accept, Address};
use crate::failure::{Failure, Outcome};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A route as the running process reports it.
#[derive(Deserialize)]
struct Route {
    route: String,
    role: String,
    state: String,
    reason: Option<String>,
    lag_events: i64,
    lag_seconds: f64,
}

/// Shows the routes of the running process.
pub async fn run(address: Address) -> Outcome {
    let url = format!("http://{}/status", Addresses::resolve(&address)?.admin()?);
    let answer = client()?.get(&url).send().await.map_err(|error| unreachable(&url, &error))?;
    let body = answer.bytes().await.map_err(|error| unreachable(&url, &error))?;
    let routes: Vec<Route> = serde_json::from_slice(&body).map_err(|error| {
        Failure::new(format!("{url} answers something else than routes: {error}."))
    })?;
    let width =
        routes.iter().map(|route| route.route.len()).max().unwrap_or_default().max("ROUTE".len());
    say!("{:width$}  ROLE       STATE          LAG", "ROUTE");
    for Route { route, role, state, reason, lag_events, lag_seconds } in routes {
        let lag = if role == "source" {
            String::new()
        } else {
            format!("{lag_events} events, {lag_seconds:.1} s")
        };
        say!("{route:width$}  {role:<9}  {state:<9}  {lag:>22}");
        if let Some(reason) = reason {
            say!("{:width$}    {reason}", "");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets a route that waits at a gap go on from another place.
pub async fn accept(options: Accept) -> Outcome {
    let admin = Addresses::resolve(&options.address)?;
    let url = format!("http://{}/routes/{}/accept", admin.admin()?, options.route);
    let call = client()?.post(&url).query(&[("from", &options.from)]);
    let answer = call.send().await.map_err(|error| unreachable(&url, &error))?;
    let status = answer.status();
    let body = answer.text().await.map_err(|error| unreachable(&url, &error))?;
    if status.is_success() {
        say!("{} goes on from {}.", options.route, options.from);
        return Ok(ExitCode::SUCCESS);
    }
    let told = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|body| Some(body["error"].as_str()?.to_owned()));
    Err(Failure::new(format!("{} was not changed: {}", options.route, told.unwrap_or(body))))
}

fn client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| Failure::new(format!("No HTTP client: {error}.")))
}

fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
    Failure::new(format!("The running process does not answer at {url}: {error}. Does it run?"))
}
