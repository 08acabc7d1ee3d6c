//! The VRL types of a schema's values: what the compiler of a mapping knows of its input.

use std::collections::BTreeMap;

use apache_avro::schema::{Name, RecordSchema, Schema as Avro};
use vrl::value::Kind;
use vrl::value::kind::Collection;

use crate::leaf::{Leaf, Logical, NumberForm};
use crate::path::{Path, Segment};
use crate::schema::Schema;

/// The type of the values that a [`Decoder`](crate::Decoder) of this schema makes. Records are
/// closed: they have their fields and no others. Within a record that holds itself, the inner one
/// is an object of anything.
pub fn kind(schema: &Schema) -> Kind {
    kind_of(schema, schema.avro(), &mut Vec::new())
}

fn kind_of<'a>(schema: &'a Schema, avro: &'a Avro, open: &mut Vec<&'a Name>) -> Kind {
    match schema.resolve(avro) {
        Avro::Record(record) if open.contains(&&record.name) => Kind::any_object(),
        Avro::Record(record) => record_kind(schema, record, open),
        Avro::Array(array) => {
            Kind::array(Collection::from_unknown(kind_of(schema, &array.items, open)))
        }
        Avro::Map(map) => Kind::object(Collection::from_unknown(kind_of(schema, &map.types, open))),
        Avro::Union(union) => union
            .variants()
            .iter()
            .map(|branch| kind_of(schema, branch, open))
            .fold(Kind::never(), |all, branch| all.union(branch)),
        Avro::Enum(_) => Kind::bytes(),
        other => Leaf::of(other).map_or_else(Kind::any, leaf_kind),
    }
}

fn record_kind<'a>(schema: &'a Schema, record: &'a RecordSchema, open: &mut Vec<&'a Name>) -> Kind {
    open.push(&record.name);
    let fields: BTreeMap<_, _> = record
        .fields
        .iter()
        .map(|field| (field.name.as_str().into(), kind_of(schema, &field.schema, open)))
        .collect();
    open.pop();
    Kind::object(Collection::from_parts(fields, Kind::undefined()))
}

pub(crate) fn leaf_kind(leaf: Leaf) -> Kind {
    match leaf {
        Leaf::Null => Kind::null(),
        Leaf::Boolean => Kind::boolean(),
        Leaf::Number(_, NumberForm::Integer) => Kind::integer(),
        Leaf::Number(_, NumberForm::Timestamp(_)) => Kind::timestamp(),
        Leaf::Number(_, NumberForm::Float | NumberForm::Double) | Leaf::Real(_) => Kind::float(),
        Leaf::Number(_, NumberForm::Date | NumberForm::Time(_) | NumberForm::Local(_)) => {
            Kind::bytes()
        }
        Leaf::Bytes(_, Some(Logical::Duration)) => {
            let parts = ["months", "days", "milliseconds"];
            let parts: BTreeMap<_, _> = parts.map(|part| (part.into(), Kind::integer())).into();
            Kind::object(Collection::from_parts(parts, Kind::undefined()))
        }
        Leaf::Bytes(..) => Kind::bytes(),
    }
}

/// Where the decimals of a schema are. In VRL they are texts, whose order and sums are not those of
/// numbers: a mapping that compares or adds them is refused when it is checked.
pub fn decimal_paths(schema: &Schema) -> Vec<Path> {
    let mut paths = Vec::new();
    find_decimals(schema, schema.avro(), &Path::root(), &mut Vec::new(), &mut paths);
    paths
}

fn find_decimals<'a>(
    schema: &'a Schema,
    avro: &'a Avro,
    path: &Path,
    open: &mut Vec<&'a Name>,
    paths: &mut Vec<Path>,
) {
    match schema.resolve(avro) {
        Avro::Decimal(_) | Avro::BigDecimal if !paths.contains(path) => paths.push(path.clone()),
        Avro::Record(record) if !open.contains(&&record.name) => {
            open.push(&record.name);
            for field in &record.fields {
                find_decimals(schema, &field.schema, &path.field(&field.name), open, paths);
            }
            open.pop();
        }
        Avro::Array(array) => {
            find_decimals(schema, &array.items, &path.join(Segment::Items), open, paths);
        }
        Avro::Map(map) => {
            find_decimals(schema, &map.types, &path.join(Segment::Values), open, paths);
        }
        Avro::Union(union) => {
            for branch in union.variants() {
                find_decimals(schema, branch, path, open, paths);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events;

    fn shown(paths: &[Path]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_order_s_kind_is_closed_and_precise() {
        let kind = kind(&Schema::parse(events::ORDER).unwrap());
        let fields = kind.as_object().unwrap();
        let field = |name: &str| fields.known().get(&name.into()).unwrap().clone();
        assert_eq!(field("total"), Kind::bytes(), "a decimal is a text");
        assert_eq!(field("placed_at"), Kind::timestamp());
        assert_eq!(field("note"), Kind::bytes().or_null());
        let line = field("lines").into_array().unwrap().unknown_kind();
        assert_eq!(line.as_object().unwrap().known().len(), 4);
        assert_eq!(fields.unknown_kind(), Kind::undefined());
    }

    #[test]
    fn a_record_that_holds_itself_has_a_kind() {
        let text = r#"{"type":"record","name":"Node","fields":[
            {"name":"next","type":["null","Node"]},
            {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}}]}"#;
        let schema = Schema::parse(text).unwrap();
        let next = kind(&schema).as_object().unwrap().known().get(&"next".into()).unwrap().clone();
        assert_eq!(next, Kind::any_object().or_null());
        assert_eq!(shown(&decimal_paths(&schema)), [".price"]);
    }

    #[test]
    fn decimals_are_found_in_arrays_maps_and_unions() {
        let paths = decimal_paths(&Schema::parse(events::ORDER).unwrap());
        assert_eq!(shown(&paths), [".lines[].quantity", ".lines[].unit_price", ".total"]);
        let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":4}"#;
        let text =
            format!(r#"{{"type":"map","values":["null",{{"type":"array","items":{decimal}}}]}}"#);
        assert_eq!(shown(&decimal_paths(&Schema::parse(&text).unwrap())), [".*[]"]);
    }
}
