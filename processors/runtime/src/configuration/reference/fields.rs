//! The fields of a section in Markdown: each with its type, its default and its description.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::configuration::grammar::{CHOICE, Grammar, merge};

/// A page in the making.
pub(super) struct Writer<'a> {
    pub(super) text: String,
    pub(super) grammar: &'a Grammar,
}

impl Writer<'_> {
    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// A section of a connector: its fields below a title, or what its value is; nothing for one
    /// without any.
    pub(super) fn options(&mut self, schema: &Json, title: &str) {
        let schema = self.resolved(schema);
        let has_fields = schema.get("properties").is_some_and(|all| all != &serde_json::json!({}));
        if has_fields || alternatives(&schema).is_some() {
            self.line(&format!("\n## {title}\n"));
            self.fields(&schema, 0);
        } else if schema.get("properties").is_none() {
            let kind = self.kind(&schema);
            self.line(&format!("\n## {title}\n\nIts value: *{kind}*."));
        }
    }

    fn resolved(&self, schema: &Json) -> Json {
        let reference = schema.get("$ref").and_then(Json::as_str);
        let name = reference.and_then(|reference| reference.strip_prefix("#/$defs/"));
        match name.and_then(|name| self.grammar.definitions.get(name)) {
            Some(definition) => {
                let mut own = schema.clone();
                own.as_object_mut().map(|own| own.remove("$ref"));
                merge(definition, &own)
            }
            None => schema.clone(),
        }
    }

    /// One item a field, with the fields of maps below it.
    pub(super) fn fields(&mut self, schema: &Json, depth: usize) {
        let required: Vec<_> = words(schema.get("required")).collect();
        let properties = schema.get("properties").and_then(Json::as_object);
        for (name, field) in properties.into_iter().flatten() {
            // A definition that holds itself ends somewhere.
            let field = if depth < 4 { self.resolved(field) } else { field.clone() };
            let field = without_null(&field);
            let mut item = format!("{}- `{name}`: *{}*", "  ".repeat(depth), self.kind(&field));
            if required.contains(&name.as_str()) {
                item.push_str(", required");
            }
            if let Some(default) = field.get("default").and_then(shown_default) {
                let _ = write!(item, ", default `{default}`");
            }
            if let Some(description) = field.get("description").and_then(Json::as_str) {
                let _ = write!(item, ". {}", one_line(description));
            }
            self.line(&item);
            self.below(&field, depth + 1);
        }
        if let Some(branches) = alternatives(schema) {
            self.branches(&branches, depth);
        }
    }

    /// What a field holds, if that has fields of its own.
    fn below(&mut self, field: &Json, depth: usize) {
        if depth > 4 {
            return;
        }
        let inner = [field.get("items"), field.get("additionalProperties")];
        let inner = inner.into_iter().flatten().find(|inner| inner.is_object());
        let inner = inner.filter(|_| field.get("properties").is_none()).unwrap_or(field);
        let inner = without_null(&self.resolved(inner));
        // The maps of the user's names have sections of their own.
        if depth > 1 || field.get("additionalProperties").is_none() && field.get("items").is_none()
        {
            self.fields(&inner, depth);
        }
    }

    fn branches(&mut self, branches: &[Json], depth: usize) {
        let margin = "  ".repeat(depth);
        for branch in branches {
            let branch = self.resolved(branch);
            let description = branch.get("description").and_then(Json::as_str).map(one_line);
            let description = description.map(|text| format!(": {text}")).unwrap_or_default();
            if let Some(word) = branch.get("const").and_then(Json::as_str) {
                self.line(&format!("{margin}- `{word}`{description}"));
            } else if branch.get("properties").is_some() {
                let names: Vec<_> = words(branch.get("required")).collect();
                let names = names.join("`, `");
                self.line(&format!("{margin}- or with `{names}`{description}"));
                self.fields(&branch, depth + 1);
            }
        }
    }

    /// The type of a field, in words.
    fn kind(&self, schema: &Json) -> String {
        if let Some(format) = schema.get("format").and_then(Json::as_str) {
            let known = match format {
                "expression" | "template" | "period" | "size" | "secret" => format,
                "map" => "statements",
                "own_expression" => "expression",
                "own_template" => "template",
                "retention" => "period or `forever`",
                "mask" => "path",
                "start" => "`beginning`, `now` or a time",
                "listen" => "address",
                "property" => "text, number or boolean",
                _ => "",
            };
            if !known.is_empty() {
                return known.to_owned();
            }
        }
        if let Some(word) = schema.get("const").and_then(Json::as_str) {
            return format!("`{word}`");
        }
        if let Some(branches) = alternatives(schema) {
            let words: Vec<_> =
                branches.iter().filter_map(|one| one.get("const")?.as_str()).collect();
            return match words.len() == branches.len() {
                true => format!("`{}`", words.join("`, `")),
                false if branches.iter().any(|one| one.get("properties").is_some()) => {
                    "one of".to_owned()
                }
                false => {
                    let kinds = branches.iter().map(|one| self.kind(&self.resolved(one)));
                    kinds.collect::<Vec<_>>().join(" or ")
                }
            };
        }
        let listed: Vec<_> = words(schema.get("enum")).collect();
        if !listed.is_empty() {
            return format!("`{}`", listed.join("`, `"));
        }
        let types: Vec<_> = match schema.get("type") {
            Some(Json::String(one)) => vec![one.as_str()],
            several => words(several).collect(),
        };
        let of = |inner: Option<&Json>| {
            let inner = inner.filter(|inner| inner.is_object()).map(|inner| self.resolved(inner));
            inner.map(|inner| format!(" of {}", self.kind(&inner))).unwrap_or_default()
        };
        let word = |name: &&str| match *name {
            "string" => "text".to_owned(),
            "integer" => "whole number".to_owned(),
            "array" => format!("list{}", of(schema.get("items"))),
            "object" => format!("map{}", of(schema.get("additionalProperties"))),
            other => other.to_owned(),
        };
        match types.iter().map(word).collect::<Vec<_>>() {
            none if none.is_empty() => "anything".to_owned(),
            some => some.join(" or "),
        }
    }
}

/// The alternatives of a schema, but not those that only say which fields there must be.
fn alternatives(schema: &Json) -> Option<Vec<Json>> {
    if schema.get(CHOICE).is_some() {
        return None;
    }
    let branches = ["oneOf", "anyOf"].iter().find_map(|word| schema.get(word)?.as_array())?;
    let null = |one: &&Json| one.get("type").and_then(Json::as_str) != Some("null");
    Some(branches.iter().filter(null).cloned().collect())
}

/// An optional field is shown as what it is when it is there.
fn without_null(schema: &Json) -> Json {
    let mut schema = schema.clone();
    if let Some([one]) = alternatives(&schema).as_deref() {
        let one = one.clone();
        if let Some(object) = schema.as_object_mut() {
            object.remove("anyOf");
            object.remove("oneOf");
        }
        schema = merge(&one, &schema);
    }
    if let Some(Json::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
    }
    schema
}

/// The connectors have sections of their own.
pub(super) fn without_choices(schema: &Json) -> Json {
    let mut schema = schema.clone();
    let choices: Vec<String> = schema
        .get(CHOICE)
        .map(|choice| words(choice.get("names")).map(str::to_owned).collect())
        .unwrap_or_default();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| !choices.contains(name));
    }
    schema
}

fn words(list: Option<&Json>) -> impl Iterator<Item = &str> {
    list.and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

fn shown_default(default: &Json) -> Option<String> {
    match default {
        Json::Null => None,
        Json::String(text) if text.is_empty() => None,
        Json::String(text) => Some(text.clone()),
        // Its fields show their own.
        Json::Object(_) => None,
        Json::Array(items) if items.is_empty() => None,
        other => Some(other.to_string()),
    }
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
