//! A study for people.

use std::path::Path;

use engine::study::{Field, Object, Reading, Study};

/// Names of fields in an object's line.
const NAMED: usize = 6;
/// Nothing is padded further.
const WIDEST: usize = 60;

/// Shows a study; of a single object, all its fields.
pub fn study(connection: &str, connector: &str, file: &Path, study: &Study, single: bool) {
    say!("{connection} ({connector}): {}\n", study.application);
    match study.objects.as_slice() {
        [object] if single => one(object),
        objects => list(objects, study.further_objects),
    }
    section("Access", &study.access);
    say!("\nReading");
    study.reads.iter().for_each(reading);
    section("Writing", &study.writes);
    section("Limits", &study.limits);
    section("Not known", &study.unknown);
    say!("\nFallback: {}.", study.fallback().sentence);
    if !single {
        let first = study.objects.first().map_or("OBJECT", |object| object.name.as_str());
        let file = file.display();
        say!("`passerelle probe {connection} {file} '{first}'` shows one object's fields.\n");
    }
}

fn section(title: &str, lines: &[String]) {
    if !lines.is_empty() {
        say!("\n{title}");
        lines.iter().for_each(|line| say!("  {line}"));
    }
}

fn reading(Reading { way, open, because, to_do }: &Reading) {
    let open = match open {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    say!("  {:<14}  {open:<3}  {because}", way.word());
    to_do.iter().for_each(|step| say!("  {:<14}       → {step}", ""));
}

fn list(objects: &[Object], further: usize) {
    let operations = |object: &Object| cut(object.operations.join(", "));
    let width = |of: &dyn Fn(&Object) -> usize, title: &str| {
        objects.iter().map(of).max().unwrap_or(0).max(title.len()).min(WIDEST)
    };
    let name = width(&|object| object.name.chars().count(), "OBJECT");
    let able = width(&|object| operations(object).chars().count(), "OPERATIONS");
    say!("{:name$}  {:>11}  {:able$}  FIELDS", "OBJECT", "RECORDS", "OPERATIONS");
    for object in objects {
        let records = object.records.map_or_else(|| "?".to_owned(), |count| format!("~{count}"));
        let (operations, fields) = (operations(object), fields(object));
        say!("{:name$}  {records:>11}  {operations:able$}  {fields}", object.name);
    }
    if further > 0 {
        say!("… and {further} more");
    }
    if objects.is_empty() {
        say!("(none)");
    }
}

/// A text that does not push what stands behind it away.
fn cut(text: String) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", text[..end].trim_end_matches([' ', ','])),
        None => text,
    }
}

/// How many fields, and those that matter first: keys, then what must be given.
fn fields(object: &Object) -> String {
    let count = object.fields.len() + object.further_fields;
    if count == 0 {
        return "not known".to_owned();
    }
    let matters = |field: &&Field| field.key || field.required == Some(true);
    let named: Vec<_> = object.fields.iter().filter(matters).collect();
    let shown: Vec<_> = named.iter().take(NAMED).map(|field| marked(field)).collect();
    let more = if named.len() > NAMED { ", …" } else { "" };
    match shown.is_empty() {
        true => count.to_string(),
        false => format!("{count}: {}{more}", shown.join(", ")),
    }
}

/// A key has a star, a field that must be given an exclamation mark.
fn marked(field: &Field) -> String {
    let key = if field.key { "*" } else { "" };
    let required = if field.required == Some(true) { "!" } else { "" };
    format!("{}{key}{required}", field.name)
}

fn one(object: &Object) {
    let Object { name, records, operations, fields, further_fields, notes } = object;
    let records = records.map(|count| format!(", about {count} records")).unwrap_or_default();
    say!("{name}{records}: {}", operations.join(", "));
    notes.iter().for_each(|note| say!("  {note}"));
    let width = |of: &dyn Fn(&Field) -> usize, title: &str| {
        fields.iter().map(of).max().unwrap_or(0).max(title.len()).min(WIDEST)
    };
    let (name, kind) = (
        width(&|field| field.name.chars().count(), "FIELD"),
        width(&|field| field.kind.chars().count(), "TYPE"),
    );
    say!("\n{:name$}  {:kind$}  REQUIRED  KEY", "FIELD", "TYPE");
    for field in fields {
        let required = match field.required {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        let key = if field.key { "yes" } else { "" };
        say!("{:name$}  {:kind$}  {required:<8}  {key}", field.name, field.kind);
    }
    if *further_fields > 0 {
        say!("… and {further_fields} more");
    }
    if fields.is_empty() {
        say!("(not known)");
    }
}
