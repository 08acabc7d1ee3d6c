//! Taking schemas in: what is registered, what it is checked against, and looking it up.

use serde::Deserialize;
use serde_json::Value;

use super::Plan;
use super::answer::Refusal;
use super::content::{Identity, canonical};
use super::record::{Record, Reference, Version};
use super::settings::{Mode, writable};
use super::state::{Entry, State};
use crate::Schema;
use crate::compatibility;
use crate::registry::SchemaId;

/// What a record of the log may take, in bytes: Kafka's default limit of a message, less room
/// for key, headers and batch.
const RECORD_LIMIT: usize = 1_000_000;

/// The body of a registration, a look-up or a compatibility check.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Submission {
    schema: Option<String>,
    schema_type: Option<String>,
    references: Option<Vec<Reference>>,
    /// In import mode: the id that the schema has elsewhere.
    id: Option<i64>,
    /// In import mode: the version that it has elsewhere.
    version: Option<i64>,
    metadata: Option<Value>,
    rule_set: Option<Value>,
}

/// A submission that holds an Avro schema.
struct Candidate {
    text: String,
    references: Vec<Reference>,
    identity: Identity,
    schema: Schema,
}

/// A schema's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) id: SchemaId,
    pub(super) guid: String,
}

pub(super) fn check_subject(subject: &str) -> Result<(), Refusal> {
    match subject.is_empty() || subject.chars().any(char::is_control) {
        true => Err(Refusal::invalid_subject(subject)),
        false => Ok(()),
    }
}

pub(super) fn register(
    state: &State,
    subject: &str,
    submission: &Submission,
    normalize: bool,
) -> Result<Plan<Registration>, Refusal> {
    check_subject(subject)?;
    let candidate = submission.candidate(state, normalize)?;
    let given = submission.id.filter(|id| *id > 0);
    let registration = |id| Registration { id, guid: candidate.identity.guid().to_string() };
    if let Some((_, entry)) = state.holding(subject, &candidate.identity, false)
        && given.is_none_or(|given| given == i64::from(entry.id))
    {
        return Ok(Plan::nothing(registration(entry.id)));
    }
    writable(state, Some(subject))?;
    let (id, version) = match (given, state.mode(Some(subject))) {
        (Some(id), Mode::Import) => import(state, subject, submission, &candidate, id)?,
        (None, Mode::Import) => {
            let cause = "is in import mode, where every schema comes with its id";
            return Err(Refusal::not_permitted(format!("Subject '{subject}' {cause}")));
        }
        (Some(_), _) => {
            let cause = "is not in import mode, so the registry chooses ids";
            return Err(Refusal::not_permitted(format!("Subject '{subject}' {cause}")));
        }
        (None, _) => {
            accept(state, subject, &candidate)?;
            (choose_id(state, &candidate)?, next_version(state, subject))
        }
    };
    let answer = registration(id);
    let record = Record::Version(Version {
        subject: subject.to_owned(),
        version,
        id,
        schema_type: None,
        references: candidate.references,
        schema: candidate.text,
        deleted: false,
    });
    let bytes = record.encode().1.map_or(0, |value| value.len());
    if bytes > RECORD_LIMIT {
        return Err(Refusal::too_large(bytes, RECORD_LIMIT));
    }
    Ok(Plan { records: vec![record], answer })
}

/// Refuses what the subject's level forbids.
fn accept(state: &State, subject: &str, candidate: &Candidate) -> Result<(), Refusal> {
    let entries: Vec<_> = state.versions(subject, false).collect();
    let reasons = incompatibilities(state, subject, &candidate.schema, &entries)?;
    if reasons.is_empty() {
        return Ok(());
    }
    let level = state.level(subject);
    Err(Refusal::incompatible(format!(
        "Schema being registered is incompatible with an earlier schema for subject \
         '{subject}' (level {level}), details: [{}]",
        reasons.join("; ")
    )))
}

fn incompatibilities(
    state: &State,
    subject: &str,
    new: &Schema,
    entries: &[(u32, Entry)],
) -> Result<Vec<String>, Refusal> {
    let level = state.level(subject);
    let mut earlier = Vec::new();
    for (version, entry) in compatibility::compared(level, entries) {
        let schema = state.schema(entry.id).map_err(|cause| {
            Refusal::incompatible(format!(
                "It cannot be compared with version {version} of subject '{subject}': {cause}"
            ))
        })?;
        earlier.push(schema.clone());
    }
    let found = compatibility::check(level, new, &earlier);
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Whether a subject would take a schema: against one of its versions, or those of its level.
pub(super) fn compatible(
    state: &State,
    subject: &str,
    version: Option<&str>,
    submission: &Submission,
    normalize: bool,
) -> Result<Vec<String>, Refusal> {
    check_subject(subject)?;
    let entries = match version {
        None => state.versions(subject, false).collect(),
        Some(version) => match find(state, subject, version, false) {
            Ok(found) => vec![found],
            // The first version of a subject has nothing to be compatible with.
            Err(_) if is_latest(version) => Vec::new(),
            Err(refusal) => return Err(refusal),
        },
    };
    let candidate = submission.candidate(state, normalize)?;
    match incompatibilities(state, subject, &candidate.schema, &entries) {
        Ok(reasons) => Ok(reasons),
        Err(refusal) => Ok(vec![refusal.message().to_owned()]),
    }
}

pub(super) fn lookup(
    state: &State,
    subject: &str,
    submission: &Submission,
    normalize: bool,
    deleted: bool,
) -> Result<(u32, SchemaId), Refusal> {
    if state.versions(subject, deleted).next().is_none() {
        return Err(Refusal::no_subject(subject));
    }
    let candidate = submission.candidate(state, normalize)?;
    let found = state.holding(subject, &candidate.identity, deleted);
    let (version, entry) = found.ok_or_else(|| Refusal::schema_not_in(subject))?;
    Ok((version, entry.id))
}

fn is_latest(version: &str) -> bool {
    matches!(version, "latest" | "-1")
}

/// The version of a subject that a path names: a number, `latest` or `-1`.
pub(super) fn find(
    state: &State,
    subject: &str,
    version: &str,
    deleted: bool,
) -> Result<(u32, Entry), Refusal> {
    let number = match version.parse::<i32>() {
        _ if is_latest(version) => None,
        Ok(number) if number > 0 => Some(number.unsigned_abs()),
        _ => return Err(Refusal::invalid_version(version)),
    };
    let mut versions = state.versions(subject, deleted);
    let found = match number {
        None => versions.next_back(),
        Some(number) => versions.find(|(version, _)| *version == number),
    };
    found.ok_or_else(|| match state.versions(subject, deleted).next() {
        None => Refusal::no_subject(subject),
        Some(_) => Refusal::no_version(version),
    })
}

fn choose_id(state: &State, candidate: &Candidate) -> Result<SchemaId, Refusal> {
    if let Some(id) = state.id_of(&candidate.identity) {
        return Ok(id);
    }
    let next = state.highest_id.checked_add(1).filter(|id| i32::try_from(*id).is_ok());
    next.ok_or_else(|| Refusal::not_permitted("No id is left: the highest one is in use"))
}

/// Versions of deleted schemas are not used again while the log remembers them.
fn next_version(state: &State, subject: &str) -> u32 {
    state.versions(subject, true).next_back().map_or(1, |(version, _)| version.saturating_add(1))
}

/// The id and version that a schema brings along, if they are free or already its own.
fn import(
    state: &State,
    subject: &str,
    submission: &Submission,
    candidate: &Candidate,
    id: i64,
) -> Result<(SchemaId, u32), Refusal> {
    let positive = |number: i64| i32::try_from(number).ok().and_then(|n| u32::try_from(n).ok());
    let id = positive(id).ok_or_else(|| Refusal::not_permitted(format!("{id} is not an id")))?;
    if state.content(id).is_some_and(|content| content.identity != candidate.identity) {
        let cause = format!("Id {id} belongs to another schema and is not overwritten");
        return Err(Refusal::not_permitted(cause));
    }
    let version = match submission.version.filter(|version| *version > 0) {
        None => next_version(state, subject),
        Some(version) => {
            positive(version).ok_or_else(|| Refusal::invalid_version(&version.to_string()))?
        }
    };
    let taken = state.versions(subject, true).find(|(taken, _)| *taken == version);
    if taken.is_some_and(|(_, entry)| !entry.deleted) {
        let cause = format!("Version {version} of subject '{subject}' holds another schema");
        return Err(Refusal::not_permitted(cause));
    }
    Ok((id, version))
}

impl Submission {
    fn candidate(&self, state: &State, normalize: bool) -> Result<Candidate, Refusal> {
        if let Some(kind) = self.schema_type.as_deref().filter(|kind| *kind != "AVRO") {
            let message = format!("Schemas of type {kind} are not supported here; AVRO is");
            return Err(Refusal::invalid_schema(message));
        }
        let is_set = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
        if is_set(&self.metadata) || is_set(&self.rule_set) {
            let message = "Metadata and rule sets are not supported here; send the schema alone";
            return Err(Refusal::invalid_schema(message));
        }
        let text = self.schema.as_deref().unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Refusal::invalid_schema("Empty schema"));
        }
        let references = self.references(state)?;
        let schema = state
            .parse(text, &references)
            .map_err(|cause| Refusal::invalid_schema(format!("Invalid schema: {cause}")))?;
        let compact = || serde_json::from_str::<Value>(text).ok().map(|value| value.to_string());
        let spelling = if normalize { canonical(text) } else { compact() };
        let identity = Identity::of(None, text, &references);
        let text = spelling.unwrap_or_else(|| text.to_owned());
        Ok(Candidate { text, references, identity, schema })
    }

    /// The references with `latest` (-1) made a number.
    fn references(&self, state: &State) -> Result<Vec<Reference>, Refusal> {
        let references = self.references.iter().flatten();
        references
            .map(|reference| {
                let Reference { name, subject, version } = reference;
                let (found, _) =
                    find(state, subject, &version.to_string(), false).map_err(|refusal| {
                        let cause = refusal.message();
                        Refusal::invalid_schema(format!("Invalid reference `{name}`: {cause}"))
                    })?;
                Ok(Reference { version: found.into(), ..reference.clone() })
            })
            .collect()
    }
}
