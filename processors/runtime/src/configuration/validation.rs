//! Holds the tree against a schema, reporting every mistake, and turns it into JSON on the way.
//!
//! The keywords are those that `schemars` writes. An object refuses fields that it does not declare,
//! without being told so.

use std::ops::Range;

use serde_json::{Map, Value as Json};

use super::document::{Content, Entry, Node};
use super::file::File;
use super::grammar::{ALSO, CHOICE, merge};
use super::problem::Problem;
use super::text::Text;

mod alternatives;
mod scalars;

/// The validation of one file, or of a part of it.
pub(super) struct Validation<'a> {
    pub file: &'a File,
    pub definitions: &'a Map<String, Json>,
    /// What was found wrong so far.
    pub problems: Vec<Problem>,
    /// The bytes of the file that hold options which are secrets.
    pub secrets: Vec<Range<usize>>,
    /// The expressions and templates that were met.
    pub code: Vec<Code<'a>>,
}

/// An expression or a template of the file.
#[derive(Debug, Clone)]
pub(super) struct Code<'a> {
    pub text: &'a Text,
    pub template: bool,
    /// The way to it from where the validation began, as a JSON pointer.
    pub pointer: String,
}

/// What is being looked at, for sentences.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// ``the topic `orders` ``
    pub noun: String,
    /// Where it is named, to blame what is missing there.
    pub span: Range<usize>,
    /// The way to it.
    pub pointer: String,
}

impl Place {
    pub fn new(noun: impl Into<String>, span: Range<usize>) -> Self {
        Self { noun: noun.into(), span, pointer: String::new() }
    }

    fn field(&self, entry: &Entry) -> Self {
        let name = entry.name.replace('~', "~0").replace('/', "~1");
        Self {
            noun: format!("`{}`", entry.name),
            span: entry.name_span.clone(),
            pointer: format!("{}/{name}", self.pointer),
        }
    }

    fn item(&self, at: usize, node: &Node) -> Self {
        Self {
            noun: format!("item {} of {}", at + 1, self.noun),
            span: node.span.clone(),
            pointer: format!("{}/{at}", self.pointer),
        }
    }
}

impl<'a> Validation<'a> {
    pub fn new(file: &'a File, definitions: &'a Map<String, Json>) -> Self {
        Self { file, definitions, problems: Vec::new(), secrets: Vec::new(), code: Vec::new() }
    }

    /// Adds a problem.
    pub fn wrong(
        &mut self,
        span: Range<usize>,
        code: &'static str,
        cause: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.problems.push(self.file.problem(span, code, cause).hint(hint));
    }

    /// Holds a node against a schema; what it returns is of use only if nothing is wrong.
    pub fn read(&mut self, node: &'a Node, schema: &Json, place: &Place) -> Json {
        let schema = &self.resolve(schema);
        let branches = ["oneOf", "anyOf"].iter().find_map(|word| schema.get(word)?.as_array());
        if let (Some(branches), None) = (branches, schema.get(CHOICE)) {
            return self.read_one_of(node, schema, branches, place);
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| fits(node, name)) {
            self.wrong_type(node, &types, schema, place);
            return Json::Null;
        }
        match &node.content {
            Content::Map(entries) => self.read_map(entries, schema, place),
            Content::List(items) => self.read_list(node, items, schema, place),
            _ => self.read_scalar(node, schema, &types, place),
        }
    }

    /// Follows `$ref` and `allOf`.
    fn resolve(&self, schema: &Json) -> Json {
        let mut schema = schema.clone();
        // A definition that is its own alias would turn for ever.
        for _ in 0..32 {
            let reference = schema.get("$ref").and_then(Json::as_str);
            let name = reference.and_then(|reference| reference.strip_prefix("#/$defs/"));
            let target = name.and_then(|name| self.definitions.get(name)).cloned();
            let parts = schema.get("allOf").and_then(Json::as_array).cloned();
            if let Some(object) = schema.as_object_mut() {
                object.remove("$ref");
                object.remove("allOf");
            }
            if target.is_none() && parts.is_none() {
                break;
            }
            if let Some(target) = target {
                schema = merge(&target, &schema);
            }
            for part in parts.into_iter().flatten() {
                schema = merge(&schema, &self.resolve(&part));
            }
        }
        schema
    }

    fn read_map(&mut self, entries: &'a [Entry], schema: &Json, place: &Place) -> Json {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        let free = others.cloned().or_else(|| properties.is_none().then_some(Json::Bool(true)));
        let mut object = Map::new();
        let mut unknown = Vec::new();
        for entry in entries {
            let declared = properties.and_then(|properties| properties.get(&entry.name));
            match declared.or(free.as_ref()) {
                None | Some(Json::Bool(false)) => unknown.push(entry),
                Some(schema) => {
                    let value = self.read(&entry.value, schema, &place.field(entry));
                    object.insert(entry.name.clone(), value);
                }
            }
        }
        let misnamed = schema
            .get(CHOICE)
            .filter(|_| !entries.iter().any(|entry| schema[ALSO][&entry.name].is_boolean()))
            .is_some_and(|choice| self.choose(choice, entries, &mut unknown, place));
        let names: Vec<_> =
            properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        for entry in &unknown {
            self.unknown_field(entry, &names, place);
        }
        // A misspelt field is not missing as well.
        let misspelt: Vec<_> =
            unknown.iter().filter_map(|entry| nearest(&entry.name, &names)).collect();
        let required = schema.get("required").and_then(Json::as_array);
        for name in required.into_iter().flatten().filter_map(Json::as_str) {
            let given = entries.iter().any(|entry| entry.name == name);
            if !given && !misspelt.contains(&name) && !misnamed {
                let description = properties
                    .and_then(|properties| properties.get(name)?.get("description")?.as_str())
                    .unwrap_or_default();
                let cause = format!("{} has no `{name}`", place.noun);
                let hint = match first_sentence(description) {
                    hint if hint.is_empty() => hint,
                    hint => format!("`{name}`: {}", mid_line(&hint)),
                };
                self.wrong(place.span.clone(), "missing_field", cause, hint);
            }
        }
        Json::Object(object)
    }

    /// A section of which exactly one field (or at least one) of a list must be there. Returns true
    /// if it named something that does not exist: what else is missing follows from that.
    fn choose(
        &mut self,
        choice: &Json,
        entries: &'a [Entry],
        unknown: &mut Vec<&'a Entry>,
        place: &Place,
    ) -> bool {
        let noun = choice.get("noun").and_then(Json::as_str).unwrap_or("field");
        let names = choice.get("names").and_then(Json::as_array);
        let names: Vec<_> = names.into_iter().flatten().filter_map(Json::as_str).collect();
        let most = choice.get("most").and_then(Json::as_u64).unwrap_or(1);
        let given: Vec<_> =
            entries.iter().filter(|entry| names.contains(&entry.name.as_str())).collect();
        if let ([first, second, ..], 1) = (given.as_slice(), most) {
            let cause = format!(
                "{} has one connector, not both `{}` and `{}`",
                place.noun, first.name, second.name
            );
            self.wrong(second.name_span.clone(), "several_connectors", cause, "");
        }
        if !given.is_empty() {
            return false;
        }
        let like_a_connector = |entry: &&Entry| {
            nearest(&entry.name, &names).is_some()
                || (most == 1 && matches!(entry.value.content, Content::Map(_)))
        };
        if let Some(at) = unknown.iter().position(like_a_connector) {
            let entry = unknown.remove(at);
            let cause =
                format!("unknown {noun} `{}`, expected one of: {}", entry.name, names.join(", "));
            let code = match noun {
                "source" => "unknown_source",
                "processor" => "unknown_processor",
                _ => "unknown_connector",
            };
            self.wrong(entry.name_span.clone(), code, cause, suggestion(&entry.name, &names));
            return true;
        }
        let code = if most == 1 { "missing_connector" } else { "nothing_to_do" };
        let cause = if most == 1 {
            format!("{} names no {noun}", place.noun)
        } else {
            format!("{} does nothing", place.noun)
        };
        let hint = format!("add one of: {}", names.join(", "));
        self.wrong(place.span.clone(), code, cause, hint);
        false
    }

    fn unknown_field(&mut self, entry: &Entry, names: &[&str], place: &Place) {
        let cause = format!("unknown field `{}` in {}", entry.name, place.noun);
        let hint = match suggestion(&entry.name, names) {
            hint if !hint.is_empty() => hint,
            _ if names.is_empty() => "it has no fields".to_owned(),
            _ => format!("expected one of: {}", names.join(", ")),
        };
        self.wrong(entry.name_span.clone(), "unknown_field", cause, hint);
    }

    fn read_list(
        &mut self,
        node: &'a Node,
        items: &'a [Node],
        schema: &Json,
        place: &Place,
    ) -> Json {
        let bound = |word| schema.get(word).and_then(Json::as_u64);
        let count = items.len() as u64;
        let (least, most) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(u64::MAX));
        if count < least || count > most {
            let wanted =
                if count < least { format!("at least {least}") } else { format!("at most {most}") };
            let items = if count == 1 { "item" } else { "items" };
            let cause = format!("{} has {count} {items}, and needs {wanted}", place.noun);
            self.wrong(node.span.clone(), "wrong_length", cause, "");
        }
        let free = Json::Bool(true);
        let firsts = schema.get("prefixItems").and_then(Json::as_array);
        let others = schema.get("items").unwrap_or(&free);
        let read = |(at, item)| {
            let schema = firsts.and_then(|firsts| firsts.get(at)).unwrap_or(others);
            self.read(item, schema, &place.item(at, item))
        };
        Json::Array(items.iter().enumerate().map(read).collect())
    }

    /// Reads with fresh problems, and gives them back instead of keeping them.
    fn attempt(&mut self, node: &'a Node, schema: &Json, place: &Place) -> Attempt<'a> {
        let mut trial = Validation::new(self.file, self.definitions);
        let value = trial.read(node, schema, place);
        Attempt { value, trial }
    }

    fn accept(&mut self, attempt: Attempt<'a>) -> Json {
        self.problems.extend(attempt.trial.problems);
        self.secrets.extend(attempt.trial.secrets);
        self.code.extend(attempt.trial.code);
        attempt.value
    }
}

struct Attempt<'a> {
    value: Json,
    trial: Validation<'a>,
}

/// The types that a schema allows, as far as it says.
fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(several)) => several.iter().filter_map(Json::as_str).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => match schema.get("const").or_else(|| schema.get("enum")?.get(0)) {
            Some(Json::String(_)) => vec!["string"],
            _ => Vec::new(),
        },
    }
}

/// Whether a node is of a JSON type. A value that came from a variable may be a number, too.
fn fits(node: &Node, name: &str) -> bool {
    match (&node.content, name) {
        (Content::Null, "null")
        | (Content::Bool(_), "boolean")
        | (Content::Number(_), "number")
        | (Content::Text(_), "string")
        | (Content::List(_), "array")
        | (Content::Map(_), "object") => true,
        (Content::Number(number), "integer") => scalars::is_integer(number),
        (Content::Text(text), "number" | "integer" | "boolean") => scalars::typed(text)
            .is_some_and(|content| fits(&Node { span: node.span.clone(), content }, name)),
        _ => false,
    }
}

/// The name nearest to a misspelt one, if one is near.
pub(super) fn nearest<'n>(wrong: &str, names: &[&'n str]) -> Option<&'n str> {
    let close = |name: &&'n str| {
        let distance = strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
        let longest = wrong.chars().count().max(name.chars().count());
        (distance * 3 <= longest.max(3)).then_some((distance, *name))
    };
    names.iter().filter_map(close).min().map(|(_, name)| name)
}

/// ``did you mean `partitions`?``, or nothing.
pub(super) fn suggestion(wrong: &str, names: &[&str]) -> String {
    nearest(wrong, names).map(|name| format!("did you mean `{name}`?")).unwrap_or_default()
}

fn first_sentence(text: &str) -> String {
    let text = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    text.split_once(". ").map_or(text.clone(), |(first, _)| format!("{first}."))
}

/// A sentence as it stands in the middle of a line: `A filter is ….` becomes `a filter is …`, and
/// `VRL …` keeps its capitals.
pub(super) fn mid_line(sentence: &str) -> String {
    let sentence = sentence.strip_suffix('.').unwrap_or(sentence);
    let mut letters = sentence.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(sentence.chars().skip(1)).collect()
        }
        _ => sentence.to_owned(),
    }
}

#[cfg(test)]
mod tests;
