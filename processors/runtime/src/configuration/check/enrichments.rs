//! What is looked up: what processors enrich events with, and what sinks wait for.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use vrl::value::Kind;

use super::processors::is_within;
use super::topics::Contract;
use super::{Checker, Connection, Shaped, quoted};
use crate::configuration::document::{Content, Entry, Node};
use crate::configuration::pipeline::{EnrichSection, set_field};
use crate::configuration::sections::{EnrichCommon, OnMiss};
use crate::connector::{Findings, Setup};
use crate::expression::Input;
use crate::lookup::LookupDeclaration;

/// A field that events get, as far as it is known.
pub(super) struct Enriched<'a> {
    entry: &'a Entry,
    kind: Kind,
    /// Nothing if something is wrong with it.
    section: Option<EnrichSection>,
}

impl<'a> Checker<'a> {
    /// What a route looks up under this option: the fields that a processor's events get before its
    /// steps, what a sink waits for.
    pub(super) fn looked_up(
        &mut self,
        option: &str,
        route: &'a Entry,
        shaped: &Shaped<'a>,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Vec<Enriched<'a>> {
        let entries = route.value.get(option).map(Node::entries).unwrap_or_default();
        let values = shaped.value.get(option);
        let mut enriched = Vec::with_capacity(entries.len());
        for entry in entries {
            let value = values.and_then(|all| all.get(&entry.name)).filter(|_| shaped.sound);
            enriched.push(self.enrichment(entry, value, connections));
        }
        enriched
    }

    /// Where it stands how something is looked up, and what declares that.
    fn way(&self, entry: &'a Entry) -> Option<(&'a Entry, &'a LookupDeclaration)> {
        let all = &self.catalogue.lookups;
        let named = |field: &'a Entry| all.iter().find(|one| one.name == field.name);
        entry.value.entries().iter().find_map(|field| Some((field, named(field)?)))
    }

    fn enrichment(
        &mut self,
        entry: &'a Entry,
        value: Option<&Json>,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Enriched<'a> {
        let way = self.way(entry);
        let options = way.and_then(|(field, _)| value?.get(&field.name)).cloned();
        let topic = way.zip(options.as_ref()).and_then(|((field, declared), options)| {
            self.topic_held(declared, entry, field, options)
        });
        let contract = match topic {
            Some(topic) => topic,
            None => self.contract(&entry.value),
        };
        let schema = match contract {
            Contract::Broken => None,
            contract => Some(contract.schema().cloned()),
        };
        let common = value.and_then(|value| self.typed::<EnrichCommon>(value.clone(), entry));
        let on_miss = common.as_ref().map_or(OnMiss::Null, EnrichCommon::on_miss);
        let kind = match &schema {
            Some(Some(schema)) => schemas::kind(schema),
            Some(None) => way
                .zip(options.clone())
                .and_then(|((_, declared), options)| (declared.kind)(options).ok())
                .unwrap_or_else(Kind::json),
            None => Kind::any(),
        };
        let kind = if on_miss == OnMiss::Null { kind.or_null() } else { kind };
        let section = way.zip(options).and_then(|((field, declared), options)| {
            let (common, schema) = (common?, schema?);
            self.check_lookup(declared, entry, field, &options);
            let connection = match declared.connection {
                true => Some(self.connection_asked(declared, entry, connections)?),
                false => self.asks_nobody(declared, entry).then_some(None)?,
            };
            let (field, connector) = (entry.name.clone(), declared.name.to_owned());
            let kind = kind.clone();
            Some(EnrichSection { field, common, schema, connector, connection, options, kind })
        });
        Enriched { entry, kind, section }
    }

    fn check_lookup(
        &mut self,
        declared: &LookupDeclaration,
        entry: &'a Entry,
        field: &'a Entry,
        options: &Json,
    ) {
        let mut findings = Findings::default();
        match (declared.check)(options.clone(), self.file.folder(), &mut findings) {
            Ok(()) => self.report(findings, field, None),
            Err(error) => self.refused(entry, &error),
        }
    }

    /// What is known of the values of the topic that is held; nothing if none is.
    fn topic_held(
        &mut self,
        declared: &LookupDeclaration,
        entry: &'a Entry,
        field: &'a Entry,
        options: &Json,
    ) -> Option<Contract> {
        let named = (declared.topic)(options.clone()).ok()??;
        let node = field.value.get("name").unwrap_or(&field.value);
        let topics = self.entries("topics");
        let Some(topic) = topics.iter().find(|topic| topic.name == named) else {
            let names: Vec<&str> = topics.iter().map(|topic| &*topic.name).collect();
            self.unknown(node, node.span.clone(), "topic", "unknown_topic", &names);
            return Some(Contract::Broken);
        };
        if let Some(schema) = entry.value.entry("schema") {
            let cause = format!("what is found has the schema of `{named}`");
            let hint = "leave `schema` out, and write it in the topic";
            self.wrong(schema.name_span.clone(), "unused_field", cause, hint);
        }
        self.held.insert(&topic.name);
        let format = topic.value.get("key_format").and_then(Node::text);
        if let Some(format) = format.filter(|format| format.as_str() != "text") {
            let cause = format!(
                "`{named}` is looked up by its keys as texts, and they are {}",
                quoted(format)
            );
            self.wrong(node.span.clone(), "key_format", cause, "look up in another topic");
        }
        let compaction = topic.value.get("compaction").map(|node| &node.content);
        if !matches!(compaction, Some(Content::Bool(true))) {
            let cause = format!("`{named}` is not declared as compacted");
            let hint = "what is older than its retention is found no more: write `compaction: true` in \
                        the topic";
            self.warn(node.span.clone(), "not_compacted", cause, hint);
        }
        self.contracts.get(topic.name.as_str()).cloned()
    }

    /// Whether nothing is written that only those need who ask an application.
    fn asks_nobody(&mut self, declared: &LookupDeclaration, entry: &'a Entry) -> bool {
        let needless: Vec<&'a Entry> = ["lookup", "keep", "at_most"]
            .iter()
            .filter_map(|name| entry.value.entry(name))
            .collect();
        for field in &needless {
            let cause = format!("`{}` holds all in memory, and asks no connection", declared.name);
            let hint = format!("leave `{}` out", field.name);
            self.wrong(field.name_span.clone(), "unused_field", cause, hint);
        }
        needless.is_empty()
    }

    /// The options of the connection that is asked; nothing if something is wrong with it.
    fn connection_asked(
        &mut self,
        declared: &LookupDeclaration,
        entry: &'a Entry,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<Json> {
        let names: Vec<&'a str> = connections.keys().copied().collect();
        if entry.value.get("lookup").is_none() {
            let cause = format!("`{}` does not say which connection it asks", entry.name);
            let hint = format!("`lookup`: a connection of the kind `{}`", declared.name);
            self.wrong(entry.name_span.clone(), "missing_field", cause, hint);
        }
        let code = "unknown_connection";
        let asked = self.reference(&entry.value, "lookup", "connection", code, &names)?;
        let connection = connections.get(asked)?;
        let (kind, field) = connection.connector?;
        if kind != declared.name {
            let span = entry.value.get("lookup").map_or(0..0, |node| node.span.clone());
            let cause = format!("`{asked}` is no connection of the kind `{}`", declared.name);
            let hint = format!("what is looked up with `{}` asks one of those", declared.name);
            self.wrong(span, "wrong_connection", cause, hint);
            return None;
        }
        let options = connection.options.clone()?;
        let mut findings = Findings::default();
        match (declared.check_connection)(options.clone(), &mut findings) {
            Ok(()) => self.report(findings, entry, Some(field)),
            Err(error) => self.refused(field, &error),
        }
        Some(options)
    }

    /// Compiles what is looked up by, each with the fields that were looked up before, and gives the
    /// route's input all of them.
    pub(super) fn check_enriched(
        &mut self,
        enriched: &[Enriched<'a>],
        shaped: &Shaped<'a>,
        setup: &mut Setup,
    ) {
        for Enriched { entry, kind, .. } in enriched {
            let by = format!("/enrich/{}", entry.name.replace('~', "~0").replace('/', "~1"));
            let code = shaped.code.iter().filter(|code| is_within(&code.pointer, &by));
            let code: Vec<_> = code.cloned().collect();
            self.compile(&code, &Input::from(&*setup));
            let fields = setup.input.as_object();
            if fields.is_some_and(|fields| fields.known().contains_key(&entry.name.as_str().into()))
            {
                let cause = format!("the events have a field `{}` already", entry.name);
                let hint = "what is looked up would take its place: give it another name";
                self.wrong(entry.name_span.clone(), "field_taken", cause, hint);
            }
            set_field(&mut setup.input, &entry.name, kind.clone());
        }
    }
}

/// The sections of what is looked up; nothing if one is wrong.
pub(super) fn sections(enriched: Vec<Enriched<'_>>) -> Option<Vec<EnrichSection>> {
    enriched.into_iter().map(|one| one.section).collect()
}
