//! One column: its type, and the values of the rows so far.

use std::str::FromStr as _;

use ::parquet::basic::{
    DecimalType, LogicalType, Repetition, TimeType, TimeUnit, TimestampType, Type as Physical,
};
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
    FloatType, Int32Type, Int64Type,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::writer::SerializedColumnWriter;
use ::parquet::schema::types::Type as Parquet;
use bigdecimal::BigDecimal;
use engine::Value;
use schemas::columns::{Type, Unit};

/// More digits than readers' 256-bit decimals hold.
const MOST_DIGITS: usize = 76;
/// What holds them, in bytes.
const MOST_BYTES: usize = 32;

/// What a column holds.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    kind: Type,
    physical: Physical,
}

impl Leaf {
    pub fn of(kind: &Type) -> Self {
        let kind = match kind {
            Type::Decimal { precision, .. } if *precision > MOST_DIGITS => Type::Text,
            other => other.clone(),
        };
        let physical = match &kind {
            Type::Boolean => Physical::BOOLEAN,
            Type::Int | Type::Date | Type::Time(Unit::Millis) => Physical::INT32,
            Type::Long | Type::Time(_) | Type::Timestamp(_) | Type::Local(_) => Physical::INT64,
            Type::Float => Physical::FLOAT,
            Type::Double => Physical::DOUBLE,
            Type::Decimal { precision: ..=9, .. } => Physical::INT32,
            Type::Decimal { precision: ..=18, .. } => Physical::INT64,
            Type::Decimal { .. } => Physical::FIXED_LEN_BYTE_ARRAY,
            _ => Physical::BYTE_ARRAY,
        };
        Self { kind, physical }
    }

    pub fn parquet(&self, name: &str, is: Repetition) -> Result<Parquet, ParquetError> {
        let builder = Parquet::primitive_type_builder(name, self.physical)
            .with_repetition(is)
            .with_logical_type(self.logical());
        match &self.kind {
            Type::Decimal { precision, scale } => builder
                .with_precision(small(*precision))
                .with_scale(small(*scale))
                .with_length(small(bytes_of(*precision)))
                .build(),
            _ => builder.build(),
        }
    }

    fn logical(&self) -> Option<LogicalType> {
        let timestamp = |unit: Unit, utc| {
            LogicalType::Timestamp(TimestampType { is_adjusted_to_u_t_c: utc, unit: of_unit(unit) })
        };
        match &self.kind {
            Type::Text | Type::Json => Some(LogicalType::String),
            Type::Date => Some(LogicalType::Date),
            Type::Time(unit) => Some(LogicalType::Time(TimeType {
                is_adjusted_to_u_t_c: false,
                unit: of_unit(*unit),
            })),
            Type::Timestamp(unit) => Some(timestamp(*unit, true)),
            Type::Local(unit) => Some(timestamp(*unit, false)),
            Type::Decimal { precision, scale } => Some(LogicalType::Decimal(DecimalType {
                scale: small(*scale),
                precision: small(*precision),
            })),
            _ => None,
        }
    }
}

fn of_unit(unit: Unit) -> TimeUnit {
    match unit {
        Unit::Millis => TimeUnit::MILLIS,
        Unit::Micros => TimeUnit::MICROS,
        Unit::Nanos => TimeUnit::NANOS,
    }
}

fn small(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// How many bytes hold any decimal of so many digits: a digit is 3.322 bits, and the sign is one.
fn bytes_of(precision: usize) -> usize {
    ((precision * 3_322).div_ceil(1_000) + 1).div_ceil(8).min(MOST_BYTES)
}

#[derive(Debug, Clone)]
enum Values {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// Runs an expression on the values, whatever their type.
macro_rules! each {
    ($values:expr, $name:ident => $do:expr) => {
        match $values {
            Values::Boolean($name) => $do,
            Values::Int32($name) => $do,
            Values::Int64($name) => $do,
            Values::Float($name) => $do,
            Values::Double($name) => $do,
            Values::Bytes($name) => $do,
            Values::Fixed($name) => $do,
        }
    };
}

/// The values of a column and their levels.
#[derive(Debug, Clone)]
pub(super) struct Buffer {
    leaf: Leaf,
    values: Values,
    definition: Vec<i16>,
    repetition: Vec<i16>,
    /// The highest levels; a column whose highest is 0 has none.
    most: (i16, i16),
}

impl Buffer {
    pub fn new(leaf: Leaf, most: (i16, i16)) -> Self {
        let values = match leaf.physical {
            Physical::BOOLEAN => Values::Boolean(Vec::new()),
            Physical::INT32 => Values::Int32(Vec::new()),
            Physical::INT64 => Values::Int64(Vec::new()),
            Physical::FLOAT => Values::Float(Vec::new()),
            Physical::DOUBLE => Values::Double(Vec::new()),
            Physical::FIXED_LEN_BYTE_ARRAY => Values::Fixed(Vec::new()),
            _ => Values::Bytes(Vec::new()),
        };
        Self { leaf, values, definition: Vec::new(), repetition: Vec::new(), most }
    }

    /// How long it is, to [`cut`](Self::cut) it again.
    pub fn mark(&self) -> (usize, usize) {
        (each!(&self.values, values => values.len()), self.definition.len())
    }

    pub fn cut(&mut self, (values, levels): (usize, usize)) {
        each!(&mut self.values, all => all.truncate(values));
        self.definition.truncate(levels);
        self.repetition.truncate(levels);
    }

    pub fn add_nothing(&mut self, (definition, repetition): (i16, i16)) {
        self.definition.push(definition);
        self.repetition.push(repetition);
    }

    /// Adds a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, value: &Value, levels: (i16, i16)) -> Result<(), String> {
        match self.push(value) {
            Some(()) => self.add_nothing(levels),
            None => {
                return Err(format!("is {}, which is no {:?}", value.kind_str(), self.leaf.kind));
            }
        }
        Ok(())
    }

    fn push(&mut self, value: &Value) -> Option<()> {
        let kind = &self.leaf.kind;
        let decimal = || match kind {
            Type::Decimal { scale, .. } => unscaled(value, *scale),
            _ => None,
        };
        let count = || match kind {
            Type::Decimal { .. } => {
                let bytes = decimal()?;
                i64::from_be_bytes(*bytes.last_chunk()?).into()
            }
            kind => kind.count(value),
        };
        match &mut self.values {
            Values::Boolean(all) => all.push(value.as_boolean()?),
            Values::Int32(all) => all.push(i32::try_from(count()?).ok()?),
            Values::Int64(all) => all.push(count()?),
            // What was a float is one again without loss.
            #[expect(clippy::cast_possible_truncation, reason = "see above")]
            Values::Float(all) => all.push(value.as_float()?.into_inner() as f32),
            Values::Double(all) => all.push(value.as_float()?.into_inner()),
            Values::Fixed(all) => {
                let Type::Decimal { precision, .. } = kind else { return None };
                let bytes = decimal()?[MOST_BYTES - bytes_of(*precision)..].to_vec();
                all.push(FixedLenByteArray::from(bytes));
            }
            Values::Bytes(all) => all.push(bytes(kind, value)?.into()),
        }
        Some(())
    }

    /// Writes it all.
    ///
    /// # Errors
    /// Parquet's own.
    pub fn write(self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let definition = (self.most.0 > 0).then_some(self.definition.as_slice());
        let repetition = (self.most.1 > 0).then_some(self.repetition.as_slice());
        macro_rules! written {
            ($type:ty, $values:expr) => {
                column.typed::<$type>().write_batch($values, definition, repetition)
            };
        }
        let written = match &self.values {
            Values::Boolean(values) => written!(BoolType, values),
            Values::Int32(values) => written!(Int32Type, values),
            Values::Int64(values) => written!(Int64Type, values),
            Values::Float(values) => written!(FloatType, values),
            Values::Double(values) => written!(DoubleType, values),
            Values::Bytes(values) => written!(ByteArrayType, values),
            Values::Fixed(values) => written!(FixedLenByteArrayType, values),
        };
        written.map(drop)
    }
}

/// A decimal as Parquet holds it: the number without its point, in two's complement, the highest
/// byte first.
fn unscaled(value: &Value, scale: usize) -> Option<[u8; MOST_BYTES]> {
    let exact = BigDecimal::from_str(&value.to_str_lossy()?).ok()?;
    let scaled = exact.with_scale(i64::try_from(scale).ok()?);
    if scaled != exact {
        return None;
    }
    let (digits, _) = scaled.as_bigint_and_exponent();
    let bytes = digits.to_signed_bytes_be();
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; MOST_BYTES];
    let start = MOST_BYTES.checked_sub(bytes.len())?;
    whole[start..].copy_from_slice(&bytes);
    Some(whole)
}

fn bytes(kind: &Type, value: &Value) -> Option<Vec<u8>> {
    match (kind, value) {
        (Type::Json, value) => Some(schemas::json::write(value).into_bytes()),
        (Type::Bytes, Value::Bytes(bytes)) => Some(bytes.to_vec()),
        (_, value) => Some(value.to_str_lossy()?.into_owned().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_room_for_all_their_digits() {
        for (precision, bytes) in [(19, 9), (28, 12), (38, 16), (76, 32)] {
            let nines = "9".repeat(precision);
            for text in [nines.clone(), format!("-{nines}")] {
                let whole = unscaled(&Value::from(text.as_str()), 0).unwrap();
                let used = &whole[MOST_BYTES - bytes_of(precision)..];
                let back = num_bigint_of(used);
                assert_eq!(back, text);
            }
            assert!(bytes_of(precision) >= bytes, "{precision}");
        }
    }

    fn num_bigint_of(bytes: &[u8]) -> String {
        let negative = bytes[0] & 0x80 != 0;
        let mut number = if negative { BigDecimal::from(-1) } else { BigDecimal::from(0) };
        for byte in bytes {
            number = number * BigDecimal::from(256) + BigDecimal::from(*byte);
        }
        number.to_string()
    }

    #[test]
    fn a_decimal_is_never_rounded() {
        assert_eq!(unscaled(&Value::from("1.005"), 2), None);
        assert_eq!(unscaled(&Value::from("-0.01"), 2), Some([0xff; MOST_BYTES]));
        assert_eq!(unscaled(&Value::from("1.5"), 2).unwrap().last(), Some(&150));
        assert_eq!(unscaled(&Value::from("a"), 2), None);
    }
}
