//! How the routes hang together: cycles, topics that nothing uses, addresses taken twice.

use super::{Checker, Shaped};
use crate::configuration::document::{Entry, Node};
use crate::configuration::sections::{Admin, Http};
use crate::outcomes::MaskPath;

/// Settings of librdkafka that a file cannot change: what is promised rests on them, or they have
/// fields of their own.
const OURS: [(&str, &str); 14] = [
    ("bootstrap.servers", "write `brokers`"),
    ("metadata.broker.list", "write `brokers`"),
    ("security.protocol", "write `security`"),
    ("sasl.mechanism", "write `security`"),
    ("sasl.mechanisms", "write `security`"),
    ("sasl.username", "write `security`"),
    ("sasl.password", "write `security`"),
    ("group.id", "a route's group is named after it"),
    ("enable.auto.commit", "offsets pass only what is delivered"),
    ("enable.auto.offset.store", "offsets pass only what is delivered"),
    ("auto.offset.reset", "write `start` in the route"),
    ("enable.idempotence", "producers are always idempotent"),
    ("acks", "producers always wait for all replicas in sync"),
    ("partition.assignment.strategy", "routes are always rebalanced cooperatively"),
];

impl<'a> Checker<'a> {
    /// What nothing uses. Told only of files without mistakes: a misspelt name leaves the right one
    /// unused.
    pub(super) fn check_unused(&mut self) {
        self.check_unused_topics();
        self.check_unused_connections();
        self.check_unused_masks();
        let routes = ["sources", "processors", "sinks"];
        if routes.iter().all(|section| self.entries(section).is_empty()) {
            let cause = "the pipeline has no routes: it would do nothing";
            self.warn(0..0, "no_routes", cause, "add `sources`, `processors` or `sinks`");
        }
    }

    fn check_unused_connections(&mut self) {
        let (sources, sinks) = (self.entries("sources"), self.entries("sinks"));
        let looked_up = |section: &str, option: &'static str| {
            let routes = self.entries(section).iter();
            routes.filter_map(move |route| route.value.get(option).map(Node::entries)).flatten()
        };
        let all = looked_up("processors", "enrich").chain(looked_up("sinks", "wait_for"));
        let asked: Vec<_> = all.filter_map(|one| Self::named(&one.value, "lookup")).collect();
        let used = |name: &str| {
            let by_source = |source: &'a Entry| Self::named(&source.value, "from") == Some(name);
            let by_sink = |sink: &'a Entry| Self::named(&sink.value, "to") == Some(name);
            sources.iter().any(by_source) || sinks.iter().any(by_sink) || asked.contains(&name)
        };
        for entry in self.entries("connections").iter().filter(|entry| !used(&entry.name)) {
            let cause = format!("nothing uses the connection `{}`", entry.name);
            self.warn(entry.name_span.clone(), "unused_connection", cause, "");
        }
    }

    /// A mask that hides nothing is most likely misspelt. Where a topic declares no schema, anything
    /// may be there.
    fn check_unused_masks(&mut self) {
        let schemas = self.contracts.values().map(|contract| contract.schema().map(schemas::kind));
        let Some(kinds) = schemas.collect::<Option<Vec<_>>>() else { return };
        let masks = self.root.get("outcomes").and_then(|outcomes| outcomes.get("mask"));
        for mask in masks.map(Node::items).unwrap_or_default() {
            let Some(path) = mask.text().and_then(|text| MaskPath::parse(text.as_str()).ok())
            else {
                continue;
            };
            if !kinds.iter().any(|kind| path.is_in(kind)) {
                let cause = "no topic has a value at this path: nothing would be hidden";
                let hint =
                    "write the path as it is in the topics' schemas, such as .customer.email";
                self.warn(mask.span.clone(), "unused_mask", cause, hint);
            }
        }
    }

    /// Processors that feed each other would never end.
    pub(super) fn check_cycles(&mut self) {
        let edges = self.edges();
        for (at, (from, to, entry)) in edges.iter().enumerate() {
            // Each cycle is told once, at its first processor; one of a single topic is told
            // elsewhere.
            let Some(way) = way(&edges, to, from).filter(|_| from != to) else { continue };
            let first = way.iter().all(|other| *other > at);
            if !first {
                continue;
            }
            let names: Vec<_> = std::iter::once(at)
                .chain(way)
                .map(|index| format!("`{}`", edges[index].2.name))
                .collect();
            let cause = format!("the processors {} feed each other for ever", names.join(", "));
            let hint = format!("`{to}` leads back to `{from}`");
            self.wrong(entry.name_span.clone(), "cycle", cause, hint);
        }
    }

    fn check_unused_topics(&mut self) {
        let ends = |section: &str, end: &str| -> Vec<&'a str> {
            let routes = self.entries(section).iter();
            routes.filter_map(|route| Self::named(&route.value, end)).collect()
        };
        let processors = self.entries("processors").iter();
        let written = processors.flat_map(|route| self.written_by(route)).collect();
        let read = [ends("processors", "from"), ends("sinks", "from")].concat();
        let held = self.held.iter().copied().collect();
        let all: Vec<&'a str> = [ends("sources", "to"), written, read, held].concat();
        let used = |topic: &str| all.contains(&topic);
        let unused: Vec<_> =
            self.entries("topics").iter().filter(|entry| !used(&entry.name)).collect();
        for entry in unused {
            let cause = format!("nothing reads or writes the topic `{}`", entry.name);
            self.warn(entry.name_span.clone(), "unused_topic", cause, "");
        }
    }

    pub(super) fn check_listeners(&mut self, whole: &Shaped<'a>) {
        let http = self.section::<Http>("http", whole).unwrap_or_default().listen;
        let admin = self.section::<Admin>("admin", whole).unwrap_or_default().listen;
        // Port 0 is any free one.
        if http != admin || http.port() == 0 {
            return;
        }
        let section = if self.root.get("admin").is_some() { "admin" } else { "http" };
        let node = self.root.get(section).and_then(|node| node.get("listen"));
        let span = node.map_or(0..0, |node: &Node| node.span.clone());
        let cause = format!("`http` and `admin` both listen at {http}");
        self.wrong(span, "address_taken", cause, "give one of them another port");
    }

    pub(super) fn check_kafka(&mut self) {
        let properties = self.root.get("kafka").and_then(|kafka| kafka.get("properties"));
        for property in properties.map(Node::entries).unwrap_or_default() {
            let ours = OURS.iter().find(|(name, _)| *name == property.name);
            if let Some((name, hint)) = ours {
                let cause = format!("`{name}` cannot be set here");
                self.wrong(property.name_span.clone(), "property_taken", cause, *hint);
            }
        }
        if let Some(registry) = self.root.entry("registry")
            && let (Some(_), Some(bearer)) =
                (registry.value.get("username"), registry.value.entry("bearer"))
        {
            let cause = "the registry takes a name and a password, or a bearer token, not both";
            self.wrong(bearer.name_span.clone(), "several_kinds", cause, "");
        }
    }
}

/// The processors on the shortest way from one topic to another, by their place in the list.
fn way(
    edges: &[(&str, &str, &crate::configuration::document::Entry)],
    from: &str,
    to: &str,
) -> Option<Vec<usize>> {
    let mut ways: Vec<(&str, Vec<usize>)> = vec![(from, Vec::new())];
    let mut seen = vec![from];
    while !ways.is_empty() {
        let mut further = Vec::new();
        for (topic, steps) in ways {
            if topic == to {
                return Some(steps);
            }
            for (at, (_, next, _)) in edges.iter().enumerate().filter(|(_, edge)| edge.0 == topic) {
                if *next == to || !seen.contains(next) {
                    seen.push(next);
                    further.push((*next, [steps.as_slice(), &[at]].concat()));
                }
            }
        }
        ways = further;
    }
    None
}
