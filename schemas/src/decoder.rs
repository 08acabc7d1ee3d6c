//! From Avro's bytes straight to VRL's values, by a plan prepared once for a writer's schema and,
//! where there is one, a reader's.

mod input;
mod plan;
mod promotion;
mod resolution;
mod scalar;

use apache_avro::schema::Schema as Avro;
use vrl::value::{KeyString, ObjectMap, Value};

use crate::leaf::{Leaf, Length, Number};
use crate::path::{Path, Segment};
use crate::schema::{Schema, SchemaError};
use input::Input;
use plan::{Node, NodeId, Plan, Step};

pub(crate) use input::MAX_DEPTH;

/// Decodes the payloads of one writer's schema. Prepare it once; it is read without a lock.
///
/// Texts and bytes of a decoded value share one copy of the payload: keeping one of them keeps
/// that copy.
#[derive(Debug)]
pub struct Decoder {
    plan: Plan,
}

/// Why a payload is not a value of its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decoding Avro failed at `{path}`, byte {offset} of the payload: {cause}")]
pub struct DecodeError {
    /// The field that was being read.
    pub path: Path,
    /// How many bytes of the payload had been read.
    pub offset: usize,
    /// What is wrong there.
    pub cause: String,
}

/// A [`DecodeError`] on its way up; boxed, so that the way without errors stays narrow.
#[derive(Debug)]
struct Fault(Box<FaultParts>);

#[derive(Debug)]
struct FaultParts {
    deepest: Vec<Segment>,
    offset: usize,
    cause: String,
}

impl Fault {
    fn new(offset: usize, cause: String) -> Self {
        Self(Box::new(FaultParts { deepest: Vec::new(), offset, cause }))
    }

    fn within(mut self, segment: Segment) -> Self {
        self.0.deepest.push(segment);
        self
    }

    fn within_field(self, name: &str) -> Self {
        self.within(Segment::Field(name.to_owned()))
    }
}

impl From<Fault> for DecodeError {
    fn from(Fault(fault): Fault) -> Self {
        Self { path: Path::from_deepest(fault.deepest), offset: fault.offset, cause: fault.cause }
    }
}

impl Decoder {
    /// Prepares the decoding of what `writer` wrote. With a `reader`, values take its form by
    /// Avro's [schema resolution](https://avro.apache.org/docs/1.12.0/specification/#schema-resolution):
    /// fields it lacks are dropped, fields it adds take their defaults, numbers are promoted.
    ///
    /// # Errors
    /// No value of `writer` can be read as `reader`: the error names the field.
    pub fn new(writer: &Schema, reader: Option<&Schema>) -> Result<Self, SchemaError> {
        Ok(Self { plan: resolution::prepare(writer, reader)? })
    }

    /// Prepares the decoding of one type of a schema.
    pub(crate) fn of_part(schema: &Schema, part: &Avro) -> Result<Self, SchemaError> {
        Ok(Self { plan: resolution::prepare_part(schema, part)? })
    }

    /// Decodes one payload, without the wire format's header.
    ///
    /// # Errors
    /// The bytes are not a value of the schema, or not exactly one, or hold what VRL's values
    /// cannot: a float that is not a number, a date outside the years ±262,000.
    pub fn decode(&self, payload: &[u8]) -> Result<Value, DecodeError> {
        let mut input = Input::new(payload);
        let value = self.read(self.plan.root, &mut input)?;
        match input.left() {
            0 => Ok(value),
            left => Err(input.fault(format!("left over after the value: {left} bytes")).into()),
        }
    }

    fn read(&self, id: NodeId, input: &mut Input<'_>) -> Result<Value, Fault> {
        match self.plan.node(id) {
            Node::Null => Ok(Value::Null),
            Node::Boolean => input.boolean().map(Value::Boolean),
            Node::Number(wire, form) => scalar::number(input, *wire, *form),
            Node::Real(wire) => scalar::real(input, *wire),
            Node::Bytes(length) => input.shared(*length).map(Value::Bytes),
            Node::Text(length) => scalar::text(input, *length),
            Node::Logical(length, form) => scalar::logical(input, *length, *form),
            Node::Enum(symbols) => scalar::symbol(input, symbols),
            Node::Array { item, item_size } => self.read_array(*item, *item_size, input),
            Node::Map { value, value_size } => self.read_map(*value, *value_size, input),
            Node::Union(branches) => self.read_union(branches, input),
            Node::Record { steps, defaults } => self.read_record(steps, defaults, input),
            Node::Refused(cause) => Err(input.fault(cause.clone())),
        }
    }

    fn read_union(&self, branches: &[NodeId], input: &mut Input<'_>) -> Result<Value, Fault> {
        let branch = input.choice(branches)?;
        self.read(branch, input)
    }

    fn read_record(
        &self,
        steps: &[Step],
        defaults: &[(KeyString, Value)],
        input: &mut Input<'_>,
    ) -> Result<Value, Fault> {
        input.enter()?;
        let mut fields = Vec::with_capacity(steps.len() + defaults.len());
        for step in steps {
            if step.keep {
                let value = self.read(step.node, input);
                let value = value.map_err(|fault| fault.within_field(&step.name))?;
                fields.push((step.name.clone(), value));
            } else {
                self.skip(step.node, input).map_err(|fault| fault.within_field(&step.name))?;
            }
        }
        fields.extend_from_slice(defaults);
        input.leave();
        Ok(Value::Object(fields.into_iter().collect()))
    }

    fn read_array(&self, item: NodeId, size: usize, input: &mut Input<'_>) -> Result<Value, Fault> {
        input.enter()?;
        let mut items = Vec::new();
        while let Some(block) = input.block(size)? {
            items.reserve(block.reserve());
            for _ in 0..block.count {
                let value = self.read(item, input);
                items.push(value.map_err(|fault| fault.within(Segment::Index(items.len())))?);
            }
        }
        input.leave();
        Ok(Value::Array(items))
    }

    fn read_map(&self, value: NodeId, size: usize, input: &mut Input<'_>) -> Result<Value, Fault> {
        input.enter()?;
        let mut entries = ObjectMap::new();
        // An entry is a key, whose length takes a byte, and a value.
        while let Some(block) = input.block(size.saturating_add(1))? {
            for _ in 0..block.count {
                let key = KeyString::from(input.text()?);
                let read = self.read(value, input);
                let read = read.map_err(|fault| fault.within_field(&key))?;
                entries.insert(key, read);
            }
        }
        input.leave();
        Ok(Value::Object(entries))
    }

    /// Passes over a value that the reader does not want.
    fn skip(&self, id: NodeId, input: &mut Input<'_>) -> Result<(), Fault> {
        match self.plan.node(id) {
            Node::Null => Ok(()),
            Node::Boolean => input.boolean().map(drop),
            Node::Number(wire, _) => input.number(*wire).map(drop),
            Node::Real(wire) => input.take(wire.size()).map(drop),
            Node::Bytes(length) | Node::Text(length) | Node::Logical(length, _) => {
                input.bytes(*length).map(drop)
            }
            Node::Enum(_) => input.number(Number::Int).map(drop),
            Node::Array { item, item_size } => self.skip_blocks(*item, *item_size, false, input),
            Node::Map { value, value_size } => self.skip_blocks(*value, *value_size, true, input),
            Node::Union(branches) => {
                let branch = input.choice(branches)?;
                self.skip(branch, input)
            }
            Node::Record { steps, .. } => {
                input.enter()?;
                for step in steps {
                    self.skip(step.node, input).map_err(|fault| fault.within_field(&step.name))?;
                }
                input.leave();
                Ok(())
            }
            Node::Refused(cause) => Err(input.fault(cause.clone())),
        }
    }

    fn skip_blocks(
        &self,
        item: NodeId,
        size: usize,
        keyed: bool,
        input: &mut Input<'_>,
    ) -> Result<(), Fault> {
        input.enter()?;
        while let Some(block) = input.block(size.saturating_add(usize::from(keyed)))? {
            if let Some(bytes) = block.bytes {
                input.take(bytes)?;
                continue;
            }
            for _ in 0..block.count {
                if keyed {
                    input.bytes(Length::Prefixed)?;
                }
                self.skip(item, input)?;
            }
        }
        input.leave();
        Ok(())
    }
}

/// Decodes a value without parts.
pub(crate) fn read_leaf(leaf: Leaf, bytes: &[u8]) -> Result<Value, DecodeError> {
    Decoder { plan: Plan { nodes: vec![leaf.node()], root: NodeId(0) } }.decode(bytes)
}

#[cfg(test)]
mod tests;
