//! Why brokers refuse a record for its size, and how many fit one batch.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::admin::Admin;
use super::cluster::Cluster;
use super::error::TOO_LARGE;
use super::record::Record;
use crate::{Fault, event};

/// The setting of a topic that says how large a batch it takes, in bytes.
pub const LARGEST_BATCH: &str = "max.message.bytes";
/// What a batch holds besides its records' own bytes, at most about.
const AROUND: usize = 128;

/// Explains refusals by the limits of a cluster's topics.
pub struct Limits(Cluster);

/// A record that was refused as too large.
pub struct Refused {
    /// Which event it is, and its size.
    what: String,
    size: usize,
    topic: String,
    /// Nothing when it could not be had.
    limit: Option<usize>,
}

impl Limits {
    /// Those of a cluster.
    pub fn of(cluster: &Cluster) -> Self {
        Self(cluster.clone())
    }

    /// What there is to say of a record that was refused.
    pub async fn refused(&self, record: &Record) -> Refused {
        let size = record.bytes_with_headers();
        let what = match record.headers.text(event::CE_ID) {
            Some(id) => format!("Event `{id}` has {size} bytes"),
            None => format!("What the source remembers has {size} bytes"),
        };
        let limit = self.largest(&record.topic).await;
        Refused { what, size, topic: record.topic.to_string(), limit }
    }

    /// Runs of records that each fit one batch; what does not fit one, and what may not, is alone.
    pub async fn runs(&self, records: &[Record]) -> Vec<Range<usize>> {
        let topics: BTreeSet<&str> = records.iter().map(|record| &*record.topic).collect();
        let mut limits = HashMap::new();
        for topic in topics {
            limits.insert(topic, self.largest(topic).await.unwrap_or_default());
        }
        let (mut runs, mut filled) = (Vec::<Range<usize>>::new(), 0);
        for (index, record) in records.iter().enumerate() {
            let size = record.bytes_with_headers() + AROUND;
            let limit = limits.get(&*record.topic).copied().unwrap_or_default();
            let same = |run: &Range<usize>| {
                records.get(run.start).is_some_and(|first| first.topic == record.topic)
            };
            match runs.last_mut() {
                Some(run) if filled + size <= limit && same(run) => run.end = index + 1,
                _ => {
                    runs.push(index..index + 1);
                    filled = 0;
                }
            }
            filled += size;
        }
        runs
    }

    async fn largest(&self, topic: &str) -> Option<usize> {
        let settings = Admin::new(&self.0).ok()?.settings(&[topic]).await.ok()?;
        settings.get(topic)?.get(LARGEST_BATCH)?.parse().ok()
    }
}

impl Refused {
    /// How large it is, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether the topic takes it when it comes alone: it was refused with others of its batch, or the
    /// limit has been raised since.
    pub fn fits(&self) -> bool {
        self.limit.is_some_and(|limit| self.size + AROUND <= limit)
    }

    /// What is the matter and what to do: a fault of the event, unless it can be sent again.
    pub fn fault(&self) -> Fault {
        let Self { what, topic, .. } = self;
        match self.fits() {
            true => Fault::remote(
                "batch_too_large",
                format!("{what}; topic `{topic}` refused it in a batch with others."),
            ),
            false => Fault::data(
                TOO_LARGE,
                format!(
                    "{what}; topic `{topic}` takes {} (`{LARGEST_BATCH}`). {}.",
                    self.most(),
                    self.cure()
                ),
            ),
        }
    }

    /// The same of an event that does not fit the dead letters either.
    pub fn nowhere(&self, letter: &Self) -> Fault {
        let Self { what, topic, .. } = self;
        let (most, cure, letters) = (self.most(), self.cure(), letter.most());
        let message = format!(
            "{what}; topic `{topic}` takes {most}, and its dead letters `{}` take {letters} \
             (`{LARGEST_BATCH}`). {cure}: the source goes on by itself.",
            letter.topic
        );
        Fault::data(TOO_LARGE, message)
    }

    fn most(&self) -> String {
        self.limit.map_or_else(|| "less".to_owned(), |limit| limit.to_string())
    }

    fn cure(&self) -> String {
        let topic = &self.topic;
        format!(
            "Raise that of `{topic}` on the brokers, and in the file if `topics` sets it there: \
             `{topic}: {{ properties: {{ {LARGEST_BATCH}: … }} }}`"
        )
    }
}
