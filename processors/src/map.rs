//! `map`: makes of each event the one that another application understands.

use engine::connector::{Findings, Origin, Place, ProcessorConnector, Setup};
use engine::expression::{self, Mapping};
use engine::{Emit, Event, Fault, Processor, Value};
use schemas::Path;
use vrl::value::Kind;

/// Changes the value of each event.
pub struct Map {
    mapping: Mapping,
}

impl ProcessorConnector for Map {
    const NAME: &'static str = "map";
    const SUMMARY: &'static str = "Changes the value of each event: statements in VRL.";
    const EXAMPLE: &'static str = include_str!("../../docs/examples/orders-to-erp/pipeline.yaml");
    type Options = expression::Map;

    fn check(map: &expression::Map, setup: &Setup, findings: &mut Findings) {
        if let Err(mistakes) = map.compile(setup) {
            findings.0.extend(mistakes.into_iter().map(|one| one.finding(Place::Route, "")));
        }
    }

    fn emits(map: &expression::Map, setup: &Setup) -> Option<Kind> {
        map.compile(setup).ok().map(|mapping| mapping.kind().clone())
    }

    fn origin(map: &expression::Map, setup: &Setup, path: &Path) -> Option<Origin> {
        let span = map.compile(setup).ok()?.assignment(path)?;
        Some(Origin { pointer: String::new(), span: Some(span) })
    }

    fn build(map: expression::Map, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        let mapping = map.compile(setup).map_err(|mistakes| {
            let mistakes = expression::sentence(&mistakes);
            Fault::config("map", format!("The map of {} is wrong: {mistakes}", setup.route))
        })?;
        Ok(Box::new(Self { mapping }))
    }
}

impl Processor for Map {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        out.send(self.mapping.run(event, value)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
