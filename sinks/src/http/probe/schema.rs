//! Schemas of an OpenAPI description: references followed, `allOf` put together.

use std::collections::HashSet;

use engine::study::Field;
use serde_json::{Map, Value as Json};

/// References lead to references… somewhere it ends.
const DEPTH: usize = 12;
/// Values of an enumeration that are shown.
const SHOWN: usize = 8;

/// What a schema names, if anything, and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'d> {
    /// The last step of the reference to it.
    pub name: Option<&'d str>,
    /// The schema.
    pub schema: &'d Json,
}

/// A description, for its references.
#[derive(Clone, Copy)]
pub(super) struct Description<'d>(pub &'d Json);

impl<'d> Description<'d> {
    /// What a value refers to, or itself. References to other files lead nowhere.
    pub fn resolve(self, value: &'d Json) -> Subject<'d> {
        let mut at = Subject { name: None, schema: value };
        for _ in 0..DEPTH {
            let Some(reference) = at.schema["$ref"].as_str() else { break };
            let found = reference.strip_prefix('#').and_then(|pointer| self.0.pointer(pointer));
            let name = reference.rsplit('/').next();
            match found {
                Some(schema) => at = Subject { name, schema },
                None => return Subject { name, schema: &Json::Null },
            }
        }
        at
    }

    /// The object that an answer or a request is about: itself, the items of a list, or those of the
    /// only list within (`{ "results": […] }`).
    pub fn subject(self, value: &'d Json) -> Subject<'d> {
        let mut at = self.resolve(value);
        for _ in 0..DEPTH {
            let items = &at.schema["items"];
            if !items.is_null() {
                at = self.resolve(items);
                continue;
            }
            let Some(items) = self.wrapped(at.schema) else { break };
            at = self.resolve(items);
        }
        at
    }

    /// The items of the only list of objects in an envelope.
    fn wrapped(self, schema: &'d Json) -> Option<&'d Json> {
        const ENVELOPES: [&str; 8] =
            ["results", "data", "items", "records", "value", "values", "content", "objects"];
        let properties = schema["properties"].as_object()?;
        let lists = properties.iter().filter(|(name, value)| {
            let named = ENVELOPES.contains(&name.as_str());
            named && !self.resolve(value).schema["items"].is_null()
        });
        let mut lists = lists.map(|(_, value)| &self.resolve(value).schema["items"]);
        match (lists.next(), lists.next()) {
            (Some(items), None) => Some(items),
            _ => None,
        }
    }

    /// The fields of an object. `keys` are the names that paths call it by.
    pub fn fields(self, schema: &'d Json, keys: &[String]) -> Vec<Field> {
        let mut properties = Map::new();
        let mut required = Vec::new();
        self.gather(schema, &mut properties, &mut required, &mut HashSet::new());
        let fields = properties.iter().map(|(name, value)| {
            let read_only = value["readOnly"] == Json::Bool(true);
            let mut kind = self.kind(value);
            if read_only {
                kind += ", read only";
            }
            Field {
                name: name.clone(),
                kind,
                required: Some(!read_only && required.contains(&name.as_str())),
                key: name == "id" || keys.iter().any(|key| key == name),
            }
        });
        fields.collect()
    }

    fn gather(
        self,
        schema: &'d Json,
        properties: &mut Map<String, Json>,
        required: &mut Vec<&'d str>,
        seen: &mut HashSet<*const Json>,
    ) {
        let schema = self.resolve(schema).schema;
        // Parts may refer to each other, over and over.
        if !seen.insert(schema) {
            return;
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.gather(part, properties, required, seen);
        }
        // Of alternatives the first is shown: what they share is nearly always in it.
        for name in ["oneOf", "anyOf"] {
            if let Some(first) = schema[name].as_array().and_then(|all| all.first()) {
                self.gather(first, properties, &mut Vec::new(), seen);
            }
        }
        for (name, value) in schema["properties"].as_object().into_iter().flatten() {
            properties.insert(name.clone(), value.clone());
        }
        required
            .extend(schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str));
    }

    /// A type in the description's own words: `string (date-time)`, `array of Line`.
    fn kind(self, value: &Json) -> String {
        if let Some(reference) = value["$ref"].as_str() {
            return reference.rsplit('/').next().unwrap_or(reference).to_owned();
        }
        if !value["items"].is_null() {
            return format!("array of {}", self.kind(&value["items"]));
        }
        let word = match &value["type"] {
            Json::String(word) => word.clone(),
            // 3.1 writes what may be null as a list.
            Json::Array(words) => {
                words.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" or ")
            }
            _ if value["properties"].is_object() => "object".to_owned(),
            _ => ["allOf", "oneOf", "anyOf"]
                .iter()
                .find_map(|name| value[*name].as_array()?.first())
                .map_or_else(|| "any".to_owned(), |first| self.kind(first)),
        };
        let listed = value["enum"].as_array().map(|all| {
            let shown: Vec<_> = all.iter().take(SHOWN).map(plain).collect();
            let more = if all.len() > SHOWN { " | …" } else { "" };
            format!("{}{more}", shown.join(" | "))
        });
        match listed.or_else(|| value["format"].as_str().map(str::to_owned)) {
            Some(detail) => format!("{word} ({detail})"),
            None => word,
        }
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_gathered_through_references_and_parts_and_a_loop_ends() {
        let description = json!({ "components": { "schemas": {
            "Base": { "properties": { "id": { "type": "integer", "readOnly": true } }, "required": ["id"] },
            "Order": { "allOf": [
                { "$ref": "#/components/schemas/Base" },
                { "properties": {
                    "lines": { "type": "array", "items": { "$ref": "#/components/schemas/Line" } },
                    "note": { "type": ["string", "null"] },
                    "state": { "type": "string", "enum": ["open", "paid"] },
                }, "required": ["lines"] },
            ] },
            "Loop": { "allOf": vec![json!({ "$ref": "#/components/schemas/Loop" }); 30] },
            "Ring": { "$ref": "#/components/schemas/Ring" },
        } } });
        let all = Description(&description);
        let schema = &description["components"]["schemas"];
        let fields = all.fields(&schema["Order"], &[]);
        let told: Vec<_> = fields
            .iter()
            .map(|field| (field.name.as_str(), field.kind.as_str(), field.required, field.key))
            .collect();
        assert_eq!(
            told,
            [
                ("id", "integer, read only", Some(false), true),
                ("lines", "array of Line", Some(true), false),
                ("note", "string or null", Some(false), false),
                ("state", "string (open | paid)", Some(false), false),
            ]
        );
        for endless in ["Loop", "Ring"] {
            assert_eq!(all.fields(&schema[endless], &[]), []);
            all.subject(&schema[endless]);
        }
        let elsewhere = json!({ "$ref": "other.yaml#/Order" });
        assert!(all.resolve(&elsewhere).schema.is_null());
    }

    #[test]
    fn what_an_envelope_holds_is_what_it_is_about() {
        let description = json!({ "components": { "schemas": { "Order": { "type": "object" } } } });
        let page = json!({ "properties": {
            "count": { "type": "integer" },
            "results": { "type": "array", "items": { "$ref": "#/components/schemas/Order" } },
        } });
        assert_eq!(Description(&description).subject(&page).name, Some("Order"));
    }
}
