//! Prepares a decoder's plan: a writer's schema alone, or resolved against a reader's by the rules
//! of <https://avro.apache.org/docs/1.12.0/specification/#schema-resolution>.

mod size;

use std::collections::HashMap;

use apache_avro::schema::{EnumSchema, Name, RecordField, RecordSchema, Schema as Avro};

use super::plan::{Node, NodeId, Plan, Step, Symbol};
use crate::leaf::Leaf;
use crate::path::{Path, Segment};
use crate::schema::{Schema, SchemaError, type_name};

pub(super) fn prepare(writer: &Schema, reader: Option<&Schema>) -> Result<Plan, SchemaError> {
    build(writer, writer.avro(), reader)
}

pub(super) fn prepare_part(schema: &Schema, part: &Avro) -> Result<Plan, SchemaError> {
    build(schema, part, None)
}

fn build(writer: &Schema, part: &Avro, reader: Option<&Schema>) -> Result<Plan, SchemaError> {
    let mut builder = Builder {
        writer,
        reader: reader.unwrap_or(writer),
        nodes: Vec::new(),
        known: HashMap::new(),
    };
    let root = builder.build(part, reader.map(Schema::avro)).map_err(|refusal| {
        SchemaError::unreadable(Path::from_deepest(refusal.deepest), refusal.cause)
    })?;
    let mut plan = Plan { nodes: builder.nodes, root };
    size::measure(&mut plan);
    Ok(plan)
}

/// Why a reader's type does not read a writer's, and where, the deepest step first.
#[derive(Clone, Debug)]
struct Refusal {
    deepest: Vec<Segment>,
    cause: String,
}

impl From<String> for Refusal {
    fn from(cause: String) -> Self {
        Self { deepest: Vec::new(), cause }
    }
}

impl Refusal {
    fn within(mut self, segment: Segment) -> Self {
        self.deepest.push(segment);
        self
    }

    fn within_field(self, name: &str) -> Self {
        self.within(Segment::Field(name.to_owned()))
    }
}

/// A record of the writer and, with a reader, the record that reads it.
type Pair = (Name, Option<Name>);

struct Builder<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    nodes: Vec<Node>,
    /// Records that are built, are being built, or cannot be.
    known: HashMap<Pair, Result<NodeId, Refusal>>,
}

impl<'a> Builder<'a> {
    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    fn build(&mut self, writer: &'a Avro, reader: Option<&'a Avro>) -> Result<NodeId, Refusal> {
        let writer = self.writer.resolve(writer);
        let reader = reader.map(|reader| self.reader.resolve(reader));
        let node = match (writer, reader) {
            (Avro::Union(union), _) => self.union(union.variants(), reader)?,
            (_, Some(Avro::Union(union))) => return self.branch(writer, union.variants()),
            (_, Some(wanted)) if !names_match(writer, wanted) => {
                return Err(self.refusal(writer, reader));
            }
            (Avro::Record(record), None) => return self.record(record, None),
            (Avro::Record(record), Some(Avro::Record(wanted))) => {
                return self.record(record, Some(wanted));
            }
            (Avro::Array(array), None) => self.array(&array.items, None)?,
            (Avro::Array(array), Some(Avro::Array(wanted))) => {
                self.array(&array.items, Some(&wanted.items))?
            }
            (Avro::Map(map), None) => self.map(&map.types, None)?,
            (Avro::Map(map), Some(Avro::Map(wanted))) => {
                self.map(&map.types, Some(&wanted.types))?
            }
            (Avro::Enum(ours), None) => enum_node(ours, ours),
            (Avro::Enum(ours), Some(Avro::Enum(wanted))) => enum_node(ours, wanted),
            _ => self.leaf(writer, reader)?,
        };
        Ok(self.add(node))
    }

    fn refusal(&self, writer: &Avro, reader: Option<&Avro>) -> Refusal {
        let ours = type_name(self.writer, writer);
        match reader {
            Some(reader) => {
                let theirs = type_name(self.reader, reader);
                format!("the writer's {ours} is not the reader's {theirs}").into()
            }
            None => format!("the type {ours} cannot be read").into(),
        }
    }

    fn leaf(&self, writer: &Avro, reader: Option<&Avro>) -> Result<Node, Refusal> {
        let refused = || self.refusal(writer, reader);
        let ours = Leaf::of(writer).ok_or_else(refused)?;
        let Some(reader) = reader else {
            return Ok(ours.node());
        };
        let theirs = Leaf::of(reader).ok_or_else(refused)?;
        ours.node_for(theirs).map_err(|cause| cause.map_or_else(refused, Refusal::from))
    }

    fn array(&mut self, items: &'a Avro, wanted: Option<&'a Avro>) -> Result<Node, Refusal> {
        let item = self.build(items, wanted).map_err(|refusal| refusal.within(Segment::Items))?;
        Ok(Node::Array { item, item_size: 0 })
    }

    fn map(&mut self, values: &'a Avro, wanted: Option<&'a Avro>) -> Result<Node, Refusal> {
        let value =
            self.build(values, wanted).map_err(|refusal| refusal.within(Segment::Values))?;
        Ok(Node::Map { value, value_size: 0 })
    }

    /// The writer's union: a branch that the reader cannot take is an error only once it is met.
    fn union(&mut self, branches: &'a [Avro], reader: Option<&'a Avro>) -> Result<Node, Refusal> {
        let mut nodes = Vec::with_capacity(branches.len());
        let mut refusals = Vec::new();
        for branch in branches {
            nodes.push(match self.build(branch, reader) {
                Ok(node) => node,
                Err(refusal) => {
                    let node = self.add(Node::Refused(refusal.cause.clone()));
                    refusals.push(refusal);
                    node
                }
            });
        }
        // A union without branches has no values: nothing of it can be read.
        match refusals.pop() {
            Some(refusal) if refusals.len() + 1 == branches.len() => Err(refusal),
            None if branches.is_empty() => {
                Err("a union without branches has no values".to_owned().into())
            }
            _ => Ok(Node::Union(nodes)),
        }
    }

    /// The reader's union: the branch most like the writer's type that can read it.
    fn branch(&mut self, writer: &'a Avro, branches: &'a [Avro]) -> Result<NodeId, Refusal> {
        let mut candidates: Vec<&Avro> =
            branches.iter().map(|branch| self.reader.resolve(branch)).collect();
        candidates.sort_by_key(|branch| unlikeness(writer, branch));
        let mut first = None;
        for candidate in candidates {
            match self.build(writer, Some(candidate)) {
                Ok(node) => return Ok(node),
                Err(refusal) => first = first.or(Some(refusal)),
            }
        }
        Err(first.unwrap_or_else(|| "a union without branches has no values".to_owned().into()))
    }

    fn record(
        &mut self,
        record: &'a RecordSchema,
        wanted: Option<&'a RecordSchema>,
    ) -> Result<NodeId, Refusal> {
        let pair = (record.name.clone(), wanted.map(|wanted| wanted.name.clone()));
        if let Some(known) = self.known.get(&pair) {
            return known.clone();
        }
        // The record may hold itself: it is known before its fields are.
        let id = self.add(Node::Refused(String::new()));
        self.known.insert(pair.clone(), Ok(id));
        match self.record_node(record, wanted) {
            Ok(node) => {
                self.nodes[id.0] = node;
                Ok(id)
            }
            Err(refusal) => {
                self.nodes[id.0] = Node::Refused(refusal.cause.clone());
                self.known.insert(pair, Err(refusal.clone()));
                Err(refusal)
            }
        }
    }

    fn record_node(
        &mut self,
        record: &'a RecordSchema,
        wanted: Option<&'a RecordSchema>,
    ) -> Result<Node, Refusal> {
        let mut steps = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let reader = wanted.map(|wanted| reader_of(field, record, wanted));
            let name = reader.flatten().map_or(&field.name, |reader| &reader.name);
            let node = self.build(&field.schema, reader.flatten().map(|reader| &reader.schema));
            let node = node.map_err(|refusal| refusal.within_field(name))?;
            steps.push(Step {
                name: name.as_str().into(),
                node,
                keep: reader.is_none_or(|reader| reader.is_some()),
            });
        }
        let missing = wanted.map(|wanted| wanted.fields.as_slice()).unwrap_or_default();
        let missing = missing.iter().filter(|field| {
            !steps.iter().any(|step| step.keep && step.name == *field.name.as_str())
        });
        let record = wanted.map_or(&record.name, |wanted| &wanted.name);
        let defaults = missing.map(|field| match self.reader.default(record, &field.name) {
            Some(value) => Ok((field.name.as_str().into(), value.clone())),
            None => {
                let cause = "the writer does not write it, and it has no default".to_owned();
                Err(Refusal::from(cause).within_field(&field.name))
            }
        });
        let defaults = defaults.collect::<Result<_, _>>()?;
        Ok(Node::Record { steps, defaults })
    }
}

/// The reader's field that takes what the writer's field holds: by its name, or by an alias that
/// no field of the writer bears as its name.
fn reader_of<'a>(
    field: &RecordField,
    record: &RecordSchema,
    wanted: &'a RecordSchema,
) -> Option<&'a RecordField> {
    let by_name = wanted.fields.iter().find(|reader| reader.name == field.name);
    by_name.or_else(|| {
        wanted.fields.iter().find(|reader| {
            let written = record.fields.iter().any(|other| other.name == reader.name);
            !written && reader.aliases.contains(&field.name)
        })
    })
}

/// Named types match by name without namespace, or by one of the reader's aliases.
fn names_match(writer: &Avro, reader: &Avro) -> bool {
    let (Some(ours), Some(theirs)) = (writer.name(), reader.name()) else {
        return true;
    };
    let aliases = reader.aliases().map(Vec::as_slice).unwrap_or_default();
    ours.name() == theirs.name() || aliases.iter().any(|alias| alias.name() == ours.name())
}

/// 0 for the same type, 1 for one of its kind, 2 for a promotion: of a union's branches, the
/// specification takes the first that matches, Java's implementation the closest.
fn unlikeness(writer: &Avro, reader: &Avro) -> u8 {
    let same_kind = std::mem::discriminant(writer) == std::mem::discriminant(reader);
    match (same_kind, writer.name() == reader.name()) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

fn enum_node(writer: &EnumSchema, reader: &EnumSchema) -> Node {
    let symbols = writer.symbols.iter().map(|symbol| read_symbol(symbol, reader));
    Node::Enum(symbols.collect())
}

fn read_symbol(symbol: &String, reader: &EnumSchema) -> Symbol {
    match &reader.default {
        _ if reader.symbols.contains(symbol) => Ok(symbol.as_str().into()),
        Some(default) => Ok(default.as_str().into()),
        None => Err(format!("the reader's enum {} has no `{symbol}`", reader.name.name())),
    }
}
