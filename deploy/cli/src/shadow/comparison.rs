//! Two logs held against each other, line by line as they grow.
//!
//! Lines of one key that are equal belong together, in whatever order they came: the existing flow may
//! be late, or send twice. What is left over of a key is paired in its order and differs; what is left
//! over of that is in one log only. Only what has found no equal is remembered.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::entry::Entry;
use super::report::{Difference, Report};

/// Which log a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What we would have sent.
    Ours,
    /// What the existing flow sent.
    Theirs,
}

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Comparison {
    ours: Count,
    theirs: Count,
    same: u64,
    /// The lines of ours that are known: a restart may write one again.
    known: HashSet<u64>,
    refused: Vec<(String, String)>,
    pending: BTreeMap<String, Pending>,
}

#[derive(Debug, Default)]
struct Count {
    lines: u64,
    unreadable: u64,
    /// Of the first one: the line's number, and what is wrong with it.
    first: Option<(u64, String)>,
}

/// What of a key has found no equal.
#[derive(Debug, Default)]
struct Pending {
    ours: Vec<Kept>,
    theirs: Vec<Kept>,
}

#[derive(Debug)]
struct Kept {
    operation: Option<String>,
    payload: String,
}

impl Comparison {
    /// Takes in a line.
    pub fn take(&mut self, side: Side, number: u64, read: Result<Entry, String>) {
        let count = match side {
            Side::Ours => &mut self.ours,
            Side::Theirs => &mut self.theirs,
        };
        let entry = match read {
            Ok(entry) => entry,
            Err(cause) => {
                count.unreadable += 1;
                count.first.get_or_insert((number, cause));
                return;
            }
        };
        if entry.id.as_ref().is_some_and(|id| side == Side::Ours && !self.known.insert(hash(id))) {
            return;
        }
        count.lines += 1;
        let Entry { key, operation, payload, .. } = entry;
        match payload {
            Ok(payload) => self.match_up(side, key, Kept { operation, payload }),
            Err(refused) => self.refused.push((key, refused)),
        }
    }

    fn match_up(&mut self, side: Side, key: String, kept: Kept) {
        let pending = self.pending.entry(key.clone()).or_default();
        let (own, other) = match side {
            Side::Ours => (&mut pending.ours, &mut pending.theirs),
            Side::Theirs => (&mut pending.theirs, &mut pending.ours),
        };
        let equal = other.iter().position(|other| {
            let (ours, theirs) = if side == Side::Ours { (&kept, other) } else { (other, &kept) };
            ours.payload == theirs.payload && fits(ours, theirs)
        });
        match equal {
            Some(at) => {
                other.remove(at);
                self.same += 1;
            }
            None => own.push(kept),
        }
        if pending.ours.is_empty() && pending.theirs.is_empty() {
            self.pending.remove(&key);
        }
    }

    /// What the two logs come to, with at most so many samples of each kind.
    pub fn report(&self, samples: usize) -> Report {
        let mut report = Report::new(samples);
        report.ours.lines = self.ours.lines;
        report.theirs.lines = self.theirs.lines;
        for (log, count) in [(&mut report.ours, &self.ours), (&mut report.theirs, &self.theirs)] {
            log.unreadable = count.unreadable;
            log.first_unreadable =
                count.first.as_ref().map(|(line, why)| format!("line {line}: {why}"));
        }
        report.same = self.same;
        for (key, why) in &self.refused {
            report.refuse(key, why);
        }
        for (key, Pending { ours, theirs }) in &self.pending {
            for (ours, theirs) in ours.iter().zip(theirs) {
                report.differ(key, differences(ours, theirs));
            }
            for kept in ours.iter().skip(theirs.len()) {
                report.only(Side::Ours, key, kept.operation.as_deref(), &kept.payload);
            }
            for kept in theirs.iter().skip(ours.len()) {
                report.only(Side::Theirs, key, kept.operation.as_deref(), &kept.payload);
            }
        }
        report.finish();
        report
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Whether the existing flow did what we would do. It may tell only a request's method; and whether
/// an upsert creates or updates, only the target knows.
fn fits(ours: &Kept, theirs: &Kept) -> bool {
    let (Some(ours), Some(theirs)) = (&ours.operation, &theirs.operation) else { return true };
    let (ours, theirs) = (ours.to_lowercase(), theirs.to_lowercase());
    let method = ours.split(' ').next() == Some(theirs.as_str());
    let upsert = ours == "upsert" && matches!(theirs.as_str(), "create" | "update" | "insert");
    ours == theirs || method || upsert
}

/// The fields in which two requests of one key differ.
fn differences(ours: &Kept, theirs: &Kept) -> Vec<Difference> {
    let mut found = Vec::new();
    if !fits(ours, theirs) {
        found
            .push(Difference::of_operation(ours.operation.as_deref(), theirs.operation.as_deref()));
    }
    let read = |kept: &Kept| serde_json::from_str(&kept.payload).unwrap_or_default();
    Difference::between(&read(ours), &read(theirs), &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::super::entry::Terms;
    use super::*;

    fn compared(ours: &[&str], theirs: &[&str]) -> Report {
        let mut comparison = Comparison::default();
        for (side, lines) in [(Side::Ours, ours), (Side::Theirs, theirs)] {
            for (at, line) in lines.iter().enumerate() {
                let read = Entry::read(line.as_bytes(), &Terms::default());
                comparison.take(side, at as u64 + 1, read);
            }
        }
        comparison.report(3)
    }

    #[test]
    fn logs_that_say_the_same_in_another_order_do_not_differ() {
        let ours = [
            r#"{"id":"1","key":"a","operation":"upsert","payload":{"n":1}}"#,
            r#"{"id":"2","key":"a","operation":"upsert","payload":{"n":2}}"#,
            r#"{"id":"3","key":"b","operation":"POST /orders","payload":{"n":1}}"#,
        ];
        let theirs = [
            r#"{"key":"b","operation":"post","payload":{"n":1.0}}"#,
            r#"{"key":"a","operation":"update","payload":{"n":2}}"#,
            r#"{"key":"a","payload":{"n":1}}"#,
        ];
        let report = compared(&ours, &theirs);
        assert_eq!((report.same, report.is_clean()), (3, true), "{report:?}");
    }

    #[test]
    fn a_line_that_a_restart_wrote_again_counts_once_and_a_zap_that_ran_twice_twice() {
        let ours = [r#"{"id":"1","key":"a","payload":{"n":1}}"#; 2];
        let theirs = [r#"{"key":"a","payload":{"n":1}}"#; 2];
        let report = compared(&ours, &theirs);
        assert_eq!((report.ours.lines, report.same, report.only_theirs.count), (1, 1, 1));
    }

    #[test]
    fn fields_that_differ_are_counted_by_name_with_samples() {
        let ours = [
            r#"{"id":"1","key":"a","operation":"create","payload":{"t":"1.00","l":[{"q":1},{"q":2}]}}"#,
            r#"{"id":"2","key":"b","operation":"create","payload":{"t":"2.00","x":1}}"#,
        ];
        let theirs = [
            r#"{"key":"a","operation":"delete","payload":{"t":1,"l":[{"q":3},{"q":4}]}}"#,
            r#"{"key":"b","payload":{"t":2}}"#,
        ];
        let report = compared(&ours, &theirs);
        let counts: Vec<_> =
            report.fields.iter().map(|field| (field.name.as_str(), field.count)).collect();
        assert_eq!(counts, [("l[].q", 2), ("t", 2), ("operation", 1), ("x", 1)]);
        assert_eq!(report.differ, 2);
        let x = &report.fields[3].samples[0];
        assert_eq!((x.key.as_str(), &x.ours, &x.theirs), ("b", &Some(1.into()), &None));
    }

    #[test]
    fn what_is_refused_or_cannot_be_read_is_told_apart() {
        let ours = [r#"{"id":"1","key":"a","refused":"it has no total"}"#];
        let report = compared(&ours, &["nonsense", r#"{"key":"a","payload":{}}"#]);
        assert_eq!((report.refused.count, report.only_theirs.count, report.differ), (1, 1, 0));
        assert_eq!(report.theirs.unreadable, 1);
        assert!(report.theirs.first_unreadable.as_ref().unwrap().starts_with("line 1: "));
        assert!(!report.is_clean());
    }
}
