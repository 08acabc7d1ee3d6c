//! What VRL reads with `%`: the event around its value.

use bytes::Bytes;
use chrono::DateTime;
use vrl::path::{OwnedSegment, OwnedTargetPath, PathPrefix};
use vrl::value::kind::Collection;
use vrl::value::{KeyString, Kind, Value};

use crate::{Event, Headers};

/// One thing that `%` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Id,
    Headers,
}

impl Field {
    pub(super) const ALL: [Self; 7] = [
        Self::Id,
        Self::Timestamp,
        Self::Headers,
        Self::Key,
        Self::Topic,
        Self::Partition,
        Self::Offset,
    ];

    /// Its name after `%`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::Id => "id",
            Self::Headers => "headers",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Key => Kind::bytes().or_null(),
            Self::Topic | Self::Id => Kind::bytes(),
            Self::Partition | Self::Offset => Kind::integer(),
            Self::Timestamp => Kind::timestamp(),
            Self::Headers => {
                Kind::object(Collection::empty().with_unknown(Kind::bytes().or_null()))
            }
        }
    }

    fn of(self, event: &Event) -> Value {
        match self {
            Self::Key => event.key.clone().map_or(Value::Null, Value::Bytes),
            Self::Topic => text(&event.topic),
            Self::Partition => Value::Integer(i64::from(event.partition)),
            Self::Offset => Value::Integer(event.offset),
            Self::Timestamp => time(event.timestamp),
            Self::Id => event.id().into(),
            Self::Headers => headers(&event.headers),
        }
    }
}

/// The type of `%`.
pub(super) fn kind() -> Kind {
    let mut fields = Collection::empty();
    for field in Field::ALL {
        fields.known_mut().insert(field.name().into(), field.kind());
    }
    Kind::object(fields)
}

/// The metadata that a program reads: nothing else is built for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Needed(Vec<Field>);

impl Needed {
    /// Those among the paths that the program queries.
    pub(super) fn of(queries: &[OwnedTargetPath]) -> Self {
        let reads = |path: &OwnedTargetPath, field: Field| match path.path.segments.first() {
            None => true,
            Some(OwnedSegment::Field(name)) => name.as_str() == field.name(),
            Some(OwnedSegment::Index(_)) => false,
        };
        let needed = |field: &Field| {
            queries.iter().any(|path| path.prefix == PathPrefix::Metadata && reads(path, *field))
        };
        Self(Field::ALL.into_iter().filter(needed).collect())
    }

    /// Whether the event's headers are among them; its id is one of them.
    pub(super) fn has_headers(&self) -> bool {
        self.0.iter().any(|field| matches!(field, Field::Headers | Field::Id))
    }

    /// The value of `%` for one run.
    pub(super) fn value(&self, event: &Event) -> Value {
        let field = |field: &Field| (KeyString::from(field.name()), field.of(event));
        Value::Object(self.0.iter().map(field).collect())
    }
}

fn text(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

fn time(milliseconds: i64) -> Value {
    DateTime::from_timestamp_millis(milliseconds).map_or(Value::Null, Value::Timestamp)
}

fn headers(headers: &Headers) -> Value {
    // A later header of the same name wins, as in `Headers::get`.
    let value = |value: Option<&Bytes>| value.cloned().map_or(Value::Null, Value::Bytes);
    Value::Object(headers.iter().map(|(name, bytes)| (name.into(), value(bytes))).collect())
}
