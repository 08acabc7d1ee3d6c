//! Idempotent producers (KIP-98): what is sent again is stored once.

use tests::{admin::Admin, cluster::Cluster, consumer::read_all};

use crate::wire::{Appended, Batch, Connection};

const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;

/// A topic, and a producer's first batch for it.
fn begin(cluster: &Cluster) -> (String, Connection, Batch) {
    let topic = Admin::new(cluster.address()).topic("idempotent", 1, &[]);
    let mut connection = Connection::open(cluster.address());
    let producer = connection.producer_id();
    (topic, connection, Batch { producer, epoch: 0, sequence: 0, records: 3 })
}

/// Checks that a topic holds the sequence numbers from 0 up to one, once each, in order.
fn assert_holds(cluster: &Cluster, topic: &str, count: usize) {
    let seen = read_all(cluster.address(), topic, 0);
    let values: Vec<_> = seen.iter().filter_map(|seen| seen.record.text()).collect();
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(values, expected);
}

pub fn a_batch_sent_twice_is_stored_once(cluster: &mut Cluster) {
    let (topic, mut connection, batch) = begin(cluster);
    let first = connection.append(&topic, batch);
    assert_eq!(first, Appended { code: 0, offset: 0 });
    assert_eq!(connection.append(&topic, batch), first, "the answer to a repeat is the first one");
    assert_eq!(connection.append(&topic, batch.next()), Appended { code: 0, offset: 3 });
    assert_holds(cluster, &topic, 6);
}

/// Up to five batches may be under way at a time, and any of them be sent again.
pub fn a_batch_sent_again_after_others_is_stored_once(cluster: &mut Cluster) {
    let (topic, mut connection, first) = begin(cluster);
    let batches: Vec<_> =
        std::iter::successors(Some(first), |batch| Some(batch.next())).take(5).collect();
    for (batch, offset) in batches.iter().zip((0..).step_by(3)) {
        assert_eq!(connection.append(&topic, *batch), Appended { code: 0, offset });
    }
    for (batch, offset) in batches.iter().zip((0..).step_by(3)) {
        assert_eq!(connection.append(&topic, *batch), Appended { code: 0, offset }, "a repeat");
    }
    assert_holds(cluster, &topic, 15);
}

pub fn a_gap_between_batches_is_refused(cluster: &mut Cluster) {
    let (topic, mut connection, batch) = begin(cluster);
    connection.append(&topic, batch);
    let after_a_gap = connection.append(&topic, batch.next().next());
    assert_eq!(after_a_gap, Appended { code: OUT_OF_ORDER_SEQUENCE_NUMBER, offset: -1 });
    assert_eq!(connection.append(&topic, batch.next()), Appended { code: 0, offset: 3 });
    assert_holds(cluster, &topic, 6);
}

pub fn an_older_epoch_is_fenced(cluster: &mut Cluster) {
    let (topic, mut connection, old) = begin(cluster);
    let new = Batch { epoch: 1, ..old };
    assert_eq!(connection.append(&topic, new).code, 0);
    assert_eq!(connection.append(&topic, old.next()).code, INVALID_PRODUCER_EPOCH);
    assert_eq!(connection.append(&topic, new.next()).code, 0);
    assert_holds(cluster, &topic, 6);
}
