//! The source `file`: files that are dropped into a folder become events, a row (or a record, or a
//! message) each.
//!
//! A file is read once it is complete, under the hash of its content: the same content dropped twice
//! is read once. Rows are published in pieces, each in one transaction with the cursor behind it; what
//! makes no event goes to the dead letters, with its line and its bytes. A format cuts a file into
//! records ([`formats`]), [`making`] makes events of them, [`source`] runs it all.

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
        if let Err(mistakes) = Making::compile(options) {
            let found =
                |Mistake { pointer, diagnostic }| diagnostic.finding(Place::Route, &pointer);
            findings.0.extend(mistakes.into_iter().map(found));
        }
    }

    fn build(
        options: FileOptions,
        key: Option<Expression>,
        setup: &Setup,
    ) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(open(&options, key, setup)?))
    }
}

/// The source that these options describe.
fn open(
    options: &FileOptions,
    key: Option<Expression>,
    setup: &Setup,
) -> Result<FileSource, Fault> {
    let Some(schema) = setup.output_schema.clone() else {
        let message =
            format!("The topic of {} declares no schema: add `schema:` to it.", setup.route);
        return Err(Fault::config("schema", message));
    };
    let mut findings = Findings::default();
    options.check(&mut findings);
    if let Some(wrong) = findings.0.into_iter().find(|one| !one.warning) {
        return Err(Fault::config(wrong.code, wrong.cause));
    }
    let expressions = Making::compile(options).map_err(|mistakes| {
        let all: Vec<_> = mistakes.into_iter().map(|mistake| mistake.diagnostic).collect();
        Fault::config("expression", sentence(&all))
    })?;
    let key = key.map(|key| key.compile(&schema)).transpose();
    let key = key.map_err(|all| Fault::config("expression", sentence(&all)))?;
    let within = |path: &PathBuf| setup.folder.join(path);
    Ok(FileSource {
        route: setup.route.clone(),
        folder: Arc::new(Mutex::new(Folder::new(options, within(&options.folder))?)),
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
        then: match &options.then {
            Then::Archive(folder) => Then::Archive(within(folder)),
            other => other.clone(),
        },
        remember: options.remember,
    })
}

#[cfg(test)]
mod tests;
