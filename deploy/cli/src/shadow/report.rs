//! What two logs come to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value as Json;

use super::comparison::Side;

/// Fields that are listed; a log of something else differs in everything.
const MOST_FIELDS: usize = 50;
/// Characters of a value that are shown to people.
const SHOWN: usize = 60;

/// The differences of two logs.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What we would have sent.
    pub ours: Log,
    /// What the existing flow sent.
    pub theirs: Log,
    /// Requests that are in both.
    pub same: u64,
    /// Requests of one key that differ.
    pub differ: u64,
    /// The fields in which they do, the most frequent first.
    pub fields: Vec<Field>,
    /// Fields in which they do and that are not listed.
    pub further_fields: usize,
    /// What only we would have sent.
    pub only_ours: Group,
    /// What only the existing flow sent.
    pub only_theirs: Group,
    /// Events of which we would have sent nothing: they give no request.
    pub refused: Group,
    #[serde(skip)]
    samples: usize,
    #[serde(skip)]
    by_name: BTreeMap<String, Field>,
}

/// A log, and what of it was read.
#[derive(Debug, Default, Serialize)]
pub struct Log {
    /// Where it lies.
    pub file: PathBuf,
    /// Lines that were read, those that a restart wrote again counted once.
    pub lines: u64,
    /// Lines that cannot be read.
    pub unreadable: u64,
    /// The first of them, and why.
    pub first_unreadable: Option<String>,
}

/// A field that differs.
#[derive(Debug, Default, Serialize)]
pub struct Field {
    /// Its name: `lines[].quantity`.
    pub name: String,
    /// In how many requests, or how often in their lists.
    pub count: u64,
    /// Some of them.
    pub samples: Vec<Values>,
}

/// What a field is in the two logs; none where it is not there.
#[derive(Debug, Serialize)]
pub struct Values {
    /// What names the object.
    pub key: String,
    /// Ours.
    pub ours: Option<Json>,
    /// Theirs.
    pub theirs: Option<Json>,
}

/// Requests that are counted together.
#[derive(Debug, Default, Serialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub samples: Vec<Sample>,
}

/// A request.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// What names the object.
    pub key: String,
    /// What is done, if that is told.
    pub operation: Option<String>,
    /// What is given, or why nothing is.
    pub payload: Json,
}

/// A field of one request that differs.
#[derive(Debug)]
pub struct Difference {
    name: String,
    ours: Option<Json>,
    theirs: Option<Json>,
}

impl Difference {
    /// Another thing is done.
    pub fn of_operation(ours: Option<&str>, theirs: Option<&str>) -> Self {
        let (ours, theirs) = (ours.map(Json::from), theirs.map(Json::from));
        Self { name: "operation".to_owned(), ours, theirs }
    }

    /// The fields in which two payloads differ, added to `found`.
    pub fn between(ours: &Json, theirs: &Json, found: &mut Vec<Self>) {
        walk("", Some(ours), Some(theirs), found);
    }
}

fn walk(name: &str, ours: Option<&Json>, theirs: Option<&Json>, found: &mut Vec<Difference>) {
    let below = |field: &str| match name {
        "" => field.to_owned(),
        name => format!("{name}.{field}"),
    };
    match (ours, theirs) {
        (ours, theirs) if ours == theirs => {}
        (Some(Json::Object(ours)), Some(Json::Object(theirs))) => {
            let more = theirs.keys().filter(|field| !ours.contains_key(*field));
            for field in ours.keys().chain(more) {
                walk(&below(field), ours.get(field), theirs.get(field), found);
            }
        }
        (Some(Json::Array(ours)), Some(Json::Array(theirs))) => {
            for at in 0..ours.len().max(theirs.len()) {
                walk(&format!("{name}[]"), ours.get(at), theirs.get(at), found);
            }
        }
        (ours, theirs) => {
            let name = if name.is_empty() { "payload" } else { name };
            found.push(Difference {
                name: name.to_owned(),
                ours: ours.cloned(),
                theirs: theirs.cloned(),
            });
        }
    }
}

impl Report {
    /// One that takes at most so many samples of each kind.
    pub fn new(samples: usize) -> Self {
        Self { samples, ..Self::default() }
    }

    /// Adds two requests of one key that differ.
    pub fn differ(&mut self, key: &str, differences: Vec<Difference>) {
        self.differ += 1;
        for Difference { name, ours, theirs } in differences {
            let field = self.by_name.entry(name).or_default();
            field.count += 1;
            if field.samples.len() < self.samples {
                field.samples.push(Values { key: key.to_owned(), ours, theirs });
            }
        }
    }

    /// Adds a request that is in one log only.
    pub fn only(&mut self, side: Side, key: &str, operation: Option<&str>, payload: &str) {
        let payload = || serde_json::from_str(payload).unwrap_or_default();
        let group = match side {
            Side::Ours => &mut self.only_ours,
            Side::Theirs => &mut self.only_theirs,
        };
        group.add(self.samples, key, operation, payload);
    }

    /// Adds an event that gives no request.
    pub fn refuse(&mut self, key: &str, why: &str) {
        self.refused.add(self.samples, key, None, || why.into());
    }

    /// Puts the fields in order.
    pub fn finish(&mut self) {
        let named = std::mem::take(&mut self.by_name).into_iter();
        self.fields = named.map(|(name, field)| Field { name, ..field }).collect();
        self.fields.sort_by_key(|field| std::cmp::Reverse(field.count));
        self.further_fields = self.fields.len().saturating_sub(MOST_FIELDS);
        self.fields.truncate(MOST_FIELDS);
    }

    /// Whether the logs say the same, and all of them was read.
    pub fn is_clean(&self) -> bool {
        let Self { ours, theirs, only_ours, only_theirs, refused, .. } = self;
        let counts = [only_ours.count, only_theirs.count, refused.count];
        counts.iter().all(|count| *count == 0)
            && self.differ + ours.unreadable + theirs.unreadable == 0
    }

    /// It in one line.
    pub fn summary(&self) -> String {
        let Self { same, differ, only_ours, only_theirs, refused, .. } = self;
        let mut parts = vec![
            format!("{same} the same"),
            format!("{differ} differ"),
            format!("{} only ours", only_ours.count),
            format!("{} only theirs", only_theirs.count),
        ];
        if refused.count > 0 {
            parts.push(format!("{} refused here", refused.count));
        }
        let unreadable = self.ours.unreadable + self.theirs.unreadable;
        if unreadable > 0 {
            parts.push(format!("{unreadable} cannot be read"));
        }
        parts.join(", ")
    }
}

impl Group {
    fn add(
        &mut self,
        most: usize,
        key: &str,
        operation: Option<&str>,
        payload: impl FnOnce() -> Json,
    ) {
        self.count += 1;
        if self.samples.len() < most {
            let (key, operation) = (key.to_owned(), operation.map(str::to_owned));
            self.samples.push(Sample { key, operation, payload: payload() });
        }
    }

    fn show(&self, f: &mut Formatter<'_>, title: &str) -> fmt::Result {
        if self.count == 0 {
            return Ok(());
        }
        writeln!(f, "\n{title}: {}", self.count)?;
        for Sample { key, operation, payload } in &self.samples {
            let operation = operation.as_ref().map(|word| format!("{word}  ")).unwrap_or_default();
            writeln!(f, "  {key}  {operation}{}", shown(Some(payload)))?;
        }
        let more = self.count - self.samples.len() as u64;
        if more > 0 { writeln!(f, "  … and {more} more") } else { Ok(()) }
    }
}

fn shown(value: Option<&Json>) -> String {
    let Some(value) = value else { return "(not there)".to_owned() };
    let text = match value {
        Json::String(text) if text.contains(' ') && text.len() > SHOWN => text.clone(),
        value => value.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { ours, theirs, .. } = self;
        writeln!(f, "ours    {}: {} requests", ours.file.display(), ours.lines)?;
        writeln!(f, "theirs  {}: {} requests", theirs.file.display(), theirs.lines)?;
        writeln!(f, "{}", self.summary())?;
        for field in &self.fields {
            writeln!(f, "\n{} differs: {}", field.name, field.count)?;
            for Values { key, ours, theirs } in &field.samples {
                let (ours, theirs) = (shown(ours.as_ref()), shown(theirs.as_ref()));
                writeln!(f, "  {key}  ours {ours}  theirs {theirs}")?;
            }
        }
        if self.further_fields > 0 {
            writeln!(f, "\n… and {} more fields differ", self.further_fields)?;
        }
        self.only_ours.show(f, "Only ours")?;
        self.only_theirs.show(f, "Only theirs")?;
        self.refused.show(f, "Refused here, no request follows from the event")?;
        for log in [ours, theirs] {
            if let Some(first) = &log.first_unreadable {
                let (count, file) = (log.unreadable, log.file.display());
                writeln!(f, "\n{file}: {count} lines cannot be read; the first, {first}")?;
            }
        }
        Ok(())
    }
}
