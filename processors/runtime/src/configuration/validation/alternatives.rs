//! `oneOf` and `anyOf`: which of the alternatives was meant?

use serde_json::{Map, Value as Json};

use super::{Attempt, Place, Validation, fits, suggestion, types};
use crate::configuration::document::{Content, Entry, Node};
use crate::configuration::grammar::merge;
use crate::configuration::text::Text;

impl<'a> Validation<'a> {
    /// Finds the alternative that was meant, by the kind of value, by the field that tells them
    /// apart, or as the one with the fewest mistakes, and holds the node against it.
    pub(super) fn read_one_of(
        &mut self,
        node: &'a Node,
        schema: &Json,
        branches: &[Json],
        place: &Place,
    ) -> Json {
        let mut base = schema.clone();
        if let Some(base) = base.as_object_mut() {
            base.remove("oneOf");
            base.remove("anyOf");
        }
        let all: Vec<Json> =
            branches.iter().map(|branch| merge(&base, &self.resolve(branch))).collect();
        let possible: Vec<&Json> = all.iter().filter(|one| self.could_be(node, one)).collect();
        match (possible.as_slice(), &node.content) {
            ([], _) => {
                let allowed: Vec<_> = all.iter().flat_map(types).collect();
                self.wrong_type(node, &allowed, &base, place);
                Json::Null
            }
            ([one], _) => self.read(node, one, place),
            (several, Content::Text(text)) if several.iter().all(|one| word(one).is_some()) => {
                self.read_word(node, text, several, place)
            }
            (several, Content::Map(entries)) => self.read_tagged(node, entries, several, place),
            (several, _) => self.read_best(node, several, place),
        }
    }

    fn could_be(&self, node: &Node, schema: &Json) -> bool {
        if schema.get("type").is_none()
            && let Some(nested) =
                ["oneOf", "anyOf"].iter().find_map(|word| schema.get(word)?.as_array())
        {
            return nested.iter().any(|branch| self.could_be(node, &self.resolve(branch)));
        }
        let types = types(schema);
        types.is_empty() || types.iter().any(|name| fits(node, name))
    }

    fn read_word(&mut self, node: &Node, text: &Text, all: &[&Json], place: &Place) -> Json {
        let words: Vec<_> = all.iter().filter_map(|one| word(one)).flatten().collect();
        if !words.contains(&text.as_str()) {
            self.not_one_of(node, text.as_str(), &words, place);
        }
        Json::String(text.as_str().to_owned())
    }

    fn read_tagged(
        &mut self,
        node: &'a Node,
        entries: &'a [Entry],
        all: &[&Json],
        place: &Place,
    ) -> Json {
        if let Some(tag) = tag(all) {
            return self.read_by_tag(node, tag, all, place);
        }
        let keys: Option<Vec<&str>> = all.iter().map(|one| variant(one)).collect();
        let Some(keys) = keys else { return self.read_best(node, all, place) };
        let given: Vec<_> =
            entries.iter().filter(|entry| keys.contains(&entry.name.as_str())).collect();
        match given.as_slice() {
            [one] => {
                let chosen = all.iter().find(|schema| variant(schema) == Some(&one.name));
                chosen.map_or(Json::Null, |schema| self.read(node, schema, place))
            }
            [first, second, ..] => {
                let cause = format!(
                    "{} is one of its kinds, not both `{}` and `{}`",
                    place.noun, first.name, second.name
                );
                self.wrong(second.name_span.clone(), "several_kinds", cause, "");
                Json::Null
            }
            [] => {
                // The field that is no field of any alternative is the misspelt one.
                let shared = |name: &str| all.iter().all(|one| property(one, name).is_some());
                let odd = entries.iter().find(|entry| !shared(&entry.name));
                match odd {
                    Some(entry) => {
                        let cause = format!(
                            "unknown kind `{}` of {}, expected one of: {}",
                            entry.name,
                            place.noun,
                            keys.join(", ")
                        );
                        let hint = suggestion(&entry.name, &keys);
                        self.wrong(entry.name_span.clone(), "unknown_kind", cause, hint);
                    }
                    None => {
                        let cause = format!("{} needs one of: {}", place.noun, keys.join(", "));
                        self.wrong(place.span.clone(), "missing_field", cause, "");
                    }
                }
                Json::Null
            }
        }
    }

    /// All alternatives have a field whose one value tells them apart.
    fn read_by_tag(&mut self, node: &'a Node, tag: &str, all: &[&Json], place: &Place) -> Json {
        let kind = |schema: &Json| property(schema, tag)?.get("const")?.as_str().map(str::to_owned);
        let kinds: Vec<String> = all.iter().filter_map(|one| kind(one)).collect();
        let Some(entry) = node.entry(tag) else {
            let cause = format!("{} has no `{tag}`", place.noun);
            let hint = format!("`{tag}` is one of: {}", kinds.join(", "));
            self.wrong(place.span.clone(), "missing_field", cause, hint);
            return Json::Null;
        };
        let given = entry.value.text().map(Text::as_str).unwrap_or_default();
        let chosen = all.iter().find(|one| kind(one).as_deref() == Some(given));
        match chosen {
            Some(schema) => self.read(node, schema, place),
            None => {
                let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
                self.not_one_of(&entry.value, given, &kinds, &place.field(entry));
                Json::Null
            }
        }
    }

    fn read_best(&mut self, node: &'a Node, all: &[&Json], place: &Place) -> Json {
        let attempts = all.iter().map(|schema| self.attempt(node, schema, place));
        let attempts: Vec<Attempt<'a>> = attempts.collect();
        let best = attempts.into_iter().min_by_key(|attempt| attempt.trial.problems.len());
        best.map_or(Json::Null, |best| self.accept(best))
    }
}

/// The words that a schema allows, if it allows nothing but words.
fn word(schema: &Json) -> Option<Vec<&str>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(one), _) => one.as_str().map(|one| vec![one]),
        (None, Some(Json::Array(several))) => several.iter().map(Json::as_str).collect(),
        _ => None,
    }
}

fn property<'s>(schema: &'s Json, name: &str) -> Option<&'s Json> {
    schema.get("properties")?.get(name)
}

/// The field that has one fixed value in each alternative.
fn tag<'s>(all: &[&'s Json]) -> Option<&'s str> {
    let properties = all.first()?.get("properties")?.as_object()?;
    let fixed = |name: &&String| {
        all.iter().all(|one| property(one, name).is_some_and(|field| field.get("const").is_some()))
    };
    properties.keys().find(fixed).map(String::as_str)
}

/// The field that only this alternative has and needs: the name of its kind.
fn variant(schema: &Json) -> Option<&str> {
    let properties = schema.get("properties").and_then(Json::as_object);
    let required = schema.get("required").and_then(Json::as_array)?;
    let needed = |name: &&str| properties.is_some_and(|all: &Map<_, _>| all.contains_key(*name));
    required.iter().rev().filter_map(Json::as_str).find(needed)
}
