//! A topic's configuration by the names of Apache Kafka
//! (<https://kafka.apache.org/documentation/#topicconfigs>).

use std::collections::BTreeMap;

use crate::{
    log::{Cleanup, LogConfig, TimestampType},
    refusal::Refusal,
};

/// What kind of value a setting takes, by its number in the protocol (`ConfigDef.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// One setting of a topic.
pub(crate) struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub documentation: &'static str,
    /// The value as text.
    pub show: fn(&LogConfig) -> String,
    /// Takes a value; says what is wrong with it.
    take: fn(&mut LogConfig, &str) -> Result<(), String>,
}

fn number<N: std::str::FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    least: N,
    most: N,
) -> Result<N, String> {
    let number: N = text.trim().parse().map_err(|_| format!("{text:?} is not a number"))?;
    // Of numbers that do not compare, NaN is in no range.
    if !(&least..=&most).contains(&&number) {
        return Err(format!("{number} is not between {least} and {most}"));
    }
    Ok(number)
}

/// A number of which −1 means no limit.
fn limit(text: &str) -> Result<Option<i64>, String> {
    number(text, -1, i64::MAX).map(|limit| (limit >= 0).then_some(limit))
}

fn shown_limit<N: std::fmt::Display>(limit: Option<N>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string())
}

/// One of some words.
fn word(text: &str, words: &[&str]) -> Result<(), String> {
    if words.contains(&text.trim()) {
        return Ok(());
    }
    Err(format!("{text:?} is none of {}", words.join(", ")))
}

fn boolean(text: &str) -> Result<(), String> {
    word(&text.to_ascii_lowercase(), &["false", "true"])
}

fn cleanup(text: &str) -> Result<Cleanup, String> {
    let mut cleanup = Cleanup { delete: false, compact: false };
    for policy in text.split(',').map(str::trim).filter(|policy| !policy.is_empty()) {
        match policy {
            "delete" => cleanup.delete = true,
            "compact" => cleanup.compact = true,
            other => return Err(format!("{other:?} is none of delete, compact")),
        }
    }
    if !cleanup.delete && !cleanup.compact {
        return Err("one of delete, compact or both".to_owned());
    }
    Ok(cleanup)
}

fn show_cleanup(cleanup: Cleanup) -> String {
    match (cleanup.compact, cleanup.delete) {
        (true, true) => "compact,delete",
        (true, false) => "compact",
        _ => "delete",
    }
    .to_owned()
}

fn timestamp_type(text: &str) -> Result<TimestampType, String> {
    match text.trim() {
        "CreateTime" => Ok(TimestampType::CreateTime),
        "LogAppendTime" => Ok(TimestampType::LogAppendTime),
        other => Err(format!("{other:?} is none of CreateTime, LogAppendTime")),
    }
}

fn show_timestamp_type(timestamp_type: TimestampType) -> String {
    match timestamp_type {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
    .to_owned()
}

/// The settings that this broker heeds, by name.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "cleanup.policy",
        kind: Kind::List,
        documentation: "delete: old segments go. compact: the last record of each key stays.",
        show: |config| show_cleanup(config.cleanup),
        take: |config, text| cleanup(text).map(|value| config.cleanup = value),
    },
    Setting {
        name: "delete.retention.ms",
        kind: Kind::Long,
        documentation: "How long a tombstone stays after the compaction that first met it.",
        show: |config| config.delete_retention_ms.to_string(),
        take: |config, text| {
            number(text, 0, i64::MAX).map(|value| config.delete_retention_ms = value)
        },
    },
    Setting {
        name: "index.interval.bytes",
        kind: Kind::Int,
        documentation: "Bytes of log between two entries of its index.",
        show: |config| config.index_interval_bytes.to_string(),
        take: |config, text| {
            number(text, 0, i32::MAX as u64).map(|value| config.index_interval_bytes = value)
        },
    },
    Setting {
        name: "max.compaction.lag.ms",
        kind: Kind::Long,
        documentation: "How long a record stays uncompacted at most.",
        show: |config| config.max_compaction_lag_ms.to_string(),
        take: |config, text| {
            number(text, 1, i64::MAX).map(|value| config.max_compaction_lag_ms = value)
        },
    },
    Setting {
        name: "max.message.bytes",
        kind: Kind::Int,
        documentation: "The largest record batch accepted, in bytes as sent.",
        show: |config| config.max_message_bytes.to_string(),
        take: |config, text| {
            number(text, 0, i32::MAX as usize).map(|value| config.max_message_bytes = value)
        },
    },
    Setting {
        name: "message.timestamp.after.max.ms",
        kind: Kind::Long,
        documentation: "How far a record's timestamp may lie after the broker's clock.",
        show: |config| config.timestamp_after_max_ms.to_string(),
        take: |config, text| {
            number(text, 0, i64::MAX).map(|value| config.timestamp_after_max_ms = value)
        },
    },
    Setting {
        name: "message.timestamp.before.max.ms",
        kind: Kind::Long,
        documentation: "How far a record's timestamp may lie before the broker's clock.",
        show: |config| config.timestamp_before_max_ms.to_string(),
        take: |config, text| {
            number(text, 0, i64::MAX).map(|value| config.timestamp_before_max_ms = value)
        },
    },
    Setting {
        name: "message.timestamp.type",
        kind: Kind::String,
        documentation: "Whose clock stamps records: the producer's or the broker's.",
        show: |config| show_timestamp_type(config.timestamp_type),
        take: |config, text| timestamp_type(text).map(|value| config.timestamp_type = value),
    },
    Setting {
        name: "min.cleanable.dirty.ratio",
        kind: Kind::Double,
        documentation: "The part of the log that must be new for a compaction to run.",
        show: |config| config.min_cleanable_ratio.to_string(),
        take: |config, text| number(text, 0.0, 1.0).map(|value| config.min_cleanable_ratio = value),
    },
    Setting {
        name: "min.compaction.lag.ms",
        kind: Kind::Long,
        documentation: "How long a record stays uncompacted at least.",
        show: |config| config.min_compaction_lag_ms.to_string(),
        take: |config, text| {
            number(text, 0, i64::MAX).map(|value| config.min_compaction_lag_ms = value)
        },
    },
    Setting {
        name: "retention.bytes",
        kind: Kind::Long,
        documentation: "Bytes of a partition kept at least; -1 is all of them.",
        show: |config| shown_limit(config.retention_bytes),
        take: |config, text| {
            limit(text).map(|value| config.retention_bytes = value.map(i64::cast_unsigned))
        },
    },
    Setting {
        name: "retention.ms",
        kind: Kind::Long,
        documentation: "How long a record is kept at least; -1 is for ever.",
        show: |config| shown_limit(config.retention_ms),
        take: |config, text| limit(text).map(|value| config.retention_ms = value),
    },
    Setting {
        name: "segment.bytes",
        kind: Kind::Int,
        documentation: "Bytes after which a new segment file begins.",
        show: |config| config.segment_bytes.to_string(),
        take: |config, text| {
            number(text, 14, i32::MAX as u64).map(|value| config.segment_bytes = value)
        },
    },
    Setting {
        name: "segment.ms",
        kind: Kind::Long,
        documentation: "How long records go to one segment file.",
        show: |config| config.segment_ms.to_string(),
        take: |config, text| number(text, 1, i64::MAX).map(|value| config.segment_ms = value),
    },
];

/// A setting that is checked, kept and described, so that tools which set it work, but that has
/// nothing to act on here.
const fn unheeded(
    name: &'static str,
    kind: Kind,
    show: fn(&LogConfig) -> String,
    take: fn(&mut LogConfig, &str) -> Result<(), String>,
    documentation: &'static str,
) -> Setting {
    Setting { name, kind, documentation, show, take }
}

/// The settings that are kept without an effect, by name; they show their defaults.
pub(crate) const UNHEEDED: &[Setting] = &[
    unheeded(
        "compression.gzip.level",
        Kind::Int,
        |_| "-1".to_owned(),
        // The default of zlib, or one of its levels.
        |_, text| {
            number(text, -1, 9)
                .and_then(|level| if level == 0 { Err("0 is no level".to_owned()) } else { Ok(()) })
        },
        "No effect: batches are stored as the producer sent them.",
    ),
    unheeded(
        "compression.lz4.level",
        Kind::Int,
        |_| "9".to_owned(),
        |_, text| number(text, 1, 17).map(|_| ()),
        "No effect: batches are stored as the producer sent them.",
    ),
    unheeded(
        "compression.type",
        Kind::String,
        |_| "producer".to_owned(),
        |_, text| word(text, &["gzip", "lz4", "producer", "snappy", "uncompressed", "zstd"]),
        "No effect: batches are stored as the producer sent them.",
    ),
    unheeded(
        "compression.zstd.level",
        Kind::Int,
        |_| "3".to_owned(),
        |_, text| number(text, -131_072, 22).map(|_| ()),
        "No effect: batches are stored as the producer sent them.",
    ),
    unheeded(
        "file.delete.delay.ms",
        Kind::Long,
        |_| "60000".to_owned(),
        |_, text| number(text, 0, i64::MAX).map(|_| ()),
        "No effect: files go once nobody reads them.",
    ),
    unheeded(
        "flush.messages",
        Kind::Long,
        |_| i64::MAX.to_string(),
        |_, text| number(text, 1, i64::MAX).map(|_| ()),
        "No effect: the broker syncs records of all topics alike.",
    ),
    unheeded(
        "flush.ms",
        Kind::Long,
        |_| i64::MAX.to_string(),
        |_, text| number(text, 0, i64::MAX).map(|_| ()),
        "No effect: the broker syncs records of all topics alike.",
    ),
    unheeded(
        "min.insync.replicas",
        Kind::Int,
        |_| "1".to_owned(),
        |_, text| number(text, 1, i32::MAX).map(|_| ()),
        "No effect: this broker is one node, and acknowledges what it has on its disk.",
    ),
    unheeded(
        "preallocate",
        Kind::Boolean,
        |_| "false".to_owned(),
        |_, text| boolean(text),
        "No effect: files grow as records come.",
    ),
    unheeded(
        "segment.index.bytes",
        Kind::Int,
        |_| "10485760".to_owned(),
        |_, text| number(text, 4, i32::MAX).map(|_| ()),
        "No effect: an index grows with its segment.",
    ),
    unheeded(
        "segment.jitter.ms",
        Kind::Long,
        |_| "0".to_owned(),
        |_, text| number(text, 0, i64::MAX).map(|_| ()),
        "No effect: segments end when segment.ms says.",
    ),
    unheeded(
        "unclean.leader.election.enable",
        Kind::Boolean,
        |_| "false".to_owned(),
        |_, text| boolean(text),
        "No effect: this broker is one node, there is no election.",
    ),
];

/// Every setting there is.
fn all() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(UNHEEDED)
}

/// What a topic sets itself, by name.
pub(crate) type Overrides = BTreeMap<String, String>;

/// The setting of a name.
///
/// # Errors
/// `INVALID_CONFIG` if there is none.
pub(crate) fn setting(name: &str) -> Result<&'static Setting, Refusal> {
    all().find(|setting| setting.name == name).ok_or_else(|| {
        let mut known: Vec<_> = all().map(|setting| setting.name).collect();
        known.sort_unstable();
        Refusal::invalid_config(format!(
            "unknown topic configuration {name:?}, expected one of: {}",
            known.join(", ")
        ))
    })
}

/// The configuration that a topic's own settings make of the defaults.
///
/// # Errors
/// `INVALID_CONFIG` with the setting and what is wrong with its value.
pub(crate) fn resolve(defaults: &LogConfig, overrides: &Overrides) -> Result<LogConfig, Refusal> {
    let mut config = defaults.clone();
    for (name, value) in overrides {
        (setting(name)?.take)(&mut config, value).map_err(|reason| {
            Refusal::invalid_config(format!("invalid value {value:?} for {name}: {reason}"))
        })?;
    }
    let (least, most) = (config.min_compaction_lag_ms, config.max_compaction_lag_ms);
    if least > most {
        return Err(Refusal::invalid_config(format!(
            "min.compaction.lag.ms ({least}) is more than max.compaction.lag.ms ({most})"
        )));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(name: &str, value: &str) -> Result<LogConfig, Refusal> {
        let overrides = Overrides::from([(name.to_owned(), value.to_owned())]);
        resolve(&LogConfig::default(), &overrides)
    }

    #[test]
    fn every_default_is_a_valid_value() {
        let defaults = LogConfig::default();
        for setting in all() {
            let config = resolved(setting.name, &(setting.show)(&defaults)).unwrap();
            assert_eq!(config, defaults, "{}", setting.name);
        }
    }

    #[test]
    fn values_are_taken_and_shown() {
        for (name, value) in [
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "1000000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ] {
            let config = resolved(name, value).unwrap();
            assert_eq!((setting(name).unwrap().show)(&config), value, "{name}");
        }
    }

    #[test]
    fn a_record_cannot_stay_longer_at_least_than_at_most() {
        let lags = |least: &str, most: &str| {
            let pairs = [("min.compaction.lag.ms", least), ("max.compaction.lag.ms", most)];
            let own = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            resolve(&LogConfig::default(), &Overrides::from(own))
        };
        assert!(lags("5", "5").is_ok());
        let refusal = lags("6", "5").unwrap_err();
        assert!(refusal.message.contains("(6) is more than max.compaction.lag.ms (5)"));
    }

    #[test]
    fn a_wrong_value_or_name_is_refused_with_its_reason() {
        for (name, value, reason) in [
            ("retention.ms", "tomorrow", "\"tomorrow\" is not a number"),
            ("retention.ms", "-2", "-2 is not between -1 and"),
            ("cleanup.policy", "burn", "\"burn\" is none of delete, compact"),
            ("cleanup.policy", "", "one of delete, compact or both"),
            ("min.insync.replicas", "0", "0 is not between 1 and"),
            ("compression.gzip.level", "0", "0 is no level"),
            ("compression.type", "zip", "\"zip\" is none of gzip, lz4"),
            ("preallocate", "perhaps", "is none of false, true"),
            ("min.cleanable.dirty.ratio", "NaN", "is not"),
            ("retention.hours", "1", "unknown topic configuration"),
        ] {
            let refusal = resolved(name, value).unwrap_err();
            assert!(refusal.message.contains(reason), "{name}={value}: {}", refusal.message);
        }
    }
}
