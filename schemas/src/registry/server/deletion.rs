//! Deleting, softly first (the ids stay readable), then for good.

use super::Plan;
use super::answer::Refusal;
use super::record::{Record, Version};
use super::registration::find;
use super::settings::writable;
use super::state::{Entry, State};
use crate::registry::SchemaId;

/// Answers the versions that were deleted.
pub(super) fn delete_subject(
    state: &State,
    subject: &str,
    permanent: bool,
) -> Result<Plan<Vec<u32>>, Refusal> {
    writable(state, Some(subject))?;
    let all: Vec<_> = state.versions(subject, true).collect();
    let live: Vec<_> = all.iter().copied().filter(|(_, entry)| !entry.deleted).collect();
    let Some((last, _)) = all.last().copied() else {
        return Err(Refusal::no_subject(subject));
    };
    match (permanent, live.is_empty()) {
        (true, false) => return Err(Refusal::subject_not_deleted(subject)),
        (false, true) => return Err(Refusal::subject_deleted(subject)),
        _ => {}
    }
    let gone = if permanent { all } else { live };
    let versions: Vec<_> = gone.iter().map(|(version, _)| *version).collect();
    for version in &versions {
        unreferenced(state, subject, *version, permanent)?;
    }
    let name = || subject.to_owned();
    let mut records = Vec::new();
    if permanent {
        records.extend(keep_ids(state, &gone));
        records.extend(
            versions
                .iter()
                .map(|version| Record::VersionGone { subject: name(), version: *version }),
        );
        records.push(Record::SubjectGone { subject: name() });
    } else {
        records.push(Record::SubjectDeleted { subject: name(), version: last });
    }
    // As at Confluent's registry, a subject's settings go with it.
    let key = Some(name());
    if state.levels.contains_key(&key) {
        records.push(Record::Level { subject: key.clone(), level: None });
    }
    if state.modes.contains_key(&key) {
        records.push(Record::Mode { subject: key, mode: None });
    }
    Ok(Plan { records, answer: versions })
}

/// Answers the version that was deleted.
pub(super) fn delete_version(
    state: &State,
    subject: &str,
    version: &str,
    permanent: bool,
) -> Result<Plan<u32>, Refusal> {
    writable(state, Some(subject))?;
    // What is softly deleted already is told from what never was.
    let (version, entry) =
        find(state, subject, version, permanent).map_err(|missing| {
            match find(state, subject, version, true) {
                Ok((version, _)) => Refusal::version_deleted(subject, version),
                Err(_) => missing,
            }
        })?;
    if permanent && !entry.deleted {
        return Err(Refusal::version_not_deleted(subject, version));
    }
    unreferenced(state, subject, version, permanent)?;
    let mut records = Vec::new();
    if permanent {
        records.extend(keep_ids(state, &[(version, entry)]));
        records.push(Record::VersionGone { subject: subject.to_owned(), version });
    } else {
        let content = state.content(entry.id).ok_or_else(|| Refusal::no_schema(entry.id))?;
        records.push(Record::Version(Version {
            subject: subject.to_owned(),
            version,
            id: entry.id,
            schema_type: content.kind.clone(),
            references: content.references.clone(),
            schema: content.text.clone(),
            deleted: true,
        }));
    }
    Ok(Plan { records, answer: version })
}

/// Refuses to delete what others reference; for good, also what deleted ones do, whose events
/// may still be read.
fn unreferenced(
    state: &State,
    subject: &str,
    version: u32,
    permanent: bool,
) -> Result<(), Refusal> {
    let mut by = state.referenced_by(subject, version);
    by.retain(|id| permanent || state.is_live(*id));
    if by.is_empty() { Ok(()) } else { Err(Refusal::referenced(subject, version, &by)) }
}

/// Without this, compaction could remove the only record of the highest id, and a restart would
/// give it to another schema.
fn keep_ids(state: &State, gone: &[(u32, Entry)]) -> Option<Record> {
    let highest: SchemaId = state.highest_id;
    gone.iter().any(|(_, entry)| entry.id == highest).then_some(Record::HighestId(highest))
}
