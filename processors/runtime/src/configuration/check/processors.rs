//! Processors.

use std::collections::BTreeMap;
use std::ops::Range;

use schemas::Path;
use serde_json::Value as Json;

use super::enrichments::{Enriched, sections};
use super::topics::Contract;
use super::{Checker, Connection, Shaped};
use crate::configuration::document::Entry;
use crate::configuration::pipeline::{ProcessorSection, any_object};
use crate::configuration::sections::ProcessorCommon;
use crate::configuration::validation::Place;
use crate::connector::{Findings, ProcessorDeclaration, Setup};
use crate::contract::hold;
use crate::expression::Input;

impl<'a> Checker<'a> {
    /// The processors; nothing if one of them is wrong.
    pub(super) fn processors(
        &mut self,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<Vec<ProcessorSection>> {
        let entries = self.entries("processors").iter();
        let read: Vec<_> = entries.map(|entry| self.processor(entry, connections)).collect();
        read.into_iter().collect()
    }

    fn processor(
        &mut self,
        entry: &'a Entry,
        connections: &BTreeMap<&'a str, Connection<'a>>,
    ) -> Option<ProcessorSection> {
        let place = Place::new(format!("the processor `{}`", entry.name), entry.name_span.clone());
        let grammar = self.grammar;
        let shaped = self.shape(&entry.value, &grammar.processor, &place);
        let from = self.topic_of(&entry.value, "from");
        let steps = self.steps(entry, &shaped.value);
        let outputs = self.outputs(entry, &steps, shaped.sound);
        for (topic, span) in &outputs {
            if from == Some(topic) {
                let cause = format!("the processor reads and writes `{topic}`: it would never end");
                self.wrong(span.clone(), "same_topic", cause, "write another topic");
            }
            self.check_written(span.clone(), topic, false);
            self.check_key_format(entry, topic);
        }
        self.check_key(entry);
        let written: Vec<&'a str> = outputs.iter().map(|(topic, _)| *topic).collect();
        let enriched = self.looked_up("enrich", entry, &shaped, connections);
        self.check_code(entry, &shaped, &enriched, &steps, from, &written);
        self.written.insert(&entry.name, written.clone());
        if !shaped.sound {
            return None;
        }
        let common = self.typed::<ProcessorCommon>(shaped.value, entry)?;
        let steps = steps.into_iter().map(|step| (step.declared.name.to_owned(), step.options));
        let outputs = written.into_iter().map(str::to_owned).collect();
        Some(ProcessorSection {
            name: entry.name.clone(),
            common,
            outputs,
            enrichments: sections(enriched)?,
            steps: steps.collect(),
        })
    }

    /// The steps of a processor, in the order in which they stand.
    fn steps(&self, entry: &'a Entry, value: &Json) -> Vec<Step<'a>> {
        let catalogue = self.catalogue;
        let step = |field: &'a Entry| {
            let declared = catalogue.processors.iter().find(|step| step.name == field.name)?;
            let options = value.get(&field.name).filter(|options| !options.is_null())?.clone();
            Some(Step { declared, options, field })
        };
        entry.value.entries().iter().filter_map(step).collect()
    }

    /// The topics that a processor writes, each once, and where they are named: `to`, or those that
    /// its last step chooses from.
    fn outputs(
        &mut self,
        entry: &'a Entry,
        steps: &[Step<'a>],
        sound: bool,
    ) -> Vec<(&'a str, Range<usize>)> {
        let targets = |step: &Step<'a>| (step.declared.targets)(step.options.clone());
        let all: Vec<_> = steps.iter().map(|step| targets(step).unwrap_or_default()).collect();
        let chooser = all.iter().position(|targets| !targets.is_empty());
        let to = entry.value.entry("to");
        let Some((at, to)) = chooser.map(|at| (at, to)) else {
            let topic = self.topic_of(&entry.value, "to");
            if to.is_none() && sound {
                let cause = format!("the processor `{}` has no `to`", entry.name);
                let hint = "`to`: the topic that it writes";
                self.wrong(entry.name_span.clone(), "missing_field", cause, hint);
            }
            let span = to.map(|to| to.value.span.clone()).unwrap_or_default();
            return topic.map(|topic| (topic, span)).into_iter().collect();
        };
        let step = &steps[at];
        let name = step.declared.name;
        if let Some(to) = to {
            let cause = format!("`{name}` names the topics that are written, and so does `to`");
            self.wrong(to.name_span.clone(), "several_kinds", cause, "leave `to` out");
        }
        if let Some(after) = steps.get(at + 1) {
            let cause =
                format!("`{}` stands after `{name}`, which ends the route", after.field.name);
            let hint =
                format!("put it before `{name}`, or in a route that reads one of its topics");
            self.wrong(after.field.name_span.clone(), "step_after_the_end", cause, hint);
        }
        let names: Vec<&'a str> = self.entries("topics").iter().map(|one| &*one.name).collect();
        let mut outputs: Vec<(&'a str, Range<usize>)> = Vec::new();
        for target in &all[at] {
            let (named, span) = self.follow(step.field, &target.pointer);
            match names.iter().find(|name| **name == target.topic) {
                Some(topic) if outputs.iter().all(|(known, _)| known != topic) => {
                    outputs.push((topic, span));
                }
                Some(_) => {}
                None => self.unknown(&named.value, span, "topic", "unknown_topic", &names),
            }
        }
        outputs
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
    pub(super) fn setup(&self, route: &str, from: Option<&str>) -> Option<Setup> {
        let input_schema = match self.contracts.get(from?)? {
            Contract::Broken => return None,
            contract => contract.schema().cloned(),
        };
        Some(Setup {
            route: format!("{}/{route}", self.name).into(),
            input: input_schema.as_ref().map_or_else(any_object, schemas::kind),
            input_schema,
            output_schema: None,
            folder: self.file.folder().to_owned(),
            connection: None,
            listen: self.listen.listen,
            shared: self.shared.clone(),
        })
    }

    /// The expressions and steps of a processor, each with the type of what it reads.
    fn check_code(
        &mut self,
        entry: &'a Entry,
        shaped: &Shaped<'a>,
        enriched: &[Enriched<'a>],
        steps: &[Step<'a>],
        from: Option<&'a str>,
        written: &[&'a str],
    ) {
        self.compile_key(shaped, written);
        // A processor that feeds itself has one schema on both sides: what that breaks is no news.
        let fed_by_itself = from.is_some_and(|from| written.contains(&from));
        let Some(mut setup) = self.setup(&entry.name, from).filter(|_| !fed_by_itself) else {
            return;
        };
        let by: Vec<_> =
            shaped.code.iter().filter(|code| code.pointer == "/deduplicate/by").cloned().collect();
        self.compile(&by, &Input::from(&setup));
        self.check_enriched(enriched, shaped, &mut setup);
        let mut before: Vec<(&Step<'a>, Setup)> = Vec::new();
        for step in steps {
            let within = format!("/{}", step.declared.name);
            let code = shaped.code.iter().filter(|code| is_within(&code.pointer, &within));
            let code: Vec<_> = code.cloned().collect();
            self.compile(&code, &Input::from(&setup));
            if !shaped.sound {
                continue;
            }
            self.check_step(step, &setup);
            // What does not compile emits nothing that could be looked at, and has been told.
            let Ok(Some(emitted)) = (step.declared.emits)(step.options.clone(), &setup) else {
                return;
            };
            before.push((step, setup.clone()));
            setup.input = emitted;
        }
        for topic in written.iter().filter(|_| shaped.sound) {
            self.check_contract(entry, &before, &setup, topic);
        }
    }

    /// The key reads what is written.
    fn compile_key(&mut self, shaped: &Shaped<'a>, written: &[&'a str]) {
        let input = match written {
            [one] => match self.contracts.get(one) {
                Some(Contract::Schema(schema)) => Input::from(schema),
                Some(Contract::Open) => Input::from(&any_object()),
                Some(Contract::Broken) | None => return,
            },
            _ => Input::from(&any_object()),
        };
        let keys: Vec<_> =
            shaped.code.iter().filter(|code| code.pointer == "/key").cloned().collect();
        self.compile(&keys, &input);
    }

    fn check_step(&mut self, step: &Step<'a>, setup: &Setup) {
        let mut findings = Findings::default();
        // Options of another shape have been told of.
        if (step.declared.check)(step.options.clone(), setup, &mut findings).is_ok() {
            self.report(findings, step.field, None);
        }
    }

    /// Holds what the last step emits, the input of `after`, against the schema of a topic.
    fn check_contract(
        &mut self,
        entry: &'a Entry,
        steps: &[(&Step<'a>, Setup)],
        after: &Setup,
        topic: &str,
    ) {
        let Some(output) = self.contracts.get(topic).and_then(Contract::schema).cloned() else {
            return;
        };
        let deciding = |path: &Path| {
            steps.iter().rev().find_map(|(step, setup)| {
                let origin = (step.declared.origin)(step.options.clone(), setup, path);
                origin.ok().flatten().map(|origin| (step.field, origin))
            })
        };
        // What no step decides is shown at the last one that changes the type.
        let mut reads = steps.iter().skip(1).map(|(_, setup)| &setup.input).chain([&after.input]);
        let changing = steps.iter().filter(|(_, setup)| reads.next() != Some(&setup.input)).last();
        let last = changing.map(|(step, _)| step.field).or(entry.value.entry("to"));
        let misfits = hold(&after.input, &output, after.input_schema.as_ref(), |path| {
            deciding(path).map(|(_, origin)| origin)
        });
        for (path, finding) in misfits {
            let field = deciding(&path).map(|(field, _)| field).or(last).unwrap_or(entry);
            self.report(Findings(vec![finding]), field, None);
        }
    }

    /// The topics that processors read and write, for the search of cycles.
    pub(super) fn edges(&self) -> Vec<(&'a str, &'a str, &'a Entry)> {
        let mut edges = Vec::new();
        for entry in self.entries("processors") {
            let Some(from) = Self::named(&entry.value, "from") else { continue };
            for to in self.written_by(entry) {
                edges.push((from, to, entry));
            }
        }
        edges
    }

    /// The topics that a processor writes.
    pub(super) fn written_by(&self, entry: &'a Entry) -> Vec<&'a str> {
        match self.written.get(&*entry.name) {
            Some(written) if !written.is_empty() => written.clone(),
            _ => Self::named(&entry.value, "to").into_iter().collect(),
        }
    }
}

/// A step of a processor in the file.
struct Step<'a> {
    declared: &'a ProcessorDeclaration,
    options: Json,
    field: &'a Entry,
}

/// Whether a JSON pointer leads to what is at `above`, or to something in it.
pub(super) fn is_within(pointer: &str, above: &str) -> bool {
    pointer.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
