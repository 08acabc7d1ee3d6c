//! Mistakes in expressions, in words of ours, at their place in the text.

use std::ops::Range;

use crate::connector::{Finding, Place};
use vrl::diagnostic::{self as vrl_diagnostic, DiagnosticList, Note};

/// A mistake in an expression or a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// A short stable name of the mistake, in snake case.
    pub code: &'static str,
    /// What is wrong, as a sentence.
    pub cause: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A mistake; an empty hint is none.
    pub(super) fn new(
        span: Range<usize>,
        code: &'static str,
        cause: impl Into<String>,
        hint: &str,
    ) -> Self {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        Self { span, code, cause: cause.into(), hint }
    }

    /// VRL's errors about `text`, in their order; its warnings are left out.
    pub(super) fn list(text: &str, list: DiagnosticList) -> Vec<Self> {
        let errors = list.into_iter().filter(vrl_diagnostic::Diagnostic::is_problem);
        let mut all: Vec<_> = errors.map(|error| translate(text, &error)).collect();
        all.sort_by_key(|one| one.span.start);
        all.dedup();
        all
    }

    /// The mistake as one of a connector's option at `pointer`.
    pub fn finding(self, place: Place, pointer: &str) -> Finding {
        let Self { span, code, cause, hint } = self;
        let (pointer, span) = (pointer.to_owned(), Some(span));
        Finding { place, pointer, span, warning: false, code, cause, hint }
    }

    /// The same mistake in a text in which the expression starts at byte `offset`.
    #[must_use]
    pub(super) fn moved(mut self, offset: usize) -> Self {
        self.span = self.span.start + offset..self.span.end + offset;
        self
    }
}

/// The mistakes as one text, for where there is no file to show them in.
pub fn sentence(mistakes: &[Diagnostic]) -> String {
    let one = |mistake: &Diagnostic| match &mistake.hint {
        Some(hint) => format!("{} {hint}", mistake.cause),
        None => mistake.cause.clone(),
    };
    mistakes.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The line and column of a byte of `text`, in words; both count from 1, columns in characters.
pub(super) fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("line {line}, column {column}")
}

/// A failure of VRL's at run time as a sentence. VRL writes the place as bytes, once for each call
/// on the way: `function call error for "to_int" at (4:20): …`; the innermost names the culprit.
pub(super) fn failure(text: &str, message: &str) -> String {
    const CALL: &str = "function call error for \"";
    let innermost = message.rfind(CALL).and_then(|start| {
        let (function, rest) = message[start + CALL.len()..].split_once("\" at (")?;
        let (span, sentence) = rest.split_once("): ")?;
        let start = span.split_once(':')?.0.parse().ok()?;
        Some(format!("`{function}` failed at {}: {sentence}", place(text, start)))
    });
    innermost.unwrap_or_else(|| format!("The expression failed: {message}"))
}

fn translate(text: &str, error: &vrl_diagnostic::Diagnostic) -> Diagnostic {
    let first = error.labels.iter().find(|label| label.primary).or(error.labels.first());
    let span = first.map_or(0..text.len(), |label| within(text, label.span.range()));
    let Known { name, hint } = known(error.code);
    let found: Vec<String> = error.labels.iter().map(|label| label.message.clone()).collect();
    let (hints, causes): (Vec<_>, Vec<_>) = found.into_iter().partition(|label| advises(label));
    let mut cause = sentence_case(&error.message);
    for label in causes.iter().filter(|label| tells(label, &error.message)) {
        cause.push_str(if cause.contains(": ") { ", " } else { ": " });
        cause.push_str(label);
    }
    if !cause.ends_with('.') {
        cause.push('.');
    }
    let hint = hint.map(str::to_owned).or_else(|| {
        let noted = error.notes.iter().filter_map(|note| match note {
            Note::Hint(hint) => Some(hint.clone()),
            _ => None,
        });
        hints.into_iter().chain(noted).next().map(|hint| sentence_case(&hint))
    });
    Diagnostic { span, code: name, cause, hint }
}

/// VRL's labels that say what to do rather than what is wrong.
fn advises(label: &str) -> bool {
    ["did you mean", "use ", "handle ", "remove ", "either ", "or ", "try ", "maybe "]
        .iter()
        .any(|start| label.starts_with(start))
}

/// Whether a label says more than the message, in a length that a person reads.
fn tells(label: &str, message: &str) -> bool {
    label.len() < 200 && !message.eq_ignore_ascii_case(label)
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The span cut to the text, on the boundaries of characters, and never empty where there is a
/// character to show.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let start = floor(span.start).unwrap_or(0);
    let end = floor(span.end).unwrap_or(0).max(start);
    start..end
}

struct Known {
    name: &'static str,
    hint: Option<&'static str>,
}

const FALLIBLE: &str = "Write `!` after the function's name (`to_int!(.x)`: a failure sends the \
     event to the dead letters), or say what to use instead (`to_int(.x) ?? 0`).";
const WRONG_TYPE: &str = "Convert it first (`to_string(x)`, `to_int!(x)`), or assert its type with \
     `string!(x)`, `int!(x)`, `object!(x)`, `array!(x)`.";

/// Our name of one of VRL's codes (<https://errors.vrl.dev>), and a hint where VRL gives none that helps.
fn known(code: usize) -> Known {
    let (name, hint) = match code {
        100 => ("unhandled_failure", Some(FALLIBLE)),
        103 => ("unhandled_failure", Some(FALLIBLE)),
        630 | 631 => ("unhandled_failure", Some(FALLIBLE)),
        101 => ("invalid_regex", None),
        102 => {
            ("not_a_condition", Some("A condition is true or false: compare, or use `exists(.x)`."))
        }
        104 => ("cannot_fail", None),
        105 => ("unknown_function", None),
        106 => ("too_many_arguments", None),
        107 => ("missing_argument", None),
        108 => ("unknown_argument", None),
        121 => ("wrong_type", Some("Assert its type: `array!(.x)`, `object!(.x)`.")),
        109 | 111 | 120 | 122 => ("wrong_closure", None),
        110 => ("wrong_type", Some(WRONG_TYPE)),
        112 => ("invalid_grok", None),
        113 => ("abort_message", Some("The message of `abort` is a text: use `to_string(x)`.")),
        205 => ("reserved_word", None),
        200..=299 => ("syntax", None),
        315 => ("read_only", None),
        601 => ("invalid_timestamp", None),
        640..=642 => ("invalid_target", None),
        650 => ("chained_comparison", None),
        651 => (
            "cannot_fail",
            Some("Remove `??` and what follows: it is never used. For null, write `||`."),
        ),
        652 | 660 => ("wrong_type", None),
        701 => ("unknown_variable", Some("A field of the event starts with a dot: `.name`.")),
        _ => ("invalid_expression", None),
    };
    Known { name, hint }
}
