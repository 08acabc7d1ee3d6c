//! Processors.

use serde_json::Value as Json;

use super::topics::Contract;
use super::{Checker, Shaped};
use crate::configuration::document::{Entry, Node};
use crate::configuration::pipeline::{ProcessorSection, any_object};
use crate::configuration::sections::ProcessorCommon;
use crate::configuration::validation::Place;
use crate::connector::{Findings, Setup};
use crate::expression::Input;

impl<'a> Checker<'a> {
    /// The processors; nothing if one of them is wrong.
    pub(super) fn processors(&mut self) -> Option<Vec<ProcessorSection>> {
        let read: Vec<_> =
            self.entries("processors").iter().map(|entry| self.processor(entry)).collect();
        read.into_iter().collect()
    }

    fn processor(&mut self, entry: &'a Entry) -> Option<ProcessorSection> {
        let place = Place::new(format!("the processor `{}`", entry.name), entry.name_span.clone());
        let grammar = self.grammar;
        let shaped = self.shape(&entry.value, &grammar.processor, &place);
        let from = self.topic_of(&entry.value, "from");
        let to = self.topic_of(&entry.value, "to");
        if let (Some(from), Some(to)) = (from, to) {
            self.check_ends(entry, from, to);
        }
        if let Some(to) = to {
            self.check_written(&entry.value, to, false);
            self.check_key_format(entry, to);
        }
        self.check_key(entry);
        // A processor that feeds itself has one schema on both sides: what that breaks is no news.
        if let Some(setup) = self.setup(&entry.name, from, to).filter(|_| from != to) {
            self.compile_in_processor(&shaped, &setup);
            if shaped.sound {
                self.check_steps(entry, &shaped.value, &setup);
            }
        }
        if !shaped.sound {
            return None;
        }
        let common = self.typed::<ProcessorCommon>(shaped.value.clone(), entry)?;
        let steps = self.catalogue.processors.iter().filter_map(|step| {
            let options = shaped.value.get(step.name).filter(|options| !options.is_null())?;
            Some((step.name.to_owned(), options.clone()))
        });
        Some(ProcessorSection { name: entry.name.clone(), common, steps: steps.collect() })
    }

    fn check_ends(&mut self, entry: &'a Entry, from: &str, to: &str) {
        let span = entry.value.get("to").map_or(entry.name_span.clone(), |node| node.span.clone());
        if from == to {
            let cause = format!("the processor reads and writes `{to}`: it would never end");
            self.wrong(span, "same_topic", cause, "write another topic");
        }
    }

    fn check_key(&mut self, entry: &'a Entry) {
        if let Some(key) = entry.value.entry("key") {
            let cause =
                "the events get another key: their order is promised per key and topic only";
            let hint = "events that had one key before and have one after may change places if \
                        other keys lay between; leave `key` out to keep the order";
            self.warn(key.name_span.clone(), "order_changes", cause, hint);
        }
    }

    /// What a route between these topics is built from; nothing if one of them is not known well
    /// enough to say anything about its values.
    pub(super) fn setup(&self, route: &str, from: Option<&str>, to: Option<&str>) -> Option<Setup> {
        let known = |topic: &str| match self.contracts.get(topic)? {
            Contract::Broken => None,
            contract => Some(contract.schema().cloned()),
        };
        let input_schema = known(from?)?;
        let output_schema = match to {
            Some(to) => known(to)?,
            None => None,
        };
        Some(Setup {
            route: format!("{}/{route}", self.name).into(),
            input: input_schema.as_ref().map_or_else(any_object, schemas::kind),
            input_schema,
            output_schema,
            folder: self.file.folder().to_owned(),
            listen: self.listen.listen,
            shared: self.shared.clone(),
        })
    }

    /// The key reads what is written, everything else what is read.
    fn compile_in_processor(&mut self, shaped: &Shaped<'a>, setup: &Setup) {
        let (keys, others): (Vec<_>, Vec<_>) =
            shaped.code.iter().cloned().partition(|code| code.pointer == "/key");
        let written = match &setup.output_schema {
            Some(schema) => Input::from(schema),
            None => Input::from(&any_object()),
        };
        self.compile(&keys, &written);
        self.compile(&others, &Input::from(setup));
    }

    fn check_steps(&mut self, entry: &'a Entry, value: &Json, setup: &Setup) {
        let catalogue = self.catalogue;
        for step in &catalogue.processors {
            let given = value.get(step.name).filter(|options| !options.is_null());
            let (Some(options), Some(field)) = (given, entry.value.entry(step.name)) else {
                continue;
            };
            let mut findings = Findings::default();
            match (step.check)(options.clone(), setup, &mut findings) {
                Ok(()) => self.report(findings, field, None),
                Err(error) => self.refused(field, &error),
            }
        }
    }

    /// The topics that processors read and write, for the search of cycles.
    pub(super) fn edges(&self) -> Vec<(&'a str, &'a str, &'a Entry)> {
        let ends = |entry: &'a Entry| {
            let end = |field| entry.value.get(field).and_then(Node::text).map(|text| text.as_str());
            Some((end("from")?, end("to")?, entry))
        };
        self.entries("processors").iter().filter_map(ends).collect()
    }
}
