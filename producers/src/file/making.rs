//! Events of records.

use std::collections::BTreeMap;

use engine::expression::{Expression, Own, Program};
use engine::{Draft, Event, Fault, Value};
use schemas::Schema;
use schemas::json::Read;

use super::formats::Record;
use super::options::{ReadingOptions, TextType};
use super::texts::Texts;
use crate::poll::{Inputs, Mistake, expression, text, time};

/// The options' expressions, compiled.
pub(super) struct Expressions {
    event: Option<Program>,
    event_id: Option<Program>,
    kind: Option<Program>,
    time: Option<Program>,
}

/// How events are made of records.
pub(super) struct Making {
    pub expressions: Expressions,
    pub key: Option<Program>,
    pub schema: Schema,
    pub texts: Texts,
    pub types: BTreeMap<String, TextType>,
}

impl Making {
    /// Compiles what the file says of the source of this name.
    ///
    /// # Errors
    /// All mistakes, with their places.
    pub fn compile(name: &str, options: &ReadingOptions) -> Result<Expressions, Vec<Mistake>> {
        let input = Inputs::new().answer;
        let mut mistakes = Vec::new();
        let mut one = |text: &Option<Own<Expression>>, option: &str| {
            let pointer = format!("/{name}/{option}");
            text.as_ref().and_then(|text| expression(text, &input, &pointer, &mut mistakes))
        };
        let expressions = Expressions {
            event: one(&options.event, "event"),
            event_id: one(&options.event_id, "event_id"),
            kind: one(&options.kind, "type"),
            time: one(&options.time, "time"),
        };
        if mistakes.is_empty() { Ok(expressions) } else { Err(mistakes) }
    }

    /// The event of a record. `id` is its id where no expression gives one.
    ///
    /// # Errors
    /// A `Data` fault: it makes none of this topic.
    pub fn draft(&self, record: &Record, id: &str, received: i64) -> Result<Draft, Fault> {
        let Expressions { event, event_id, kind, time: at } = &self.expressions;
        let reads = [event, event_id, kind, at].into_iter().any(Option::is_some);
        let plain = if reads { self.plain(record)? } else { Value::Null };
        let read = match event {
            Some(program) => {
                let made = program.run(&Event::of_value(Value::Null), &plain)?;
                self.read(schemas::json::write(&made).as_bytes())?
            }
            None => self.as_it_is(record)?,
        };
        let value = read.value;
        Ok(Draft {
            id: event_id.as_ref().map_or(Ok(id.to_owned()), |program| text(program, &plain))?,
            kind: kind.as_ref().map(|program| text(program, &plain)).transpose()?,
            time: at
                .as_ref()
                .map(|program| time(program, &plain).map(|micros| micros.div_euclid(1_000)))
                .transpose()?,
            traceparent: None,
            received,
            key: self.key.as_ref().map(|program| text(program, &value)).transpose()?,
            value: Some(value),
        })
    }

    /// A record as expressions read it.
    fn plain(&self, record: &Record) -> Result<Value, Fault> {
        let mut value = match record {
            Record::Json(json) => schemas::json::read_plain(json)
                .map_err(|error| Fault::data("not_json", format!("It is no JSON: {error}.")))?,
            Record::Texts(value) => value.clone(),
        };
        if let Value::Object(fields) = &mut value {
            for (name, kind) in &self.types {
                let Some(field) = fields.get_mut(name.as_str()) else { continue };
                let Some(text) = field.to_str_lossy().map(|text| text.into_owned()) else {
                    continue;
                };
                *field = self
                    .texts
                    .typed(*kind, &text)
                    .map_err(|cause| Fault::data("invalid_text", format!("`{name}`: {cause}.")))?;
            }
        }
        Ok(value)
    }

    /// A record as a value of the topic's schema.
    fn as_it_is(&self, record: &Record) -> Result<Read, Fault> {
        match record {
            Record::Json(json) => self.read(json),
            Record::Texts(value) => typed(&self.schema, &self.texts, value.clone()),
        }
    }

    fn read(&self, json: &[u8]) -> Result<Read, Fault> {
        read(&self.schema, json)
    }
}

/// Texts as a value of a schema.
///
/// # Errors
/// A `Data` fault: they make none.
pub(super) fn typed(schema: &Schema, texts: &Texts, value: Value) -> Result<Read, Fault> {
    let fitted = schemas::fit(schema, value, &|form, text: &str| texts.read(form, text));
    let fitted = fitted.map_err(|error| Fault::data("invalid_text", format!("{error}.")))?;
    read(schema, schemas::json::write(&fitted).as_bytes())
}

fn read(schema: &Schema, json: &[u8]) -> Result<Read, Fault> {
    schemas::json::read(schema, json).map_err(|error| {
        let message = format!("The record does not fit its schema: {error}.");
        Fault::data("invalid_record", message)
    })
}
