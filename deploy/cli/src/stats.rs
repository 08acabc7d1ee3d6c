//! `passerelle stats`: what each route of the running process has done since it started.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

use crate::addresses::Addresses;
use crate::arguments::Status;
use crate::failure::Outcome;
use crate::status::get;

/// What a route has done.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    /// Events received or read.
    events: u64,
    /// Events acknowledged by the target.
    acknowledged: u64,
    /// Deliveries handed to the sink.
    calls: u64,
    /// Events that needed no call of their own, as they went along in a batch.
    calls_saved: u64,
    retries: u64,
    dead_letters: u64,
}

impl Counts {
    fn of(&mut self, metric: &str) -> Option<&mut u64> {
        match metric {
            "passerelle_records_in_total" => Some(&mut self.events),
            "passerelle_records_out_total" => Some(&mut self.acknowledged),
            "passerelle_calls_total" => Some(&mut self.calls),
            "passerelle_calls_saved_total" => Some(&mut self.calls_saved),
            "passerelle_retries_total" => Some(&mut self.retries),
            "passerelle_dead_letters_total" => Some(&mut self.dead_letters),
            _ => None,
        }
    }
}

/// Shows them as a table, or as JSON.
pub async fn run(options: Status) -> Outcome {
    let addresses = Addresses::resolve(&options.address)?;
    let routes = read(&get(addresses.admin()?, "metrics").await?);
    if options.json {
        say!("{:#}", serde_json::json!(routes));
        return Ok(ExitCode::SUCCESS);
    }
    let width = routes.keys().map(String::len).max().unwrap_or_default().max("ROUTE".len());
    say!(
        "{:width$}  {:>12}  {:>12}  {:>12}  {:>12}  {:>8}  {:>12}",
        "ROUTE",
        "EVENTS",
        "ACKNOWLEDGED",
        "CALLS",
        "CALLS SAVED",
        "RETRIES",
        "DEAD LETTERS"
    );
    for (route, counts) in &routes {
        let Counts { events, acknowledged, calls, calls_saved, retries, dead_letters } = counts;
        say!(
            "{route:width$}  {events:>12}  {acknowledged:>12}  {calls:>12}  {calls_saved:>12}  \
             {retries:>8}  {dead_letters:>12}"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The counters of each route among the metrics: `name{pipeline="orders",route="sales"} 12`.
fn read(metrics: &str) -> BTreeMap<String, Counts> {
    let mut routes: BTreeMap<String, Counts> = BTreeMap::new();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
        let label = |wanted: &str| {
            let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            Some(pairs.find(|(name, _)| *name == wanted)?.1.trim_matches('"'))
        };
        let (Some(pipeline), Some(route)) = (label("pipeline"), label("route")) else { continue };
        let counts = routes.entry(format!("{pipeline}/{route}")).or_default();
        if let (Some(count), Ok(value)) = (counts.of(name), value.parse::<u64>()) {
            *count = value;
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_route_and_nothing_else_is() {
        let routes = read(
            "# TYPE passerelle_calls_total counter\n\
             passerelle_calls_total{pipeline=\"orders\",route=\"sales\"} 3\n\
             passerelle_calls_saved_total{pipeline=\"orders\",route=\"sales\"} 37\n\
             passerelle_errors_total{cause=\"http_503\",domain=\"remote\",pipeline=\"orders\",route=\"sales\"} 9\n\
             passerelle_lag_seconds{pipeline=\"orders\",route=\"mails\"} 0.5\n\
             process_open_fds 7\n",
        );
        let sales = Counts { calls: 3, calls_saved: 37, ..Counts::default() };
        let expected =
            [("orders/mails".to_owned(), Counts::default()), ("orders/sales".to_owned(), sales)];
        assert_eq!(routes, BTreeMap::from(expected));
    }
}
