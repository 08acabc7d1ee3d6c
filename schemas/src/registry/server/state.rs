//! What reading the log from its start gives, and the questions it answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use super::content::{Content, Identity};
use super::record::{Record, Reference, Version};
use super::settings::Mode;
use crate::Schema;
use crate::registry::{Level, SchemaId};

/// A version of a subject, without its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: SchemaId,
    /// Softly: still readable by id, no longer part of the subject.
    pub(super) deleted: bool,
}

/// The registry in memory. A subject of none is the whole registry.
#[derive(Debug, Default)]
pub(super) struct State {
    contents: BTreeMap<SchemaId, Content>,
    ids: HashMap<Identity, SchemaId>,
    subjects: BTreeMap<String, BTreeMap<u32, Entry>>,
    pub(super) levels: HashMap<Option<String>, Level>,
    pub(super) modes: HashMap<Option<String>, Mode>,
    /// No id up to this one is ever given out again.
    pub(super) highest_id: SchemaId,
}

impl State {
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Version(version) => self.put(version),
            Record::VersionGone { subject, version } => self.remove(&subject, version),
            Record::SubjectDeleted { subject, version } => {
                let versions = self.subjects.get_mut(&subject).into_iter().flatten();
                versions.filter(|(v, _)| **v <= version).for_each(|(_, e)| e.deleted = true);
            }
            Record::SubjectGone { .. } => {}
            Record::Level { subject, level: Some(level) } => {
                self.levels.insert(subject, level);
            }
            Record::Level { subject, level: None } => {
                self.levels.remove(&subject);
            }
            Record::Mode { subject, mode: Some(mode) } => {
                self.modes.insert(subject, mode);
            }
            Record::Mode { subject, mode: None } => {
                self.modes.remove(&subject);
            }
            Record::HighestId(id) => self.highest_id = self.highest_id.max(id),
        }
    }

    fn put(&mut self, version: Version) {
        let Version { subject, version, id, schema_type, references, schema, deleted } = version;
        self.highest_id = self.highest_id.max(id);
        let kind = schema_type.filter(|kind| kind != "AVRO");
        let identity = Identity::of(kind.as_deref(), &schema, &references);
        self.ids.entry(identity).or_insert(id);
        self.contents.entry(id).or_insert_with(|| Content {
            text: schema,
            kind,
            references,
            identity,
            parsed: OnceLock::new(),
        });
        let entry = Entry { id, deleted };
        let before = self.subjects.entry(subject).or_default().insert(version, entry);
        if let Some(before) = before {
            self.release(before.id);
        }
    }

    fn remove(&mut self, subject: &str, version: u32) {
        let Some(versions) = self.subjects.get_mut(subject) else { return };
        let removed = versions.remove(&version);
        if versions.is_empty() {
            self.subjects.remove(subject);
        }
        if let Some(removed) = removed {
            self.release(removed.id);
        }
    }

    /// Forgets a content that no version holds any more.
    fn release(&mut self, id: SchemaId) {
        if self.subjects.values().flat_map(BTreeMap::values).any(|entry| entry.id == id) {
            return;
        }
        let Some(gone) = self.contents.remove(&id) else { return };
        if self.ids.get(&gone.identity) == Some(&id) {
            self.ids.remove(&gone.identity);
            let twin = self.contents.iter().find(|(_, other)| other.identity == gone.identity);
            if let Some((twin, _)) = twin {
                self.ids.insert(gone.identity, *twin);
            }
        }
    }

    pub(super) fn content(&self, id: SchemaId) -> Option<&Content> {
        self.contents.get(&id)
    }

    pub(super) fn contents(&self) -> impl Iterator<Item = (SchemaId, &Content)> {
        self.contents.iter().map(|(id, content)| (*id, content))
    }

    pub(super) fn id_of(&self, identity: &Identity) -> Option<SchemaId> {
        self.ids.get(identity).copied()
    }

    /// Every subject with its versions, the deleted ones too.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (&str, &BTreeMap<u32, Entry>)> {
        self.subjects.iter().map(|(subject, versions)| (subject.as_str(), versions))
    }

    /// The versions of a subject, oldest first.
    pub(super) fn versions(
        &self,
        subject: &str,
        deleted: bool,
    ) -> impl DoubleEndedIterator<Item = (u32, Entry)> {
        let versions = self.subjects.get(subject).into_iter().flatten();
        versions.map(|(v, e)| (*v, *e)).filter(move |(_, entry)| deleted || !entry.deleted)
    }

    /// The newest version of a subject that holds a content.
    pub(super) fn holding(
        &self,
        subject: &str,
        identity: &Identity,
        deleted: bool,
    ) -> Option<(u32, Entry)> {
        self.versions(subject, deleted).rev().find(|(_, entry)| {
            self.contents.get(&entry.id).is_some_and(|content| content.identity == *identity)
        })
    }

    /// The ids of the schemas that reference a version of a subject.
    pub(super) fn referenced_by(&self, subject: &str, version: u32) -> Vec<SchemaId> {
        let refers = |r: &Reference| r.subject == subject && r.version == i64::from(version);
        let contents = self.contents.iter().filter(|(_, c)| c.references.iter().any(refers));
        contents.map(|(id, _)| *id).collect()
    }

    /// Whether a version that is not deleted holds an id.
    pub(super) fn is_live(&self, id: SchemaId) -> bool {
        let mut entries = self.subjects.values().flat_map(BTreeMap::values);
        entries.any(|entry| entry.id == id && !entry.deleted)
    }

    pub(super) fn level(&self, subject: &str) -> Level {
        let own = self.levels.get(&Some(subject.to_owned()));
        own.or_else(|| self.levels.get(&None)).copied().unwrap_or_default()
    }

    pub(super) fn mode(&self, subject: Option<&str>) -> Mode {
        let own = subject.and_then(|subject| self.modes.get(&Some(subject.to_owned())));
        own.or_else(|| self.modes.get(&None)).copied().unwrap_or_default()
    }

    /// The schema of an id, parsed once.
    pub(super) fn schema(&self, id: SchemaId) -> Result<&Schema, String> {
        let content = self.contents.get(&id).ok_or_else(|| format!("schema {id} is not there"))?;
        if let Some(kind) = &content.kind {
            return Err(format!("schema {id} is a {kind} schema, and only AVRO is understood"));
        }
        let parsed = content.parsed.get_or_init(|| self.parse(&content.text, &content.references));
        parsed.as_ref().map_err(Clone::clone)
    }

    /// Parses a text with the types it references.
    pub(super) fn parse(&self, text: &str, references: &[Reference]) -> Result<Schema, String> {
        let mut found = Vec::new();
        self.gather(references, &mut found, &mut Vec::new())?;
        Schema::parse_with(text, &found).map_err(|cause| cause.to_string())
    }

    /// Referenced schemas, those that others use first. `open` ends the cycles that a foreign log
    /// might hold.
    fn gather(
        &self,
        references: &[Reference],
        found: &mut Vec<Schema>,
        open: &mut Vec<SchemaId>,
    ) -> Result<(), String> {
        for Reference { name, subject, version } in references {
            let entry = u32::try_from(*version)
                .ok()
                .and_then(|version| self.subjects.get(subject)?.get(&version));
            let content = entry.and_then(|entry| Some((entry.id, self.contents.get(&entry.id)?)));
            let Some((id, content)) = content else {
                return Err(format!(
                    "no schema for reference `{name}`: subject `{subject}` has no version {version}"
                ));
            };
            if open.contains(&id) {
                return Err(format!("reference `{name}` leads back to itself"));
            }
            open.push(id);
            self.gather(&content.references, found, open)?;
            open.pop();
            let schema = Schema::parse_with(&content.text, found)
                .map_err(|cause| format!("reference `{name}`: {cause}"))?;
            if !found.contains(&schema) {
                found.push(schema);
            }
        }
        Ok(())
    }
}
