//! Sinks.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::enrichments::sections;
use super::{Checker, Connection};
use crate::configuration::document::Entry;
use crate::configuration::pipeline::{SinkSection, own_options};
use crate::configuration::sections::SinkCommon;
use crate::configuration::validation::Place;
use crate::connector::Findings;
use crate::expression::Input;

impl<'a> Checker<'a> {
    /// The sinks; nothing if one of them is wrong.
    pub(super) fn sinks(
        &mut self,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<Vec<SinkSection>> {
        let read: Vec<_> =
            self.entries("sinks").iter().map(|entry| self.sink(entry, connections)).collect();
        read.into_iter().collect()
    }

    fn sink(
        &mut self,
        entry: &'a Entry,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<SinkSection> {
        let place = Place::new(format!("the sink `{}`", entry.name), entry.name_span.clone());
        let names: Vec<&'a str> =
            self.entries("connections").iter().map(|one| &*one.name).collect();
        let to = self.reference(&entry.value, "to", "connection", "unknown_connection", &names);
        let connection = to.and_then(|to| connections.get(to));
        let connector = connection.and_then(|connection| connection.connector);
        let grammar = self.grammar;
        let schema = connector.and_then(|(name, _)| grammar.sink(name));
        let shaped = match (schema, connector) {
            (Some(schema), Some((name, _))) => {
                let noun = format!("the {name} sink `{}`", entry.name);
                self.shape(&entry.value, schema, &Place::new(noun, place.span))
            }
            // Its options cannot be known, but what all sinks have can.
            _ => {
                let mut open = grammar.sink.clone();
                open["additionalProperties"] = Json::Bool(true);
                self.shape(&entry.value, &open, &place)
            }
        };
        let from = self.topic_of(&entry.value, "from");
        if let Some(setup) = self.setup(&entry.name, from) {
            self.compile(&shaped.code, &Input::from(&setup));
        }
        let awaited = self.looked_up("wait_for", entry, &shaped, connections);
        if !shaped.sound {
            return None;
        }
        let options = own_options(&shaped.value, &grammar.sink);
        let common = self.typed::<SinkCommon>(shaped.value, entry)?;
        let (connector, field) = connector?;
        let connection = connection?.options.clone()?;
        self.check_sink(connector, entry, field, &connection, &options);
        let (name, connector) = (entry.name.clone(), connector.to_owned());
        let awaited = sections(awaited)?;
        Some(SinkSection { name, common, connector, connection, awaited, options })
    }

    fn check_sink(
        &mut self,
        connector: &str,
        entry: &'a Entry,
        field: &'a Entry,
        connection: &Json,
        options: &Json,
    ) {
        let Some(sink) = self.catalogue.sink(connector) else { return };
        let mut findings = Findings::default();
        match (sink.check)(connection.clone(), options.clone(), &mut findings) {
            Ok(()) => self.report(findings, entry, Some(field)),
            Err(error) => self.refused(entry, &error),
        }
    }
}
