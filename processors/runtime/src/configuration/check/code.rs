//! Expressions and templates, and what connectors find in their options.

use std::ops::Range;

use super::Checker;
use crate::configuration::document::{Content, Entry};
use crate::configuration::text::Text;
use crate::configuration::validation::{Code, mid_line};
use crate::connector::{Finding, Findings, Place as Side};
use crate::expression::{Diagnostic, Expression, Input, Template};

impl<'a> Checker<'a> {
    /// Compiles expressions and templates, with the type of what they read.
    pub(super) fn compile(&mut self, code: &[Code<'a>], input: &Input) {
        for one in code {
            let text = one.text.as_str().to_owned();
            let mistakes = if one.template {
                Template(text).compile(input.clone()).err()
            } else {
                Expression(text).compile(input.clone()).err()
            };
            for mistake in mistakes.into_iter().flatten() {
                self.diagnosed(one.text, mistake);
            }
        }
    }

    fn diagnosed(&mut self, text: &'a Text, mistake: Diagnostic) {
        let finding = mistake.finding(Side::Route, "");
        let span = finding.span.clone().unwrap_or_default();
        self.found(Some(text), span, text.span(), finding);
    }

    /// Puts what a connector found in its options at its place. `route` and `connection` are the
    /// sections that its pointers start from.
    pub(super) fn report(
        &mut self,
        findings: Findings,
        route: &'a Entry,
        connection: Option<&'a Entry>,
    ) {
        for finding in findings.0 {
            let section = match (finding.place, connection) {
                (Side::Connection, Some(connection)) => connection,
                _ => route,
            };
            let (entry, whole) = self.follow(section, &finding.pointer);
            let text = entry.value.text();
            let within = finding.span.clone().filter(|_| text.is_some());
            self.found(
                text.filter(|_| within.is_some()),
                within.unwrap_or_default(),
                whole,
                finding,
            );
        }
    }

    /// A mistake at these bytes of a text; `whole` is where to point if there is none.
    fn found(
        &mut self,
        text: Option<&'a Text>,
        within: Range<usize>,
        whole: Range<usize>,
        finding: Finding,
    ) {
        let mut cause = mid_line(&finding.cause);
        let mut hint = finding.hint.as_deref().map(mid_line);
        let span = match text {
            Some(text) if text.is_written(&within) => text.locate(&within),
            Some(text) if text.file().is_some() => {
                cause = format!("{}: {cause}", place_in_file(text, within.start));
                text.span()
            }
            Some(text) => {
                // The compiler's sentence may quote what must not be printed.
                cause = "what is put in here does not compile".to_owned();
                hint = Some("try it as a plain text of the file first".to_owned());
                text.locate(&within)
            }
            None => whole,
        };
        let problem = self.file.problem(span, finding.code, cause).hint(hint.unwrap_or_default());
        let problem = if finding.warning { problem.warning() } else { problem };
        self.problems.push(problem);
    }

    /// The field that a JSON pointer leads to, as far as the file goes, and where to point: at a
    /// scalar of one line, or at the name of what holds more.
    pub(super) fn follow(&self, section: &'a Entry, pointer: &str) -> (&'a Entry, Range<usize>) {
        let mut entry = section;
        let mut span = section.name_span.clone();
        let mut node = &section.value;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            match &node.content {
                Content::List(items) => {
                    let Some(item) = step.parse().ok().and_then(|at: usize| items.get(at)) else {
                        break;
                    };
                    node = item;
                    span = item.span.clone();
                }
                _ => {
                    let Some(field) = node.entry(&step) else { break };
                    (entry, node) = (field, &field.value);
                    span = field.name_span.clone();
                }
            }
        }
        let written = self.file.text().get(node.span.clone()).unwrap_or_default();
        let one_line = !written.contains('\n');
        let scalar = !matches!(node.content, Content::Map(_) | Content::List(_) | Content::Null);
        if scalar && one_line {
            span = node.span.clone();
        }
        (entry, span)
    }
}

/// `map.vrl:3:5`: a place in the file that a text came from.
fn place_in_file(text: &Text, byte: usize) -> String {
    let before = text.as_str().get(..byte).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().map_or(0, |last| last.chars().count());
    let path = text.file().map(|path| path.display().to_string()).unwrap_or_default();
    format!("{path}:{line}:{column}")
}
