//! Types without parts: how each lies in the bytes, and what it is in VRL.

use apache_avro::schema::{DecimalSchema, InnerDecimalSchema, Schema as Avro, UuidSchema};

use crate::calendar::Unit;
use crate::decimal::Shape;

/// A type without parts. Enums are not among them: they have symbols.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf {
    Null,
    Boolean,
    Number(Number, NumberForm),
    Real(Real),
    Bytes(Store, Option<Logical>),
}

/// How bytes are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    String,
    Bytes,
    Fixed(usize),
}

impl Store {
    pub(crate) const fn length(self) -> Length {
        match self {
            Self::Fixed(size) => Length::Fixed(size),
            Self::String | Self::Bytes => Length::Prefixed,
        }
    }
}

impl Leaf {
    pub(crate) fn of(avro: &Avro) -> Option<Self> {
        let number = |wire, form| Some(Leaf::Number(wire, form));
        match avro {
            Avro::Null => Some(Leaf::Null),
            Avro::Boolean => Some(Leaf::Boolean),
            Avro::Float => Some(Leaf::Real(Real::Float)),
            Avro::Double => Some(Leaf::Real(Real::Double)),
            Avro::Int => number(Number::Int, NumberForm::Integer),
            Avro::Long => number(Number::Long, NumberForm::Integer),
            Avro::Date => number(Number::Int, NumberForm::Date),
            Avro::TimeMillis => number(Number::Int, NumberForm::Time(Unit::Millis)),
            Avro::TimeMicros => number(Number::Long, NumberForm::Time(Unit::Micros)),
            Avro::TimestampMillis => number(Number::Long, NumberForm::Timestamp(Unit::Millis)),
            Avro::TimestampMicros => number(Number::Long, NumberForm::Timestamp(Unit::Micros)),
            Avro::TimestampNanos => number(Number::Long, NumberForm::Timestamp(Unit::Nanos)),
            Avro::LocalTimestampMillis => number(Number::Long, NumberForm::Local(Unit::Millis)),
            Avro::LocalTimestampMicros => number(Number::Long, NumberForm::Local(Unit::Micros)),
            Avro::LocalTimestampNanos => number(Number::Long, NumberForm::Local(Unit::Nanos)),
            other => Self::of_bytes(other),
        }
    }

    fn of_bytes(avro: &Avro) -> Option<Self> {
        let (store, logical) = match avro {
            Avro::Bytes => (Store::Bytes, None),
            Avro::String => (Store::String, None),
            Avro::Fixed(fixed) => (Store::Fixed(fixed.size), None),
            Avro::Decimal(DecimalSchema { precision, scale, inner }) => {
                let store = match inner {
                    InnerDecimalSchema::Bytes => Store::Bytes,
                    InnerDecimalSchema::Fixed(fixed) => Store::Fixed(fixed.size),
                };
                (store, Some(Logical::Decimal(Shape { precision: *precision, scale: *scale })))
            }
            Avro::BigDecimal => (Store::Bytes, Some(Logical::BigDecimal)),
            Avro::Duration(fixed) => (Store::Fixed(fixed.size), Some(Logical::Duration)),
            Avro::Uuid(UuidSchema::String) => (Store::String, Some(Logical::UuidText)),
            Avro::Uuid(UuidSchema::Bytes) => (Store::Bytes, Some(Logical::Uuid)),
            Avro::Uuid(UuidSchema::Fixed(fixed)) => (Store::Fixed(fixed.size), Some(Logical::Uuid)),
            _ => return None,
        };
        Some(Leaf::Bytes(store, logical))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Int,
    Long,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Real {
    Float,
    Double,
}

impl Real {
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Float => 4,
            Self::Double => 8,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Prefixed,
    Fixed(usize),
}

/// What an int or a long becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberForm {
    Integer,
    Float,
    Double,
    Date,
    Time(Unit),
    Timestamp(Unit),
    Local(Unit),
}

/// What bytes, a string or a fixed become, where they are more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logical {
    Decimal(Shape),
    BigDecimal,
    /// Sixteen bytes.
    Uuid,
    UuidText,
    Duration,
}
