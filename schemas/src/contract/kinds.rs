//! Sets of VRL's kinds of value, without what objects and arrays hold.

use std::fmt::{self, Display, Formatter};

use apache_avro::schema::Schema as Avro;
use vrl::value::Kind;

use crate::kind::leaf_kind;
use crate::leaf::{Leaf, Logical};
use crate::schema::Schema;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub(super) const NOTHING: Self = Self(0);
    const STRING: Self = Self(1);
    const INTEGER: Self = Self(1 << 1);
    const FLOAT: Self = Self(1 << 2);
    const BOOLEAN: Self = Self(1 << 3);
    const TIMESTAMP: Self = Self(1 << 4);
    const REGEX: Self = Self(1 << 5);
    const ARRAY: Self = Self(1 << 6);
    const OBJECT: Self = Self(1 << 7);
    const NULL: Self = Self(1 << 8);
    pub(super) const NUMBERS: Self = Self::INTEGER.or(Self::FLOAT);

    /// In the order in which a sentence lists them.
    const NAMES: [(Self, &'static str); 9] = [
        (Self::STRING, "a string"),
        (Self::INTEGER, "an integer"),
        (Self::FLOAT, "a float"),
        (Self::BOOLEAN, "a boolean"),
        (Self::TIMESTAMP, "a timestamp"),
        (Self::REGEX, "a regular expression"),
        (Self::ARRAY, "an array"),
        (Self::OBJECT, "an object"),
        (Self::NULL, "null"),
    ];

    pub(super) fn of(kind: &Kind) -> Self {
        [
            (Self::STRING, kind.contains_bytes()),
            (Self::INTEGER, kind.contains_integer()),
            (Self::FLOAT, kind.contains_float()),
            (Self::BOOLEAN, kind.contains_boolean()),
            (Self::TIMESTAMP, kind.contains_timestamp()),
            (Self::REGEX, kind.contains_regex()),
            (Self::ARRAY, kind.contains_array()),
            (Self::OBJECT, kind.contains_object()),
            (Self::NULL, kind.contains_null()),
        ]
        .into_iter()
        .filter(|(_, contained)| *contained)
        .fold(Self::NOTHING, |all, (one, _)| all.or(one))
    }

    /// What an encoder takes for a type.
    pub(super) fn accepted(schema: &Schema, avro: &Avro) -> Self {
        match schema.resolve(avro) {
            Avro::Record(_) | Avro::Map(_) => Self::OBJECT,
            Avro::Array(_) => Self::ARRAY,
            Avro::Enum(_) => Self::STRING,
            Avro::Union(union) => union
                .variants()
                .iter()
                .fold(Self::NOTHING, |all, branch| all.or(Self::accepted(schema, branch))),
            other => match Leaf::of(other) {
                Some(Leaf::Real(_)) => Self::NUMBERS,
                Some(Leaf::Bytes(_, Some(Logical::Decimal(_) | Logical::BigDecimal))) => {
                    Self::STRING.or(Self::INTEGER)
                }
                Some(leaf) => Self::of(&leaf_kind(leaf)),
                None => Self::NOTHING,
            },
        }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn intersects(self, other: Self) -> bool {
        !self.and(other).is_empty()
    }
}

impl Display for Kinds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let contained = |(one, name): &(Self, &'static str)| self.intersects(*one).then_some(*name);
        let names: Vec<_> = Self::NAMES.iter().filter_map(contained).collect();
        match names.split_last() {
            None => f.write_str("nothing"),
            Some((only, [])) => f.write_str(only),
            Some((last, others)) => write!(f, "{} or {last}", others.join(", ")),
        }
    }
}
