//! Proposes an Avro schema for what samples hold, and says what it was unsure of.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use engine::Fault;
use schemas::Form;
use serde_json::{Map, Value as Json, json};

use super::formats::{Input, Position, Reading, Record};
use super::options::{Csv, Format, Ragged, Xml};
use super::snapshot::unreadable;
use super::texts::Texts;

/// How many records of a sample are looked at.
const MOST_RECORDS: usize = 100_000;
/// The largest JSON text or record.
const LARGEST: usize = 64 << 20;
/// Delimiters that are looked for.
const DELIMITERS: [char; 4] = [';', ',', '\t', '|'];
/// The digits of money: enough for what the sample did not show.
const DIGITS: [usize; 3] = [18, 38, 76];

/// A proposal.
#[derive(Debug)]
pub struct Proposal {
    /// The schema's text.
    pub schema: String,
    /// What was not sure, a sentence each.
    pub doubts: Vec<String>,
}

/// Proposes a schema of this name for a file of JSON, JSON lines, CSV or XML.
///
/// # Errors
/// The file cannot be read, holds none of these, or nothing.
pub fn infer(path: &Path, name: &str) -> Result<Proposal, Fault> {
    let mut doubts = Vec::new();
    let samples = samples(path, &mut doubts)?;
    let mut tally = Tally::default();
    for value in &samples.values {
        tally.add(value, samples.untyped);
    }
    if tally.objects == 0 {
        let message = format!("`{}` holds no record with fields.", path.display());
        return Err(Fault::data("no_records", message));
    }
    if samples.values.len() == MOST_RECORDS {
        doubts.push(format!("only the first {MOST_RECORDS} records were looked at"));
    }
    let schema = tally.schema(&pascal(name), "", &mut doubts);
    let schema = serde_json::to_string_pretty(&schema)
        .map_err(|error| Fault::internal("proposal", error.to_string()))?;
    Ok(Proposal { schema, doubts })
}

/// Records of a file; `untyped` if all their values are texts.
struct Samples {
    values: Vec<Json>,
    untyped: bool,
}

fn samples(path: &Path, doubts: &mut Vec<String>) -> Result<Samples, Fault> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let size = file.metadata().map_err(|error| unreadable(path, &error))?.len();
    let input = Arc::new(Input { file, size });
    let head = input.bytes(&(0..size), 1 << 20)?;
    let begin = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head).trim_ascii_start();
    match begin.first() {
        Some(b'{' | b'[') => json_values(&input, size),
        Some(b'<') => {
            let record = "/*".to_owned();
            let xml = Xml { record, namespaces: Default::default(), lists: Vec::new() };
            doubts.push(
                "the root element was taken for a record: name another with `record`".to_owned(),
            );
            records(Format::Xml(xml), None, &input)
        }
        Some(_) => {
            let encoding = match std::str::from_utf8(&head) {
                Err(error) if error.error_len().is_some() => {
                    doubts.push("it is not UTF-8: it was read as CP1252".to_owned());
                    WINDOWS_1252
                }
                _ => UTF_8,
            };
            let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let count = |delimiter: char| {
                line.iter().filter(|byte| char::from(**byte) == delimiter).count()
            };
            let delimiter = DELIMITERS.into_iter().rev().max_by_key(|one| count(*one));
            let csv = Csv {
                delimiter: delimiter.unwrap_or(','),
                quote: '"',
                columns: None,
                skip: 0,
                ragged: Ragged::Pad,
            };
            records(Format::Csv(csv), Some(encoding), &input)
        }
        None => Err(Fault::data("no_records", format!("`{}` is empty.", path.display()))),
    }
}

/// A JSON value (of a list, its items), or a value a line.
fn json_values(input: &Arc<Input>, size: u64) -> Result<Samples, Fault> {
    if size <= LARGEST as u64 {
        let bytes = input.bytes(&(0..size), LARGEST)?;
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        match serde_json::from_slice(text) {
            Ok(Json::Array(values)) => return Ok(Samples { values, untyped: false }),
            Ok(value) => return Ok(Samples { values: vec![value], untyped: false }),
            Err(_) => {}
        }
    }
    let mut samples = records(Format::JsonLines, None, input)?;
    samples.untyped = false;
    Ok(samples)
}

fn records(
    format: Format,
    encoding: Option<&'static Encoding>,
    input: &Arc<Input>,
) -> Result<Samples, Fault> {
    let reading = Reading { format, encoding, largest: LARGEST };
    let mut records = reading.open(input, Position::default())?;
    let mut values = Vec::new();
    while values.len() < MOST_RECORDS {
        let Some(found) = records.next()? else { break };
        let place =
            |error: String| Fault::data("not_readable", format!("Line {}: {error}", found.line));
        let json = match found.record.map_err(|fault| place(fault.message))? {
            Record::Json(json) => json,
            Record::Texts(value) => schemas::json::write(&value).into_bytes(),
        };
        let value = serde_json::from_slice(&json);
        values.push(value.map_err(|error| place(error.to_string()))?);
    }
    Ok(Samples { values, untyped: true })
}

/// What was seen at a place.
#[derive(Debug, Default)]
struct Tally {
    nulls: usize,
    objects: usize,
    arrays: usize,
    booleans: usize,
    wholes: usize,
    decimals: usize,
    reals: usize,
    days: usize,
    instants: usize,
    texts: usize,
    /// Digits before and after the point, at most.
    digits: usize,
    scale: usize,
    zeros: bool,
    comma: bool,
    local_days: bool,
    numeric_texts: bool,
    fields: Vec<(String, Tally)>,
    items: Option<Box<Tally>>,
}

impl Tally {
    fn add(&mut self, value: &Json, untyped: bool) {
        match value {
            Json::Null => self.nulls += 1,
            Json::Bool(_) => self.booleans += 1,
            Json::Number(number) => self.number(&number.to_string()),
            Json::String(text) => self.text(text, untyped),
            Json::Array(items) => {
                self.arrays += 1;
                let tally = self.items.get_or_insert_default();
                items.iter().for_each(|item| tally.add(item, untyped));
            }
            Json::Object(fields) => {
                self.objects += 1;
                for (name, value) in fields {
                    let known = self.fields.iter().position(|(known, _)| known == name);
                    let index = known.unwrap_or_else(|| {
                        self.fields.push((name.clone(), Tally::default()));
                        self.fields.len() - 1
                    });
                    self.fields[index].1.add(value, untyped);
                }
            }
        }
    }

    fn number(&mut self, digits: &str) {
        if digits.contains(['e', 'E']) {
            self.reals += 1;
            return;
        }
        let (whole, decimals) = digits
            .trim_start_matches('-')
            .split_once('.')
            .unwrap_or((digits.trim_start_matches('-'), ""));
        self.digits = self.digits.max(whole.trim_start_matches('0').len());
        self.scale = self.scale.max(decimals.len());
        match decimals.is_empty() {
            true => self.wholes += 1,
            false => self.decimals += 1,
        }
    }

    fn text(&mut self, text: &str, untyped: bool) {
        let trimmed = text.trim();
        if DateTime::parse_from_rfc3339(trimmed).is_ok() {
            self.instants += 1;
            return;
        }
        let day = |form| trimmed.len() == 10 && NaiveDate::parse_from_str(trimmed, form).is_ok();
        if day("%Y-%m-%d") {
            self.days += 1;
            return;
        }
        let number = number_of(trimmed);
        if !untyped {
            self.numeric_texts |= number.is_some();
            self.texts += 1;
        } else if trimmed.is_empty() {
            self.nulls += 1;
        } else if day("%d/%m/%Y") {
            self.local_days = true;
            self.days += 1;
        } else if matches!(trimmed, "true" | "false") {
            self.booleans += 1;
        } else if let Some((digits, comma)) = number {
            let unsigned = digits.trim_start_matches('-').as_bytes();
            let zeros = unsigned.len() > 1 && unsigned[0] == b'0' && unsigned[1] != b'.';
            if zeros || trimmed.starts_with('+') {
                self.zeros = true;
                self.texts += 1;
            } else {
                self.comma |= comma;
                self.number(&digits);
            }
        } else {
            self.texts += 1;
        }
    }

    /// The type of what was seen, at a path.
    fn schema(&self, name: &str, path: &str, doubts: &mut Vec<String>) -> Json {
        let shown = if path.is_empty() { "the record" } else { path };
        let mut doubt = |what: &str| doubts.push(format!("{shown}: {what}"));
        let numbers = self.wholes + self.decimals + self.reals;
        let kinds = [
            self.objects,
            self.arrays,
            self.booleans,
            numbers,
            self.days,
            self.instants,
            self.texts,
        ];
        let seen = kinds.iter().filter(|count| **count > 0).count();
        if self.zeros {
            doubt("numbers with leading zeros or signs are taken for codes, and stay texts");
        }
        if seen == 0 {
            doubt("nothing was seen but nulls or empty texts: it is taken for a text");
            return json!("string");
        }
        if seen > 1 && self.objects + self.arrays == 0 {
            if !(self.zeros && numbers + self.texts == kinds.iter().sum::<usize>()) {
                doubt("values of several types were seen: it is taken for a text");
            }
            return json!("string");
        }
        if seen > 1 && self.arrays > 0 {
            doubt("a list was seen, and single values: it is taken for a list");
            return self.list(name, path, doubts);
        }
        if seen > 1 {
            doubt("an object was seen, and single values: it is taken for an object");
        }
        if self.objects > 0 {
            return self.record(name, path, doubts);
        }
        if self.arrays > 0 {
            return self.list(name, path, doubts);
        }
        if self.numeric_texts {
            doubt("texts that look like numbers were seen: if they are amounts, make it a decimal");
        }
        if self.comma {
            doubt("numbers have a decimal comma: `numbers: { decimal: \",\", thousands: \" \" }`");
        }
        if self.local_days {
            doubt("days are taken for day/month/year: `dates: [\"%d/%m/%Y\"]`");
        }
        self.scalar(numbers, &mut doubt)
    }

    fn scalar(&self, numbers: usize, doubt: &mut impl FnMut(&str)) -> Json {
        if self.booleans > 0 {
            json!("boolean")
        } else if self.days > 0 {
            json!({ "type": "int", "logicalType": "date" })
        } else if self.instants > 0 {
            json!({ "type": "long", "logicalType": "timestamp-micros" })
        } else if numbers == 0 {
            json!("string")
        } else if self.reals > 0 {
            doubt("numbers with exponents were seen: it is taken for a double, which is not exact");
            json!("double")
        } else if self.decimals == 0 && self.digits <= 18 {
            json!("long")
        } else {
            let wanted = self.digits + self.scale;
            let precision = DIGITS.into_iter().find(|digits| *digits >= wanted).unwrap_or(wanted);
            doubt(&format!("at most {} decimals were seen: that is its scale", self.scale));
            json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": self.scale })
        }
    }

    fn list(&self, name: &str, path: &str, doubts: &mut Vec<String>) -> Json {
        let items = self.items.as_deref();
        let items = items.map_or_else(
            || json!("string"),
            |items| items.schema(name, &format!("{path}[]"), doubts),
        );
        json!({ "type": "array", "items": items })
    }

    fn record(&self, name: &str, path: &str, doubts: &mut Vec<String>) -> Json {
        // An element of XML with attributes is read as its text.
        if let Some((_, text)) = self.fields.iter().find(|(name, _)| name == "#text") {
            doubts.push(format!("{path}: its attributes are left out: `event` can read them"));
            return text.schema(name, path, doubts);
        }
        let mut fields = Vec::new();
        for (field, tally) in &self.fields {
            let within = format!("{path}.{field}");
            let plain = field.trim_start_matches('@');
            let given = avro_name(plain);
            if given != plain {
                doubts.push(format!(
                    "{within}: no name of Avro; it is `{given}` here, and `event` has to make it so"
                ));
            }
            let kind = tally.schema(&format!("{name}{}", pascal(&given)), &within, doubts);
            let seen = tally.nulls
                + tally.objects
                + tally.arrays
                + tally.booleans
                + tally.wholes
                + tally.decimals
                + tally.reals
                + tally.days
                + tally.instants
                + tally.texts;
            let nullable = tally.nulls > 0 || seen < self.objects;
            let mut one = Map::new();
            one.insert("name".to_owned(), json!(given));
            one.insert("type".to_owned(), if nullable { json!(["null", kind]) } else { kind });
            if nullable {
                one.insert("default".to_owned(), Json::Null);
            }
            fields.push(Json::Object(one));
        }
        json!({ "type": "record", "name": name, "fields": fields })
    }
}

/// The digits of a number, and whether it has a decimal comma.
fn number_of(text: &str) -> Option<(String, bool)> {
    let read = |decimal, thousands| {
        let read = Texts::of_numbers(decimal, thousands).read(Form::Number, text).ok()?;
        Some(read.to_string_lossy().into_owned())
    };
    let point = read('.', None).map(|digits| (digits, false));
    point.or_else(|| read(',', Some(' ')).map(|digits| (digits, text.contains(','))))
}

/// A name as Avro allows it.
fn avro_name(name: &str) -> String {
    let legal = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut given: String = name.chars().map(|one| if legal(one) { one } else { '_' }).collect();
    if given.starts_with(|first: char| first.is_ascii_digit()) || given.is_empty() {
        given.insert(0, '_');
    }
    given
}

/// `order_line` is `OrderLine`.
fn pascal(name: &str) -> String {
    let parts = avro_name(name);
    let parts = parts.split('_').filter(|part| !part.is_empty());
    let upper = |part: &str| {
        let (first, rest) = part.split_at(1);
        first.to_ascii_uppercase() + rest
    };
    let name: String = parts.map(upper).collect();
    if name.is_empty() { "Record".to_owned() } else { avro_name(&name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(name: &str, text: &[u8]) -> (Json, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let proposal = infer(&path, "order").unwrap();
        schemas::Schema::parse(&proposal.schema).unwrap();
        (serde_json::from_str(&proposal.schema).unwrap(), proposal.doubts)
    }

    /// The type of a field.
    fn kind<'a>(schema: &'a Json, field: &str) -> &'a Json {
        let fields = schema["fields"].as_array().unwrap();
        &fields.iter().find(|one| one["name"] == field).unwrap()["type"]
    }

    fn decimal(scale: usize) -> Json {
        json!({ "type": "bytes", "logicalType": "decimal", "precision": 18, "scale": scale })
    }

    #[test]
    fn columns_are_what_all_their_values_can_be() {
        let csv = b"code;amount;day;count;note;mixed;N\xb0\n00123;1 234,5;31/12/2025;1;;1;a\n00124;0,25;01/01/2026;-2;;b;b\n";
        let (schema, doubts) = proposed("a.csv", csv);
        assert_eq!(*kind(&schema, "code"), json!("string"));
        assert_eq!(*kind(&schema, "amount"), decimal(2));
        assert_eq!(*kind(&schema, "day"), json!({ "type": "int", "logicalType": "date" }));
        assert_eq!(*kind(&schema, "count"), json!("long"));
        assert_eq!(*kind(&schema, "note"), json!(["null", "string"]));
        assert_eq!(*kind(&schema, "mixed"), json!("string"));
        assert_eq!(*kind(&schema, "N_"), json!("string"));
        for said in [
            "CP1252",
            ".code: numbers with leading zeros",
            ".amount: numbers have a decimal comma",
            ".day: days are taken",
            ".note: nothing was seen",
            ".mixed: values of several",
            ".N°: no name of Avro",
        ] {
            assert!(doubts.iter().any(|doubt| doubt.contains(said)), "{said}: {doubts:?}");
        }
    }

    #[test]
    fn json_is_proposed_with_its_nested_types_and_exact_decimals() {
        let lines = br#"{"id":"A","total":12.50,"lines":[{"sku":"x","qty":1}],"at":"2025-12-31T00:00:00Z","ok":true}
{"id":"B","total":3,"lines":[],"at":"2025-12-31T00:00:00Z","ok":false,"note":"n"}
"#;
        let (schema, doubts) = proposed("a.jsonl", lines);
        assert_eq!(*kind(&schema, "total"), decimal(2));
        assert_eq!(*kind(&schema, "note"), json!(["null", "string"]));
        assert_eq!(kind(&schema, "at")["logicalType"], "timestamp-micros");
        let item = &kind(&schema, "lines")["items"];
        assert_eq!(item["name"], "OrderLines");
        assert_eq!(*kind(item, "qty"), json!("long"));
        assert_eq!(doubts.len(), 1, "{doubts:?}");
        let (list, _) = proposed("a.json", br#"[{"a":"1.5"},{"a":"2"}]"#);
        assert_eq!(*kind(&list, "a"), json!("string"), "a text stays one");
    }

    #[test]
    fn xml_is_proposed_from_its_root() {
        let (schema, doubts) = proposed(
            "a.xml",
            include_bytes!("../../../docs/examples/orders-from-ubl/in/order.xml"),
        );
        let total = kind(&schema, "AnticipatedMonetaryTotal");
        assert_eq!(*kind(total, "PayableAmount"), decimal(2));
        assert!(doubts.iter().any(|doubt| doubt.contains("attributes")), "{doubts:?}");
    }
}
