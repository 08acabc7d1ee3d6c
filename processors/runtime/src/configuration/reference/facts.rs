//! What a declaration says beside its options: a word and a sentence each, for the connector's page.
//!
//! What depends on options is told for the options of the connector's own example.

use super::shelf::Example;
use crate::Catalogue;
use crate::configuration::grammar::Grammar;
use crate::configuration::pipeline::own_options;
use crate::connector::{ProcessorDeclaration, SinkDeclaration, SourceDeclaration};
use crate::lookup::LookupDeclaration;
use crate::options::Period;
use crate::sink::Once;

type Facts = Vec<(&'static str, String)>;

pub(super) fn of_source(source: &SourceDeclaration) -> Facts {
    let example = Example::of(source.example);
    let options = example.source(source.name).cloned().unwrap_or_default();
    let runs = match source.once {
        true => "on one instance at a time; another takes over at its cursor",
        false => "on every instance that runs the pipeline",
    };
    let stored = match source.once {
        true => {
            "an event and the cursor behind it are written in one transaction: after a kill it goes on there"
        }
        false => "an event counts as taken only once Kafka has acknowledged it",
    };
    let mut facts = vec![("runs", runs.to_owned()), ("promises", stored.to_owned())];
    if let Some(connection) = source.connection {
        let always = (source.reads)(options.clone()).unwrap_or(true);
        let when = if always { "" } else { ", if its options ask for one" };
        let fact = format!("{}, which its `from` names{when}", connection_of(connection));
        facts.push(("reads from", fact));
    }
    if (source.path)(options).is_ok_and(|path| path.is_some()) {
        let fact = "at a path of the pipeline's [HTTP listener](../reference.md#the-file) (`http`)";
        facts.push(("listens", fact.to_owned()));
    }
    facts
}

pub(super) fn of_processor(processor: &ProcessorDeclaration) -> Facts {
    let example = Example::of(processor.example);
    let options = example.step(processor.name).cloned().unwrap_or_default();
    let mut facts = vec![(
        "stands",
        "among the steps of a processor, which apply in the order of the file".to_owned(),
    )];
    if (processor.targets)(options).is_ok_and(|targets| !targets.is_empty()) {
        facts.push(("writes", "the topics that it names, in the place of `to`".to_owned()));
    }
    facts
}

pub(super) fn of_lookup(lookup: &LookupDeclaration) -> Facts {
    let asks = match lookup.connection {
        true => format!("{}, which `lookup` names", connection_of(lookup.name)),
        false => "nobody: it holds all of it in memory".to_owned(),
    };
    vec![("asks", asks)]
}

pub(super) fn of_sink(sink: &SinkDeclaration, catalogue: &Catalogue, grammar: &Grammar) -> Facts {
    let example = Example::of(&sink.example);
    let (mut promises, mut overwrites) = (Vec::new(), Vec::new());
    for (name, section) in example.sinks(&sink.name) {
        let options = own_options(section, &grammar.sink);
        if let Ok(once) = (sink.once)(options.clone()) {
            promises.push(format!("`{name}` {}", promise(once)));
        }
        if (sink.overwrites)(options).unwrap_or(false) {
            overwrites.push(format!("`{name}`"));
        }
    }
    let mut facts = Facts::new();
    if !promises.is_empty() {
        let fact = format!("in the example below: {}", promises.join("; "));
        facts.push(("an event that is sent again", fact));
    }
    if !overwrites.is_empty() {
        let fact = format!(
            "{}: an older event that is sent again ([replay](../replay.md)) can overwrite a newer state",
            overwrites.join(", ")
        );
        facts.push(("overwrites", fact));
    }
    let readers = catalogue.sources.iter().filter(|one| one.connection == Some(&*sink.name));
    let readers = readers.map(|one| format!("[{0} (source)](../sources/{0}.md)", one.name));
    let asking = catalogue.lookups.iter().filter(|one| one.connection && one.name == sink.name);
    let asking = asking.map(|one| format!("[{0} (look-up)](../lookups/{0}.md)", one.name));
    let shared = readers.chain(asking).collect::<Vec<_>>().join(", ");
    if !shared.is_empty() {
        facts.push(("its connection serves", format!("{shared}, too")));
    }
    if sink.probe.is_some() {
        let fact = "[`passerelle probe`](../probe.md) tells what the application lets us do";
        facts.push(("first study", fact.to_owned()));
    }
    facts
}

fn connection_of(connector: &str) -> String {
    format!("a connection of [{connector}](../sinks/{connector}.md#connection)")
}

fn promise(once: Once) -> String {
    match once {
        Once::Forever => "has no second effect, for ever".to_owned(),
        Once::For(time) => format!("has no second effect for {}", Period(time)),
        Once::No => {
            "may have a second effect; a [replay](../replay.md) needs `--accept-duplicates`"
                .to_owned()
        }
    }
}
