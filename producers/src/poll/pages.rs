//! From one page to the next.

use engine::expression::{Expression, Own, Program};
use engine::{Event, Fault, Value};
use exchange::{Answer, Exchange};
use reqwest::header::LINK;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vrl::value::ObjectMap;

use super::Mistake;
use super::item::Mark;
use super::memory::timestamp;
use super::request::{Inputs, expression};

/// How the next page is asked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pages {
    /// By what follows the last item in the order of its time and id: `.last.time` and `.last.id`
    /// are those of the page before, `.last` is null on the first. The request has to sort by them.
    /// The surest way while the list changes.
    Keyset {
        /// How many items a whole page holds: one with fewer is the last.
        size: u32,
    },
    /// By a token in the answer, for example `.paging.next.after`: it is `.cursor` in the request,
    /// null on the first page. The last page has none.
    Cursor(Own<Expression>),
    /// By the `Link` header's `rel="next"` (RFC 8288).
    Link,
    /// By an address in the answer, for example `.next_page_url`. The last page has none.
    Address(Own<Expression>),
    /// By a number: `.page` in the request.
    Number {
        /// The first page's.
        #[serde(default = "Pages::one")]
        first: u32,
        /// How many items a whole page holds: one with fewer is the last. Without it, the last page
        /// is an empty one.
        #[serde(default)]
        size: Option<u32>,
    },
    /// By how many items come before it: `.offset` in the request, from 0.
    Offset {
        /// How many items a whole page holds: one with fewer is the last.
        size: u32,
    },
}

impl Pages {
    fn one() -> u32 {
        1
    }
}

/// Where a page is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Position {
    /// The first page.
    #[default]
    First,
    /// The page of this number, or after so many items.
    Number(u64),
    /// The page of this token.
    Cursor(String),
    /// The page at this path, after the connection's address.
    Path(String),
    /// The page after this item.
    After(Mark),
}

/// [`Pages`], compiled.
pub(super) enum Paging {
    One,
    Keyset { size: u64 },
    Cursor(Program),
    Link,
    Address(Program),
    Number { first: u64, size: Option<u64> },
    Offset { size: u64 },
}

impl Paging {
    /// Compiles what the file says; nothing if something is wrong with it, which is noted.
    pub fn compile(
        pages: Option<&Pages>,
        inputs: &Inputs,
        section: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let answer = &inputs.answer;
        Some(match pages {
            None => Self::One,
            Some(Pages::Keyset { size }) => Self::Keyset { size: (*size).into() },
            Some(Pages::Cursor(text)) => Self::Cursor(expression(
                text,
                answer,
                &format!("{section}/pages/cursor"),
                mistakes,
            )?),
            Some(Pages::Link) => Self::Link,
            Some(Pages::Address(text)) => Self::Address(expression(
                text,
                answer,
                &format!("{section}/pages/address"),
                mistakes,
            )?),
            Some(Pages::Number { first, size }) => {
                Self::Number { first: (*first).into(), size: size.map(u64::from) }
            }
            Some(Pages::Offset { size }) => Self::Offset { size: (*size).into() },
        })
    }

    /// Whether an item can slip from one page to another, unseen, while the list changes.
    pub fn drifts(&self) -> bool {
        matches!(self, Self::Number { .. } | Self::Offset { .. })
    }

    /// What the request for a page reads.
    pub fn variables(&self, position: &Position, since: i64) -> Value {
        let size = match self {
            Self::Keyset { size } | Self::Offset { size } => Some(*size),
            Self::Number { size, .. } => *size,
            _ => None,
        };
        let first = match self {
            Self::Number { first, .. } => *first,
            _ => 0,
        };
        let number = match position {
            Position::Number(number) => *number,
            _ => first,
        };
        let integer = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let cursor = match position {
            Position::Cursor(cursor) => Value::from(cursor.as_str()),
            _ => Value::Null,
        };
        let last = match position {
            Position::After(Mark(time, id)) => Value::Object(ObjectMap::from([
                ("time".into(), timestamp(*time)),
                ("id".into(), Value::from(id.as_str())),
            ])),
            _ => Value::Null,
        };
        Value::Object(ObjectMap::from([
            ("since".into(), timestamp(since)),
            ("page".into(), integer(number)),
            ("offset".into(), integer(number)),
            ("size".into(), integer(size.unwrap_or_default())),
            ("cursor".into(), cursor),
            ("last".into(), last),
        ]))
    }

    /// Where the page after this one is; nothing if this is the last.
    ///
    /// # Errors
    /// A `Remote` fault: the answer does not say it as it should.
    pub fn next(
        &self,
        position: &Position,
        page: &Page<'_>,
        exchange: &Exchange,
    ) -> Result<Option<Position>, Fault> {
        let count = page.count as u64;
        let after = |first: u64, step: u64| match position {
            Position::Number(number) => Position::Number(number.saturating_add(step)),
            _ => Position::Number(first.saturating_add(step)),
        };
        Ok(match self {
            Self::One => None,
            Self::Keyset { size } if count < *size => None,
            Self::Keyset { .. } => page.last.clone().map(Position::After),
            Self::Number { size: Some(size), .. } if count < *size => None,
            Self::Number { first, .. } => (count > 0).then(|| after(*first, 1)),
            Self::Offset { size } if count < *size => None,
            Self::Offset { .. } => (count > 0).then(|| after(0, count)),
            Self::Cursor(program) => page.text(program, "cursor")?.map(Position::Cursor),
            Self::Address(program) => match page.text(program, "address")? {
                Some(address) => Some(Position::Path(exchange.path_of(&address, page.path)?)),
                None => None,
            },
            Self::Link => match next_link(page.answer) {
                Some(link) => Some(Position::Path(exchange.path_of(&link, page.path)?)),
                None => None,
            },
        })
    }
}

/// A page as it was answered.
pub(super) struct Page<'a> {
    /// The path that it was asked for with.
    pub path: &'a str,
    /// The answer.
    pub answer: &'a Answer,
    /// Its body.
    pub body: &'a Value,
    /// How many items it holds.
    pub count: usize,
    /// The time and id of its last item.
    pub last: Option<Mark>,
}

impl Page<'_> {
    /// What says where the next page is: a text or a number; nothing on the last page.
    fn text(&self, program: &Program, option: &str) -> Result<Option<String>, Fault> {
        let given = program.run(&Event::of_value(Value::Null), self.body).map_err(|fault| {
            let message =
                format!("`pages.{option}` fails on the answer to {}: {fault}", self.asked());
            Fault::refused("page_unreadable", message)
        })?;
        match (&given, given.to_str_lossy()) {
            (Value::Null | Value::Boolean(false), _) => Ok(None),
            (Value::Integer(number), _) => Ok(Some(number.to_string())),
            (_, Some(text)) => Ok(Some(text.into_owned()).filter(|text| !text.is_empty())),
            (other, None) => {
                let message = format!(
                    "`pages.{option}` gives {} on the answer to {}, where a text is needed, or \
                     null on the last page.",
                    other.kind_str(),
                    self.asked()
                );
                Err(Fault::refused("page_unreadable", message))
            }
        }
    }

    fn asked(&self) -> &str {
        &self.answer.asked
    }
}

/// The target of `rel="next"` (RFC 8288): `<https://…?page=2>; rel="next", <…>; rel="last"`.
fn next_link(answer: &Answer) -> Option<String> {
    let values = answer.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(links).find(|(_, next)| *next).map(|(target, _)| target)
}

/// The links of a header, each with whether it is the next page's. A comma may be part of a target.
fn links(mut header: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    while let Some((_, rest)) = header.split_once('<') {
        let Some((target, rest)) = rest.split_once('>') else { break };
        let end = rest.find(",<").or_else(|| rest.find(", <")).unwrap_or(rest.len());
        let (parameters, after) = rest.split_at(end);
        let next = parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(
            |(name, value)| {
                let mut words = value.trim().trim_matches('"').split_whitespace();
                name.trim().eq_ignore_ascii_case("rel")
                    && words.any(|word| word.eq_ignore_ascii_case("next"))
            },
        );
        found.push((target.trim().to_owned(), next));
        header = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_the_links_of_a_header() {
        let all = links(
            r#"<https://a.example/x?page=1,2>; rel="prev", <https://a.example/x?page=3>; title="a"; rel="last next""#,
        );
        let next: Vec<_> = all.iter().filter(|(_, next)| *next).collect();
        assert_eq!(next, [&("https://a.example/x?page=3".to_owned(), true)]);
        assert_eq!(all.len(), 2);
        assert_eq!(links("<broken"), []);
        assert_eq!(links(r#"<a>;rel=next,<b>;rel=last"#)[0], ("a".to_owned(), true));
    }
}
