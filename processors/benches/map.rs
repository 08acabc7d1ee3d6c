//! The map from an order of ten lines, about 500 bytes, to a sale, without Kafka: decoded, mapped,
//! encoded. `just pieces map`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::connector::{ProcessorConnector as _, Setup, Shared};
use engine::expression;
use engine::{Emit, Event, Headers};
use processors::Map;
use schemas::{Decoder, Encoder, Schema, events, json};

const MAP: &str = r#"
.web_id = .id
.date = format_timestamp!(.placed_at, "%Y-%m-%d")
.party = { "code": .customer.id, "name": .customer.name, "email": .customer.email, "address": .customer.address }
.total = decimal_sum!(map_values(.lines) -> |line| { decimal_round!(decimal_multiply!(line.unit_price, line.quantity), 2) })
.lines = map_values(.lines) -> |line| { { "product": line.sku, "quantity": line.quantity, "unit_price": line.unit_price } }
.reference = .note
"#;

fn setup() -> Setup {
    let input = Schema::parse(events::ORDER).unwrap();
    Setup {
        route: "bench/to_sale".into(),
        input: schemas::kind(&input),
        input_schema: Some(input),
        output_schema: Some(Schema::parse(events::SALE).unwrap()),
        folder: ".".into(),
        connection: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        shared: Shared::default(),
    }
}

fn event() -> Event {
    Event {
        topic: "orders".into(),
        partition: 0,
        offset: 7,
        timestamp: 1_767_225_600_000,
        key: Some("C-7".into()),
        payload: None,
        headers: Headers::default(),
        value: None,
    }
}

fn map(criterion: &mut Criterion) {
    let line = r#"{"sku":"SKU-000001","description":"A box","quantity":"3","unit_price":"19.99"}"#;
    let text = format!(
        r#"{{"id":"O-123456","placed_at":1767225600000,"currency":"EUR","customer":{{"id":"C-7","name":"Ada Lovelace 7","email":"ada7@example.com","address":{{"street":"7 St James's Square","city":"London","postal_code":"SW1Y 4JH","country":"GB"}}}},"lines":[{}],"total":"599.70","note":"Leave it with the neighbour, please."}}"#,
        [line; 10].join(",")
    );
    let (order, sale) =
        (Schema::parse(events::ORDER).unwrap(), Schema::parse(events::SALE).unwrap());
    let value = json::read(&order, text.as_bytes()).unwrap().value;
    let mut payload = Vec::new();
    Encoder::new(&order).unwrap().encode(&value, &mut payload).unwrap();
    let (decoder, encoder) = (Decoder::new(&order, None).unwrap(), Encoder::new(&sale).unwrap());
    let processor = Map::build(expression::Map(MAP.into()), &setup()).unwrap();
    let event = event();
    let mapped = |value| {
        let mut out = Emit::default();
        processor.process(&event, value, &mut out).unwrap();
        out.take()
    };
    let mut group = criterion.benchmark_group("map");
    group.throughput(Throughput::Elements(1));
    group.bench_function("map alone", |bench| bench.iter(|| mapped(black_box(value.clone()))));
    let mut out = Vec::new();
    group.bench_function(format!("decode {} bytes, map, encode", payload.len()), |bench| {
        bench.iter(|| {
            let value = decoder.decode(black_box(&payload)).unwrap();
            out.clear();
            for sale in mapped(value) {
                encoder.encode(&sale, &mut out).unwrap();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, map);
criterion_main!(benches);
