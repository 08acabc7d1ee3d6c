//! Files that describe applications: each becomes a connector.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::check;
use super::document::{self, Node};
use super::file::File;
use super::grammar::Grammar;
use super::pipeline::Application;
use super::problem::Problem;
use crate::Catalogue;
use crate::connector::SinkDeclaration;

/// The folder beside a pipeline file whose descriptions are taken without being named.
const FOLDER: &str = "applications";

/// The connector of a file that describes an application.
///
/// # Errors
/// Every mistake in it.
pub fn declare(
    file: &File,
    catalogue: &Catalogue,
    grammar: &Grammar,
) -> Result<SinkDeclaration, Vec<Problem>> {
    let root = document::parse(file)?;
    check::application(file, &root, catalogue, grammar)
}

/// The applications that a pipeline's own files describe; what is wrong with them is added to the
/// problems.
pub(super) fn of(
    file: &File,
    root: &Node,
    catalogue: &Catalogue,
    grammar: &Grammar,
    problems: &mut Vec<Problem>,
) -> Vec<Application> {
    let mut all: Vec<Application> = Vec::new();
    for (path, named) in files(file, root) {
        let read = match (File::read(&path), named) {
            (Ok(read), _) => read,
            (Err(_), Some(span)) => {
                let cause = format!("`{}` cannot be read", path.display());
                let hint = "write the path of a file that describes an application";
                problems.push(file.problem(span, "unreadable_application", cause).hint(hint));
                continue;
            }
            (Err(problem), None) => {
                problems.push(*problem);
                continue;
            }
        };
        match declare(&read, catalogue, grammar) {
            Err(found) => problems.extend(found),
            Ok(declaration) => {
                if let Some(first) = all.iter().find(|one| one.declaration.name == declaration.name)
                {
                    let cause = format!(
                        "`{}` describes an application `{}`, too",
                        first.file.display(),
                        declaration.name
                    );
                    problems.push(
                        Problem::of_file(&path, "duplicate_connector", cause)
                            .hint("rename one of them"),
                    );
                    continue;
                }
                all.push(Application { file: path, text: read.text().to_owned(), declaration });
            }
        }
    }
    all
}

/// The files to read: those that the pipeline names, with the place where it does, then those of the
/// folder beside it, in the order of their names.
fn files(file: &File, root: &Node) -> Vec<(PathBuf, Option<Range<usize>>)> {
    let items = root.get("applications").map(Node::items).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let named: Vec<_> = items
        .iter()
        .filter_map(|item| Some((file.folder().join(item.text()?.as_str()), item.span.clone())))
        .filter(|(path, _)| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())))
        .collect();
    let beside = within(&file.folder().join(FOLDER));
    let beside =
        beside.into_iter().filter(|path| !seen.contains(&path.canonicalize().unwrap_or_default()));
    let beside: Vec<_> = beside.map(|path| (path, None)).collect();
    named.into_iter().map(|(path, span)| (path, Some(span))).chain(beside).collect()
}

fn within(folder: &Path) -> Vec<PathBuf> {
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|name| name == "yaml");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_yaml).collect();
    files.sort();
    files
}
