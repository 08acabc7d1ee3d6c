//! The least bytes that each item of an array or a map takes: what is promised and cannot fit is
//! refused before room is made for it.

use super::super::plan::{Node, NodeId, Plan};
use crate::leaf::Length;

/// Fills in the item sizes of every array and map.
pub(super) fn measure(plan: &mut Plan) {
    let mut sizes = vec![None; plan.nodes.len()];
    for index in 0..plan.nodes.len() {
        least(&plan.nodes, NodeId(index), &mut sizes);
    }
    let size = |id: NodeId| sizes.get(id.0).copied().flatten().unwrap_or(0);
    for node in &mut plan.nodes {
        match node {
            Node::Array { item, item_size } => *item_size = size(*item),
            Node::Map { value, value_size } => *value_size = size(*value),
            _ => {}
        }
    }
}

fn least(nodes: &[Node], id: NodeId, sizes: &mut [Option<usize>]) -> usize {
    if let Some(size) = sizes[id.0] {
        return size;
    }
    // A record that directly holds itself has no values: any size is true of it.
    sizes[id.0] = Some(0);
    let size = match &nodes[id.0] {
        Node::Null | Node::Refused(_) => 0,
        Node::Real(wire) => wire.size(),
        Node::Bytes(length) | Node::Text(length) | Node::Logical(length, _) => match length {
            Length::Fixed(size) => *size,
            Length::Prefixed => 1,
        },
        Node::Record { steps, .. } => {
            steps.iter().map(|step| least(nodes, step.node, sizes)).fold(0, usize::saturating_add)
        }
        Node::Boolean | Node::Number(..) | Node::Enum(_) => 1,
        Node::Array { .. } | Node::Map { .. } | Node::Union(_) => 1,
    };
    sizes[id.0] = Some(size);
    size
}
