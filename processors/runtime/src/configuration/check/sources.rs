//! Sources.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::topics::{Contract, span_of};
use super::{Checker, Connection, Shaped};
use crate::configuration::document::{Entry, Node};
use crate::configuration::pipeline::SourceSection;
use crate::configuration::sections::SourceCommon;
use crate::configuration::validation::Place;
use crate::connector::{Findings, SourceDeclaration};
use crate::expression::Input;

impl<'a> Checker<'a> {
    /// The sources; nothing if one of them is wrong.
    pub(super) fn sources(
        &mut self,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<Vec<SourceSection>> {
        let read: Vec<_> =
            self.entries("sources").iter().map(|entry| self.source(entry, connections)).collect();
        read.into_iter().collect()
    }

    fn source(
        &mut self,
        entry: &'a Entry,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<SourceSection> {
        let place = Place::new(format!("the source `{}`", entry.name), entry.name_span.clone());
        let grammar = self.grammar;
        let shaped = self.shape(&entry.value, &grammar.source, &place);
        let to = self.topic_of(&entry.value, "to");
        if let Some(to) = to {
            self.check_written(span_of(entry, "to"), to, true);
            self.check_key_format(entry, to);
        }
        self.compile_in_source(&shaped, to);
        let declared = &self.catalogue.sources;
        let connector = entry.value.entries().iter().find_map(|field| {
            let source = declared.iter().find(|source| source.name == field.name)?;
            Some((source, field))
        });
        let (source, field) = connector?;
        if !shaped.sound {
            return None;
        }
        let options = shaped.value.get(source.name).cloned().unwrap_or(Json::Null);
        let reads = (source.reads)(options.clone()).unwrap_or(false);
        let wanted = source.connection.filter(|_| reads);
        let connection = self.connection_of(source, wanted, entry, connections);
        self.check_source(source, entry, field, &options);
        let common = self.typed::<SourceCommon>(shaped.value, entry)?;
        let (name, connector) = (entry.name.clone(), source.name.to_owned());
        if wanted.is_some() && connection.is_none() {
            return None;
        }
        Some(SourceSection { name, common, connector, connection, options })
    }

    /// The options of the connection that a source names with `from`; nothing if that is wrong, or
    /// its connector needs none.
    fn connection_of(
        &mut self,
        source: &SourceDeclaration,
        wanted: Option<&str>,
        entry: &'a Entry,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<Json> {
        let Some(wanted) = wanted else {
            if let Some(from) = entry.value.entry("from") {
                let cause = format!("this source `{}` reads from no connection", source.name);
                self.wrong(from.name_span.clone(), "unused_connection", cause, "leave `from` out");
            }
            return None;
        };
        let of_kind = |connection: &Connection<'a>| {
            connection.connector.is_some_and(|(name, _)| name == wanted)
        };
        if entry.value.get("from").is_none() {
            let cause = format!("the source `{}` does not say what it reads from", entry.name);
            let hint = format!("add `from`, the name of a connection of the kind `{wanted}`");
            self.wrong(entry.name_span.clone(), "missing_field", cause, hint);
            return None;
        }
        let names: Vec<&'a str> = connections.keys().copied().collect();
        let code = "unknown_connection";
        let from = self.reference(&entry.value, "from", "connection", code, &names)?;
        let connection = connections.get(from)?;
        if !of_kind(connection) && connection.connector.is_some() {
            let span = entry.value.get("from").map_or(0..0, |node| node.span.clone());
            let cause = format!("`{from}` is no connection of the kind `{wanted}`");
            let hint = format!("a source `{}` reads from one of those", source.name);
            self.wrong(span, "wrong_connection", cause, hint);
            return None;
        }
        let (options, (_, field)) = (connection.options.clone()?, connection.connector?);
        let mut findings = Findings::default();
        match (source.check_connection)(options.clone(), &mut findings) {
            Ok(()) => self.report(findings, entry, Some(field)),
            Err(error) => self.refused(field, &error),
        }
        Some(options)
    }

    /// The expressions of a source read the values that it writes.
    fn compile_in_source(&mut self, shaped: &Shaped<'a>, to: Option<&str>) {
        let schema = to.and_then(|to| self.contracts.get(to)).and_then(Contract::schema).cloned();
        if let Some(schema) = schema {
            self.compile(&shaped.code, &Input::from(&schema));
        }
    }

    fn check_source(
        &mut self,
        source: &SourceDeclaration,
        entry: &'a Entry,
        field: &'a Entry,
        options: &Json,
    ) {
        let mut findings = Findings::default();
        match (source.check)(options.clone(), self.file.folder(), &mut findings) {
            Ok(()) => self.report(findings, entry, None),
            Err(error) => return self.refused(field, &error),
        }
        let path = (source.path)(options.clone()).ok().flatten();
        if let Some(path) = path {
            self.take_path(path, entry, field);
        }
    }

    fn take_path(&mut self, path: String, entry: &Entry, field: &Entry) {
        let span = field
            .value
            .get("path")
            .map_or(field.name_span.clone(), |node: &Node| node.span.clone());
        let taken = self.paths.iter().find(|(taken, ..)| *taken == path);
        if let Some((_, by, _)) = taken {
            let cause = format!("`{path}` is already taken by the source `{by}`");
            let hint = "two sources cannot listen at one path";
            self.wrong(span, "path_taken", cause, hint);
            return;
        }
        self.paths.push((path, entry.name.clone(), span));
    }
}
