//! YAML, as a tree in which everything knows where it stands.
//!
//! YAML 1.2's core types, with two safer readings: a number keeps its digits (money never becomes a
//! float), and one with a leading zero is a text (`0123` may be a postal code). `yes`, `no`, `on`
//! and `off` are texts.

use std::ops::Range;

use serde_json::Number;

use super::file::File;
use super::problem::Problem;
use super::text::Text;

mod reading;

pub use reading::parse;

/// A value of the file and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The bytes of the file: all of a scalar, the first character of a list or a map.
    pub span: Range<usize>,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Content {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, digit by digit as written.
    Number(Number),
    /// A text.
    Text(Text),
    /// A list.
    List(Vec<Node>),
    /// A map, in the file's order, each name once.
    Map(Vec<Entry>),
}

/// A field of a map.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub name_span: Range<usize>,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The field of this name, if this is a map that has it.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// The value of the field of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// The fields; none if this is not a map.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items; none if this is not a list.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is one.
    pub fn text(&self) -> Option<&Text> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Follows a JSON pointer (RFC 6901) as far as the file goes.
    pub fn follow(&self, pointer: &str) -> &Node {
        let mut node = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match &node.content {
                Content::List(items) => step.parse().ok().and_then(|at: usize| items.get(at)),
                _ => node.get(&step),
            };
            let Some(next) = next else { break };
            node = next;
        }
        node
    }

    /// The same as JSON.
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.content {
            Content::Null => Json::Null,
            Content::Bool(value) => Json::Bool(*value),
            Content::Number(number) => Json::Number(number.clone()),
            Content::Text(text) => Json::String(text.as_str().to_owned()),
            Content::List(items) => items.iter().map(Self::json).collect(),
            Content::Map(entries) => {
                let fields = entries.iter().map(|one| (one.name.clone(), one.value.json()));
                Json::Object(fields.collect())
            }
        }
    }

    /// What kind of thing it is, for sentences.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "true or false",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// Calls `see` with every node, parents first.
    pub fn walk<'a>(&'a self, see: &mut impl FnMut(&'a Node)) {
        see(self);
        self.items().iter().for_each(|item| item.walk(see));
        self.entries().iter().for_each(|entry| entry.value.walk(see));
    }

    /// Calls `change` with every text.
    pub(super) fn each_text(&mut self, change: &mut impl FnMut(&mut Text)) {
        match &mut self.content {
            Content::Text(text) => change(text),
            Content::List(items) => items.iter_mut().for_each(|item| item.each_text(change)),
            Content::Map(entries) => {
                entries.iter_mut().for_each(|entry| entry.value.each_text(change));
            }
            Content::Null | Content::Bool(_) | Content::Number(_) => {}
        }
    }
}

/// Reads a plain scalar as YAML 1.2's core schema does.
pub(super) fn plain(content: &str) -> Option<Content> {
    match content {
        "" | "~" | "null" | "Null" | "NULL" => Some(Content::Null),
        "true" | "True" | "TRUE" => Some(Content::Bool(true)),
        "false" | "False" | "FALSE" => Some(Content::Bool(false)),
        _ => number(content).map(Content::Number),
    }
}

/// Reads a number in JSON's form, with `+` before it, or in octal or hexadecimal.
fn number(content: &str) -> Option<Number> {
    let based = |digits: &str, base| u64::from_str_radix(digits, base).ok().map(Number::from);
    if let Some(digits) = content.strip_prefix("0x") {
        return based(digits, 16);
    }
    if let Some(digits) = content.strip_prefix("0o") {
        return based(digits, 8);
    }
    let unsigned = content.strip_prefix('+').unwrap_or(content);
    let starts = unsigned.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    // A number of YAML may end in a point (`1.`), one of JSON may not: that stays a text.
    (starts && unsigned.len() <= 64).then(|| unsigned.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
