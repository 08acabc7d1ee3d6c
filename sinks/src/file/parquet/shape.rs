//! Rows cut into columns with definition and repetition levels, after Dremel:
//! <https://parquet.apache.org/docs/file-format/nestedencoding/>.

use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition};
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::{Type as Parquet, TypePtr};
use engine::Value;
use schemas::columns::{Column, Type};
use vrl::value::ObjectMap;

use super::column::{Buffer, Leaf};

/// A column, or a group of them.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    nullable: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The column of this number.
    Leaf(usize),
    Record(Vec<Node>),
    List(Box<Node>, Repeated),
    /// Its key is the column of this number.
    Map(usize, Box<Node>, Repeated),
}

/// How many lists and maps are around what is in this one.
#[derive(Debug, Clone, Copy)]
struct Repeated(i16);

/// Definition and repetition level.
type Levels = (i16, i16);

/// Prepares columns: their tree, their types, and for each an empty buffer.
pub(super) fn nodes(
    columns: &[Column],
    buffers: &mut Vec<Buffer>,
) -> Result<(Vec<Node>, Vec<TypePtr>), ParquetError> {
    below(columns, (0, 0), buffers)
}

fn below(
    columns: &[Column],
    above: Levels,
    buffers: &mut Vec<Buffer>,
) -> Result<(Vec<Node>, Vec<TypePtr>), ParquetError> {
    let nodes: Result<Vec<_>, _> =
        columns.iter().map(|column| node(column, above, buffers)).collect();
    Ok(nodes?.into_iter().unzip())
}

fn node(
    column: &Column,
    (definition, repetition): Levels,
    buffers: &mut Vec<Buffer>,
) -> Result<(Node, TypePtr), ParquetError> {
    let Column { name, kind, nullable } = column;
    let definition = definition + i16::from(*nullable);
    let is = if *nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let group = |fields, logical| {
        let group = Parquet::group_type_builder(name).with_repetition(is).with_fields(fields);
        group.with_logical_type(logical).build()
    };
    let inside = (definition + 1, repetition + 1);
    let (kind, parquet) = match kind {
        Type::Record(columns) => {
            let (nodes, types) = below(columns, (definition, repetition), buffers)?;
            (Kind::Record(nodes), group(types, None)?)
        }
        Type::List(item) => {
            let item = Column { name: "element".to_owned(), ..Column::clone(item) };
            let (node, element) = node(&item, inside, buffers)?;
            let list = repeated("list", vec![element])?;
            let kind = Kind::List(Box::new(node), Repeated(repetition + 1));
            (kind, group(vec![list], Some(LogicalType::List))?)
        }
        Type::Map(value) => {
            let key = Column { name: "key".to_owned(), kind: Type::Text, nullable: false };
            let (key, key_type) = leaf(&key, inside, buffers)?;
            let (node, value_type) = node(value, inside, buffers)?;
            let entries = repeated("key_value", vec![key_type, value_type])?;
            let kind = Kind::Map(key, Box::new(node), Repeated(repetition + 1));
            (kind, group(vec![entries], Some(LogicalType::Map))?)
        }
        _ => {
            let (number, parquet) = leaf(column, (definition, repetition), buffers)?;
            let kind = Kind::Leaf(number);
            return Ok((Node { name: name.clone(), nullable: *nullable, kind }, parquet));
        }
    };
    Ok((Node { name: name.clone(), nullable: *nullable, kind }, Arc::new(parquet)))
}

fn repeated(name: &str, fields: Vec<TypePtr>) -> Result<TypePtr, ParquetError> {
    let group = Parquet::group_type_builder(name).with_repetition(Repetition::REPEATED);
    Ok(Arc::new(group.with_fields(fields).build()?))
}

fn leaf(
    Column { name, kind, nullable }: &Column,
    most: Levels,
    buffers: &mut Vec<Buffer>,
) -> Result<(usize, TypePtr), ParquetError> {
    let leaf = Leaf::of(kind);
    let is = if *nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let parquet = leaf.parquet(name, is)?;
    buffers.push(Buffer::new(leaf, most));
    Ok((buffers.len() - 1, Arc::new(parquet)))
}

/// Adds a record's fields to their columns.
///
/// # Errors
/// What is wrong with which field; some columns have grown then.
pub(super) fn add_fields(
    nodes: &[Node],
    row: &ObjectMap,
    levels: Levels,
    buffers: &mut [Buffer],
) -> Result<(), String> {
    nodes.iter().try_for_each(|node| add(node, row.get(node.name.as_str()), levels, buffers))
}

fn add(
    node: &Node,
    value: Option<&Value>,
    (definition, repetition): Levels,
    buffers: &mut [Buffer],
) -> Result<(), String> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if !node.nullable {
            return Err(format!("`{}` is missing", node.name));
        }
        add_nothing(node, (definition, repetition), buffers);
        return Ok(());
    };
    let definition = definition + i16::from(node.nullable);
    let wrong = || format!("`{}` is {}", node.name, value.kind_str());
    match &node.kind {
        Kind::Leaf(number) => buffers[*number]
            .add(value, (definition, repetition))
            .map_err(|cause| format!("`{}` {cause}", node.name)),
        Kind::Record(nodes) => {
            let row = value.as_object().ok_or_else(wrong)?;
            add_fields(nodes, row, (definition, repetition), buffers)
                .map_err(|cause| format!("in `{}`, {cause}", node.name))
        }
        Kind::List(item, again) => {
            let items = value.as_array().ok_or_else(wrong)?;
            if items.is_empty() {
                add_nothing(item, (definition, repetition), buffers);
            }
            for (index, value) in items.iter().enumerate() {
                let levels = (definition + 1, if index == 0 { repetition } else { again.0 });
                add(item, Some(value), levels, buffers)
                    .map_err(|cause| format!("in `{}`, {cause}", node.name))?;
            }
            Ok(())
        }
        Kind::Map(key, item, again) => {
            let entries = value.as_object().ok_or_else(wrong)?;
            if entries.is_empty() {
                buffers[*key].add_nothing((definition, repetition));
                add_nothing(item, (definition, repetition), buffers);
            }
            for (index, (name, value)) in entries.iter().enumerate() {
                let levels = (definition + 1, if index == 0 { repetition } else { again.0 });
                buffers[*key].add(&Value::from(name.as_str()), levels)?;
                add(item, Some(value), levels, buffers)
                    .map_err(|cause| format!("in `{}`, {cause}", node.name))?;
            }
            Ok(())
        }
    }
}

/// Notes in every column below that there is nothing.
fn add_nothing(node: &Node, levels: Levels, buffers: &mut [Buffer]) {
    match &node.kind {
        Kind::Leaf(number) => buffers[*number].add_nothing(levels),
        Kind::Record(nodes) => nodes.iter().for_each(|node| add_nothing(node, levels, buffers)),
        Kind::List(item, _) => add_nothing(item, levels, buffers),
        Kind::Map(key, item, _) => {
            buffers[*key].add_nothing(levels);
            add_nothing(item, levels, buffers);
        }
    }
}
