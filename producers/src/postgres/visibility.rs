//! Which transactions a snapshot shows.
//!
//! A transaction is in the log a moment before other sessions see it (with synchronous replication
//! that moment can be long). So the position of a commit does not tell whether a chunk that was read
//! meanwhile shows it: the chunk's own snapshot does.

use std::collections::HashSet;

/// The transactions that a snapshot shows, as `pg_current_snapshot()` tells it: `10:20:10,14,15`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// All before it have ended.
    pub oldest: u64,
    /// This one and all after it had not ended.
    pub next: u64,
    open: HashSet<u64>,
}

impl Seen {
    /// Reads PostgreSQL's text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let oldest = parts.next()?.parse().ok()?;
        let next = parts.next()?.parse().ok()?;
        let open = parts.next()?.split(',').filter(|part| !part.is_empty());
        let open = open.map(|part| part.parse().ok()).collect::<Option<_>>()?;
        Some(Self { oldest, next, open })
    }

    /// Whether it shows a committed transaction. The stream tells the low 32 bits of its number.
    pub fn shows(&self, xid: u32) -> bool {
        let xid = self.whole(xid);
        xid < self.next && !self.open.contains(&xid)
    }

    /// The whole number: the one with these low bits that is nearest.
    fn whole(&self, xid: u32) -> u64 {
        let ahead = xid.wrapping_sub(self.next as u32).cast_signed();
        self.next.saturating_add_signed(ahead.into())
    }
}

/// The transactions that were streamed and that no chunk is known to show yet.
#[derive(Debug, Default)]
pub(super) struct Streamed(HashSet<u32>);

impl Streamed {
    /// Notes one.
    pub fn note(&mut self, xid: u32) {
        self.0.insert(xid);
    }

    /// Whether a snapshot shows all that was streamed before it. What it shows, every later one
    /// shows too, so it is forgotten.
    pub fn all_shown(&mut self, seen: &Seen) -> bool {
        self.0.retain(|xid| !seen.shows(*xid));
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_had_ended_also_when_numbers_wrap_around() {
        let seen = Seen::parse("10:20:10,14,15").unwrap();
        let shown: Vec<_> = (8..22).filter(|xid| seen.shows(*xid)).collect();
        assert_eq!(shown, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        let epoch = 1_u64 << 32;
        let seen = Seen::parse(&format!("{}:{}:", epoch - 2, epoch + 3)).unwrap();
        assert!(seen.shows(u32::MAX) && seen.shows(2) && !seen.shows(3));
        assert!(Seen::parse("10:").is_none() && Seen::parse("a:b:c").is_none());
    }

    #[test]
    fn a_transaction_that_was_streamed_before_others_see_it_is_waited_for() {
        let mut streamed = Streamed::default();
        [11, 14].into_iter().for_each(|xid| streamed.note(xid));
        assert!(!streamed.all_shown(&Seen::parse("10:20:10,14,15").unwrap()));
        assert!(streamed.all_shown(&Seen::parse("20:20:").unwrap()));
    }
}
