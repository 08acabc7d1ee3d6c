//! A payload that was cut, changed or made up is an error: no panic, and no more memory than its
//! own bytes justify.

#![expect(unsafe_code, reason = "an allocator that counts is a foreign interface")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::{Decoder, Encoder, Schema, events, json};

/// Counts what is allocated, and the most that was at one time.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const EVERYTHING: &str = r#"{"type":"record","name":"All","fields":[
    {"name":"null","type":"null"},{"name":"boolean","type":"boolean"},{"name":"int","type":"int"},
    {"name":"float","type":"float"},{"name":"double","type":"double"},{"name":"bytes","type":"bytes"},
    {"name":"nulls","type":{"type":"array","items":"null"}},
    {"name":"map","type":{"type":"map","values":{"type":"array","items":{"type":"map","values":"long"}}}},
    {"name":"empty","type":{"type":"array","items":{"type":"record","name":"Empty","fields":[]}}},
    {"name":"fixed","type":{"type":"fixed","name":"F","size":3}},
    {"name":"enum","type":{"type":"enum","name":"E","symbols":["A","B"]}},
    {"name":"date","type":{"type":"int","logicalType":"date"}},
    {"name":"time","type":{"type":"long","logicalType":"time-micros"}},
    {"name":"local","type":{"type":"long","logicalType":"local-timestamp-millis"}},
    {"name":"uuid","type":{"type":"string","logicalType":"uuid"}},
    {"name":"big","type":{"type":"bytes","logicalType":"big-decimal"}},
    {"name":"money","type":{"type":"bytes","logicalType":"decimal","precision":60,"scale":20}},
    {"name":"duration","type":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}},
    {"name":"next","type":["null","All",{"type":"array","items":"All"}],"default":null}]}"#;

const FEWER: &str = r#"{"type":"record","name":"All","fields":[
    {"name":"int","type":"double"},{"name":"next","type":["null","All"],"default":null},
    {"name":"added","type":{"type":"array","items":"string"},"default":["a","b"]}]}"#;

/// Bytes, lengths and counts that a careless reader believes.
const NASTY: [&[u8]; 6] = [
    &[0x00],
    &[0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x40],
];

fn mutate(payload: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=payload.len());
        match random.random_range(0..5) {
            0 => payload.truncate(at),
            1 if at < payload.len() => payload[at] = random.random(),
            2 if at < payload.len() => payload[at] ^= 1 << random.random_range(0..8),
            3 => drop(
                payload.splice(at..at, NASTY[random.random_range(0..NASTY.len())].iter().copied()),
            ),
            _ => drop(payload.splice(
                at..at,
                (0..random.random_range(0..9)).map(|_| random.random::<u8>()).collect::<Vec<_>>(),
            )),
        }
    }
}

fn payloads(schema: &Schema, texts: &[&str]) -> Vec<Vec<u8>> {
    let encoder = Encoder::new(schema).unwrap();
    let encode = |text: &&str| {
        let mut payload = Vec::new();
        let value = json::read(schema, text.as_bytes()).unwrap().value;
        encoder.encode(&value, &mut payload).unwrap();
        payload
    };
    texts.iter().map(encode).collect()
}

#[test]
fn a_hundred_thousand_damaged_payloads_neither_panic_nor_take_memory() {
    let order = Schema::parse(events::ORDER).unwrap();
    let orders = payloads(
        &order,
        &[
            r#"{"id":"1001","placed_at":1714566896789,"currency":"EUR","customer":{"id":"c","name":"Ada","email":"a@b.c",
            "address":{"street":"s","city":"c","postal_code":"p","country":"FR"}},
            "lines":[{"sku":"A","quantity":2,"unit_price":10.1},{"sku":"B","quantity":"0.5","unit_price":3}],"total":21.7}"#,
        ],
    );
    let all = Schema::parse(EVERYTHING).unwrap();
    let inner = r#"{"null":null,"boolean":true,"int":1,"float":0.5,"double":0.5,"bytes":"AAE=","nulls":[null,null],
        "map":{"a":[{"b":1}],"c":[]},"empty":[{},{}],"fixed":"AAEC","enum":"B","date":"2024-05-01","time":"12:34:56",
        "local":"2024-05-01T12:34:56","uuid":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","big":1.5,
        "money":"1234567890123456789012345678901234567890.5","duration":{"months":1,"days":2,"milliseconds":3}"#;
    let outer = format!(r#"{inner},"next":[{inner}}},{inner},"next":{inner}}}}}]}}"#);
    let alls = payloads(&all, &[&format!("{inner}}}"), &outer]);
    let decoders = [
        (Decoder::new(&order, None).unwrap(), &orders),
        (Decoder::new(&all, None).unwrap(), &alls),
        (Decoder::new(&all, Some(&Schema::parse(FEWER).unwrap())).unwrap(), &alls),
    ];
    let mut random = StdRng::seed_from_u64(7);
    let mut refused = 0;
    for round in 0..100_000 {
        let (decoder, payloads) = &decoders[round % decoders.len()];
        let mut payload = payloads[random.random_range(0..payloads.len())].clone();
        mutate(&mut payload, &mut random);
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        refused += usize::from(decoder.decode(&payload).is_err());
        let taken = PEAK.load(Relaxed) - before;
        // A value of one byte takes up to 200 in memory; nulls, up to the budget, take 40 each.
        assert!(taken <= 150_000 + 400 * payload.len(), "{taken} bytes for {payload:02x?}");
    }
    assert!(refused > 50_000, "{refused}");
}
