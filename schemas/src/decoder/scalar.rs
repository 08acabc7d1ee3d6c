//! Reads one value without parts, and gives it the form that VRL works with.

use uuid::Uuid;
use vrl::value::{ObjectMap, Value};

use super::Fault;
use super::input::Input;
use super::plan::Symbol;
use crate::leaf::{Length, Logical, Number, NumberForm, Real};
use crate::{calendar, decimal};

pub(super) fn number(
    input: &mut Input<'_>,
    wire: Number,
    form: NumberForm,
) -> Result<Value, Fault> {
    let number = input.number(wire)?;
    let value = match form {
        NumberForm::Integer => Some(Value::Integer(number)),
        #[expect(clippy::cast_precision_loss, reason = "Avro promotes a long to a float so")]
        NumberForm::Float => return float(input, f64::from(number as f32)),
        #[expect(clippy::cast_precision_loss, reason = "Avro promotes a long to a double so")]
        NumberForm::Double => return float(input, number as f64),
        NumberForm::Date => {
            i32::try_from(number).ok().and_then(calendar::date_text).map(Value::from)
        }
        NumberForm::Time(unit) => calendar::time_text(number, unit).map(Value::from),
        NumberForm::Timestamp(unit) => calendar::timestamp(number, unit).map(Value::Timestamp),
        NumberForm::Local(unit) => calendar::local_text(number, unit).map(Value::from),
    };
    value.ok_or_else(|| input.fault(format!("{number} is outside of what a {} holds", form.name())))
}

impl NumberForm {
    const fn name(self) -> &'static str {
        match self {
            Self::Integer => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Date => "date",
            Self::Time(_) => "time of day",
            Self::Timestamp(_) => "timestamp",
            Self::Local(_) => "local timestamp",
        }
    }
}

pub(super) fn real(input: &mut Input<'_>, wire: Real) -> Result<Value, Fault> {
    let number = match wire {
        Real::Float => f64::from(f32::from_le_bytes(input.array()?)),
        Real::Double => f64::from_le_bytes(input.array()?),
    };
    float(input, number)
}

/// VRL has no NaN, and null or zero in its place would be a lie.
fn float(input: &Input<'_>, number: f64) -> Result<Value, Fault> {
    let number = number.try_into().map(Value::Float);
    number.map_err(|_| {
        input.fault("it is not a number (NaN), which a mapping cannot hold".to_owned())
    })
}

pub(super) fn symbol(input: &mut Input<'_>, symbols: &[Symbol]) -> Result<Value, Fault> {
    let index = input.number(Number::Int)?;
    match usize::try_from(index).ok().and_then(|index| symbols.get(index)) {
        Some(symbol) => symbol.clone().map_err(|cause| input.fault(cause)),
        None => Err(input.fault(format!("symbol {index} of an enum that has {}", symbols.len()))),
    }
}

pub(super) fn text(input: &mut Input<'_>, length: Length) -> Result<Value, Fault> {
    let text = input.shared(length)?.try_into().map(Value::String);
    text.map_err(|cause| input.fault(format!("its text is not UTF-8: {cause}")))
}

pub(super) fn logical(
    input: &mut Input<'_>,
    length: Length,
    form: Logical,
) -> Result<Value, Fault> {
    let bytes = input.bytes(length)?;
    let value = match form {
        Logical::Decimal(shape) => decimal::to_text(bytes, shape).map(Value::from),
        Logical::BigDecimal => big_decimal(bytes),
        Logical::Uuid => uuid(bytes),
        Logical::UuidText => uuid_text(bytes),
        Logical::Duration => duration(bytes),
    };
    value.map_err(|cause| input.fault(cause))
}

/// A `big-decimal` is bytes within bytes: the unscaled integer, then its scale.
fn big_decimal(bytes: &[u8]) -> Result<Value, String> {
    let mut inner = Input::new(bytes);
    let parts = inner.bytes(Length::Prefixed).and_then(|unscaled| {
        let scale = inner.number(Number::Long)?;
        Ok((unscaled, scale))
    });
    match parts {
        Ok((unscaled, scale)) if inner.left() == 0 => {
            decimal::big_to_text(unscaled, scale).map(Value::from)
        }
        _ => Err("its bytes are no big-decimal, an integer's bytes and a scale".to_owned()),
    }
}

fn uuid(bytes: &[u8]) -> Result<Value, String> {
    let uuid = Uuid::from_slice(bytes);
    uuid.map(|uuid| uuid.to_string().into())
        .map_err(|_| format!("a uuid has 16 bytes, not {}", bytes.len()))
}

fn uuid_text(bytes: &[u8]) -> Result<Value, String> {
    let uuid = Uuid::try_parse_ascii(bytes);
    uuid.map(|uuid| uuid.to_string().into())
        .map_err(|cause| format!("its text is no uuid: {cause}"))
}

/// Three little-endian counts: months, days, milliseconds.
fn duration(bytes: &[u8]) -> Result<Value, String> {
    let (counts, _) = bytes.as_chunks::<4>();
    let [months, days, milliseconds] = counts else {
        return Err(format!("a duration has 12 bytes, not {}", bytes.len()));
    };
    let count = |bytes: &[u8; 4]| Value::Integer(i64::from(u32::from_le_bytes(*bytes)));
    Ok(Value::Object(ObjectMap::from([
        ("months".into(), count(months)),
        ("days".into(), count(days)),
        ("milliseconds".into(), count(milliseconds)),
    ])))
}
