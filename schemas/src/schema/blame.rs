//! Finds the field of a schema's text that apache-avro refuses: its errors name no place.

use serde_json::{Map, Value as Json, json};

use super::{Schema, SchemaError, parse_avro};
use crate::path::{Path, Segment};

/// Puts a part of the document back where it was found, leaving out what comes after it.
type Embed<'a> = &'a dyn Fn(Json) -> Json;

/// Turns apache-avro's error into one that names the place.
pub(super) fn locate(text: &str, references: &[Schema], error: apache_avro::Error) -> SchemaError {
    let document: Json = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(cause) => return SchemaError::invalid(None, format!("it is not JSON: {cause}")),
    };
    let search = Search { references };
    let found = search.descend(&document, &Path::root(), &|part| part);
    found.unwrap_or_else(|| SchemaError::invalid(None, sentence(&error)))
}

struct Search<'a> {
    references: &'a [Schema],
}

impl Search<'_> {
    fn error(&self, document: &Json) -> Option<apache_avro::Error> {
        parse_avro(&document.to_string(), self.references).err()
    }

    /// The deepest place whose part is refused while everything before it is taken.
    fn descend(&self, part: &Json, path: &Path, embed: Embed<'_>) -> Option<SchemaError> {
        let error = self.error(&embed(part.clone()))?;
        let deeper = match part {
            Json::Object(object) => self.descend_object(object, path, embed),
            Json::Array(variants) => variants
                .iter()
                .find_map(|variant| self.descend(variant, path, &|part| embed(json!([part])))),
            _ => None,
        };
        let here = || match path.segments() {
            [] => SchemaError::invalid(None, sentence(&error)),
            _ => SchemaError::invalid(Some(path.clone()), sentence(&error)),
        };
        Some(deeper.unwrap_or_else(here))
    }

    fn descend_object(
        &self,
        object: &Map<String, Json>,
        path: &Path,
        embed: Embed<'_>,
    ) -> Option<SchemaError> {
        let nested = |key: &str, path: &Path| {
            let part = object.get(key).filter(|part| !part.is_string() || key != "type")?;
            self.descend(part, path, &|part| embed(with(object, key, part)))
        };
        match object.get("type").and_then(Json::as_str) {
            Some("record" | "error") => self.descend_record(object, path, embed),
            Some("array") => nested("items", &path.join(Segment::Items)),
            Some("map") => nested("values", &path.join(Segment::Values)),
            Some(_) => None,
            None => nested("type", path),
        }
    }

    /// Adds one field after the other until one is refused.
    fn descend_record(
        &self,
        record: &Map<String, Json>,
        path: &Path,
        embed: Embed<'_>,
    ) -> Option<SchemaError> {
        let fields = record.get("fields")?.as_array()?;
        let up_to = |count: usize| Json::Array(fields.iter().take(count).cloned().collect());
        let refused = |count: &usize| self.error(&embed(with(record, "fields", up_to(*count))));
        if refused(&0).is_some() {
            return None;
        }
        let count = (1..=fields.len()).find(|count| refused(count).is_some())?;
        let field = fields.get(count - 1)?.as_object()?;
        let name = field.get("name").and_then(Json::as_str).unwrap_or("?");
        let place = path.field(name);
        let before = up_to(count - 1);
        let embed_type = |part: Json| {
            let mut fields = before.clone();
            if let Json::Array(fields) = &mut fields {
                fields.push(json!({ "name": name, "type": part }));
            }
            embed(with(record, "fields", fields))
        };
        let in_type = field.get("type").and_then(|part| self.descend(part, &place, &embed_type));
        let in_field = || {
            refused(&count).map(|error| SchemaError::invalid(Some(place.clone()), sentence(&error)))
        };
        in_type.or_else(in_field)
    }
}

fn with(object: &Map<String, Json>, key: &str, part: Json) -> Json {
    let mut object = object.clone();
    object.insert(key.to_owned(), part);
    Json::Object(object)
}

/// apache-avro's sentence with its cause.
fn sentence(error: &apache_avro::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}
