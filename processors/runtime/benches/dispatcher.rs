//! The dispatcher: events that arrive, are taken in batches, completed and committed.
//! `just pieces dispatcher`

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::Order;
use engine::clock::Moment;
use engine::dispatch::{Arrival, Dispatcher, Limits};

const EVENTS: i64 = 10_000;

/// All of the events, outstanding a thousand at once, of so many keys.
fn dispatched(keys: &[Bytes]) -> usize {
    let mut desk = Dispatcher::new(Order::Keyed, Limits { events: 1_000, bytes: 64 << 20 });
    desk.assign(0, 0, "");
    let now = Moment::now();
    let (mut offset, mut done) = (0, 0);
    while done < EVENTS as usize {
        while offset < EVENTS && desk.room() > 0 {
            let key = Some(keys[offset as usize % keys.len()].clone());
            desk.arrive(Arrival {
                partition: 0,
                offset,
                key,
                bytes: 500,
                timestamp: 0,
                event: offset,
            });
            offset += 1;
        }
        for taken in desk.take(now, 32) {
            desk.complete(&taken.ticket);
            done += 1;
        }
    }
    desk.commits().len()
}

fn dispatcher(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatcher");
    group.throughput(Throughput::Elements(EVENTS.unsigned_abs()));
    for keys in [1_u32, 100, 1_000] {
        let names: Vec<Bytes> = (0..keys).map(|key| Bytes::from(format!("C-{key}"))).collect();
        group.bench_function(format!("keys: {keys}"), |bench| bench.iter(|| dispatched(&names)));
    }
    group.finish();
}

criterion_group!(benches, dispatcher);
criterion_main!(benches);
