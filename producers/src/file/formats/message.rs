//! A message of EDI as a value: header, lines and summary, each with its segments by tag.
//!
//! ```text
//! EDIFACT  .header.BGM[0][1][0]        the second element's first component of the first BGM
//!          .header."DTM+137"[0][1]     of the DTM with the qualifier 137
//! X12      .header.BEG[0].BEG03
//!          .header."N1*ST".N102
//! both     .header.parties.BY          a party's segments: its NAD or N1, and those that belong to it
//!          .lines[0].LIN, .lines[0].PO1
//! ```

use engine::{Fault, Value};
use vrl::value::ObjectMap;

use super::edi::{Dialect, Words};
use super::segment::Segment;

/// The longest text that counts as a qualifier.
const QUALIFIER: usize = 3;

/// A message with what stands around it.
pub(super) struct Message<'a> {
    pub dialect: &'a Dialect,
    pub interchange: Option<&'a Segment>,
    pub group: Option<&'a Segment>,
    pub kind: &'a str,
    /// From its begin to its end.
    pub segments: &'a [Segment],
}

/// Holds the count of lines that a message tells against those that there are.
///
/// # Errors
/// A `Data` fault: they differ.
pub(super) fn check_lines(message: &Message<'_>) -> Result<(), Fault> {
    let words = message.dialect.words();
    let lines = message.segments.iter().filter(|segment| segment.tag == words.line).count();
    let told = message.segments.iter().find_map(|segment| match message.dialect {
        Dialect::X12 { .. } if segment.tag == "CTT" => Some(segment.text(0)),
        // CNT's qualifier 2 is the number of line items.
        Dialect::Edifact { .. } if segment.tag == "CNT" && segment.text(0) == "2" => {
            Some(segment.component(0, 1))
        }
        _ => None,
    });
    match told {
        Some(told) if told.trim().parse() != Ok(lines) => {
            let message = format!("The message tells {told} lines, and {lines} are there.");
            Err(Fault::data("line_count", message))
        }
        _ => Ok(()),
    }
}

impl Message<'_> {
    pub fn value(&self) -> Value {
        let words = self.dialect.words();
        let inner = self.segments.get(1..self.segments.len() - 1).unwrap_or_default();
        let is = |tag: &'static str| move |segment: &Segment| segment.tag == tag;
        let summary = inner.iter().position(is(words.summary)).unwrap_or(inner.len());
        let (body, summary) = inner.split_at(summary);
        let first = body.iter().position(is(words.line)).unwrap_or(body.len());
        let (header, lines) = body.split_at(first);
        let mut groups: Vec<&[Segment]> = Vec::new();
        let mut rest = lines;
        while !rest.is_empty() {
            let next = rest.iter().skip(1).position(is(words.line)).map_or(rest.len(), |at| at + 1);
            let (line, others) = rest.split_at(next);
            groups.push(line);
            rest = others;
        }
        let group = |segments: &[Segment]| self.group_value(segments, words);
        object([
            ("interchange", self.interchange_value()),
            ("message", self.message_value()),
            ("header", group(header)),
            ("lines", Value::Array(groups.into_iter().map(group).collect())),
            ("summary", group(summary)),
        ])
    }

    fn interchange_value(&self) -> Value {
        let Some(begin) = self.interchange else { return Value::Null };
        let (edifact, text) = (matches!(self.dialect, Dialect::Edifact { .. }), |at| {
            Value::from(begin.text(at).trim())
        });
        let part = |element, component| Value::from(begin.component(element, component));
        if edifact {
            let test = begin.text(10) == "1";
            return object([
                ("syntax", part(0, 0)),
                ("sender", part(1, 0)),
                ("recipient", part(2, 0)),
                ("date", part(3, 0)),
                ("time", part(3, 1)),
                ("reference", part(4, 0)),
                ("test", Value::Boolean(test)),
            ]);
        }
        object([
            ("syntax", text(11)),
            ("sender", text(5)),
            ("recipient", text(7)),
            ("date", text(8)),
            ("time", text(9)),
            ("reference", text(12)),
            ("test", Value::Boolean(begin.text(14).trim() == "T")),
        ])
    }

    fn message_value(&self) -> Value {
        let begin = &self.segments[0];
        let (reference, version) = match (self.dialect, self.group) {
            (Dialect::Edifact { .. }, _) => {
                let parts: Vec<&str> = (1..4).map(|part| begin.component(1, part)).collect();
                (begin.text(0), parts.join(":"))
            }
            (Dialect::X12 { .. }, group) => {
                (begin.text(1), group.map_or(String::new(), |group| group.text(7).to_owned()))
            }
        };
        object([
            ("type", Value::from(self.kind)),
            ("reference", Value::from(reference.trim())),
            ("version", Value::from(version)),
        ])
    }

    /// Segments by tag, the first of each by tag and qualifier, and parties.
    fn group_value(&self, segments: &[Segment], words: &Words) -> Value {
        let mut group = self.by_tag(segments);
        let mut parties = ObjectMap::new();
        let is_party = |segment: &Segment| segment.tag == words.party;
        let mut rest = segments;
        while let Some(at) = rest.iter().position(is_party) {
            let others = &rest[at + 1..];
            let belongs = |segment: &&Segment| words.of_party.contains(&segment.tag.as_str());
            let end = at + 1 + others.iter().take_while(belongs).count();
            let name = rest[at].text(0).to_owned();
            parties
                .entry(name.into())
                .or_insert_with(|| Value::Object(self.by_tag(&rest[at..end])));
            rest = &rest[end..];
        }
        group.insert("parties".into(), Value::Object(parties));
        Value::Object(group)
    }

    fn by_tag(&self, segments: &[Segment]) -> ObjectMap {
        let mut all = ObjectMap::new();
        for segment in segments {
            let value = self.segment_value(segment);
            let qualifier = segment.text(0);
            let is_qualifier = (1..=QUALIFIER).contains(&qualifier.len())
                && qualifier.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if is_qualifier {
                let between = if matches!(self.dialect, Dialect::X12 { .. }) { '*' } else { '+' };
                let name = format!("{}{between}{qualifier}", segment.tag);
                all.entry(name.into()).or_insert_with(|| value.clone());
            }
            let list = all.entry(segment.tag.as_str().into()).or_insert(Value::Array(Vec::new()));
            if let Value::Array(items) = list {
                items.push(value);
            }
        }
        all
    }

    fn segment_value(&self, segment: &Segment) -> Value {
        match self.dialect {
            Dialect::Edifact { .. } => {
                let element = |parts: &Vec<String>| {
                    Value::Array(parts.iter().map(|part| Value::from(part.as_str())).collect())
                };
                Value::Array(segment.elements.iter().map(element).collect())
            }
            Dialect::X12 { .. } => {
                let texts = segment.elements.iter().enumerate().map(|(index, parts)| {
                    let name = format!("{}{:02}", segment.tag, index + 1);
                    (name.into(), Value::from(parts.first().map_or("", String::as_str)))
                });
                Value::Object(texts.collect())
            }
        }
    }
}

fn object<const N: usize>(fields: [(&'static str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}
