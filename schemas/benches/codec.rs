//! The codec on an order of ten lines, about 500 bytes: what a route pays for each event besides
//! Kafka. `just pieces codec`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use schemas::{Decoder, Encoder, Schema, events, json};

/// The order as a shop's JSON.
fn order() -> String {
    let line = r#"{"sku":"SKU-000001","description":"A box","quantity":"3","unit_price":"19.99"}"#;
    let lines = [line; 10].join(",");
    format!(
        r#"{{"id":"O-123456","placed_at":1767225600000,"currency":"EUR","customer":{{"id":"C-7","name":"Ada Lovelace 7","email":"ada7@example.com","address":{{"street":"7 St James's Square","city":"London","postal_code":"SW1Y 4JH","country":"GB"}}}},"lines":[{lines}],"total":"599.70","note":"Leave it with the neighbour, please."}}"#
    )
}

fn codec(criterion: &mut Criterion) {
    let schema = Schema::parse(events::ORDER).unwrap();
    let text = order();
    let value = json::read(&schema, text.as_bytes()).unwrap().value;
    let (encoder, decoder) = (Encoder::new(&schema).unwrap(), Decoder::new(&schema, None).unwrap());
    let mut payload = Vec::new();
    encoder.encode(&value, &mut payload).unwrap();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("decode {} bytes", payload.len()), |bench| {
        bench.iter(|| decoder.decode(black_box(&payload)).unwrap());
    });
    let mut out = Vec::with_capacity(payload.len());
    group.bench_function("encode", |bench| {
        bench.iter(|| {
            out.clear();
            encoder.encode(black_box(&value), &mut out).unwrap();
        });
    });
    group.bench_function("read JSON", |bench| {
        bench.iter(|| json::read(&schema, black_box(text.as_bytes())).unwrap());
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
