//! Sources.

use serde_json::Value as Json;

use super::topics::Contract;
use super::{Checker, Shaped};
use crate::configuration::document::{Entry, Node};
use crate::configuration::pipeline::SourceSection;
use crate::configuration::sections::SourceCommon;
use crate::configuration::validation::Place;
use crate::connector::{Findings, SourceDeclaration};
use crate::expression::Input;

impl<'a> Checker<'a> {
    /// The sources; nothing if one of them is wrong.
    pub(super) fn sources(&mut self) -> Option<Vec<SourceSection>> {
        let read: Vec<_> = self.entries("sources").iter().map(|entry| self.source(entry)).collect();
        read.into_iter().collect()
    }

    fn source(&mut self, entry: &'a Entry) -> Option<SourceSection> {
        let place = Place::new(format!("the source `{}`", entry.name), entry.name_span.clone());
        let grammar = self.grammar;
        let shaped = self.shape(&entry.value, &grammar.source, &place);
        let to = self.topic_of(&entry.value, "to");
        if let Some(to) = to {
            self.check_written(&entry.value, to, true);
            self.check_key_format(entry, to);
        }
        self.compile_in_source(&shaped, to);
        let declared = &self.catalogue.sources;
        let connector = entry.value.entries().iter().find_map(|field| {
            let source = declared.iter().find(|source| source.name == field.name)?;
            Some((source, field))
        });
        if !shaped.sound {
            return None;
        }
        let (source, field) = connector?;
        let options = shaped.value.get(source.name).cloned().unwrap_or(Json::Null);
        self.check_source(source, entry, field, &options);
        let common = self.typed::<SourceCommon>(shaped.value, entry)?;
        let (name, connector) = (entry.name.clone(), source.name.to_owned());
        Some(SourceSection { name, common, connector, options })
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
        match (source.check)(options.clone(), &mut findings) {
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
