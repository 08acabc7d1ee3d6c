//! Gives JSON the shape of a schema.

use std::borrow::Cow;

use apache_avro::schema::{EnumSchema, RecordField, RecordSchema, Schema as Avro};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use vrl::value::{ObjectMap, Value};

use super::text::{Json, Node};
use super::{Fault, Read, Step};
use crate::leaf::{Leaf, Logical, Number, NumberForm, Store};
use crate::path::Path;
use crate::schema::{Schema, type_name};
use crate::{calendar, decimal, decoder, encoder};

/// Most unknown fields that are listed.
const MAX_UNKNOWN: usize = 100;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn read(schema: &Schema, json: &Json<'_>) -> Result<Read, Fault> {
    let mut reading = Reading { schema, place: Vec::new(), unknown: Vec::new() };
    let value = reading.value(schema.avro(), json)?;
    Ok(Read { value, unknown: reading.unknown })
}

/// A field of a JSON object.
type Named<'a> = (Cow<'a, str>, Json<'a>);

struct Reading<'a> {
    schema: &'a Schema,
    place: Vec<Step<'a>>,
    unknown: Vec<Path>,
}

impl<'a> Reading<'a> {
    fn path(&self) -> Path {
        self.place.iter().map(|step| (*step).into()).collect::<Vec<_>>().into()
    }

    fn fault(&self, json: &Json<'_>, cause: String) -> Fault {
        Fault { path: self.path(), at: json.at, cause }
    }

    fn wrong(&self, avro: &Avro, json: &Json<'_>, found: &str) -> Fault {
        let expected = type_name(self.schema, avro);
        self.fault(json, format!("it must be {expected}, but there is {found}"))
    }

    /// Reads one step deeper.
    fn within(
        &mut self,
        step: Step<'a>,
        avro: &'a Avro,
        json: &'a Json<'_>,
    ) -> Result<Value, Fault> {
        self.place.push(step);
        let value = self.value(avro, json);
        self.place.pop();
        value
    }

    fn value(&mut self, avro: &'a Avro, json: &'a Json<'_>) -> Result<Value, Fault> {
        let avro = self.schema.resolve(avro);
        match (avro, &json.node) {
            (Avro::Union(union), _) => self.union(avro, union.variants(), json),
            (Avro::Record(record), Node::Object(fields)) => self.record(record, fields, json),
            (Avro::Map(map), Node::Object(fields)) => {
                let entries = fields.iter().map(|(name, json)| {
                    let value = self.within(Step::Field(name), &map.types, json)?;
                    Ok((name.as_ref().into(), value))
                });
                entries.collect::<Result<ObjectMap, _>>().map(Value::Object)
            }
            (Avro::Array(array), Node::Array(items)) => {
                let items = items.iter().enumerate();
                let values =
                    items.map(|(index, json)| self.within(Step::Index(index), &array.items, json));
                values.collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            (Avro::Enum(symbols), Node::Text(text)) => {
                read_symbol(symbols, text).map_err(|found| self.wrong(avro, json, &found))
            }
            _ => {
                let leaf = Leaf::of(avro).ok_or_else(|| describe(&json.node));
                let value = leaf.and_then(|leaf| read_leaf(leaf, &json.node));
                value.map_err(|found| self.wrong(avro, json, &found))
            }
        }
    }

    fn record(
        &mut self,
        record: &'a RecordSchema,
        fields: &'a [Named<'a>],
        json: &Json<'_>,
    ) -> Result<Value, Fault> {
        let mut values = ObjectMap::new();
        for field in &record.fields {
            let given = fields.iter().rev().find(|(name, _)| *name == field.name);
            let value = match given {
                Some((_, json)) => self.within(Step::Field(&field.name), &field.schema, json)?,
                None => self.missing(record, field, json)?,
            };
            values.insert(field.name.as_str().into(), value);
        }
        for (name, _) in fields {
            let known = record.fields.iter().any(|field| *name == field.name);
            if !known && self.unknown.len() < MAX_UNKNOWN {
                let path = self.path().field(name);
                self.unknown.push(path);
            }
        }
        Ok(Value::Object(values))
    }

    fn missing(
        &mut self,
        record: &RecordSchema,
        field: &'a RecordField,
        json: &Json<'_>,
    ) -> Result<Value, Fault> {
        if let Some(value) = self.schema.default(&record.name, &field.name) {
            return Ok(value.clone());
        }
        if self.nullable(field) {
            return Ok(Value::Null);
        }
        self.place.push(Step::Field(&field.name));
        let fault = self.wrong(&field.schema, json, "nothing");
        self.place.pop();
        Err(fault)
    }

    /// Null is null, and a union of null and one type is that type. Of several, the branch is
    /// chosen before what it holds is read: trying them all would take, for a type that holds
    /// itself, a time that doubles with each level.
    fn union(
        &mut self,
        avro: &Avro,
        branches: &'a [Avro],
        json: &'a Json<'_>,
    ) -> Result<Value, Fault> {
        let schema = self.schema;
        let others = branches.iter().map(|branch| schema.resolve(branch));
        let others: Vec<&Avro> = others.filter(|branch| !matches!(branch, Avro::Null)).collect();
        if matches!(json.node, Node::Null) && others.len() < branches.len() {
            return Ok(Value::Null);
        }
        if let [only] = others.as_slice() {
            return self.value(only, json);
        }
        let ranked =
            others.into_iter().filter_map(|branch| Some((self.rank(branch, &json.node)?, branch)));
        match ranked.min_by_key(|(rank, _)| *rank) {
            Some((_, branch)) => self.value(branch, json),
            None => Err(self.wrong(avro, json, &describe(&json.node))),
        }
    }

    /// As [`Encoder`](crate::Encoder) ranks branches, except that a text or a number comes last
    /// where the type takes it only by courtesy.
    fn rank(&self, avro: &Avro, node: &Node<'_>) -> Option<usize> {
        const COURTESY: usize = 9;
        match (avro, node) {
            (Avro::Array(_), Node::Array(_)) => return Some(0),
            (Avro::Map(_), Node::Object(_)) => return Some(1),
            (Avro::Record(record), Node::Object(fields)) => {
                return self.record_rank(record, fields);
            }
            (Avro::Enum(symbols), Node::Text(text)) => {
                return read_symbol(symbols, text).is_ok().then_some(0);
            }
            _ => {}
        }
        let leaf = Leaf::of(avro)?;
        read_leaf(leaf, node).ok()?;
        Some(match (leaf, node) {
            (Leaf::Number(_, NumberForm::Integer) | Leaf::Real(_), Node::Text(_))
            | (Leaf::Bytes(Store::String, None), Node::Number(_)) => COURTESY,
            _ => encoder::leaf_rank(leaf),
        })
    }

    fn record_rank(&self, record: &RecordSchema, fields: &[Named<'_>]) -> Option<usize> {
        let given = |field: &RecordField| fields.iter().any(|(name, _)| *name == field.name);
        let needed = |field: &RecordField| field.default.is_none() && !self.nullable(field);
        if record.fields.iter().any(|field| needed(field) && !given(field)) {
            return None;
        }
        let known = |name: &str| record.fields.iter().any(|field| field.name == name);
        match fields.iter().filter(|(name, _)| !known(name)).count() {
            0 => Some(0),
            lacked => Some(1 + lacked),
        }
    }

    fn nullable(&self, field: &RecordField) -> bool {
        match self.schema.resolve(&field.schema) {
            Avro::Union(union) => union.variants().contains(&Avro::Null),
            other => matches!(other, Avro::Null),
        }
    }
}

fn read_symbol(symbols: &EnumSchema, text: &str) -> Result<Value, String> {
    let value = Value::from(text);
    encoder::write_symbol(&symbols.symbols, &value, &mut Vec::new()).map(|()| value)
}

/// Reads a value without parts, and gives it the form it has once it was encoded and decoded: a
/// decimal's scale, a date's digits, an instant's precision.
fn read_leaf(leaf: Leaf, node: &Node<'_>) -> Result<Value, String> {
    let value = match (leaf, node) {
        (Leaf::Null, Node::Null) => return Ok(Value::Null),
        (Leaf::Boolean, Node::Boolean(boolean)) => return Ok(Value::Boolean(*boolean)),
        (Leaf::Bytes(Store::String, None), Node::Text(text)) => {
            return Ok(Value::from(text.as_ref()));
        }
        (Leaf::Bytes(Store::String, None), Node::Number(number)) => {
            return Ok(Value::from(number.as_ref()));
        }
        (Leaf::Number(_, form), _) => read_number(form, node)?,
        (Leaf::Real(_), _) => read_real(node)?,
        (Leaf::Bytes(_, None), Node::Text(text)) => {
            let bytes = BASE64.decode(text.as_ref());
            bytes
                .map(|bytes| Value::Bytes(bytes.into()))
                .map_err(|cause| format!("a text that is not base64: {cause}"))?
        }
        (Leaf::Bytes(_, Some(Logical::Decimal(_) | Logical::BigDecimal)), Node::Number(number)) => {
            Value::from(number.as_ref())
        }
        (Leaf::Bytes(Store::Bytes | Store::Fixed(_), None), Node::Bytes(bytes)) => {
            Value::Bytes(bytes.clone().into())
        }
        (Leaf::Bytes(_, Some(Logical::Duration)), Node::Object(parts)) => {
            let parts = parts.iter().map(|(name, part)| {
                let part = read_number(NumberForm::Integer, &part.node)?;
                Ok((name.as_ref().into(), part))
            });
            Value::Object(parts.collect::<Result<_, String>>()?)
        }
        (Leaf::Bytes(_, Some(_)), Node::Text(text)) => Value::from(text.as_ref()),
        _ => return Err(describe(node)),
    };
    let mut bytes = Vec::new();
    encoder::write_leaf(leaf, &value, &mut bytes)?;
    decoder::read_leaf(leaf, &bytes).map_err(|error| error.cause)
}

fn read_number(form: NumberForm, node: &Node<'_>) -> Result<Value, String> {
    let number = match node {
        Node::Number(number) => decimal::whole(number)
            .ok_or_else(|| format!("{number}, which is not a whole number of at most 64 bits"))?,
        Node::Text(text) => return read_number_text(form, text),
        other => return Err(describe(other)),
    };
    if form == NumberForm::Integer {
        return Ok(Value::Integer(number));
    }
    let mut bytes = Vec::new();
    crate::binary::long(number, &mut bytes);
    decoder::read_leaf(Leaf::Number(Number::Long, form), &bytes).map_err(|error| error.cause)
}

fn read_number_text(form: NumberForm, text: &str) -> Result<Value, String> {
    match form {
        NumberForm::Integer => {
            let number = text.parse().map(Value::Integer);
            number.map_err(|_| format!("{}, which is not a whole number", encoder::quoted(text)))
        }
        NumberForm::Timestamp(_) => {
            let instant = calendar::parse_timestamp(text).map(Value::Timestamp);
            instant.ok_or_else(|| {
                format!("{}, which is not written like 2024-05-01T12:34:56Z", encoder::quoted(text))
            })
        }
        _ => Ok(Value::from(text)),
    }
}

fn read_real(node: &Node<'_>) -> Result<Value, String> {
    let number = match node {
        Node::Number(number) => number.parse().ok().filter(|number: &f64| number.is_finite()),
        Node::Text(text) if text == "Infinity" => Some(f64::INFINITY),
        Node::Text(text) if text == "-Infinity" => Some(f64::NEG_INFINITY),
        other => return Err(describe(other)),
    };
    let number = number.and_then(|number| number.try_into().ok()).map(Value::Float);
    number.ok_or_else(|| "a number beyond what a double holds".to_owned())
}

fn describe(node: &Node<'_>) -> String {
    match node {
        Node::Null => "null",
        Node::Boolean(_) => "a boolean",
        Node::Number(_) => "a number",
        Node::Text(_) => "a text",
        Node::Bytes(_) => "a run of bytes",
        Node::Wrong(cause) => cause,
        Node::Array(_) => "an array",
        Node::Object(_) => "an object",
    }
    .to_owned()
}
