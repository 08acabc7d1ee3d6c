//! The row in which files are dropped into a folder: whole, growing, renamed, truncated, twice, with bad
//! rows among the good ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::endtoend::process::Process;
use crate::run::Run;
use crate::world::{World, until};

/// How many rows a file has.
const ROWS: u64 = 2_500;
/// How long a file has to stay as it is.
const SETTLE: Duration = Duration::from_millis(800);

/// The last column shows that a row is whole.
const ROW: &str = r#"{"type":"record","name":"Row","fields":[
  {"name":"file","type":"string"},{"name":"row","type":"string"},
  {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
  {"name":"end","type":{"type":"enum","name":"End","symbols":["end"]}}]}"#;

const SECTIONS: &str = r#"
topics:
  @rows: { partitions: 4, schema: row.avsc }
sources:
  rows:
    file:
      folder: in
      pattern: "*.csv"
      settle: 800ms
      every: 50ms
      format: { csv: { delimiter: ";" } }
      numbers: { decimal: "," }
      then: { archive: done }
    to: @rows
    key: .row
"#;

/// Nothing is needed.
pub fn obstacle() -> Option<String> {
    None
}

/// What becomes of a content that lay in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays until it was read.
    Whole,
    /// It was changed, perhaps while it was read: what was read of it are whole rows from its first on.
    Changed,
}

/// The contents that lay in the folder, by what the source calls them.
type Contents = BTreeMap<String, (String, Fate)>;

fn id(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file with some bad rows.
fn content(run: &Run, number: usize) -> String {
    let mut text = "file;row;amount;end\n".to_owned();
    for row in 1..=ROWS {
        text += &match run.draw(0..200) {
            0 => format!("f{number};{row};no number;end\n"),
            1 => format!("f{number};{row}\n"),
            2 => format!("f{number};{row};\"1\"2;end\n"),
            _ => format!("f{number};{row};{row},50;end\n"),
        };
    }
    text
}

/// The good rows of a content, and the lines of the bad ones, by their numbers.
fn expected(content: &str) -> (BTreeSet<u64>, BTreeMap<u64, String>) {
    let (mut good, mut bad) = (BTreeSet::new(), BTreeMap::new());
    for (index, line) in content.lines().enumerate().skip(1) {
        let columns: Vec<&str> = line.split(';').collect();
        let is_good =
            matches!(columns.as_slice(), [_, _, amount, "end"] if amount.ends_with(",50"));
        match is_good {
            true => drop(good.insert(index as u64)),
            false => drop(bad.insert(index as u64, (index + 1).to_string())),
        }
    }
    (good, bad)
}

/// How a file is dropped.
struct Dropping<'a> {
    run: &'a Run,
    folder: PathBuf,
    contents: Contents,
}

impl Dropping<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn note(&mut self, content: &str, fate: Fate) {
        self.contents.insert(id(content), (content.to_owned(), fate));
    }

    /// Writes a file piece by piece, in the middle of rows, with pauses that are too short to settle.
    async fn grow(&mut self, name: &str, content: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        let (mut written, mut fate) = (0, Fate::Whole);
        while written < content.len() {
            let piece = usize::try_from(self.run.draw(1..20_000)).unwrap();
            let end = content.len().min(written + piece);
            file.write_all(&content.as_bytes()[written..end]).unwrap();
            written = end;
            let paused = Instant::now();
            self.run.moment(0..40).await;
            // A machine that stalls for so long lets the file settle: it lay there so.
            if paused.elapsed() > SETTLE / 2 {
                fate = Fate::Changed;
                let begun = (content.to_owned(), fate);
                self.contents.insert(id(&content[..written]), begun);
            }
        }
        self.note(content, fate);
    }

    /// Writes a file at once.
    fn whole(&mut self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
        self.note(content, Fate::Whole);
    }

    /// Cuts a file off in the middle of a row, if it still lies there.
    fn truncate(&mut self, name: &str, content: &str) {
        let length = usize::try_from(self.run.draw(200..content.len() as u64)).unwrap();
        let Ok(file) = OpenOptions::new().write(true).open(self.path(name)) else { return };
        file.set_len(length as u64).unwrap();
        self.note(content, Fate::Changed);
        // Otherwise it was put away meanwhile: nobody reads it again.
        if self.path(name).exists() {
            self.note(&content[..length], Fate::Whole);
        }
    }
}

/// Waits until a file begins to be read, or is read already.
async fn begins(world: &World<'_>, path: &Path, process: &mut Process) {
    let line = "passerelle_records_in_total{";
    until("a file begins to be read", async || {
        process.assert_alive();
        let counted = match world.operators().get("/metrics").await {
            Some((_, text)) => {
                text.lines().any(|found| found.starts_with(line) && !found.ends_with(" 0"))
            }
            None => false,
        };
        (counted || !path.exists()).then_some(())
    })
    .await;
}

/// Files grow, are renamed, truncated and dropped twice, hold bad rows, and the process is killed in the
/// middle of them again and again.
pub async fn t24_files_grow_change_and_come_twice(run: &Run) {
    let world = World::around(run, &[SECTIONS]).await;
    world.folder.write("row.avsc", ROW);
    let folder = world.folder.path().join("in");
    fs::create_dir(&folder).unwrap();
    let mut dropping = Dropping { run, folder: folder.clone(), contents: Contents::new() };
    let mut process = world.started().await;
    let mut last = String::new();
    for number in 0..run.rounds {
        let (name, text) = (format!("{number}.csv"), content(run, number));
        match number % 5 {
            0 => dropping.grow(&name, &text).await,
            // The same content again, under another name.
            1 => dropping.whole(&name, &last),
            _ => dropping.whole(&name, &text),
        }
        begins(&world, &dropping.path(&name), &mut process).await;
        run.moment(0..150).await;
        match number % 5 {
            2 => dropping.truncate(&name, &text),
            3 => drop(fs::rename(dropping.path(&name), dropping.path(&format!("r{name}")))),
            _ => {}
        }
        last = text;
        world.kill_and_start(&mut process);
    }
    world.operators().ready(&mut process).await;
    until("every file is put away", async || {
        (fs::read_dir(&folder).unwrap().count() == 0).then_some(())
    })
    .await;
    held(&world, &dropping.contents).await;
    process.assert_alive();
}

/// The lines of each content.
type Lines<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// The line of a row.
fn line_of<'a>(lines: &Lines<'a>, file: &str, row: u64) -> &'a str {
    let of_file = lines.get(file).expect("a content that lay there");
    of_file[usize::try_from(row).unwrap()]
}

/// Each whole row is in the topic once, each bad one in the dead letters with its line.
async fn held(world: &World<'_>, contents: &Contents) {
    let lines: Lines<'_> =
        contents.iter().map(|(file, (text, _))| (file.as_str(), text.lines().collect())).collect();
    let mut events: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut repeated = 0;
    let all = world.folder.tap(&world.topic("rows")).await;
    for event in &all {
        let (file, row) = event["headers"]["ce_id"].as_str().unwrap().split_once(':').unwrap();
        repeated +=
            usize::from(!events.entry(file.to_owned()).or_default().insert(row.parse().unwrap()));
        let line = line_of(&lines, file, row.parse().unwrap());
        let value = &event["value"];
        let shown = |name: &str| value[name].as_str().unwrap().to_owned();
        let amount = shown("amount").replace('.', ",");
        assert_eq!(
            line,
            format!("{};{};{amount};end", shown("file"), shown("row")),
            "{file}:{row}"
        );
    }
    // At a kill a dead letter may be there again, the same under the same id.
    let mut dead: BTreeMap<String, BTreeMap<u64, String>> = BTreeMap::new();
    let mut interrupted = 0;
    for letter in world.dead_letters("rows").await {
        let (file, row) = letter.header("ce_id").split_once(':').unwrap();
        let Ok(row) = row.parse::<u64>() else {
            interrupted += 1;
            continue;
        };
        let line = line_of(&lines, file, row);
        let body = String::from_utf8(letter.value.clone().unwrap()).unwrap();
        let body = body.trim_end_matches('\n');
        let half = contents[file].1 == Fate::Changed && line.starts_with(body);
        assert!(body == line || half, "the bytes of {file}:{row}: {body}");
        let there = letter.header("passerelle_line").to_owned();
        dead.entry(file.to_owned()).or_default().insert(row, there);
    }
    let sent: usize = contents
        .values()
        .filter(|(_, fate)| *fate == Fate::Whole)
        .map(|(text, _)| expected(text).0.len())
        .sum();
    world.run.note(|finding| {
        finding.sent = sent;
        finding.received = all.len();
        finding.repeated = repeated;
        finding.note = format!(
            "{} contents, {} bad rows, {interrupted} told to be interrupted",
            contents.len(),
            dead.values().map(BTreeMap::len).sum::<usize>()
        );
    });
    assert_eq!(repeated, 0, "no row lies in the topic twice");
    for (file, (text, fate)) in contents {
        let (good, bad) = expected(text);
        let events = events.remove(file).unwrap_or_default();
        let dead = dead.remove(file).unwrap_or_default();
        match fate {
            Fate::Whole => {
                assert_eq!((&events, &dead), (&good, &bad), "all of {file}, and nothing else");
            }
            Fate::Changed => {
                let end = events.last().copied().unwrap_or_default();
                let begun: BTreeSet<u64> = good.range(..=end).copied().collect();
                assert_eq!(events, begun, "whole rows of {file}, from its first on");
                let known = |row, line| bad.get(row) == Some(line) || *row > end;
                assert!(dead.iter().all(|(row, line)| known(row, line)), "{dead:?}");
            }
        }
    }
}
