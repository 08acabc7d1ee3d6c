//! Keys that a route's `key:` gives.

use bytes::Bytes;

use crate::expression::{Expression, Input, Program, sentence};
use crate::{Event, Fault, Value};

/// A route's `key:`, compiled.
pub(super) struct Key(Program);

impl Key {
    /// Compiles the expression, which reads values of this type.
    pub(super) fn compile(route: &str, key: &Expression, input: Input) -> Result<Self, Fault> {
        let compiled = key.compile(input).map_err(|mistakes| {
            let mistakes = sentence(&mistakes);
            Fault::config("key", format!("The key of {route} is wrong: {mistakes}"))
        });
        compiled.map(Self)
    }

    /// The key of an event whose value is about to be written; null is no key.
    pub(super) fn of(&self, event: &Event, value: &Value) -> Result<Option<Bytes>, Fault> {
        match self.0.run(event, value)? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            Value::String(text) => Ok(Some(Bytes::copy_from_slice(text.as_bytes()))),
            Value::Integer(number) => Ok(Some(number.to_string().into())),
            Value::Boolean(value) => Ok(Some(value.to_string().into())),
            other => {
                let message = format!("The key is {}, not a text.", other.kind_str());
                Err(Fault::data("key_invalid", message))
            }
        }
    }
}
