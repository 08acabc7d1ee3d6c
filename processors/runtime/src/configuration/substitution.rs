//! `${VAR}`, `${VAR:-otherwise}` and `${file:path}` in texts; `$$` is a dollar sign.
//!
//! What is put in is never read as YAML, and never printed: it may be a secret.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::document::Node;
use super::file::File;
use super::problem::Problem;
use super::text::{Replacement, Text};

/// Files above this size are not put in.
const LARGEST: u64 = 1 << 20;

/// Looks a variable up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts variables and files into every text of the tree. Returns the values that were put in, which
/// must not be printed; what is missing is added to the problems.
pub fn substitute(
    root: &mut Node,
    file: &File,
    environment: Environment<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut put_in = Vec::new();
    root.each_text(&mut |text| {
        if !text.as_str().contains('$') {
            return;
        }
        let mut parts = Vec::new();
        for (span, reference) in references(text.as_str()) {
            match resolve(&reference, file.folder(), environment) {
                Ok(found) => {
                    if found.secret {
                        put_in.push(found.by.clone());
                    }
                    parts.push(Replacement { content: span, ..found });
                }
                Err((code, cause, hint)) => {
                    problems.push(file.problem(text.locate(&span), code, cause).hint(hint));
                }
            }
        }
        *text = Text::replace(text, parts);
    });
    put_in
}

/// What stands in a text after a dollar sign.
#[derive(Debug, PartialEq, Eq)]
enum Reference<'a> {
    /// `$$`
    Dollar,
    /// `${…}`
    Named(&'a str),
    /// `${` without its `}`
    Open,
}

fn references(text: &str) -> Vec<(Range<usize>, Reference<'_>)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find('$').map(|at| at + from) {
        let rest = &text[at + 1..];
        from = if rest.starts_with('$') {
            found.push((at..at + 2, Reference::Dollar));
            at + 2
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = inner.find('}').unwrap_or(inner.len());
            let name = &inner[..end];
            if end == inner.len() {
                found.push((at..at + 2, Reference::Open));
                at + 2
            } else {
                found.push((at..at + 3 + end, Reference::Named(name)));
                at + 3 + end
            }
        } else {
            at + 1
        };
    }
    found
}

type Refusal = (&'static str, String, String);

fn resolve(
    reference: &Reference<'_>,
    folder: &Path,
    environment: Environment<'_>,
) -> Result<Replacement, Refusal> {
    let name = match reference {
        Reference::Dollar => {
            return Ok(Replacement {
                content: 0..0,
                by: "$".to_owned(),
                secret: false,
                file: None,
            });
        }
        Reference::Open => {
            let cause = "`${` has no closing `}`".to_owned();
            return Err(("bad_reference", cause, "write `$${` for a plain `${`".to_owned()));
        }
        Reference::Named(name) => *name,
    };
    if let Some(path) = name.strip_prefix("file:") {
        return read(&folder.join(path.trim()));
    }
    let (name, otherwise) = parts(name);
    if !is_variable(name) {
        let cause = format!("`${{{name}}}` does not name a variable or a file");
        let hint = "write `${NAME}` or `${file:path}`, and `$${` for a plain `${`";
        return Err(("bad_reference", cause, hint.to_owned()));
    }
    match (environment(name), otherwise) {
        (Some(by), _) => Ok(Replacement { content: 0..0, by, secret: true, file: None }),
        // It stands in the file for everybody to read.
        (None, Some(by)) => {
            Ok(Replacement { content: 0..0, by: by.to_owned(), secret: false, file: None })
        }
        (None, None) => {
            let cause = format!("the environment variable `{name}` is not set");
            let hint = format!("set it before the start: `export {name}=…`");
            Err(("missing_variable", cause, hint))
        }
    }
}

/// A variable's name, and what stands in its place where it is not set.
fn parts(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once(":-") {
        Some((name, otherwise)) => (name, Some(otherwise)),
        None => (reference, None),
    }
}

/// The variables that a text cannot do without, in its order.
pub(super) fn needed(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (_, reference) in references(text) {
        let Reference::Named(named) = reference else { continue };
        let (name, otherwise) = parts(named);
        if otherwise.is_none() && is_variable(name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// Reads a file without its last line break, which editors add and no secret has.
fn read(path: &PathBuf) -> Result<Replacement, Refusal> {
    let refuse = |cause: String| {
        let hint = "paths start at the folder of the pipeline file".to_owned();
        ("missing_file", format!("`{}` cannot be read: {cause}", path.display()), hint)
    };
    let size = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
    if size > LARGEST {
        return Err(refuse(format!("it has {size} bytes; at most {LARGEST} are read")));
    }
    let mut by = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    if by.ends_with('\n') {
        by.truncate(by.len() - if by.ends_with("\r\n") { 2 } else { 1 });
    }
    Ok(Replacement { content: 0..0, by, secret: true, file: Some(path.clone()) })
}

#[cfg(test)]
mod tests {
    use super::super::document::parse;
    use super::*;

    fn put_in(yaml: &str, folder: &Path) -> (Node, Vec<Problem>, Vec<String>) {
        let file = File::new(&folder.join("a.yaml"), yaml.to_owned());
        let mut root = parse(&file).unwrap();
        let mut problems = Vec::new();
        let known = |name: &str| match name {
            "KEY" => Some("k: [1]\n\"$$ ${OTHER}".to_owned()),
            _ => None,
        };
        let secrets = substitute(&mut root, &file, &known, &mut problems);
        (root, problems, secrets)
    }

    fn text<'a>(root: &'a Node, name: &str) -> &'a str {
        root.get(name).unwrap().text().unwrap().as_str()
    }

    #[test]
    fn a_value_is_put_in_as_it_is_and_never_read_again() {
        let yaml = "a: ${KEY}\nb: '<${KEY}>'\nc: $$1 costs $2 $${KEY}\n";
        let (root, problems, secrets) = put_in(yaml, Path::new("."));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(text(&root, "a"), "k: [1]\n\"$$ ${OTHER}");
        assert_eq!(text(&root, "b"), "<k: [1]\n\"$$ ${OTHER}>");
        assert_eq!(text(&root, "c"), "$1 costs $2 ${KEY}");
        assert_eq!(secrets.len(), 2);
        assert!(!format!("{root:?}").contains("k: [1]"));
    }

    #[test]
    fn what_is_not_set_is_what_the_file_says_otherwise() {
        let yaml = "a: '<${NONE:-http://a:1/b}>'\nb: '<${KEY:-no}>'\nc: '<${NONE:-}>'\n";
        let (root, problems, secrets) = put_in(yaml, Path::new("."));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(text(&root, "a"), "<http://a:1/b>");
        assert_eq!(text(&root, "b"), "<k: [1]\n\"$$ ${OTHER}>");
        assert_eq!(text(&root, "c"), "<>");
        assert_eq!(secrets.len(), 1, "what stands in the file is no secret");
        assert_eq!(needed("${A} ${B:-b} ${file:c} $${D} ${E}${A}"), ["A", "E"]);
    }

    #[test]
    fn a_file_is_put_in_without_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key.txt"), "s3cret\n").unwrap();
        let (root, problems, _) = put_in("a: '${file:key.txt}'\n", folder.path());
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(text(&root, "a"), "s3cret");
    }

    #[test]
    fn what_is_missing_is_said_at_its_place() {
        let yaml = "a: 'x ${NONE} ${file:none} ${A-B}'\nb: |\n  .x\n  ${KEY\n";
        let (_, problems, _) = put_in(yaml, Path::new("."));
        let places: Vec<_> =
            problems.iter().map(|problem| (&*problem.code, problem.line, problem.column)).collect();
        assert_eq!(
            places,
            [
                ("missing_variable", 1, 7),
                ("missing_file", 1, 15),
                ("bad_reference", 1, 28),
                ("bad_reference", 4, 3)
            ]
        );
    }
}
