//! What a decoder does, one node for each type, records that contain themselves included.

use vrl::value::{KeyString, Value};

use crate::leaf::{Length, Logical, Number, NumberForm, Real};

/// A node's place in its [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(pub usize);

#[derive(Debug)]
pub(super) struct Plan {
    pub nodes: Vec<Node>,
    pub root: NodeId,
}

impl Plan {
    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

/// How a value lies in the bytes, and what it becomes.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Number(Number, NumberForm),
    Real(Real),
    Bytes(Length),
    Text(Length),
    Logical(Length, Logical),
    Enum(Vec<Symbol>),
    /// Sizes are the least bytes that an item takes.
    Array {
        item: NodeId,
        item_size: usize,
    },
    Map {
        value: NodeId,
        value_size: usize,
    },
    Union(Vec<NodeId>),
    Record {
        steps: Vec<Step>,
        defaults: Vec<(KeyString, Value)>,
    },
    /// The writer may write it; the reader has no place for it.
    Refused(String),
}

/// One field of the writer's record, under the name that the reader gives it.
#[derive(Debug)]
pub(super) struct Step {
    pub name: KeyString,
    pub node: NodeId,
    pub keep: bool,
}

/// A symbol, or why the reader does not know it.
pub(super) type Symbol = Result<Value, String>;
