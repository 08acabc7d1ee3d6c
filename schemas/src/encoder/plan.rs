//! What an encoder does, one node for each type, records that contain themselves included.

use std::collections::HashMap;

use apache_avro::schema::{Name, RecordSchema, Schema as Avro};
use vrl::value::{ObjectMap, Value};

use super::scalar;
use crate::defaults;
use crate::leaf::{Leaf, Logical, NumberForm, Real, Store};
use crate::path::Path;
use crate::schema::{Schema, SchemaError, type_name};

/// A node's place in its [`Plan`].
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeId(usize);

#[derive(Debug)]
pub(super) struct Plan {
    nodes: Vec<Node>,
    /// The types' names, as errors give them.
    names: Vec<String>,
    pub root: NodeId,
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Leaf),
    Enum(Vec<String>),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Vec<Field>),
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: String,
    pub node: NodeId,
    /// The bytes written for it where the value lacks it.
    pub default: Option<Vec<u8>>,
}

impl Plan {
    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(super) fn name(&self, id: NodeId) -> &str {
        &self.names[id.0]
    }

    pub(super) fn is_null(&self, id: NodeId) -> bool {
        matches!(self.node(id), Node::Leaf(Leaf::Null))
    }

    /// How well a branch of a union fits a value, the lowest best; nothing if it does not hold it.
    ///
    /// | value | from the best |
    /// |---|---|
    /// | integer | int or long that holds it, decimal, big-decimal, double, float |
    /// | float | double, float |
    /// | text | enum with that symbol; uuid, date, time, local timestamp; decimal; big-decimal; string; fixed of its length; bytes |
    /// | object | record that has all the object's fields and misses none; map; record that lacks the fewest of the object's fields |
    pub(super) fn rank(&self, id: NodeId, value: &Value) -> Option<usize> {
        match (self.node(id), value) {
            (Node::Leaf(leaf), value) => {
                scalar::write(*leaf, value, &mut Vec::new()).is_ok().then(|| leaf_rank(*leaf))
            }
            (Node::Enum(symbols), value) => {
                scalar::write_symbol(symbols, value, &mut Vec::new()).is_ok().then_some(0)
            }
            (Node::Array(_), Value::Array(_)) => Some(0),
            (Node::Map(_), Value::Object(_)) => Some(1),
            (Node::Record(fields), Value::Object(object)) => record_rank(fields, object),
            _ => None,
        }
    }
}

/// The part of [`Plan::rank`] that does not depend on the value.
pub(crate) const fn leaf_rank(leaf: Leaf) -> usize {
    match leaf {
        Leaf::Null | Leaf::Boolean => 0,
        Leaf::Number(_, NumberForm::Integer | NumberForm::Timestamp(_)) => 0,
        Leaf::Number(..) | Leaf::Bytes(_, Some(Logical::Uuid | Logical::UuidText)) => 1,
        Leaf::Bytes(_, Some(Logical::Duration)) => 0,
        Leaf::Bytes(_, Some(Logical::Decimal(_))) => 2,
        Leaf::Bytes(_, Some(Logical::BigDecimal)) => 3,
        Leaf::Real(Real::Double) => 4,
        Leaf::Real(Real::Float) => 5,
        Leaf::Bytes(Store::String, None) => 6,
        Leaf::Bytes(Store::Fixed(_), None) => 7,
        Leaf::Bytes(Store::Bytes, None) => 8,
    }
}

fn record_rank(fields: &[Field], object: &ObjectMap) -> Option<usize> {
    let given = fields.iter().filter(|field| object.contains_key(field.name.as_str())).count();
    let needed =
        |field: &Field| field.default.is_none() && !object.contains_key(field.name.as_str());
    match object.len() - given {
        _ if fields.iter().any(needed) => None,
        0 => Some(0),
        lacked => Some(1 + lacked),
    }
}

pub(super) fn prepare(schema: &Schema) -> Result<Plan, SchemaError> {
    let mut builder =
        Builder { schema, nodes: Vec::new(), names: Vec::new(), records: HashMap::new() };
    let root = builder.build(schema.avro(), &Path::root())?;
    Ok(Plan { nodes: builder.nodes, names: builder.names, root })
}

struct Builder<'a> {
    schema: &'a Schema,
    nodes: Vec<Node>,
    names: Vec<String>,
    records: HashMap<&'a Name, NodeId>,
}

impl<'a> Builder<'a> {
    fn add(&mut self, node: Node, avro: &Avro) -> NodeId {
        self.nodes.push(node);
        self.names.push(type_name(self.schema, avro));
        NodeId(self.nodes.len() - 1)
    }

    fn build(&mut self, avro: &'a Avro, path: &Path) -> Result<NodeId, SchemaError> {
        let avro = self.schema.resolve(avro);
        let node = match avro {
            Avro::Record(record) => return self.record(record, avro, path),
            Avro::Array(array) => Node::Array(self.build(&array.items, path)?),
            Avro::Map(map) => Node::Map(self.build(&map.types, path)?),
            Avro::Union(union) => {
                let branches = union.variants().iter().map(|branch| self.build(branch, path));
                Node::Union(branches.collect::<Result<_, _>>()?)
            }
            Avro::Enum(symbols) => Node::Enum(symbols.symbols.clone()),
            other => Node::Leaf(Leaf::of(other).ok_or_else(|| {
                SchemaError::invalid(Some(path.clone()), "its type is not known")
            })?),
        };
        Ok(self.add(node, avro))
    }

    fn record(
        &mut self,
        record: &'a RecordSchema,
        avro: &Avro,
        path: &Path,
    ) -> Result<NodeId, SchemaError> {
        if let Some(known) = self.records.get(&record.name) {
            return Ok(*known);
        }
        // The record may hold itself: it is known before its fields are.
        let id = self.add(Node::Record(Vec::new()), avro);
        self.records.insert(&record.name, id);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let path = path.field(&field.name);
            let node = self.build(&field.schema, &path)?;
            let default = field
                .default
                .as_ref()
                .map(|json| defaults::bytes(self.schema, &field.schema, json));
            let default =
                default.transpose().map_err(|cause| SchemaError::invalid(Some(path), cause))?;
            fields.push(Field { name: field.name.clone(), node, default });
        }
        self.nodes[id.0] = Node::Record(fields);
        Ok(id)
    }
}
