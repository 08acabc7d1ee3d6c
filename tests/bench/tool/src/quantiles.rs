//! Durations, and how they spread.

use std::time::Duration;

use serde_json::{Value, json};

/// The median, the slow ones and the slowest, in milliseconds.
pub fn quantiles(mut durations: Vec<Duration>) -> Value {
    durations.sort_unstable();
    let at = |share: f64| {
        let place = ((durations.len() as f64 * share).ceil() as usize).clamp(1, durations.len());
        durations[place - 1].as_secs_f64() * 1000.0
    };
    match durations.len() {
        0 => json!({ "count": 0 }),
        count => json!({
            "count": count, "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1.0)
        }),
    }
}
