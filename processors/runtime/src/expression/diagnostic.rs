//! Mistakes in expressions, in words of ours, at their place in the text.

use std::ops::Range;

use crate::connector::{Finding, Place};
use vrl::diagnostic::{self as vrl_diagnostic, DiagnosticList};

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

    /// A mistake of the text as a whole.
    pub fn of_whole(code: &'static str, cause: impl Into<String>, hint: &str) -> Self {
        Self::new(0..0, code, cause, hint)
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
    let (hints, causes): (Vec<_>, Vec<_>) =
        error.labels.iter().map(|label| label.message.as_str()).partition(|label| advises(label));
    let words = Words { at: &text[span.clone()], message: &error.message, causes: &causes };
    let hint = hints.into_iter().next().map(sentence_case);
    let known = known(error.code);
    let cause = (known.cause)(&words);
    let hint = (known.hint)(&words).or(hint);
    Diagnostic { span, code: known.name, cause, hint }
}

/// What VRL says of a mistake.
struct Words<'a> {
    /// The text that is wrong.
    at: &'a str,
    message: &'a str,
    /// Its labels, without those that advise.
    causes: &'a [&'a str],
}

impl Words<'_> {
    fn says(&self, what: &str) -> bool {
        self.causes.iter().any(|label| label.contains(what))
    }
}

/// VRL's labels that say what to do rather than what is wrong.
fn advises(label: &str) -> bool {
    ["did you mean", "use ", "handle ", "remove ", "either ", "or ", "try ", "maybe "]
        .iter()
        .any(|start| label.starts_with(start))
}

/// VRL's message and labels as one sentence, without repetitions and lists of tokens.
fn as_vrl_says(words: &Words<'_>) -> String {
    // A failure that a function reports when it is compiled carries its message in its labels.
    let wrapped = words.message.starts_with("function compilation error");
    let mut parts = Vec::new();
    if !wrapped {
        parts.push(words.message);
    }
    for label in words.causes {
        let tells = !label.is_empty() && label.len() < 160;
        if tells && !words.message.to_lowercase().contains(*label) {
            parts.push(label);
        }
    }
    let mut parts = parts.into_iter();
    let first = sentence_case(parts.next().unwrap_or(words.message));
    let rest = parts.collect::<Vec<_>>().join(", ");
    let sentence = if rest.is_empty() { first } else { format!("{first}: {rest}") };
    if sentence.ends_with('.') { sentence } else { format!("{sentence}.") }
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

/// What we make of one of VRL's codes.
struct Known {
    name: &'static str,
    cause: fn(&Words<'_>) -> String,
    hint: fn(&Words<'_>) -> Option<String>,
}

fn no_hint(_: &Words<'_>) -> Option<String> {
    None
}

fn can_fail(words: &Words<'_>) -> String {
    format!("`{}` can fail, and nothing says what happens then.", words.at)
}

fn handle_failure(words: &Words<'_>) -> Option<String> {
    let call = words.at.split_once('(').filter(|(name, _)| is_name(name));
    Some(match call {
        Some((name, arguments)) => format!(
            "Write `{name}!({arguments}` to send the event to the dead letters, or say what to use \
             instead: `{} ?? …`.",
            words.at
        ),
        None => format!("Say what to use instead: `({}) ?? …`.", words.at),
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn convert(words: &Words<'_>) -> Option<String> {
    let at = words.at;
    Some(if words.says("type float") && words.says("one of string or integer") {
        "A float has lost digits already: write the number as a text, \"1.20\", and read decimals \
         from texts."
            .to_owned()
    } else if words.says("or null") {
        format!("Say what to use instead of null: `{at} || …`.")
    } else if words.says("resolves to any") || words.says("resolves to one of") {
        format!(
            "Assert its type with `string!({at})`, `int!({at})`, `object!({at})`, `array!({at})`."
        )
    } else {
        format!("Convert it first, for example with `to_string({at})` or `to_int!({at})`.")
    })
}

fn no_such_variable(words: &Words<'_>) -> String {
    format!("There is no variable `{}`.", words.at)
}

fn dotted(words: &Words<'_>) -> Option<String> {
    Some(format!("A field of the event starts with a dot: `.{}`.", words.at))
}

fn no_such_function(words: &Words<'_>) -> String {
    format!("There is no function `{}`.", words.at)
}

/// Our name of one of VRL's codes (<https://errors.vrl.dev>), our words where VRL's do not help.
fn known(code: usize) -> Known {
    let known = |name, cause, hint| Known { name, cause, hint };
    let named = |name| known(name, as_vrl_says as fn(&Words<'_>) -> String, no_hint as _);
    match code {
        100 | 103 | 630 | 631 => known("unhandled_failure", can_fail, handle_failure),
        101 => named("invalid_regex"),
        102 => known("not_a_condition", as_vrl_says, |_| {
            Some("A condition is true or false: compare, or use `exists(.x)`.".to_owned())
        }),
        104 => named("cannot_fail"),
        105 => known("unknown_function", no_such_function, no_hint),
        106 => named("too_many_arguments"),
        107 => named("missing_argument"),
        108 => named("unknown_argument"),
        110 => known("wrong_type", as_vrl_says, convert),
        121 => known("wrong_type", as_vrl_says, |_| {
            Some("Assert its type: `array!(.x)`, `object!(.x)`.".to_owned())
        }),
        109 | 111 | 120 | 122 => named("wrong_closure"),
        112 => named("invalid_grok"),
        113 => known("abort_message", as_vrl_says, |_| {
            Some("The message of `abort` is a text: use `to_string(x)`.".to_owned())
        }),
        205 => named("reserved_word"),
        200..=299 => named("syntax"),
        315 => named("read_only"),
        400..=499 | 610 => named("invalid_argument"),
        601 => named("invalid_timestamp"),
        640..=642 => named("invalid_target"),
        650 => known(
            "chained_comparison",
            |_| "A comparison cannot be compared with another.".to_owned(),
            |_| Some("Join two comparisons with `&&`.".to_owned()),
        ),
        651 => known(
            "cannot_fail",
            |words| format!("`{}` cannot fail, so what follows `??` is never used.", words.at),
            |words| Some(format!("For null, write `{} || …`.", words.at)),
        ),
        652 | 660 => named("wrong_type"),
        701 => known("unknown_variable", no_such_variable, dotted),
        _ => named("invalid_expression"),
    }
}
