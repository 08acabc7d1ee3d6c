//! JSON as events come in (webhooks, files, look-ups) and as people read them (`tap`).

mod shape;
mod text;
mod write;

use vrl::value::Value;

use crate::decimal;
use crate::path::{Path, Segment};
use crate::schema::Schema;

pub use text::{Json, Node};
pub use write::write;

/// A value read from JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The value, in the form that a [`Decoder`](crate::Decoder) of the schema gives.
    pub value: Value,
    /// Fields that the schema lacks and that were left out; at most the first hundred.
    pub unknown: Vec<Path>,
}

/// Why a text is not JSON, or not a value of the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading JSON failed at `{path}` (line {line}, column {column}): {cause}")]
pub struct JsonError {
    /// The field that was being read.
    pub path: Path,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub cause: String,
}

/// Why a value of another format than JSON is not one of the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {cause}")]
pub struct ShapeError {
    /// The field that was being read.
    pub path: Path,
    /// What is wrong there.
    pub cause: String,
}

/// An error whose place is still an offset into the text.
#[derive(Debug)]
struct Fault {
    path: Path,
    at: usize,
    cause: String,
}

impl Fault {
    fn locate(self, text: &[u8]) -> JsonError {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.split(|byte| *byte == b'\n');
        let last = line.clone().next_back().unwrap_or_default();
        JsonError {
            path: self.path,
            line: line.count(),
            column: String::from_utf8_lossy(last).chars().count() + 1,
            cause: self.cause,
        }
    }
}

/// Reads JSON as a value of the schema. Numbers are read from their text, never through a float.
///
/// | Avro | JSON |
/// |---|---|
/// | int, long | a whole number (`1e2` is one), or a text that holds one |
/// | float, double | a number, `"Infinity"`, `"-Infinity"` |
/// | string | a text, or a number as it is written |
/// | bytes, fixed | base64, with or without padding |
/// | decimal, big-decimal | a number or a text that holds one |
/// | date | `"2024-05-01"`, or days since 1970 |
/// | time | `"12:34:56.789"`, or a count of the type's unit since midnight |
/// | timestamp | RFC 3339, or a count of the type's unit since 1970 |
/// | local-timestamp | `"2024-05-01T12:34:56"`, or a count of the type's unit since 1970 |
/// | uuid | a text |
/// | enum | one of its symbols |
/// | duration | `{"months": 0, "days": 0, "milliseconds": 0}` |
///
/// A missing field takes its default, or null if it may be null. Of a union's branches, the one
/// that an [`Encoder`](crate::Encoder) would choose is read. Of a key that is there twice, the last counts.
///
/// # Errors
/// The text is not JSON, or a field is missing or not of its type.
pub fn read(schema: &Schema, text: &[u8]) -> Result<Read, JsonError> {
    let read = text::parse(text).and_then(|json| shape::read(schema, &json));
    read.map_err(|fault| fault.locate(text))
}

/// Reads what another format holds as a value of the schema, by the rules of [`read`]; bytes are read
/// as bytes or fixed alone.
///
/// # Errors
/// A field is missing or not of its type.
pub fn shape(schema: &Schema, node: Node<'_>) -> Result<Value, ShapeError> {
    match shape::read(schema, &node.into()) {
        Ok(read) => Ok(read.value),
        Err(Fault { path, cause, .. }) => Err(ShapeError { path, cause }),
    }
}

/// Reads JSON without a schema. A number that VRL's integers and floats do not hold exactly
/// becomes a text with its digits.
///
/// # Errors
/// The text is not JSON.
pub fn read_plain(text: &[u8]) -> Result<Value, JsonError> {
    text::parse(text).map(plain).map_err(|fault| fault.locate(text))
}

fn plain(json: Json<'_>) -> Value {
    match json.node {
        Node::Null => Value::Null,
        Node::Boolean(boolean) => Value::Boolean(boolean),
        Node::Number(number) => plain_number(&number),
        Node::Text(text) => Value::from(text),
        Node::Bytes(bytes) => Value::Bytes(bytes.into()),
        Node::Wrong(_) => Value::Null,
        Node::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        Node::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name.into_owned().into(), plain(value)))
                .collect(),
        ),
    }
}

fn plain_number(number: &str) -> Value {
    if let Ok(integer) = number.parse::<i64>() {
        return Value::Integer(integer);
    }
    let is_whole = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let float = number
        .parse::<f64>()
        .ok()
        .filter(|float| !is_whole && decimal::same(&float.to_string(), number));
    let float = float.and_then(|float| float.try_into().ok()).map(Value::Float);
    float.unwrap_or_else(|| Value::from(number))
}

/// Where the reader is: errors and unknown fields are named by it.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl From<Step<'_>> for Segment {
    fn from(step: Step<'_>) -> Self {
        match step {
            Step::Field(name) => Self::Field(name.to_owned()),
            Step::Index(index) => Self::Index(index),
        }
    }
}

#[cfg(test)]
mod tests;
