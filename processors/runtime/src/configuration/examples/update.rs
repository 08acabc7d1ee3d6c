//! Writes what comes out into the files that examples expect it in.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value as Json;

use super::{Lookups, Routes, Side, difference};
use crate::configuration::pipeline::Pipeline;
use crate::configuration::sections::Test;
use crate::connector::Catalogue;
use crate::{Fault, Value};

/// What became of an example's expectations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Updated {
    /// The example's name, or its number in the file.
    pub name: String,
    /// The files that were written; those that said the same already are left as they are.
    pub written: Vec<PathBuf>,
    /// What a person has to write, as sentences: what stands in the pipeline file itself, and what did
    /// not come out at all.
    pub left: Vec<String>,
}

/// The outcome for a person: one line a file.
impl std::fmt::Display for Updated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, written, left } = self;
        let word = if left.is_empty() { "ok  " } else { "LEFT" };
        writeln!(f, "{word} {name}")?;
        written.iter().try_for_each(|path| writeln!(f, "       wrote {}", path.display()))?;
        left.iter().try_for_each(|sentence| writeln!(f, "       {sentence}"))
    }
}

/// Runs every example of a pipeline, and writes what comes out into the files that its `expect` names.
///
/// # Errors
/// A `Config` fault when a processor cannot be built, although the check accepted it.
pub fn update(pipeline: &Pipeline, catalogue: &Catalogue) -> Result<Vec<Updated>, Fault> {
    let routes = Routes::of(pipeline, catalogue)?;
    let update = |(at, test): (usize, &Test)| {
        let name = test.name.clone().unwrap_or_else(|| format!("example {}", at + 1));
        let mut updated = Updated { name, written: Vec::new(), left: Vec::new() };
        routes.update(test, &test.lookups, &mut updated);
        updated
    };
    Ok(pipeline.tests.iter().enumerate().map(update).collect())
}

impl Routes<'_> {
    fn update(&self, test: &Test, lookups: &Lookups, updated: &mut Updated) {
        let mut failures = Vec::new();
        let input = self.read(Side::Input, &test.input, &mut failures);
        let written = match failures.is_empty() {
            true => self.process(input, lookups, &mut failures),
            false => return updated.left.extend(failures.iter().map(ToString::to_string)),
        };
        // A file written from half of what should come out would be taken for the truth.
        if !failures.is_empty() {
            return updated.left.extend(failures.iter().map(ToString::to_string));
        }
        for (topic, given) in &test.expect {
            let got = written.get(topic).map(Vec::as_slice).unwrap_or_default();
            match given {
                Json::String(path) => self.write(topic, path, got, updated),
                Json::Array(paths) if of_files(paths) && paths.len() == got.len() => {
                    let paths = paths.iter().filter_map(Json::as_str);
                    for (path, one) in paths.zip(got.chunks(1)) {
                        self.write(topic, path, one, updated);
                    }
                }
                _ => self.leave(topic, given, got, updated),
            }
        }
    }

    /// Writes what came out on a topic, unless the file says the same.
    fn write(&self, topic: &str, path: &str, got: &[Value], updated: &mut Updated) {
        let sample = Json::String(path.to_owned());
        let expected = self.samples(Side::Expected, topic, &sample).unwrap_or_default();
        let full = self.pipeline.folder.join(path);
        if full.exists() && difference::compare(topic, &expected, got).is_empty() {
            return;
        }
        let text = pretty(got).map_err(|error| error.to_string());
        let written =
            text.and_then(|text| fs::write(&full, text).map_err(|error| error.to_string()));
        match written {
            Ok(()) => updated.written.push(full),
            Err(error) => updated.left.push(format!("`{path}` cannot be written: {error}")),
        }
    }

    /// What stands in the pipeline file itself is a person's to write, with its comments and anchors.
    fn leave(&self, topic: &str, given: &Json, got: &[Value], updated: &mut Updated) {
        let mut failures = Vec::new();
        let given = [(topic.to_owned(), given.clone())].into();
        let expected = self.read(Side::Expected, &given, &mut failures);
        let expected = expected.get(topic).map(Vec::as_slice).unwrap_or_default();
        if failures.is_empty() && difference::compare(topic, expected, got).is_empty() {
            return;
        }
        let got: Vec<String> = got.iter().map(schemas::json::write).collect();
        let got = got.join(", ");
        updated.left.push(format!("{topic} stands in the pipeline file; write there: [{got}]"));
    }
}

fn of_files(samples: &[Json]) -> bool {
    samples.iter().all(Json::is_string)
}

/// One event as it is, several or none as a list.
fn pretty(events: &[Value]) -> serde_json::Result<String> {
    let read = |event: &Value| serde_json::from_str::<Json>(&schemas::json::write(event));
    let mut all = events.iter().map(read).collect::<serde_json::Result<Vec<_>>>()?;
    let one = if all.len() == 1 { all.pop() } else { None };
    Ok(serde_json::to_string_pretty(&one.unwrap_or(Json::Array(all)))? + "\n")
}
