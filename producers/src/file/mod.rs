//! The sources `file` and `s3`: files that are dropped into a folder, or into a bucket, become events,
//! a row (or a record, or a message) each.
//!
//! A file is read once it is complete, under the hash of its content: the same content dropped twice
//! is read once. Rows are published in pieces, each in one transaction with the cursor behind it; what
//! makes no event goes to the dead letters, with its line and its bytes. A format cuts a file into
//! records ([`formats`]), [`making`] makes events of them, [`source`] runs it all.

mod bucket;
mod cursor;
mod folder;
mod formats;
mod infer;
mod making;
mod options;
mod snapshot;
mod source;
pub(crate) mod table;
mod texts;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use engine::connector::{Findings, Place, Setup, SourceConnector};
use engine::expression::{Expression, sentence};
use engine::{Fault, Source};

use bucket::Watched;
pub use bucket::{S3, S3Options};
use folder::Folder;
use formats::Reading;
pub use infer::{Proposal, infer};
use making::Making;
pub use options::*;
use source::FileSource;

use crate::poll::Mistake;

/// The connector.
pub struct File;

impl SourceConnector for File {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str =
        "Files dropped into a folder: CSV, JSON lines, XML, fixed width, EDIFACT, X12.";
    const EXAMPLE: &'static str =
        include_str!("../../../docs/examples/orders-from-csv/pipeline.yaml");
    const ONCE: bool = true;
    type Options = FileOptions;

    fn check(options: &FileOptions, findings: &mut Findings) {
        options.check(findings);
        check_expressions(Self::NAME, &options.reading, findings);
    }

    fn build(
        options: FileOptions,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(open(&options, key, setup)?))
    }
}

/// Looks for mistakes in the expressions of the source of this name.
fn check_expressions(name: &str, options: &ReadingOptions, findings: &mut Findings) {
    if let Err(mistakes) = Making::compile(name, options) {
        let found = |Mistake { pointer, diagnostic }| diagnostic.finding(Place::Route, &pointer);
        findings.0.extend(mistakes.into_iter().map(found));
    }
}

/// The source that these options describe.
fn open(
    options: &FileOptions,
    key: Option<Expression>,
    setup: &Setup,
) -> Result<FileSource, Fault> {
    let mut findings = Findings::default();
    options.check(&mut findings);
    refuse(findings)?;
    let within = |path: &PathBuf| setup.folder.join(path);
    let complete = (options.ready, options.settle.0, options.marker.as_str());
    let place = Watching {
        folder: Folder::new(within(&options.folder), &options.reading.pattern, complete)?,
        bucket: None,
        then: match &options.then {
            Then::Archive(folder) => Then::Archive(within(folder)),
            other => other.clone(),
        },
    };
    source(File::NAME, &options.reading, place, key, setup)
}

/// Where files are dropped, and what becomes of them.
struct Watching {
    folder: Folder,
    bucket: Option<Watched>,
    then: Then,
}

/// The source of this name, which reads so what is dropped there.
fn source(
    name: &str,
    options: &ReadingOptions,
    place: Watching,
    key: Option<Expression>,
    setup: &Setup,
) -> Result<FileSource, Fault> {
    let Some(schema) = setup.output_schema.clone() else {
        let message =
            format!("The topic of {} declares no schema: add `schema:` to it.", setup.route);
        return Err(Fault::config("schema", message));
    };
    let expressions = Making::compile(name, options).map_err(|mistakes| {
        let all: Vec<_> = mistakes.into_iter().map(|mistake| mistake.diagnostic).collect();
        Fault::config("expression", sentence(&all))
    })?;
    let key = key.map(|key| key.compile(&schema)).transpose();
    let key = key.map_err(|all| Fault::config("expression", sentence(&all)))?;
    Ok(FileSource {
        route: setup.route.clone(),
        folder: Arc::new(Mutex::new(place.folder)),
        bucket: place.bucket,
        making: Arc::new(Making {
            expressions,
            key,
            schema,
            texts: options.writing.texts()?,
            types: options.types.clone(),
        }),
        reading: Reading {
            format: options.format.clone(),
            encoding: options.writing.encoding()?,
            largest: options.largest_record(),
        },
        every: options.every.0,
        then: place.then,
        remember: options.remember,
    })
}

/// # Errors
/// The first mistake.
fn refuse(findings: Findings) -> Result<(), Fault> {
    let wrong = findings.0.into_iter().find(|one| !one.warning);
    wrong.map_or(Ok(()), |wrong| Err(Fault::config(wrong.code, wrong.cause)))
}

#[cfg(test)]
mod tests;
