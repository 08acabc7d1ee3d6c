//! Random schemas, values of them, and schemas that could follow them.

use std::collections::HashMap;

use apache_avro::schema::{
    DecimalSchema, InnerDecimalSchema, Name, ResolvedSchema, Schema as Avro, UuidSchema,
};
use apache_avro::types::Value;
use apache_avro::{BigDecimal, Days, Decimal, Duration, Millis, Months};
use num_bigint::BigInt;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

pub struct Generator {
    random: StdRng,
    names: usize,
    records: Vec<String>,
}

/// Types without parts, by the kind of VRL value they become: a union holds one of each at most.
const LEAVES: [&str; 22] = [
    r#""null""#,
    r#""boolean""#,
    r#""int""#,
    r#""long""#,
    r#""float""#,
    r#""double""#,
    r#""string""#,
    r#""bytes""#,
    r#"{"type":"int","logicalType":"date"}"#,
    r#"{"type":"int","logicalType":"time-millis"}"#,
    r#"{"type":"long","logicalType":"time-micros"}"#,
    r#"{"type":"long","logicalType":"timestamp-millis"}"#,
    r#"{"type":"long","logicalType":"timestamp-micros"}"#,
    r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
    r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
    r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
    r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#,
    r#"{"type":"string","logicalType":"uuid"}"#,
    r#"{"type":"bytes","logicalType":"big-decimal"}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":60,"scale":30}"#,
    r#"{"type":"bytes","logicalType":"decimal","precision":20}"#,
];

impl Generator {
    pub fn new(random: StdRng) -> Self {
        Self { random, names: 0, records: Vec::new() }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    pub fn schema(&mut self) -> Json {
        self.record(3)
    }

    fn record(&mut self, depth: usize) -> Json {
        let name = self.name("R");
        self.records.push(name.clone());
        let fields = (0..self.random.random_range(0..6)).map(|index| {
            let kind = self.part(depth - 1);
            json!({ "name": format!("f{index}"), "type": kind })
        });
        let fields: Vec<Json> = fields.collect();
        self.records.pop();
        json!({ "type": "record", "name": name, "namespace": "a.b", "fields": fields })
    }

    fn part(&mut self, depth: usize) -> Json {
        if depth == 0 {
            return self.leaf();
        }
        match self.random.random_range(0..12) {
            0 => self.record(depth),
            1 => json!({ "type": "array", "items": self.part(depth - 1) }),
            2 => json!({ "type": "map", "values": self.part(depth - 1) }),
            3 => self.union(depth),
            4 => match self.records.choose(&mut self.random) {
                Some(enclosing) => json!(["null", format!("a.b.{enclosing}")]),
                None => self.leaf(),
            },
            5 => json!(["null", self.leaf_but_null()]),
            6 => {
                let size = self.random.random_range(0..20);
                json!({ "type": "fixed", "name": self.name("F"), "size": size })
            }
            7 => json!({ "type": "enum", "name": self.name("E"), "symbols": ["A", "B", "C"] }),
            8 => {
                json!({ "type": "fixed", "name": self.name("F"), "size": 12, "logicalType": "duration" })
            }
            9 => {
                json!({ "type": "fixed", "name": self.name("F"), "size": 16, "logicalType": "uuid" })
            }
            10 => {
                json!({ "type": "fixed", "name": self.name("F"), "size": 26, "logicalType": "decimal", "precision": 60, "scale": 7 })
            }
            _ => self.leaf(),
        }
    }

    fn leaf(&mut self) -> Json {
        let index = self.random.random_range(0..LEAVES.len());
        serde_json::from_str(LEAVES[index]).unwrap()
    }

    fn leaf_but_null(&mut self) -> Json {
        let index = self.random.random_range(1..LEAVES.len());
        serde_json::from_str(LEAVES[index]).unwrap()
    }

    /// One branch for each kind of VRL value, so that a value tells its branch.
    fn union(&mut self, depth: usize) -> Json {
        let mut branches = vec![json!("boolean")];
        let options = [
            json!("null"),
            json!("double"),
            json!("int"),
            json!("string"),
            json!({ "type": "long", "logicalType": "timestamp-micros" }),
            json!({ "type": "array", "items": self.part(depth - 1) }),
            json!({ "type": "map", "values": self.part(depth - 1) }),
        ];
        branches.extend(options.into_iter().filter(|_| self.random.random_bool(0.5)));
        Json::Array(branches)
    }

    pub fn value(&mut self, avro: &Avro) -> Value {
        let resolved = ResolvedSchema::try_from(avro).unwrap();
        self.value_of(avro, resolved.get_names(), 0)
    }

    fn value_of(&mut self, avro: &Avro, names: &HashMap<Name, &Avro>, depth: usize) -> Value {
        match avro {
            Avro::Ref { name } => self.value_of(names[name], names, depth),
            Avro::Record(record) => {
                let fields = record.fields.iter();
                Value::Record(
                    fields
                        .map(|field| {
                            (field.name.clone(), self.value_of(&field.schema, names, depth + 1))
                        })
                        .collect(),
                )
            }
            Avro::Union(union) => {
                let branches = union.variants();
                let index =
                    if depth > 12 { 0 } else { self.random.random_range(0..branches.len()) };
                Value::Union(
                    index as u32,
                    Box::new(self.value_of(&branches[index], names, depth + 1)),
                )
            }
            Avro::Array(array) => {
                let count = self.random.random_range(0..4);
                Value::Array(
                    (0..count).map(|_| self.value_of(&array.items, names, depth + 1)).collect(),
                )
            }
            Avro::Map(map) => {
                let count = self.random.random_range(0..4);
                Value::Map(
                    (0..count)
                        .map(|_| (self.text(), self.value_of(&map.types, names, depth + 1)))
                        .collect(),
                )
            }
            Avro::Enum(symbols) => {
                let index = self.random.random_range(0..symbols.symbols.len());
                Value::Enum(index as u32, symbols.symbols[index].clone())
            }
            leaf => self.leaf_value(leaf),
        }
    }

    fn leaf_value(&mut self, avro: &Avro) -> Value {
        match avro {
            Avro::Null => Value::Null,
            Avro::Boolean => Value::Boolean(self.random.random()),
            Avro::Int => Value::Int(self.random.random::<i32>() >> self.random.random_range(0..32)),
            Avro::Long => {
                Value::Long(self.random.random::<i64>() >> self.random.random_range(0..64))
            }
            Avro::Float => Value::Float(self.random.random_range(-1e30..1e30)),
            Avro::Double => Value::Double(self.random.random_range(-1e300..1e300)),
            Avro::String => Value::String(self.text()),
            Avro::Bytes => Value::Bytes(self.bytes(20)),
            Avro::Fixed(fixed) => {
                Value::Fixed(fixed.size, (0..fixed.size).map(|_| self.random.random()).collect())
            }
            Avro::Date => Value::Date(self.random.random_range(-90_000_000..90_000_000)),
            Avro::TimeMillis => Value::TimeMillis(self.random.random_range(0..86_400_000)),
            Avro::TimeMicros => Value::TimeMicros(self.random.random_range(0..86_400_000_000)),
            Avro::TimestampMillis => Value::TimestampMillis(self.moment(8_000_000_000_000_000)),
            Avro::TimestampMicros => Value::TimestampMicros(self.moment(8_000_000_000_000_000_000)),
            Avro::TimestampNanos => Value::TimestampNanos(self.moment(i64::MAX)),
            Avro::LocalTimestampMillis => {
                Value::LocalTimestampMillis(self.moment(8_000_000_000_000_000))
            }
            Avro::LocalTimestampMicros => {
                Value::LocalTimestampMicros(self.moment(8_000_000_000_000_000_000))
            }
            Avro::LocalTimestampNanos => Value::LocalTimestampNanos(self.moment(i64::MAX)),
            Avro::Uuid(UuidSchema::String | UuidSchema::Bytes | UuidSchema::Fixed(_)) => {
                Value::Uuid(uuid::Uuid::from_u128(self.random.random()))
            }
            Avro::BigDecimal => {
                let scale = self.random.random_range(0..40);
                Value::BigDecimal(BigDecimal::new(self.digits(70), scale))
            }
            Avro::Decimal(DecimalSchema { precision, inner, .. }) => {
                let bytes = self.digits(*precision).to_signed_bytes_be();
                let bytes = match inner {
                    InnerDecimalSchema::Bytes => bytes,
                    InnerDecimalSchema::Fixed(fixed) => {
                        let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
                        [vec![sign; fixed.size - bytes.len()], bytes].concat()
                    }
                };
                Value::Decimal(Decimal::from(bytes))
            }
            Avro::Duration(_) => Value::Duration(Duration::new(
                Months::new(self.random.random()),
                Days::new(self.random.random()),
                Millis::new(self.random.random()),
            )),
            other => panic!("{other:?}"),
        }
    }

    fn text(&mut self) -> String {
        (0..self.random.random_range(0..12))
            .map(|_| *['a', 'é', '"', '\\', ' ', '😀', '\n', '7'].choose(&mut self.random).unwrap())
            .collect()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.random.random_range(0..most)).map(|_| self.random.random()).collect()
    }

    fn moment(&mut self, most: i64) -> i64 {
        self.random.random_range(-most..most) >> self.random.random_range(0..20)
    }

    /// A number of at most that many digits.
    fn digits(&mut self, most: usize) -> BigInt {
        let count = self.random.random_range(1..=most);
        let digits: String =
            (0..count).map(|_| char::from(b'0' + self.random.random_range(0..10))).collect();
        let sign = if self.random.random() { "-" } else { "" };
        format!("{sign}{digits}").parse().unwrap()
    }

    /// A schema that could replace the given one: fields dropped, added, moved, made optional,
    /// numbers promoted, a symbol taken away. Decimals are left out: apache-avro refuses to resolve
    /// one whose bytes are fewer than its precision could take.
    pub fn evolve(&mut self, schema: &Json) -> Json {
        match schema {
            Json::Object(object) if object.get("type") == Some(&json!("record")) => {
                let mut fields: Vec<Json> = Vec::new();
                for field in object["fields"].as_array().unwrap() {
                    if self.random.random_bool(0.15) {
                        continue;
                    }
                    let mut field = field.clone();
                    field["type"] = self.evolve(&field["type"]);
                    let at = self.random.random_range(0..=fields.len());
                    fields.insert(at, field);
                }
                if self.random.random_bool(0.4) {
                    let (kind, default) = [
                        (json!("long"), json!(-7)),
                        (json!(["null", "string"]), Json::Null),
                        (json!({ "type": "array", "items": "int" }), json!([1, 2])),
                        (json!({ "type": "map", "values": "string" }), json!({ "a": "b" })),
                        (json!("double"), json!(0.5)),
                        (json!("string"), json!("é")),
                    ]
                    .choose(&mut self.random)
                    .unwrap()
                    .clone();
                    fields.push(
                        json!({ "name": self.name("added"), "type": kind, "default": default }),
                    );
                }
                let mut record = object.clone();
                record.insert("fields".to_owned(), Json::Array(fields));
                Json::Object(record)
            }
            Json::Object(object)
                if object.get("type") == Some(&json!("enum")) && self.random.random_bool(0.3) =>
            {
                let mut symbols = object.clone();
                symbols.insert("symbols".to_owned(), json!(["C", "A"]));
                symbols.insert("default".to_owned(), json!("A"));
                Json::Object(symbols)
            }
            Json::Object(object) if object.get("type") == Some(&json!("array")) => {
                json!({ "type": "array", "items": self.evolve(&object["items"]) })
            }
            Json::Object(object) if object.get("type") == Some(&json!("map")) => {
                json!({ "type": "map", "values": self.evolve(&object["values"]) })
            }
            Json::String(name) if self.random.random_bool(0.5) => match name.as_str() {
                "int" => json!("long"),
                "long" => json!("double"),
                "float" => json!("double"),
                "string" => json!(["null", "string"]),
                "boolean" => json!(["null", "boolean"]),
                _ => schema.clone(),
            },
            _ => schema.clone(),
        }
    }
}
