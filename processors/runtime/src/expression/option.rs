//! Expressions and templates as they stand in the file.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A VRL expression as it stands in the file, for example `.customer.id`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub String);

/// A VRL program as it stands in the file: statements that change `.`, the event's value, for
/// example `.web_id = del(.id)`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Map(pub String);

/// A text that may hold VRL between `{{` and `}}`, for example `/orders/{{ .id }}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

/// The formats `expression` and `template` tell the checker of files to compile the text, with the
/// type of the route's input; a `map` is checked by its processor, with the output's schema too.
macro_rules! schema {
    ($type:ident, $format:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

schema!(Expression, "expression");
schema!(Map, "map");
schema!(Template, "template");
