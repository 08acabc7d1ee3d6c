//! Reading events as what they are to become.

use bigdecimal::BigDecimal;
use engine::connector::Setup;
use engine::{Event, Fault, Value};
use schemas::{Cause, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value as Json;

/// Something that events tell.
pub(super) trait Told: DeserializeOwned {
    /// What it is: `sale`.
    const WHAT: &'static str;
    /// The schema of such events, and the name of its file.
    const SCHEMA: (&'static str, &'static str);

    /// The texts that it is recognised by, each with its field's name: the ERP's rules of uniqueness
    /// pass over empty ones, and it trims codes.
    fn ids(&self) -> Vec<(&'static str, &str)>;

    /// Reads the event.
    ///
    /// # Errors
    /// A `Data` fault when it is something else.
    fn read(value: &Value) -> Result<Self, Fault> {
        let told: Self = serde_json::from_str(&schemas::json::write(value))
            .map_err(|error| wrong::<Self>(&error.to_string()))?;
        for (name, text) in told.ids() {
            if text.is_empty() || text.trim() != text {
                return Err(wrong::<Self>(&format!("`{name}` is empty or has spaces around it")));
            }
        }
        Ok(told)
    }
}

fn wrong<T: Told>(cause: &str) -> Fault {
    let message = format!(
        "The event is not a {}: {cause}. Its topic should have the schema `{}`, or its fields.",
        T::WHAT,
        T::SCHEMA.0
    );
    Fault::data("tryton_event", message)
}

/// A decimal of the event, from its text, without ever being a float. VRL has decimals as texts; a
/// topic of plain JSON may have numbers.
pub(super) fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BigDecimal, D::Error> {
    let text = match Json::deserialize(deserializer)? {
        Json::String(text) => text,
        Json::Number(number) => number.to_string(),
        other => return Err(de::Error::custom(format!("{other} is not a decimal"))),
    };
    let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    // An exponent could ask for a gigabyte of zeros.
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| de::Error::custom(format!("`{text}` is not a decimal")))
}

/// Looks, when a topic has a schema, whether its values have what is needed: better than finding out
/// with each event.
///
/// # Errors
/// A `Config` fault that names what is missing or of another type.
pub(super) fn check_input<T: Told>(setup: &Setup) -> Result<(), Fault> {
    let Some(schema) = &setup.input_schema else { return Ok(()) };
    let (name, text) = T::SCHEMA;
    let needed = Schema::parse(text).map_err(|error| {
        Fault::internal("schema", format!("Our own {name} cannot be read: {error}."))
    })?;
    let wrong: Vec<String> = schemas::misfits(&setup.input, &needed, Some(schema))
        .iter()
        .filter(|misfit| matches!(misfit.cause, Cause::MissingField | Cause::WrongKind))
        .map(|misfit| format!("`{}` should be {}", misfit.path, misfit.expected))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!(
        "The topic's events are not {}s: {}. Map them to the schema `{name}`.",
        T::WHAT,
        wrong.join(", ")
    );
    Err(Fault::config("tryton_event", message))
}

/// The event's value.
///
/// # Errors
/// A `Data` fault when the route does not decode its topic.
pub(super) fn value(event: &Event) -> Result<&Value, Fault> {
    event.value.as_ref().ok_or_else(|| {
        Fault::data("tryton_event", "The event's value is not decoded: its topic has no schema.")
    })
}
