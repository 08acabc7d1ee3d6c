//! Texts that hold expressions: `/orders/{{ .id }}`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use chrono::SecondsFormat;
use vrl::value::{Kind, Value};

use super::diagnostic::Diagnostic;
use super::input::Input;
use super::{Expression, Program, Template};
use crate::{Event, Fault};

/// A compiled template. Shared between threads.
#[derive(Debug, Clone)]
pub struct CompiledTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Inserted { text: String, program: Box<Program> },
}

impl Template {
    /// Compiles the text. `\{{` stands for `{{` itself.
    ///
    /// # Errors
    /// Every mistake in its expressions, with its place in the text; an expression that can only
    /// give null, an object or an array is one.
    pub fn compile(&self, input: impl Into<Input>) -> Result<CompiledTemplate, Vec<Diagnostic>> {
        let input = input.into();
        let mut parts = Vec::new();
        let mut mistakes = Vec::new();
        for piece in pieces(&self.0) {
            match piece.and_then(|piece| part(&self.0, piece, &input)) {
                Ok(part) => parts.push(part),
                Err(found) => mistakes.extend(found),
            }
        }
        if mistakes.is_empty() { Ok(CompiledTemplate { parts }) } else { Err(mistakes) }
    }
}

impl CompiledTemplate {
    /// The text for an event that has a decoded value.
    ///
    /// # Errors
    /// A `Data` fault when an expression fails, or gives what has no one text (null, an object, an
    /// array): `template_failed`, `template_aborted`.
    pub fn render(&self, event: &Event) -> Result<String, Fault> {
        self.render_with(event, as_it_is)
    }

    /// The same, and nothing when one of its expressions gives null.
    ///
    /// # Errors
    /// As [`render`](Self::render), null aside.
    pub fn render_unless_null(&self, event: &Event) -> Result<Option<String>, Fault> {
        let value = event.value.as_ref().unwrap_or(&Value::Null);
        for part in &self.parts {
            if let Part::Inserted { text, program } = part
                && program.run(event, value).map_err(|fault| within(text, fault))?.is_null()
            {
                return Ok(None);
            }
        }
        self.render(event).map(Some)
    }

    /// The same, with `escape` applied to each inserted value and not to the text around: in a URL,
    /// percent-encoding.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_with(
        &self,
        event: &Event,
        escape: impl Fn(&str) -> Cow<'_, str>,
    ) -> Result<String, Fault> {
        let value = event.value.as_ref().unwrap_or(&Value::Null);
        let mut rendered = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => rendered.push_str(text),
                Part::Inserted { text, program } => {
                    let given = program.run(event, value).map_err(|fault| within(text, fault))?;
                    rendered.push_str(&escape(&shown(text, &given)?));
                }
            }
        }
        Ok(rendered)
    }
}

fn as_it_is(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn within(text: &str, fault: Fault) -> Fault {
    let cause = match fault.cause {
        "expression_aborted" => "template_aborted",
        _ => "template_failed",
    };
    Fault::data(cause, format!("In the template's `{{{{ {text} }}}}`: {}", fault.message))
}

/// A value as the text that is put in.
fn shown<'v>(text: &str, value: &'v Value) -> Result<Cow<'v, str>, Fault> {
    Ok(match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes),
        Value::Integer(number) => number.to_string().into(),
        Value::Float(number) => number.to_string().into(),
        Value::Boolean(truth) => truth.to_string().into(),
        Value::Timestamp(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true).into(),
        other => {
            let kind = other.kind_str();
            let mut message = format!("The template's `{{{{ {text} }}}}` gave {kind}, not a text.");
            if matches!(other, Value::Null) {
                let _ = write!(message, " Say what to write instead: `{{{{ {text} || \"\" }}}}`.");
            }
            return Err(Fault::data("template_failed", message));
        }
    })
}

/// A part of the text, by its bytes.
enum Piece {
    Literal(String),
    Inserted(Range<usize>),
}

fn part(text: &str, piece: Piece, input: &Input) -> Result<Part, Vec<Diagnostic>> {
    let range = match piece {
        Piece::Literal(text) => return Ok(Part::Literal(text)),
        Piece::Inserted(range) => range,
    };
    let source = &text[range.clone()];
    let moved = |mistakes: Vec<Diagnostic>| {
        mistakes.into_iter().map(|mistake| mistake.moved(range.start)).collect::<Vec<_>>()
    };
    let program = Expression(source.to_owned()).compile(input.clone()).map_err(moved)?;
    let trimmed = source.trim();
    if let Some(mistake) = unshowable(trimmed, program.kind()) {
        let start = range.start + (source.len() - source.trim_start().len());
        return Err(vec![Diagnostic { span: start..start + trimmed.len(), ..mistake }]);
    }
    Ok(Part::Inserted { text: trimmed.to_owned(), program: Box::new(program) })
}

/// Refuses what can only give a value without a text.
fn unshowable(text: &str, kind: &Kind) -> Option<Diagnostic> {
    let text_like = Kind::bytes().or_integer().or_float().or_boolean().or_timestamp();
    if text_like.intersects(kind) {
        return None;
    }
    let hint = if kind.contains_object() || kind.contains_array() {
        format!("Name one field of it, or write it as JSON: `{{{{ encode_json({text}) }}}}`.")
    } else if text.is_empty() {
        "Write an expression between the braces, or `\\{{` for the braces themselves.".to_owned()
    } else {
        "Name a field that has a value.".to_owned()
    };
    let cause = format!("`{{{{ {text} }}}}` gives {kind}, which has no text.");
    Some(Diagnostic::new(0..0, "not_a_text", cause, &hint))
}

/// Cuts the text into literals and expressions. An unclosed `{{` is the last piece.
fn pieces(text: &str) -> Vec<Result<Piece, Vec<Diagnostic>>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find("{{").map(|found| rest + found) {
        if text[rest..found].ends_with('\\') {
            literal.push_str(&text[rest..found - 1]);
            literal.push_str("{{");
            rest = found + 2;
            continue;
        }
        literal.push_str(&text[rest..found]);
        if !literal.is_empty() {
            pieces.push(Ok(Piece::Literal(std::mem::take(&mut literal))));
        }
        let start = found + 2;
        let Some(end) = end_of_expression(text, start) else {
            let hint = "Close it with `}}`, or write `\\{{` for the braces themselves.";
            let cause = "This `{{` is not closed.";
            pieces.push(Err(vec![Diagnostic::new(found..start, "unclosed", cause, hint)]));
            return pieces;
        };
        pieces.push(Ok(Piece::Inserted(start..end)));
        rest = end + 2;
    }
    literal.push_str(&text[rest..]);
    if !literal.is_empty() {
        pieces.push(Ok(Piece::Literal(literal)));
    }
    pieces
}

/// Where the `}}` is that closes an expression: not inside one of VRL's strings, comments or braces.
fn end_of_expression(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut open) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => at = end_of_string(bytes, at),
            b'#' => at += bytes[at..].iter().position(|byte| *byte == b'\n')?,
            b'{' => open += 1,
            b'}' if open == 0 => return (bytes.get(at + 1) == Some(&b'}')).then_some(at),
            b'}' => open -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The closing quote of the string that starts at `start`; the end of the text when there is none.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if *byte == bytes[start] => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
