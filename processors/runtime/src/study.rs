//! What an application lets us read, write and subscribe to, and what follows: what `passerelle probe`
//! shows.

use serde::Serialize;

/// Objects beyond these are counted, not listed.
pub const MOST_OBJECTS: usize = 500;
/// Fields of one object beyond these are counted, not listed.
pub const MOST_FIELDS: usize = 1_000;
/// Lines of a list beyond these are counted, not listed.
const MOST_LINES: usize = 50;
/// Characters of a text beyond these are cut.
const LONGEST: usize = 400;
/// The same of a statement, which is of no use when it is cut.
const LONGEST_STEP: usize = 8_000;

/// What is asked of a probe, beside the connection.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The only object that is wanted.
    pub object: Option<String>,
    /// The OpenAPI description of an application over HTTP.
    pub openapi: Option<OpenApi>,
}

/// Where an OpenAPI description is.
#[derive(Debug, Clone)]
pub enum OpenApi {
    /// At this path after the connection's address.
    Path(String),
    /// In a file here.
    File {
        /// Its name, for messages.
        name: String,
        /// What is in it.
        text: String,
    },
}

/// What is known of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Study {
    /// What and where it is: `PostgreSQL 15.8 at db.example:5432/shop`.
    pub application: String,
    /// What it keeps.
    pub objects: Vec<Object>,
    /// How many objects it has beyond those.
    pub further_objects: usize,
    /// Who we are to it, and what that allows.
    pub access: Vec<String>,
    /// The ways in which its changes can be had, whether they are open or not.
    pub reads: Vec<Reading>,
    /// The ways in which it can be written.
    pub writes: Vec<String>,
    /// What it allows at most.
    pub limits: Vec<String>,
    /// What could not be learnt, and why.
    pub unknown: Vec<String>,
}

/// Something that an application keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Its name, as files write it.
    pub name: String,
    /// About how many there are, if that is known.
    pub records: Option<u64>,
    /// What can be done with it.
    pub operations: Vec<String>,
    /// Its fields, as far as they are known.
    pub fields: Vec<Field>,
    /// How many fields it has beyond those.
    pub further_fields: usize,
    /// What to know of it.
    pub notes: Vec<String>,
}

/// A field of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type, in the application's words.
    pub kind: String,
    /// Whether a new object cannot be without it; nothing where that is not known.
    pub required: Option<bool>,
    /// Whether it names the object.
    pub key: bool,
}

/// A way in which an application's changes can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Which.
    pub way: Way,
    /// Whether it is open now; nothing where that is not known.
    pub open: Option<bool>,
    /// Why.
    pub because: String,
    /// What would open it: statements or settings, in their order.
    pub to_do: Vec<String>,
}

/// How changes come, the fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The application calls us.
    Webhook,
    /// Its database's log is read.
    ChangeCapture,
    /// It is asked again and again.
    Poll,
    /// It writes a file now and then.
    File,
}

/// The way to take, and the latency that it implies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// The fastest way that is open.
    pub way: Way,
    /// In one sentence, with the ways that remain if it closes.
    pub sentence: String,
}

impl Way {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhooks",
            Self::ChangeCapture => "change capture",
            Self::Poll => "poll",
            Self::File => "file",
        }
    }

    /// What it means for how late a change comes.
    fn latency(self) -> &'static str {
        match self {
            Self::Webhook => "webhooks: as soon as the application calls",
            Self::ChangeCapture => "change capture: within about a second of the commit",
            Self::Poll => "poll every 30 s: up to 30 s + 1 request",
            Self::File => "nightly file: up to 24 h",
        }
    }
}

impl Reading {
    /// A way that is open.
    pub fn open(way: Way, because: impl Into<String>) -> Self {
        Self { way, open: Some(true), because: because.into(), to_do: Vec::new() }
    }

    /// A way that is not open.
    pub fn closed(way: Way, because: impl Into<String>) -> Self {
        Self { open: Some(false), ..Self::open(way, because) }
    }

    /// A way of which nothing is known.
    pub fn unknown(way: Way, because: impl Into<String>) -> Self {
        Self { open: None, ..Self::open(way, because) }
    }
}

impl Study {
    /// The way to take: the fastest that is open. A file can be exported from nearly everything.
    pub fn fallback(&self) -> Fallback {
        let is_open = |way| self.reads.iter().any(|one| one.way == way && one.open == Some(true));
        let is_unknown = |way| self.reads.iter().any(|one| one.way == way && one.open.is_none());
        let all = [Way::Webhook, Way::ChangeCapture, Way::Poll, Way::File];
        let way = all.into_iter().find(|way| is_open(*way)).unwrap_or(Way::File);
        let mut parts: Vec<String> = Vec::new();
        for missing in all.into_iter().filter(|one| *one < way) {
            if is_unknown(missing) {
                parts.push(format!("{} unknown", missing.word()));
            } else if self.reads.iter().any(|one| one.way == missing) || missing == Way::Webhook {
                parts.push(format!("no {}", missing.word()));
            }
        }
        let after =
            all.into_iter().filter(|one| *one > way && (is_open(*one) || *one == Way::File));
        let ways: Vec<_> = std::iter::once(way).chain(after).map(Way::latency).collect();
        let missing = parts.join(", ");
        let colon = if missing.is_empty() { "" } else { ": " };
        Fallback { way, sentence: format!("{missing}{colon}{}", ways.join("; ")) }
    }

    /// The same with what was asked for alone.
    ///
    /// # Errors
    /// A sentence: there is no such object. It names the nearest.
    pub fn of_object(mut self, name: &str) -> Result<Self, String> {
        if let Some(at) = self.objects.iter().position(|object| object.name == name) {
            self.objects = vec![self.objects.swap_remove(at)];
            self.further_objects = 0;
            return Ok(self);
        }
        let distance = |object: &&Object| strsim::levenshtein(&object.name, name);
        let nearest = self.objects.iter().min_by_key(distance).map(|object| &object.name);
        let hint = nearest.map(|name| format!(" Did you mean `{name}`?")).unwrap_or_default();
        Err(format!("{} has no object `{name}`, or shows us none.{hint}", self.application))
    }

    /// The same with everything within bounds, and nothing in it that a terminal would obey: its texts
    /// are the application's.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.application = tidy(&self.application);
        self.further_objects += self.objects.len().saturating_sub(MOST_OBJECTS);
        self.objects.truncate(MOST_OBJECTS);
        for object in &mut self.objects {
            object.name = tidy(&object.name);
            object.further_fields += object.fields.len().saturating_sub(MOST_FIELDS);
            object.fields.truncate(MOST_FIELDS);
            for field in &mut object.fields {
                field.name = tidy(&field.name);
                field.kind = tidy(&field.kind);
            }
            bound(&mut object.operations, LONGEST);
            bound(&mut object.notes, LONGEST);
        }
        for reading in &mut self.reads {
            reading.because = tidy(&reading.because);
            bound(&mut reading.to_do, LONGEST_STEP);
        }
        for lines in [&mut self.access, &mut self.writes, &mut self.limits, &mut self.unknown] {
            bound(lines, LONGEST);
        }
        self
    }
}

fn bound(lines: &mut Vec<String>, longest: usize) {
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    lines.iter_mut().for_each(|line| *line = within(line, longest));
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
}

/// A text as one line, without control characters, not longer than a paragraph.
fn tidy(text: &str) -> String {
    within(text, LONGEST)
}

fn within(text: &str, longest: usize) -> String {
    let words: Vec<_> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(reads: Vec<Reading>) -> Study {
        Study { reads, ..Study::default() }
    }

    #[test]
    fn the_fastest_way_that_is_open_is_taken_and_its_latency_told() {
        let polled = study(vec![
            Reading::closed(Way::Webhook, ""),
            Reading::open(Way::Poll, ""),
            Reading::open(Way::File, ""),
        ]);
        let fallback = polled.fallback();
        assert_eq!(fallback.way, Way::Poll);
        assert_eq!(
            fallback.sentence,
            "no webhooks: poll every 30 s: up to 30 s + 1 request; nightly file: up to 24 h"
        );
        let called = study(vec![Reading::open(Way::Webhook, ""), Reading::open(Way::Poll, "")]);
        assert_eq!(called.fallback().way, Way::Webhook);
        let nothing = study(Vec::new()).fallback();
        assert_eq!(nothing.sentence, "no webhooks: nightly file: up to 24 h");
        let unknown = study(vec![Reading::unknown(Way::Webhook, ""), Reading::open(Way::Poll, "")]);
        assert!(unknown.fallback().sentence.starts_with("webhooks unknown: poll"));
    }

    #[test]
    fn what_an_application_says_is_bounded_and_moves_no_cursor() {
        let object = |number: usize| Object { name: number.to_string(), ..Object::default() };
        let mut large = Study { objects: (0..700).map(object).collect(), ..Study::default() };
        large.application = "\u{1b}[2Jshop\n".to_owned();
        large.limits = (0..60).map(|number| number.to_string()).collect();
        large.unknown = vec!["x".repeat(10_000)];
        let bounded = large.bounded();
        assert_eq!((bounded.objects.len(), bounded.further_objects), (MOST_OBJECTS, 200));
        assert_eq!(bounded.application, "[2Jshop");
        assert_eq!(bounded.limits.last().unwrap(), "… and 10 more");
        assert_eq!(bounded.unknown[0].chars().count(), LONGEST + 1);
    }

    #[test]
    fn an_object_that_is_not_there_is_named_with_the_nearest() {
        let orders = Object { name: "public.orders".to_owned(), ..Object::default() };
        let study = Study { objects: vec![orders], ..Study::default() };
        let said = study.clone().of_object("public.order").unwrap_err();
        assert!(said.contains("Did you mean `public.orders`?"), "{said}");
        assert_eq!(study.of_object("public.orders").unwrap().objects.len(), 1);
    }
}
