//! Tables and columns that are created: which type a field of a schema is in PostgreSQL.

use std::collections::BTreeMap;

use engine::connector::Setup;
use vrl::value::Kind;

use super::identifier::{TableName, quoted};
use super::rows::Reading;

/// The types of the columns that a route writes, as far as the topic's schema tells them.
pub(super) fn types(reading: &Reading, setup: &Setup) -> BTreeMap<String, String> {
    let fields = setup.input_schema.as_ref().map(|schema| schema.fields()).unwrap_or_default();
    let fields: BTreeMap<String, String> =
        fields.into_iter().map(|field| (field.path.to_string(), field.kind)).collect();
    let of_field = |path: &str| {
        let known = fields.get(path)?;
        let inner = setup.input.at_path(&vrl::path::parse_value_path(path).ok()?);
        Some(column_type(known, &inner).to_owned())
    };
    if reading.columns().is_empty() {
        let named = |path: &str| path.strip_prefix('.').map(str::to_owned);
        let top = fields.keys().filter_map(|path| Some((named(path)?, of_field(path)?)));
        return top.filter(|(name, _)| !name.contains(['.', '['])).collect();
    }
    let typed = reading.columns().iter().map(|(name, program)| {
        let expression = reading.options.columns.get(name).map_or("", |own| own.0.trim());
        let known = of_field(expression);
        (name.clone(), known.unwrap_or_else(|| type_of_kind(program.kind()).to_owned()))
    });
    typed.collect()
}

/// The type of a field; `known` is what its schema calls it, `inner` what it is in VRL.
fn column_type(known: &str, inner: &Kind) -> String {
    let known = known.strip_suffix(" or null").unwrap_or(known);
    if let Some(items) = known.strip_prefix("array of ") {
        let item = inner.as_array().map(|items| items.unknown_kind());
        return match item.map(|item| column_type(items, &item)) {
            Some(item) if item != "jsonb" && !item.ends_with("[]") => format!("{item}[]"),
            _ => "jsonb".to_owned(),
        };
    }
    if let Some(digits) = known.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        return format!("numeric({digits})");
    }
    let scalar = match known {
        "boolean" => "boolean",
        "int" => "integer",
        "long" => "bigint",
        "float" => "real",
        "double" => "double precision",
        "bytes" => "bytea",
        "big-decimal" => "numeric",
        "string" => "text",
        "uuid" if !inner.contains_object() => "uuid",
        "date" if !inner.contains_object() => "date",
        "time-millis" | "time-micros" => "time",
        "timestamp-millis" | "timestamp-micros" | "timestamp-nanos" => "timestamptz",
        "local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos" => {
            "timestamp"
        }
        fixed if fixed.starts_with("fixed(") => "bytea",
        // An enum: its symbols are texts. What else is left is nested, or of several types.
        symbols if symbols.starts_with("enum ") => "text",
        _ => type_of_kind(inner),
    };
    scalar.to_owned()
}

/// The type of what an expression gives.
fn type_of_kind(kind: &Kind) -> &'static str {
    let mut kind = kind.clone();
    kind.remove_null();
    kind.remove_undefined();
    if kind.is_boolean() {
        "boolean"
    } else if kind.is_integer() {
        "bigint"
    } else if kind.is_float() {
        "double precision"
    } else if kind.is_timestamp() {
        "timestamptz"
    } else if kind.is_bytes() {
        "text"
    } else {
        "jsonb"
    }
}

/// Creates a table. Others than its keys may be null: what a later schema no longer has is not
/// written any more.
pub(super) fn table(name: &TableName, columns: &[(&str, &str)], keys: &[String]) -> String {
    let mut parts: Vec<String> =
        columns.iter().map(|(name, typed)| format!("{} {typed}", quoted(name))).collect();
    if !keys.is_empty() {
        let keys: Vec<String> = keys.iter().map(|key| quoted(key)).collect();
        parts.push(format!("PRIMARY KEY ({})", keys.join(", ")));
    }
    format!("CREATE TABLE IF NOT EXISTS {} ({})", name.sql(), parts.join(", "))
}

/// Adds columns to a table.
pub(super) fn columns(name: &TableName, columns: &[(&str, &str)]) -> String {
    let added = columns
        .iter()
        .map(|(name, typed)| format!("ADD COLUMN IF NOT EXISTS {} {typed}", quoted(name)));
    format!("ALTER TABLE {} {}", name.sql(), added.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use schemas::Schema;
    use serde_json::{Value as Json, json};

    use super::super::tests::{options, setup_of};
    use super::*;

    fn of(schema: &str, columns: Json) -> BTreeMap<String, String> {
        let setup = setup_of(&Schema::parse(schema).unwrap());
        let options = options(json!({ "keys": ["id"], "columns": columns }));
        types(&Reading::new(options, &setup).unwrap(), &setup)
    }

    #[test]
    fn an_order_s_fields_are_columns_of_their_types() {
        let types = of(schemas::events::ORDER, json!({}));
        let typed = |name: &str| types.get(name).map(String::as_str);
        assert_eq!(typed("id"), Some("text"));
        assert!(typed("total").is_some_and(|typed| typed.starts_with("numeric(")), "{types:?}");
        assert_eq!(typed("placed_at"), Some("timestamptz"));
        assert_eq!((typed("lines"), typed("customer")), (Some("jsonb"), Some("jsonb")));
        assert!(types.keys().all(|name| !name.contains('.')), "{types:?}");
    }

    #[test]
    fn an_expression_that_names_a_field_has_its_type_and_another_that_of_what_it_gives() {
        let types = of(
            schemas::events::ORDER,
            json!({ "id": ".id", "who": ".customer.id", "total": ".total", "count": "length(.lines)", "key": "%key" }),
        );
        assert_eq!(types["count"], "bigint");
        assert_eq!((types["who"].as_str(), types["key"].as_str()), ("text", "text"));
        assert!(types["total"].starts_with("numeric("));
    }

    #[test]
    fn every_type_of_avro_has_one() {
        let field = |name: &str, typed: &str| format!(r#"{{"name":"{name}","type":{typed}}}"#);
        let logical =
            |base: &str, name: &str| format!(r#"{{"type":"{base}","logicalType":"{name}"}}"#);
        let fields = [
            field("id", r#""long""#),
            field("a", &logical("string", "uuid")),
            field("b", &logical("int", "date")),
            field("c", &logical("long", "timestamp-micros")),
            field("d", &logical("long", "local-timestamp-millis")),
            field("e", &logical("int", "time-millis")),
            field("f", r#"["null","bytes"]"#),
            field("g", r#"{"type":"array","items":"string"}"#),
            field("h", r#"{"type":"map","values":"int"}"#),
            field("i", r#"{"type":"enum","name":"E","symbols":["A"]}"#),
            field("j", r#"["string","int"]"#),
            field("k", r#"{"type":"array","items":{"type":"record","name":"date","fields":[]}}"#),
            field("l", &logical("bytes", "big-decimal")),
            field("m", r#"["null","float"]"#),
        ];
        let schema = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
        let types: Vec<String> = of(&schema, json!({})).into_values().collect();
        let expected = [
            "uuid",
            "date",
            "timestamptz",
            "timestamp",
            "time",
            "bytea",
            "text[]",
            "jsonb",
            "text",
            "jsonb",
            "bigint",
            "jsonb",
            "numeric",
            "real",
        ];
        // In the order of the names, `id` between `i` and `j`.
        let mut sorted: Vec<&str> = expected.to_vec();
        sorted.swap(9, 10);
        assert_eq!(types, sorted);
    }

    #[test]
    fn names_are_quoted_and_keys_are_the_primary_key() {
        let name = TableName::parse("shop.orders").unwrap();
        assert_eq!(
            table(&name, &[("a\"b", "text"), ("id", "bigint")], &["id".to_owned()]),
            "CREATE TABLE IF NOT EXISTS \"shop\".\"orders\" (\"a\"\"b\" text, \"id\" bigint, PRIMARY KEY (\"id\"))"
        );
        assert_eq!(
            columns(&name, &[("note", "text")]),
            "ALTER TABLE \"shop\".\"orders\" ADD COLUMN IF NOT EXISTS \"note\" text"
        );
    }
}
