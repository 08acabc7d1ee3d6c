//! The options of the source.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::texts::Texts;
use chrono_tz::Tz;
use encoding_rs::{Encoding, UTF_8};
use engine::Fault;
use engine::connector::Findings;
use engine::expression::{Expression, Own};
use engine::options::{Period, Size};
use schemars::JsonSchema;
use serde::Deserialize;

/// The most files whose reading can be remembered: with them the cursor stays well below a megabyte,
/// the largest record that brokers take by default.
pub(super) const MOST_REMEMBERED: usize = 10_000;
/// The largest record that may be asked for.
const LARGEST: u64 = 64 << 20;

/// Files that are dropped into a folder become events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct FileOptions {
    /// The folder that is watched, from the pipeline file's own folder. Folders within it are not,
    /// and links are not followed.
    pub folder: PathBuf,
    /// How a file shows that it is complete.
    #[serde(default)]
    pub ready: Ready,
    /// With `ready: settle`, how long a file's size and time have to stay as they are.
    #[serde(default = "FileOptions::default_settle")]
    pub settle: Period,
    /// With `ready: marker`, what follows a file's name in that of its marker: `orders.csv.done`.
    #[serde(default = "FileOptions::default_marker")]
    pub marker: String,
    /// What becomes of a file that was read: it stays (`leave`), moves (`archive: done`, a folder), or
    /// goes (`delete`; one with records that were too large to keep whole stays).
    #[serde(default)]
    pub then: Then,
    /// What is read, and what becomes of it.
    #[serde(flatten)]
    pub reading: ReadingOptions,
}

/// What is read, and what becomes of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ReadingOptions {
    /// Which names are read, with `*` and `?`: `orders-*.csv`. Names that begin with `.` or `~` or end
    /// with `.tmp`, `.part`, `.partial`, `.filepart`, `.crdownload`, `.swp` or `~` never are.
    #[serde(default = "ReadingOptions::default_pattern")]
    pub pattern: String,
    /// How often to look into the folder.
    #[serde(default = "ReadingOptions::default_every")]
    pub every: Period,
    /// What the files are.
    pub format: Format,
    /// How texts say what they say.
    #[serde(flatten)]
    pub writing: Writing,
    /// What columns (or elements right below a record) stand for, where `event` reads them. Without
    /// `event` the topic's schema says it.
    #[serde(default)]
    pub types: BTreeMap<String, TextType>,
    /// What is published, made of the record: it has to fit the topic's schema. Without it, the record
    /// as it is.
    #[serde(default)]
    pub event: Option<Own<Expression>>,
    /// The event's id (`ce_id`), made of the record. Without it, the hash of the file's content and the
    /// row: `9f86d081884c7d659a2feaa0c55ad015:17`.
    #[serde(default)]
    pub event_id: Option<Own<Expression>>,
    /// What kind of event it is (`ce_type`), made of the record, for example `"order.exported"` in
    /// quotation marks.
    #[serde(default, rename = "type")]
    pub kind: Option<Own<Expression>>,
    /// The application's own time of the event (`ce_time`), made of the record: a time, or a text in
    /// RFC 3339's form.
    #[serde(default)]
    pub time: Option<Own<Expression>>,
    /// The largest record; a larger one goes to the dead letters with its first bytes.
    #[serde(default = "ReadingOptions::default_largest")]
    pub largest_record: Size,
    /// How many files that were read are remembered by their content. Those that still lie in the folder
    /// are never forgotten.
    #[serde(default = "ReadingOptions::default_remember")]
    pub remember: usize,
}

/// How texts say what they say.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Writing {
    /// How texts are encoded, by a label of the WHATWG's list such as `CP1252`, `ISO-8859-15` or
    /// `UTF-8`, the default. XML says it itself, and EDIFACT; this goes before.
    #[serde(default)]
    pub encoding: Option<String>,
    /// How numbers are written.
    #[serde(default)]
    pub numbers: Numbers,
    /// How days are written, as strftime has it: `%d/%m/%Y`. The first that fits is taken.
    #[serde(default = "Writing::default_dates")]
    pub dates: Vec<String>,
    /// How instants are written: `%d/%m/%Y %H:%M:%S`. RFC 3339 is always read.
    #[serde(default = "Writing::default_times")]
    pub times: Vec<String>,
    /// The time zone of instants that tell none, by its name in IANA's list, such as `Europe/Paris`.
    #[serde(default = "Writing::default_zone")]
    pub time_zone: String,
}

/// How a file shows that it is complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// Its size and its time stay as they are.
    #[default]
    Settle,
    /// It is written under another name that the pattern does not fit, and renamed: what has the right
    /// name is complete.
    Rename,
    /// An empty file beside it, written last, whose name is its own and `marker`.
    Marker,
}

/// What becomes of a file that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It stays.
    #[default]
    Leave,
    /// It goes.
    Delete,
    /// It moves into this folder: from the pipeline file's own, in a bucket from the connection's.
    Archive(PathBuf),
}

/// What a text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextType {
    /// A number: it becomes the text of its digits, `1234.56`.
    Number,
    /// A day: `2025-12-31`.
    Date,
    /// An instant.
    Time,
    /// `true`, `false`, `1` or `0`.
    Boolean,
}

/// How numbers are written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Numbers {
    /// What stands before the decimals.
    #[serde(default = "Numbers::default_decimal")]
    pub decimal: char,
    /// What stands between thousands. A space is also a no-break space, wide or narrow. Without it,
    /// numbers have none.
    #[serde(default)]
    pub thousands: Option<char>,
}

/// What the files are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Rows of columns: `csv: { delimiter: ";" }`.
    Csv(Csv),
    /// A JSON value a line.
    JsonLines,
    /// Lines whose columns have fixed places.
    FixedWidth(FixedWidth),
    /// XML, an element a record: `xml: { record: /Orders/Order }`.
    Xml(Xml),
    /// UN/EDIFACT, a message a record.
    Edifact(Edifact),
    /// ASC X12, a transaction set a record.
    X12(X12),
}

/// Rows of columns.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Csv {
    /// What stands between columns: one character of ASCII, `"\t"` is a tab.
    #[serde(default = "Csv::default_delimiter")]
    pub delimiter: char,
    /// What stands around columns that hold delimiters or line breaks; doubled, it is itself.
    #[serde(default = "Csv::default_quote")]
    pub quote: char,
    /// The columns' names. Without them, they are in the first row.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// How many lines come before the first row (or the row of names).
    #[serde(default)]
    pub skip: u32,
    /// What becomes of rows that have more or fewer columns than there are names.
    #[serde(default)]
    pub ragged: Ragged,
}

/// What becomes of rows that have more or fewer columns than there are names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ragged {
    /// They are refused: those of a source go to the dead letters, and a look-up's file is not read.
    #[default]
    Reject,
    /// Columns that lack are left out, and empty ones beyond the names are ignored.
    Pad,
}

/// Lines whose columns have fixed places.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct FixedWidth {
    /// The columns by their names.
    pub columns: BTreeMap<String, Columns>,
    /// How many lines come before the first record.
    #[serde(default)]
    pub skip: u32,
}

/// Where a column is.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub struct Columns {
    /// Its first character, from 1.
    pub start: usize,
    /// How many characters it has. Spaces around what it holds are removed.
    pub length: usize,
}

/// XML, an element a record.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Xml {
    /// The way to the element that is a record, from the root: `/Orders/Order`; `*` is any element. A
    /// name fits whatever its namespace, unless it has a prefix of `namespaces`.
    pub record: String,
    /// Namespaces by prefix: elements and attributes of these are named with it, `cbc:ID`; all others
    /// by their local names.
    #[serde(default)]
    pub namespaces: BTreeMap<String, String>,
    /// Elements that are lists even where there is one.
    #[serde(default)]
    pub lists: Vec<String>,
}

/// UN/EDIFACT, a message a record.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Edifact {
    /// The types of messages that become events; others go to the dead letters.
    #[serde(default = "Edifact::default_messages")]
    pub messages: Vec<String>,
}

/// ASC X12, a transaction set a record.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct X12 {
    /// The transaction sets that become events; others go to the dead letters.
    #[serde(default = "X12::default_transactions")]
    pub transactions: Vec<String>,
}

impl FileOptions {
    fn default_settle() -> Period {
        Period(Duration::from_secs(5))
    }

    fn default_marker() -> String {
        ".done".to_owned()
    }

    /// Looks for mistakes that the types do not exclude.
    pub(super) fn check(&self, findings: &mut Findings) {
        if self.marker.is_empty() {
            let cause = "A marker's name is the file's own.";
            findings.route("/file/marker", "marker", cause, "Write `.done`.");
        }
        if matches!(&self.then, Then::Archive(archive) if *archive == self.folder) {
            let cause = "What was read is archived where it is read.";
            findings.route("/file/then", "archive", cause, "Name another folder.");
        }
        self.reading.check("file", findings);
    }
}

impl ReadingOptions {
    fn default_pattern() -> String {
        "*".to_owned()
    }

    fn default_every() -> Period {
        Period(Duration::from_secs(1))
    }

    fn default_largest() -> Size {
        Size(1 << 20)
    }

    fn default_remember() -> usize {
        1_000
    }

    pub(super) fn largest_record(&self) -> usize {
        usize::try_from(self.largest_record.0.min(LARGEST)).unwrap_or(usize::MAX)
    }

    /// Looks for mistakes that the types do not exclude; `name` is the source's.
    pub(super) fn check(&self, name: &str, findings: &mut Findings) {
        let mut wrong = |option: &str, code, cause: &str, hint: &str| {
            findings.route(&format!("/{name}/{option}"), code, cause, hint);
        };
        if self.every.0.is_zero() {
            wrong("every", "every_zero", "The folder would be read without a pause.", "Write 1s.");
        }
        if !(1..=MOST_REMEMBERED).contains(&self.remember) {
            let cause = format!("`remember` lies between 1 and {MOST_REMEMBERED}.");
            let hint = "It is part of the cursor, which is one record in Kafka.";
            wrong("remember", "remember", &cause, hint);
        }
        if !(1_024..=LARGEST).contains(&self.largest_record.0) {
            let cause = "`largest_record` lies between 1KiB and 64MiB.";
            wrong("largest_record", "largest_record", cause, "Brokers take 1MiB by default.");
        }
        if let Err(error) = glob::Pattern::new(&self.pattern) {
            let cause = format!("`{}` is no pattern of names: {error}.", self.pattern);
            wrong("pattern", "pattern", &cause, "Write `orders-*.csv`.");
        }
        self.writing.check(&mut wrong);
        self.format.check(&mut wrong);
    }

    /// The encoding of formats that do not tell it.
    pub(super) fn usual_encoding(encoding: Option<&'static Encoding>) -> &'static Encoding {
        encoding.unwrap_or(UTF_8)
    }
}

impl Writing {
    fn default_dates() -> Vec<String> {
        vec!["%Y-%m-%d".to_owned()]
    }

    fn default_times() -> Vec<String> {
        vec!["%Y-%m-%d %H:%M:%S".to_owned(), "%Y-%m-%dT%H:%M:%S".to_owned()]
    }

    fn default_zone() -> String {
        "UTC".to_owned()
    }

    /// The encoding, if the file says one.
    pub(super) fn encoding(&self) -> Result<Option<&'static Encoding>, Fault> {
        let Some(label) = &self.encoding else { return Ok(None) };
        let encoding = Encoding::for_label(label.as_bytes());
        encoding.map(Some).ok_or_else(|| {
            let cause = format!("`{label}` is no encoding that is known.");
            Fault::config("encoding", cause)
        })
    }

    pub(super) fn texts(&self) -> Result<Texts, Fault> {
        let zone: Tz = self.time_zone.parse().map_err(|_| {
            Fault::config("time_zone", format!("`{}` is no time zone.", self.time_zone))
        })?;
        Ok(Texts {
            decimal: self.numbers.decimal,
            thousands: self.numbers.thousands,
            dates: self.dates.clone(),
            times: self.times.clone(),
            zone,
        })
    }

    /// Looks for mistakes that the types do not exclude.
    pub(crate) fn check(&self, wrong: &mut impl FnMut(&str, &'static str, &str, &str)) {
        if let Err(fault) = self.encoding() {
            let hint = "Write a label of the WHATWG's list: `CP1252`, `ISO-8859-15`, `UTF-8`.";
            wrong("encoding", fault.cause, &fault.message, hint);
        } else if let Some(encoding) = self.encoding().ok().flatten()
            && !encoding.is_ascii_compatible()
        {
            let cause = format!("{} is not read: lines are told apart by ASCII.", encoding.name());
            wrong("encoding", "encoding", &cause, "Convert the files, for example with iconv.");
        }
        if let Err(fault) = self.texts() {
            let hint = "Write its name in IANA's list, such as `Europe/Paris` or `UTC`.";
            wrong("time_zone", fault.cause, &fault.message, hint);
        }
        if self.numbers.thousands == Some(self.numbers.decimal) {
            let cause = "Thousands and decimals cannot be told apart.";
            wrong("numbers/thousands", "thousands", cause, "Leave `thousands` out.");
        }
        for (option, formats) in [("dates", &self.dates), ("times", &self.times)] {
            for format in formats {
                use chrono::format::{Item, StrftimeItems};
                if StrftimeItems::new(format).any(|item| item == Item::Error) {
                    let cause = format!("`{format}` is no form of strftime.");
                    wrong(option, "form", &cause, "Write `%d/%m/%Y` or `%d/%m/%Y %H:%M:%S`.");
                }
            }
        }
    }
}

impl Format {
    fn check(&self, wrong: &mut impl FnMut(&str, &'static str, &str, &str)) {
        match self {
            Format::Csv(csv) => csv.check(&mut |option, code, cause, hint| {
                wrong(&format!("format/csv/{option}"), code, cause, hint);
            }),
            Format::FixedWidth(fixed) => {
                for (name, columns) in &fixed.columns {
                    if columns.start == 0 || columns.length == 0 {
                        let place =
                            format!("format/fixed_width/columns/{}", exchange::escaped(name));
                        let cause = "A column starts at 1 or later, and has a length.";
                        wrong(&place, "columns", cause, "");
                    }
                }
            }
            Format::Xml(xml) => {
                let steps: Vec<&str> = xml.record.split('/').collect();
                let sound = steps.len() > 1
                    && steps[0].is_empty()
                    && steps[1..].iter().all(|step| !step.is_empty());
                if !sound {
                    let cause = format!("`{}` is no way from the root to an element.", xml.record);
                    wrong("format/xml/record", "record", &cause, "Write `/Orders/Order`.");
                }
                for step in &steps {
                    if let Some((prefix, _)) = step.split_once(':')
                        && !xml.namespaces.contains_key(prefix)
                    {
                        let cause = format!("The prefix `{prefix}` is not in `namespaces`.");
                        let hint = "Declare it, or leave the prefix out.";
                        wrong("format/xml/record", "record", &cause, hint);
                    }
                }
            }
            Format::JsonLines | Format::Edifact(_) | Format::X12(_) => {}
        }
    }
}

fn option_code(option: &str) -> &'static str {
    if option == "quote" { "quote" } else { "delimiter" }
}

impl Default for Numbers {
    fn default() -> Self {
        Self { decimal: Self::default_decimal(), thousands: None }
    }
}

impl Numbers {
    fn default_decimal() -> char {
        '.'
    }
}

impl Csv {
    /// Looks for mistakes that the types do not exclude.
    pub(crate) fn check(&self, wrong: &mut impl FnMut(&str, &'static str, &str, &str)) {
        for (option, character) in [("delimiter", self.delimiter), ("quote", self.quote)] {
            if !character.is_ascii() || matches!(character, '\n' | '\r') {
                let cause = format!("`{option}` is one character of ASCII, no line break.");
                wrong(option, option_code(option), &cause, "");
            }
        }
        if self.delimiter == self.quote {
            let cause = "The quote is the delimiter.";
            wrong("quote", "quote", cause, "Leave `quote` out.");
        }
        if self.columns.as_ref().is_some_and(Vec::is_empty) {
            let cause = "No column has a name.";
            wrong("columns", "columns", cause, "Name the columns in order.");
        }
    }

    fn default_delimiter() -> char {
        ','
    }

    fn default_quote() -> char {
        '"'
    }
}

impl Edifact {
    fn default_messages() -> Vec<String> {
        vec!["ORDERS".to_owned()]
    }
}

impl X12 {
    fn default_transactions() -> Vec<String> {
        vec!["850".to_owned()]
    }
}
