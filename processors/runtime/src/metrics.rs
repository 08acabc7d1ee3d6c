//! What is counted, for Prometheus.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::Fault;
use crate::publisher::Progress;
use crate::state::State;

const LABELS: [&str; 2] = ["pipeline", "route"];

/// All metrics of a process. Cheap to clone. `docs/metrics.md` describes each of them.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    registry: Registry,
    records_in: IntCounterVec,
    records_out: IntCounterVec,
    bytes_in: IntCounterVec,
    bytes_out: IntCounterVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    calls: IntCounterVec,
    calls_saved: IntCounterVec,
    dead_letters: IntCounterVec,
    outcomes_lost: IntCounterVec,
    open_dead_letters: IntGaugeVec,
    parked_keys: IntGaugeVec,
    lag_events: IntGaugeVec,
    lag_seconds: GaugeVec,
    in_flight: IntGaugeVec,
    concurrency: IntGaugeVec,
    state: IntGaugeVec,
    snapshots: Snapshots,
    latency: HistogramVec,
    age: HistogramVec,
}

/// Seconds, from what one machine can do to a day.
const BUCKETS: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
    3_600.0, 86_400.0,
];

impl Metrics {
    /// Fresh metrics, all zero.
    ///
    /// # Errors
    /// An `Internal` fault when two metrics share a name: a bug.
    pub fn new() -> Result<Self, Fault> {
        let failed = |error: prometheus::Error| Fault::internal("metrics", error.to_string());
        Families::new().map(|families| Self(Arc::new(families))).map_err(failed)
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// An `Internal` fault when they cannot be written: a bug.
    pub fn text(&self) -> Result<String, Fault> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.0.registry.gather(), &mut text)
            .map_err(|error| Fault::internal("metrics", error.to_string()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Where other parts of the process add metrics of their own.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The metrics of one route, `pipeline/route`.
    pub fn route(&self, full_name: &str) -> RouteMetrics {
        let (pipeline, route) = full_name.split_once('/').unwrap_or(("", full_name));
        let labels = [pipeline, route];
        let all = &self.0;
        RouteMetrics {
            records_in: all.records_in.with_label_values(&labels),
            records_out: all.records_out.with_label_values(&labels),
            bytes_in: all.bytes_in.with_label_values(&labels),
            bytes_out: all.bytes_out.with_label_values(&labels),
            retries: all.retries.with_label_values(&labels),
            calls: all.calls.with_label_values(&labels),
            calls_saved: all.calls_saved.with_label_values(&labels),
            dead_letters: all.dead_letters.with_label_values(&labels),
            outcomes_lost: all.outcomes_lost.with_label_values(&labels),
            open_dead_letters: all.open_dead_letters.with_label_values(&labels),
            parked_keys: all.parked_keys.with_label_values(&labels),
            lag_events: all.lag_events.with_label_values(&labels),
            lag_seconds: all.lag_seconds.with_label_values(&labels),
            in_flight: all.in_flight.with_label_values(&labels),
            concurrency: all.concurrency.with_label_values(&labels),
            latency: all.latency.with_label_values(&labels),
            age: all.age.with_label_values(&labels),
            labels: labels.map(str::to_owned),
            families: Arc::clone(all),
        }
    }
}

impl Families {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            added(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            added(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            added(&registry, HistogramVec::new(options, &LABELS)?)
        };
        let lag_seconds = Opts::new(
            "passerelle_lag_seconds",
            "Age of the oldest event that the route has read and not delivered.",
        );
        Ok(Self {
            records_in: counter("passerelle_records_in_total", "Events read.", &LABELS)?,
            records_out: counter(
                "passerelle_records_out_total",
                "Events acknowledged by the target, or by Kafka for sources and processors.",
                &LABELS,
            )?,
            bytes_in: counter("passerelle_bytes_in_total", "Bytes of the events read.", &LABELS)?,
            bytes_out: counter(
                "passerelle_bytes_out_total",
                "Bytes of the events acknowledged.",
                &LABELS,
            )?,
            errors: counter(
                "passerelle_errors_total",
                "Failures, by whose fault they are and their cause.",
                &["pipeline", "route", "domain", "cause"],
            )?,
            retries: counter(
                "passerelle_retries_total",
                "Deliveries that were tried again.",
                &LABELS,
            )?,
            calls: counter(
                "passerelle_calls_total",
                "Deliveries handed to the sink: of an event, or of a batch at once.",
                &LABELS,
            )?,
            calls_saved: counter(
                "passerelle_calls_saved_total",
                "Events that went along in the delivery of another.",
                &LABELS,
            )?,
            dead_letters: counter(
                "passerelle_dead_letters_total",
                "Events written to the route's dead letters.",
                &LABELS,
            )?,
            outcomes_lost: counter(
                "passerelle_outcomes_lost_total",
                "Outcomes that could not be written: traces have gaps.",
                &LABELS,
            )?,
            open_dead_letters: gauge(
                "passerelle_open_dead_letters",
                "Dead letters that are neither delivered since nor discarded.",
                &LABELS,
            )?,
            parked_keys: gauge(
                "passerelle_parked_keys",
                "Keys whose later events go behind an event that could not pass.",
                &LABELS,
            )?,
            lag_events: gauge(
                "passerelle_lag_events",
                "Events in the topic that the route has not delivered.",
                &LABELS,
            )?,
            lag_seconds: added(&registry, GaugeVec::new(lag_seconds, &LABELS)?)?,
            in_flight: gauge("passerelle_in_flight", "Events being delivered.", &LABELS)?,
            concurrency: gauge(
                "passerelle_concurrency",
                "Calls of the target that may be open at once now.",
                &LABELS,
            )?,
            state: gauge(
                "passerelle_route_state",
                "1 for the state that the route is in.",
                &["pipeline", "route", "state"],
            )?,
            snapshots: Snapshots::new(&registry)?,
            latency: histogram(
                "passerelle_latency_seconds",
                "From the receipt by Passerelle to the target's answer.",
            )?,
            age: histogram(
                "passerelle_event_age_seconds",
                "From the application's own time of the event to the target's answer.",
            )?,
            registry,
        })
    }
}

/// How far the tables of sources are read.
struct Snapshots {
    rows: IntGaugeVec,
    expected: IntGaugeVec,
}

impl Snapshots {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let labels = ["pipeline", "route", "table"];
            added(registry, IntGaugeVec::new(Opts::new(name, help), &labels)?)
        };
        Ok(Self {
            rows: gauge(
                "passerelle_snapshot_rows",
                "Rows read of a table as it was before the source began.",
            )?,
            expected: gauge(
                "passerelle_snapshot_rows_expected",
                "How many there are, as the database estimates.",
            )?,
        })
    }

    fn note(&self, [pipeline, route]: &[String; 2], progress: &Progress) {
        let labels = [pipeline.as_str(), route, &progress.table];
        let set = |gauge: &IntGaugeVec, rows: u64| {
            gauge.with_label_values(&labels).set(i64::try_from(rows).unwrap_or(i64::MAX));
        };
        set(&self.rows, progress.rows);
        if let Some(about) = progress.about {
            set(&self.expected, about);
        }
    }
}

fn added<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// The metrics of one route.
#[derive(Clone)]
pub struct RouteMetrics {
    /// Events read.
    pub records_in: IntCounter,
    /// Events acknowledged.
    pub records_out: IntCounter,
    /// Bytes of the events read.
    pub bytes_in: IntCounter,
    /// Bytes of the events acknowledged.
    pub bytes_out: IntCounter,
    /// Deliveries tried again.
    pub retries: IntCounter,
    calls: IntCounter,
    calls_saved: IntCounter,
    /// Events written to the dead letters.
    pub dead_letters: IntCounter,
    /// Outcomes that could not be written.
    pub outcomes_lost: IntCounter,
    /// Dead letters that are open.
    pub open_dead_letters: IntGauge,
    /// Keys that are parked.
    pub parked_keys: IntGauge,
    /// Events not delivered.
    pub lag_events: IntGauge,
    /// Age of the oldest of them.
    pub lag_seconds: Gauge,
    /// Events being delivered.
    pub in_flight: IntGauge,
    /// Calls of the target that may be open at once now.
    pub concurrency: IntGauge,
    latency: Histogram,
    age: Histogram,
    labels: [String; 2],
    families: Arc<Families>,
}

impl RouteMetrics {
    /// Counts a failure by its cause.
    pub fn failed(&self, fault: &Fault) {
        let [pipeline, route] = &self.labels;
        let labels = [pipeline.as_str(), route, fault.domain.word(), fault.cause];
        self.families.errors.with_label_values(&labels).inc();
    }

    /// Counts a delivery of so many events at once.
    pub fn called(&self, events: usize) {
        self.calls.inc();
        self.calls_saved.inc_by(events.saturating_sub(1) as u64);
    }

    /// Notes when an event reached its target: `received` and `happened` in milliseconds since the
    /// Unix epoch.
    pub fn reached(&self, now: i64, received: i64, happened: Option<i64>) {
        let seconds = |since: i64| (now.saturating_sub(since)).max(0) as f64 / 1_000.0;
        self.latency.observe(seconds(received));
        if let Some(happened) = happened {
            self.age.observe(seconds(happened));
        }
    }

    /// Notes how far a source has come with the rows of a table.
    pub fn progressed(&self, progress: &Progress) {
        self.families.snapshots.note(&self.labels, progress);
    }

    /// Notes the state that the route is in.
    pub fn set_state(&self, state: &State) {
        let [pipeline, route] = &self.labels;
        for word in ["starting", "running", "waiting", "stopped"] {
            let gauge = self.families.state.with_label_values(&[pipeline, route, word]);
            gauge.set(i64::from(word == state.word()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_carry_the_pipeline_and_the_route() {
        let metrics = Metrics::new().unwrap();
        let route = metrics.route("orders/sales");
        route.records_in.inc();
        route.failed(&Fault::remote("http_503", "…"));
        route.reached(2_000, 1_500, None);
        route.set_state(&State::Running);
        let text = metrics.text().unwrap();
        for line in [
            r#"passerelle_records_in_total{pipeline="orders",route="sales"} 1"#,
            r#"passerelle_errors_total{cause="http_503",domain="remote",pipeline="orders",route="sales"} 1"#,
            r#"passerelle_latency_seconds_sum{pipeline="orders",route="sales"} 0.5"#,
            r#"passerelle_route_state{pipeline="orders",route="sales",state="running"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
