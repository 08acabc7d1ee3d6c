//! What the tests of the binary share: the binary as a process in a folder of its own, a shop that
//! signs its calls, a target that remembers what it got, and topics read by librdkafka.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod folder;
pub mod operators;
pub mod process;
pub mod shop;
pub mod target;
pub mod topic;

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// How long anything may take before it counts as never: generous, for slow machines.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "in {PATIENCE:?} it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Chance that can be had again: it prints its seed, and takes that of the variable `SEED`.
pub fn chance() -> StdRng {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// A client without proxies, whose requests end.
pub fn client() -> reqwest::Client {
    // Whoever is first installs it; a second install would be the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap()
}
