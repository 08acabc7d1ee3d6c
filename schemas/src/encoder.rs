//! From VRL's values straight to Avro's bytes, by a plan prepared once for the output schema.

mod plan;
mod scalar;

use std::fmt::{self, Display, Formatter};

use vrl::value::{ObjectMap, Value};

use crate::binary;
use crate::path::{Path, Segment};
use crate::schema::{Schema, SchemaError};
use plan::{Field, Node, NodeId, Plan};

pub(crate) use plan::leaf_rank;
pub(crate) use scalar::{quoted, write as write_leaf, write_symbol};

/// Most wrong fields that one error lists.
const MAX_WRONG: usize = 10;

/// Most arrays, maps and records within each other, as for the decoder.
const MAX_DEPTH: usize = crate::decoder::MAX_DEPTH;

/// Encodes values as one schema's payloads. Prepare it once; it is read without a lock.
#[derive(Debug)]
pub struct Encoder {
    plan: Plan,
}

/// Why a value is none of the schema's: the first ten fields that are wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    /// In the schema's order; never empty.
    pub wrong: Vec<Wrong>,
}

/// One field that is not as the schema wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where it is.
    pub path: Path,
    /// The schema's type: `decimal(18, 2)`.
    pub expected: String,
    /// What is there instead: `a float`, `nothing`.
    pub found: String,
}

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { path, expected, found } = self;
        write!(f, "`{path}` must be {expected}, but there is {found}")
    }
}

impl Display for EncodeError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("encoding Avro failed: ")?;
        self.wrong.iter().enumerate().try_for_each(|(index, wrong)| {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{wrong}")
        })
    }
}

impl std::error::Error for EncodeError {}

/// Where the encoder is. It lies on the stack: a value without errors pays nothing for it.
struct Place<'a> {
    within: Option<(&'a Place<'a>, Step<'a>)>,
    depth: usize,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    const ROOT: Place<'static> = Place { within: None, depth: 0 };

    fn step(&'a self, step: Step<'a>) -> Place<'a> {
        Place { within: Some((self, step)), depth: self.depth + 1 }
    }

    fn path(&self) -> Path {
        let mut deepest = Vec::new();
        let mut place = self;
        while let Some((outer, step)) = place.within {
            deepest.push(match step {
                Step::Field(name) => Segment::Field(name.to_owned()),
                Step::Index(index) => Segment::Index(index),
            });
            place = outer;
        }
        Path::from_deepest(deepest)
    }
}

/// One encoding: the bytes, and what was found wrong on the way.
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    wrong: Vec<Wrong>,
}

impl Output<'_> {
    fn refuse(&mut self, place: &Place<'_>, expected: &str, found: impl Into<String>) {
        if self.wrong.len() < MAX_WRONG {
            let wrong =
                Wrong { path: place.path(), expected: expected.to_owned(), found: found.into() };
            self.wrong.push(wrong);
        }
    }
}

impl Encoder {
    /// Prepares the encoding of a schema's values.
    ///
    /// # Errors
    /// A default is no value of its field.
    pub fn new(schema: &Schema) -> Result<Self, SchemaError> {
        Ok(Self { plan: plan::prepare(schema)? })
    }

    /// Appends the value's payload to `out`, which may hold the wire format's header already.
    /// Missing fields take their defaults; fields that the schema lacks are ignored: the contract
    /// is held when a pipeline is checked ([`misfits`](crate::misfits)).
    ///
    /// # Errors
    /// Fields are missing or wrong: the error lists the first ten. `out` is as it was.
    pub fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let mut output = Output { bytes: out, wrong: Vec::new() };
        self.write(self.plan.root, value, &Place::ROOT, &mut output);
        let wrong = output.wrong;
        if wrong.is_empty() {
            return Ok(());
        }
        out.truncate(start);
        Err(EncodeError { wrong })
    }

    fn write(&self, id: NodeId, value: &Value, place: &Place<'_>, out: &mut Output<'_>) {
        if place.depth > MAX_DEPTH {
            return out.refuse(
                place,
                self.plan.name(id),
                format!("a value nested more than {MAX_DEPTH} deep"),
            );
        }
        match (self.plan.node(id), value) {
            (Node::Leaf(leaf), value) => {
                if let Err(found) = scalar::write(*leaf, value, out.bytes) {
                    out.refuse(place, self.plan.name(id), found);
                }
            }
            (Node::Enum(symbols), value) => {
                if let Err(found) = scalar::write_symbol(symbols, value, out.bytes) {
                    out.refuse(place, self.plan.name(id), found);
                }
            }
            (Node::Record(fields), Value::Object(object)) => {
                self.write_record(fields, object, place, out)
            }
            (Node::Array(item), Value::Array(items)) => self.write_array(*item, items, place, out),
            (Node::Map(values), Value::Object(object)) => {
                self.write_map(*values, object, place, out)
            }
            (Node::Union(branches), value) => self.write_union(id, branches, value, place, out),
            (_, value) => out.refuse(place, self.plan.name(id), scalar::describe(value)),
        }
    }

    fn write_record(
        &self,
        fields: &[Field],
        object: &ObjectMap,
        place: &Place<'_>,
        out: &mut Output<'_>,
    ) {
        for field in fields {
            let value = object.get(field.name.as_str());
            match (value, &field.default) {
                (Some(value), _) => {
                    self.write(field.node, value, &place.step(Step::Field(&field.name)), out);
                }
                (None, Some(default)) => out.bytes.extend_from_slice(default),
                (None, None) => {
                    let place = place.step(Step::Field(&field.name));
                    out.refuse(&place, self.plan.name(field.node), "nothing");
                }
            }
        }
    }

    fn write_array(&self, item: NodeId, items: &[Value], place: &Place<'_>, out: &mut Output<'_>) {
        if !items.is_empty() {
            binary::count(items.len(), out.bytes);
        }
        for (index, value) in items.iter().enumerate() {
            self.write(item, value, &place.step(Step::Index(index)), out);
        }
        out.bytes.push(0);
    }

    fn write_map(
        &self,
        values: NodeId,
        object: &ObjectMap,
        place: &Place<'_>,
        out: &mut Output<'_>,
    ) {
        if !object.is_empty() {
            binary::count(object.len(), out.bytes);
        }
        for (key, value) in object {
            binary::bytes(key.as_bytes(), out.bytes);
            self.write(values, value, &place.step(Step::Field(key)), out);
        }
        out.bytes.push(0);
    }

    /// Null is null. A union of null and one type is that type. Of several, the most specific that
    /// holds the value ([`plan::rank`]), the first of equals.
    fn write_union(
        &self,
        id: NodeId,
        branches: &[NodeId],
        value: &Value,
        place: &Place<'_>,
        out: &mut Output<'_>,
    ) {
        let Some(index) = self.choose(branches, value) else {
            return out.refuse(place, self.plan.name(id), scalar::describe(value));
        };
        binary::count(index, out.bytes);
        self.write(branches[index], value, place, out);
    }

    fn choose(&self, branches: &[NodeId], value: &Value) -> Option<usize> {
        let is_null = |id: &NodeId| self.plan.is_null(*id);
        if value.is_null() {
            return branches.iter().position(is_null);
        }
        let mut others = branches.iter().enumerate().filter(|(_, id)| !is_null(id));
        if let (Some((only, _)), None) = (others.next(), others.next()) {
            return Some(only);
        }
        let ranked = branches.iter().enumerate().filter_map(|(index, id)| {
            let rank = self.plan.rank(*id, value)?;
            Some((rank, index))
        });
        ranked.min().map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests;
