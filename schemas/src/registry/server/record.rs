//! The log's records in the format of Confluent's `_schemas` topic, so that a registry of theirs
//! could read it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::settings::Mode;
use crate::registry::{Level, SchemaId};

/// A named type that lives in another subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reference {
    /// The type's full name.
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: i64,
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub(super) subject: String,
    pub(super) version: u32,
    pub(super) id: SchemaId,
    /// Absent for Avro.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schema_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) references: Vec<Reference>,
    pub(super) schema: String,
    #[serde(default)]
    pub(super) deleted: bool,
}

/// One change of the registry. A subject of none is the whole registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// `SCHEMA`: a version was added, or marked as deleted.
    Version(Version),
    /// `SCHEMA` without a value: a version is gone for good.
    VersionGone { subject: String, version: u32 },
    /// `DELETE_SUBJECT`: every version up to this one is marked as deleted.
    SubjectDeleted { subject: String, version: u32 },
    /// `DELETE_SUBJECT` without a value: the subject is gone for good.
    SubjectGone { subject: String },
    /// `CONFIG`.
    Level { subject: Option<String>, level: Option<Level> },
    /// `MODE`.
    Mode { subject: Option<String>, mode: Option<Mode> },
    /// `NOOP`, whose value Confluent's registry does not read: no id up to this one is free, even
    /// if compaction has removed every trace of it.
    HighestId(SchemaId),
}

#[derive(Deserialize)]
struct Key {
    keytype: String,
    subject: Option<String>,
    version: Option<u32>,
}

impl Record {
    /// The key and value of the log.
    pub(super) fn encode(&self) -> (Bytes, Option<Bytes>) {
        let bytes = |value: &Value| Bytes::from(value.to_string());
        let (key, value) = match self {
            Self::Version(version) => {
                (version_key(&version.subject, version.version), json!(version))
            }
            Self::VersionGone { subject, version } => (version_key(subject, *version), Value::Null),
            Self::SubjectDeleted { subject, version } => (
                key("DELETE_SUBJECT", Some(subject)),
                json!({"subject": subject, "version": version}),
            ),
            Self::SubjectGone { subject } => (key("DELETE_SUBJECT", Some(subject)), Value::Null),
            Self::Level { subject, level } => (
                key("CONFIG", subject.as_deref()),
                level.map_or(Value::Null, |level| json!({"compatibilityLevel": level.name()})),
            ),
            Self::Mode { subject, mode } => (
                key("MODE", subject.as_deref()),
                mode.map_or(Value::Null, |mode| json!({"mode": mode.name()})),
            ),
            Self::HighestId(id) => (json!({"keytype": "NOOP", "magic": 0}), json!({"maxId": id})),
        };
        (bytes(&key), Some(value).filter(|value| !value.is_null()).as_ref().map(bytes))
    }

    /// Reads a record; none for the kinds of other registries that mean nothing here.
    pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<Self>, String> {
        let Key { keytype, subject, version } = parse("its key", key)?;
        let value: Option<Value> = value.map(|bytes| parse("its value", bytes)).transpose()?;
        let field = |name: &str| value.as_ref().and_then(|value| value.get(name));
        let text = |name: &str| field(name).and_then(Value::as_str);
        let needed = |subject: Option<String>| subject.ok_or("its key has no subject".to_owned());
        Ok(Some(match keytype.as_str() {
            "SCHEMA" => match value {
                Some(value) => {
                    Self::Version(serde_json::from_value(value).map_err(|cause| cause.to_string())?)
                }
                None => Self::VersionGone {
                    subject: needed(subject)?,
                    version: version.ok_or("its key has no version")?,
                },
            },
            "DELETE_SUBJECT" => match field("version").and_then(Value::as_u64) {
                Some(version) => Self::SubjectDeleted {
                    subject: needed(subject)?,
                    version: u32::try_from(version).map_err(|cause| cause.to_string())?,
                },
                None => Self::SubjectGone { subject: needed(subject)? },
            },
            "CONFIG" => {
                let level = text("compatibilityLevel").map(str::parse::<Level>).transpose();
                Self::Level { subject, level: level.map_err(|cause| cause.to_string())? }
            }
            "MODE" => Self::Mode { subject, mode: text("mode").map(str::parse).transpose()? },
            "NOOP" => match field("maxId").and_then(Value::as_u64) {
                Some(id) => Self::HighestId(u32::try_from(id).map_err(|cause| cause.to_string())?),
                None => return Ok(None),
            },
            other => {
                tracing::debug!(keytype = other, "a record of a kind that is not used here");
                return Ok(None);
            }
        }))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(part: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|cause| format!("{part} is not a registry's: {cause}"))
}

fn version_key(subject: &str, version: u32) -> Value {
    json!({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1})
}

fn key(keytype: &str, subject: Option<&str>) -> Value {
    json!({"keytype": keytype, "subject": subject, "magic": 0})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(record: &Record) -> (String, Option<String>) {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let (key, value) = record.encode();
        (text(key), value.map(text))
    }

    #[test]
    fn records_are_written_as_confluent_writes_them() {
        let version = Version {
            subject: "orders-value".to_owned(),
            version: 1,
            id: 7,
            schema_type: None,
            references: Vec::new(),
            schema: "\"string\"".to_owned(),
            deleted: false,
        };
        let (key, value) = shown(&Record::Version(version));
        assert_eq!(key, r#"{"keytype":"SCHEMA","subject":"orders-value","version":1,"magic":1}"#);
        assert_eq!(
            value.unwrap(),
            r#"{"subject":"orders-value","version":1,"id":7,"schema":"\"string\"","deleted":false}"#
        );
        let (key, value) = shown(&Record::Level { subject: None, level: Some(Level::Full) });
        assert_eq!(key, r#"{"keytype":"CONFIG","subject":null,"magic":0}"#);
        assert_eq!(value.unwrap(), r#"{"compatibilityLevel":"FULL"}"#);
    }

    #[test]
    fn every_record_is_read_back() {
        let subject = || "a/b".to_owned();
        let reference = Reference { name: "x.Y".to_owned(), subject: subject(), version: 3 };
        for record in [
            Record::Version(Version {
                subject: subject(),
                version: 2,
                id: 9,
                schema_type: Some("JSON".to_owned()),
                references: vec![reference],
                schema: "{}".to_owned(),
                deleted: true,
            }),
            Record::VersionGone { subject: subject(), version: 2 },
            Record::SubjectDeleted { subject: subject(), version: 2 },
            Record::SubjectGone { subject: subject() },
            Record::Level { subject: Some(subject()), level: Some(Level::None) },
            Record::Level { subject: Some(subject()), level: None },
            Record::Mode { subject: None, mode: Some(Mode::Import) },
            Record::HighestId(9),
        ] {
            let (key, value) = record.encode();
            assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
        }
    }

    #[test]
    fn a_foreign_registrys_records_are_read_or_passed_over() {
        let noop = br#"{"keytype":"NOOP","magic":0}"#;
        assert_eq!(Record::decode(noop, None), Ok(None));
        let exporter = br#"{"keytype":"EXPORTER","tenant":"t","name":"e"}"#;
        assert_eq!(Record::decode(exporter, Some(b"{}")), Ok(None));
        let key = br#"{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}"#;
        let value = br#"{"subject":"s","version":1,"id":1,"md5":"x","guid":"y","schema":"\"int\"",
            "deleted":false,"ts":1,"offset":4}"#;
        let read = Record::decode(key, Some(value));
        assert!(matches!(read, Ok(Some(Record::Version(Version { id: 1, .. })))));
        assert!(Record::decode(b"\xff", None).is_err());
    }
}
