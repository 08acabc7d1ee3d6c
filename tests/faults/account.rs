//! The check over both ledgers: what was acknowledged against what was received.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use crate::ledger::{Call, Fault, Receipt, short};

/// What the ledgers say together.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Orders that the shop sent.
    pub sent: usize,
    /// Orders that it was told are taken.
    pub acknowledged: usize,
    /// Requests that the application took, repeats included.
    pub received: usize,
    /// Requests that took an order once more.
    pub repeated: usize,
    /// Repeats that had an effect once more.
    pub effects_repeated: usize,
    /// Orders whose requests differ in their idempotency key, and keys of several orders.
    pub keys_changed: Vec<String>,
    /// Acknowledged orders that are neither at the application nor in the dead letters.
    pub lost: Vec<String>,
    /// Orders that nobody sent.
    pub invented: Vec<String>,
    /// Orders in the dead letters.
    pub dead_letters: usize,
    /// Orders that arrived first after a later one of their customer had.
    pub out_of_order: Vec<String>,
    /// Customers whose last request is not of their last order.
    pub stale: Vec<String>,
    /// Orders whose body is not what it was to become.
    pub changed: Vec<String>,
    /// A hash over what was to be received, in the order of the ids.
    pub hash_sent: String,
    /// The same over what was received.
    pub hash_received: String,
    /// For each fault, how long after it was healed an order arrived, in milliseconds.
    pub recoveries: Vec<u64>,
}

impl Account {
    /// Draws up the account of what was sent and received; `dead` are the ids in dead letters.
    pub fn of(
        calls: &[Call],
        receipts: &[Receipt],
        dead: &BTreeSet<String>,
        faults: &[Fault],
    ) -> Self {
        let sent: BTreeMap<_, _> =
            calls.iter().map(|call| (call.id.as_str(), call.hash.as_str())).collect();
        let acknowledged: BTreeSet<_> = calls
            .iter()
            .filter(|call| call.is_acknowledged())
            .map(|call| call.id.as_str())
            .collect();
        let taken: Vec<_> = receipts.iter().filter(|receipt| receipt.taken).collect();
        let first: BTreeMap<_, _> =
            taken.iter().rev().map(|receipt| (receipt.id.as_str(), *receipt)).collect();
        let owned = |id: &str| id.to_owned();
        let lost = |id: &&&str| !first.contains_key(**id) && !dead.contains(**id);
        let changed = |receipt: &&&Receipt| {
            sent.get(receipt.id.as_str()).is_some_and(|hash| *hash != receipt.hash)
        };
        let (out_of_order, stale) = order(&taken);
        Self {
            sent: sent.len(),
            acknowledged: acknowledged.len(),
            received: taken.len(),
            repeated: taken.len() - first.len(),
            effects_repeated: taken.iter().filter(|receipt| receipt.effect).count() - first.len(),
            keys_changed: keys_changed(receipts),
            lost: acknowledged.iter().filter(lost).map(|id| owned(id)).collect(),
            invented: first
                .keys()
                .filter(|id| !sent.contains_key(*id))
                .map(|id| owned(id))
                .collect(),
            dead_letters: dead.len(),
            out_of_order,
            stale,
            changed: taken.iter().filter(changed).map(|receipt| receipt.id.clone()).collect(),
            hash_sent: digest(sent.iter().map(|(id, hash)| (*id, *hash))),
            hash_received: digest(first.iter().map(|(id, receipt)| (*id, receipt.hash.as_str()))),
            recoveries: recoveries(&taken, faults),
        }
    }

    /// Nothing is lost, invented, changed or out of order, and what is repeated is repeated under
    /// its own idempotency key. How many repeats there may be is for each row to say.
    #[track_caller]
    pub fn holds(&self) {
        let found = [
            ("lost", &self.lost),
            ("invented", &self.invented),
            ("changed", &self.changed),
            ("out of order", &self.out_of_order),
            ("not ended by the last order", &self.stale),
            ("under another idempotency key", &self.keys_changed),
        ];
        for (what, ids) in found {
            let some: Vec<_> = ids.iter().take(10).collect();
            assert!(ids.is_empty(), "{} of {} {what}: {some:?}", ids.len(), self.sent);
        }
        assert!(self.acknowledged > 0, "nothing was acknowledged: {self:?}");
        if self.dead_letters == 0 {
            assert_eq!(self.hash_sent, self.hash_received);
        }
    }

    /// The longest time that an order took to arrive after a fault was healed, in milliseconds.
    pub fn recovery(&self) -> u64 {
        self.recoveries.iter().copied().max().unwrap_or_default()
    }
}

/// The customer and the number of an order.
fn parts(id: &str) -> (&str, u64) {
    let (customer, number) = id.split_once('/').unwrap_or((id, "0"));
    (customer, number.parse().unwrap_or_default())
}

/// The orders that came first after a later one, and the customers whose last request is of an
/// older order than another: an application that keeps what came last would keep an old version.
fn order(taken: &[&Receipt]) -> (Vec<String>, Vec<String>) {
    let (mut late, mut seen) = (Vec::new(), BTreeSet::new());
    // By customer: the latest order so far, and the last one received.
    let mut of_customer: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for receipt in taken {
        let (customer, number) = parts(&receipt.id);
        let (latest, last) = of_customer.entry(customer).or_insert((number, number));
        if seen.insert(&receipt.id) && number < *latest {
            late.push(receipt.id.clone());
        }
        *latest = number.max(*latest);
        *last = number;
    }
    let stale = of_customer.iter().filter(|(_, (latest, last))| latest != last);
    (late, stale.map(|(customer, _)| (*customer).to_owned()).collect())
}

fn keys_changed(receipts: &[Receipt]) -> Vec<String> {
    let pairs: BTreeSet<_> =
        receipts.iter().map(|receipt| (receipt.id.as_str(), receipt.key.as_str())).collect();
    let (mut ids, mut keys) = (BTreeMap::new(), BTreeMap::new());
    for (id, key) in pairs {
        *ids.entry(id).or_insert(0) += 1;
        *keys.entry(key).or_insert(0) += 1;
    }
    let several = |(name, count): (&str, i32)| (count > 1).then(|| name.to_owned());
    ids.into_iter().chain(keys).filter_map(several).collect()
}

fn digest<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut digest = Sha256::new();
    for (id, hash) in pairs {
        digest.update(format!("{id} {hash}\n"));
    }
    short(&digest.finalize())
}

fn recoveries(taken: &[&Receipt], faults: &[Fault]) -> Vec<u64> {
    let healed = faults.iter().filter(|fault| fault.healed);
    let first_after = |fault: &Fault| taken.iter().map(|r| r.at).find(|at| *at >= fault.at);
    healed.filter_map(|fault| Some(first_after(fault)? - fault.at)).collect()
}

/// The check has to see what it is there for.
pub mod checks {
    use super::*;

    fn call(id: &str, answer: Option<u16>) -> Call {
        Call { at: 0, id: id.to_owned(), hash: id.to_owned(), answer, retry_after: false }
    }

    fn receipt(id: &str) -> Receipt {
        Receipt {
            at: 0,
            path: String::new(),
            instance: String::new(),
            id: id.to_owned(),
            key: id.to_owned(),
            hash: id.to_owned(),
            taken: true,
            effect: true,
            answer: 201,
        }
    }

    fn account(acknowledged: &[&str], received: &[&str]) -> Account {
        let calls: Vec<_> = acknowledged.iter().map(|id| call(id, Some(200))).collect();
        let receipts: Vec<_> = received.iter().map(|id| receipt(id)).collect();
        Account::of(&calls, &receipts, &BTreeSet::new(), &[])
    }

    pub fn the_check_sees_what_is_lost_repeated_and_out_of_order() {
        account(&["A/1", "A/2"], &["A/1", "A/2"]).holds();
        let repeated = account(&["A/1", "A/2", "A/3"], &["A/1", "A/2", "A/1", "A/2", "A/3"]);
        repeated.holds();
        assert_eq!((repeated.repeated, repeated.received), (2, 5));
        assert_eq!(account(&["A/1", "A/2"], &["A/2"]).lost, ["A/1"]);
        assert_eq!(account(&["A/1", "A/2"], &["A/2", "A/1"]).out_of_order, ["A/1"]);
        assert_eq!(account(&["A/1", "A/2"], &["A/1", "A/2", "A/1"]).stale, ["A"]);
        assert_eq!(account(&["A/1"], &["A/1", "B/1"]).invented, ["B/1"]);
        let unanswered = [call("A/1", None), call("A/1", Some(0)), call("A/1", Some(503))];
        assert!(Account::of(&unanswered, &[], &BTreeSet::new(), &[]).lost.is_empty());
    }

    pub fn the_check_sees_changed_bodies_and_keys() {
        let calls = [call("A/1", Some(200))];
        let of = |receipts: &[Receipt]| Account::of(&calls, receipts, &BTreeSet::new(), &[]);
        let changed = Receipt { hash: "other".to_owned(), ..receipt("A/1") };
        assert_eq!(of(std::slice::from_ref(&changed)).changed, ["A/1"]);
        assert_ne!(of(std::slice::from_ref(&changed)).hash_sent, of(&[changed]).hash_received);
        let another = Receipt { key: "other".to_owned(), ..receipt("A/1") };
        assert_eq!(of(&[receipt("A/1"), another]).keys_changed, ["A/1"]);
        let dead = BTreeSet::from(["A/1".to_owned()]);
        assert!(Account::of(&calls, &[], &dead, &[]).lost.is_empty());
    }
}
