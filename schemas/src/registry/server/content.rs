//! What a schema says, whatever its spelling: two spellings of one schema share an id.

use std::sync::OnceLock;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::record::Reference;
use crate::Schema;

/// A hash of what a schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity([u8; 32]);

impl Identity {
    /// Docs, defaults, aliases and logical types count; whitespace, the order of attributes and
    /// the way names are spelt do not.
    pub(super) fn of(kind: Option<&str>, text: &str, references: &[Reference]) -> Self {
        let canonical = match kind {
            None => canonical(text).unwrap_or_else(|| text.to_owned()),
            Some(_) => text.to_owned(),
        };
        let mut hash = Sha256::new();
        hash.update(format!("{kind:?}\n{canonical}"));
        for Reference { name, subject, version } in references {
            hash.update(format!("\n{name}\n{subject}\n{version}"));
        }
        Self(hash.finalize().into())
    }

    /// The schema's GUID: the same on every registry of this kind.
    pub(super) fn guid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// A schema as the registry keeps it, under one id.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) text: String,
    /// None for Avro; a log of another registry may hold others.
    pub(super) kind: Option<String>,
    pub(super) references: Vec<Reference>,
    pub(super) identity: Identity,
    /// Filled when first needed: what it references may stand later in the log.
    pub(super) parsed: OnceLock<Result<Schema, String>>,
}

/// The normal spelling of an Avro schema: attributes in alphabetical order, names in full, no
/// needless wrapping. None if the text is not JSON.
pub(super) fn canonical(text: &str) -> Option<String> {
    let mut value = normal(serde_json::from_str(text).ok()?, "");
    value.sort_all_objects();
    Some(value.to_string())
}

fn normal(schema: Value, namespace: &str) -> Value {
    match schema {
        Value::String(name) => Value::String(full(&name, namespace)),
        Value::Array(branches) => {
            branches.into_iter().map(|branch| normal(branch, namespace)).collect()
        }
        Value::Object(schema) => normal_object(schema, namespace),
        other => other,
    }
}

fn normal_object(mut schema: Map<String, Value>, enclosing: &str) -> Value {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match kind.as_str() {
        "record" | "error" | "enum" | "fixed" => {
            let namespace = rename(&mut schema, enclosing);
            if let Some(Value::Array(fields)) = schema.get_mut("fields") {
                fields.iter_mut().for_each(|field| normal_field(field, &namespace));
            }
        }
        "array" => replace(&mut schema, "items", enclosing),
        "map" => replace(&mut schema, "values", enclosing),
        _ => {
            replace(&mut schema, "type", enclosing);
            if schema.len() == 1 {
                return schema.remove("type").unwrap_or_default();
            }
        }
    }
    Value::Object(schema)
}

fn normal_field(field: &mut Value, namespace: &str) {
    if let Value::Object(field) = field {
        replace(field, "type", namespace);
        if field.get("order").and_then(Value::as_str) == Some("ascending") {
            field.remove("order");
        }
    }
}

fn replace(schema: &mut Map<String, Value>, key: &str, namespace: &str) {
    if let Some(inner) = schema.get_mut(key) {
        *inner = normal(inner.take(), namespace);
    }
}

/// Puts the full name in place of name and namespace; returns the namespace within.
fn rename(schema: &mut Map<String, Value>, enclosing: &str) -> String {
    let declared = schema.remove("namespace");
    let namespace = declared.as_ref().and_then(Value::as_str).unwrap_or(enclosing);
    let name = schema.get("name").and_then(Value::as_str).unwrap_or_default();
    let name = full(name, namespace);
    let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
    if let Some(Value::Array(aliases)) = schema.get_mut("aliases") {
        for alias in aliases {
            if let Value::String(alias) = alias {
                *alias = full(alias, &namespace);
            }
        }
    }
    schema.insert("name".to_owned(), Value::String(name));
    namespace
}

fn full(name: &str, namespace: &str) -> String {
    let is_primitive = matches!(
        name,
        "null" | "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string"
    );
    match is_primitive || name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_count_and_meaning_does() {
        let identity = |text: &str| Identity::of(None, text, &[]);
        let plain = r#"{"type":"record","name":"a.R","fields":[
            {"name":"x","type":"int"},{"name":"y","type":["null","R"],"default":null}]}"#;
        let other = r#"{"name":"R","namespace":"a","fields":[
            {"type":{"type":"int"},"name":"x","order":"ascending"},
            {"default":null,"name":"y","type":["null","a.R"]}],"type":"record"}"#;
        assert_eq!(identity(plain), identity(other));
        for different in [
            plain.replace("\"int\"", "\"long\""),
            plain.replace("\"int\"", r#"{"type":"int","logicalType":"date"}"#),
            plain.replace(r#""type":"int""#, r#""type":"int","doc":"d""#),
            plain.replace(r#""type":"int""#, r#""type":"int","default":1"#),
            plain.replace("a.R", "b.R"),
        ] {
            assert_ne!(identity(plain), identity(&different), "{different}");
        }
    }
}
