//! The codec against apache-avro: random schemas and values, from a seed, mean the same to both.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod generator;
mod meaning;

use apache_avro::Schema as Avro;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use rand::SeedableRng;
use rand::rngs::StdRng;
use schemas::{Decoder, Encoder, Schema};
use vrl::value::Value;

use generator::Generator;

fn written(schema: &Avro, value: &AvroValue) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_to_vec(value.clone()).unwrap()
}

fn read(
    writer: &Avro,
    reader: Option<&Avro>,
    payload: &[u8],
) -> apache_avro::AvroResult<AvroValue> {
    let datum = GenericDatumReader::builder(writer).maybe_reader_schema(reader).build()?;
    datum.read_value(&mut &payload[..])
}

/// A schema with its random values.
fn for_each_value(seed: u64, mut check: impl FnMut(&mut Generator, &str, &Avro, &AvroValue)) {
    for round in 0..400 {
        let mut generator = Generator::new(StdRng::seed_from_u64(seed + round));
        let text = generator.schema().to_string();
        let avro = Avro::parse_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for _ in 0..5 {
            let value = generator.value(&avro);
            check(&mut generator, &text, &avro, &value);
        }
    }
}

#[test]
fn what_apache_avro_writes_is_decoded_to_the_same_value() {
    for_each_value(1, |_, text, avro, value| {
        let decoder = Decoder::new(&Schema::parse(text).unwrap(), None).unwrap();
        let decoded = decoder.decode(&written(avro, value));
        assert_eq!(decoded.as_ref(), Ok(&meaning::of(avro, value)), "{text}");
    });
}

#[test]
fn what_is_encoded_is_the_same_value_to_apache_avro() {
    for_each_value(10_000, |_, text, avro, value| {
        let encoder = Encoder::new(&Schema::parse(text).unwrap()).unwrap();
        let mut payload = Vec::new();
        let meant: Value = meaning::of(avro, value);
        encoder.encode(&meant, &mut payload).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(&read(avro, None, &payload).unwrap(), value, "{text}");
    });
}

#[test]
fn what_a_schema_s_kind_says_is_true_of_its_values() {
    for_each_value(20_000, |_, text, avro, value| {
        let kind = schemas::kind(&Schema::parse(text).unwrap());
        let value = vrl::value::Kind::from(meaning::of(avro, value));
        assert!(kind.is_superset(&value).is_ok(), "{text}\n{kind}\n{value}");
    });
}

#[test]
fn what_a_schema_s_decoder_makes_has_no_misfits() {
    for_each_value(30_000, |_, text, _, _| {
        let schema = Schema::parse(text).unwrap();
        assert_eq!(schemas::misfits(&schemas::kind(&schema), &schema, None), [], "{text}");
    });
}

#[test]
fn json_of_a_value_is_read_as_the_same_value() {
    let mut compared = 0;
    for_each_value(40_000, |_, text, avro, value| {
        let schema = Schema::parse(text).unwrap();
        // Bytes are base64 in JSON, and shown as text where they are one: they do not come back.
        let is_raw = |kind: &str| kind.contains("bytes") || kind.contains("fixed");
        if schema.fields().iter().any(|field| is_raw(&field.kind)) {
            return;
        }
        let meant = meaning::of(avro, value);
        let json = schemas::json::write(&meant);
        let read = schemas::json::read(&schema, json.as_bytes());
        assert_eq!(read.map(|read| read.value), Ok(meant), "{text}\n{json}");
        compared += 1;
    });
    assert!(compared > 500, "only {compared} values were compared");
}

#[test]
fn a_reader_s_schema_resolves_as_it_does_for_apache_avro() {
    let mut compared = 0;
    for_each_value(50_000, |generator, text, avro, value| {
        let reader_text = generator.evolve(&serde_json::from_str(text).unwrap()).to_string();
        let Ok(reader_avro) = Avro::parse_str(&reader_text) else { return };
        let payload = written(avro, value);
        let Ok(resolved) = read(avro, Some(&reader_avro), &payload) else { return };
        let (writer, reader) = (Schema::parse(text).unwrap(), Schema::parse(&reader_text).unwrap());
        let decoder = Decoder::new(&writer, Some(&reader));
        let decoder = decoder.unwrap_or_else(|error| panic!("{text}\n{reader_text}\n{error}"));
        let decoded = decoder.decode(&payload);
        assert_eq!(
            decoded.as_ref(),
            Ok(&meaning::of(&reader_avro, &resolved)),
            "{text}\n{reader_text}"
        );
        compared += usize::from(reader_text != text);
    });
    assert!(compared > 500, "only {compared} evolved schemas were compared");
}

#[test]
fn a_value_of_another_schema_is_refused_or_written_as_a_valid_one() {
    let mut values = Vec::new();
    let mut encoders = Vec::new();
    for_each_value(60_000, |_, text, avro, value| {
        values.push(meaning::of(avro, value));
        encoders.push(text.to_owned());
    });
    encoders.dedup();
    for text in encoders.iter().step_by(8) {
        let schema = Schema::parse(text).unwrap();
        let (encoder, decoder) =
            (Encoder::new(&schema).unwrap(), Decoder::new(&schema, None).unwrap());
        for value in values.iter().step_by(17) {
            let mut payload = Vec::new();
            if encoder.encode(value, &mut payload).is_ok() {
                assert!(decoder.decode(&payload).is_ok(), "{text}\n{value}");
            } else {
                assert!(payload.is_empty());
            }
        }
    }
}
