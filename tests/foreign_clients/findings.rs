//! The differences between the brokers, as `FINDINGS.md` lists them.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use crate::program::Answers;

/// What stands for no answer.
const NONE: &str = "–";

/// The rows of the table.
pub struct Findings(Vec<Finding>);

/// A row: `client | case: call | Apache Kafka | embedded broker | state`.
struct Finding {
    client: String,
    case: String,
    call: String,
    apache_kafka: String,
    embedded: String,
    state: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, case, call, apache_kafka, embedded, state } = self;
        write!(
            formatter,
            "| {client} | {case}: {call} | `{apache_kafka}` | `{embedded}` | {state} |"
        )
    }
}

impl Findings {
    pub fn read(folder: &Path) -> Self {
        Self::parse(&fs::read_to_string(folder.join("FINDINGS.md")).unwrap())
    }

    /// Reads the rows below the head of the table.
    fn parse(text: &str) -> Self {
        let rows = text.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
        Self(rows.take_while(|line| line.starts_with('|')).map(Finding::parse).collect())
    }

    /// The clients and cases that are named.
    pub fn subjects(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|row| (row.client.as_str(), row.case.as_str()))
    }

    /// What is wrong with the answers that a case had, or with what is listed of them.
    pub fn compare(
        &self,
        client: &str,
        case: &str,
        apache_kafka: &Answers,
        embedded: &Answers,
    ) -> Vec<String> {
        let rows: Vec<_> =
            self.0.iter().filter(|row| row.client == client && row.case == case).collect();
        let listed = rows.iter().map(|row| row.call.as_str());
        let calls = apache_kafka.keys().chain(embedded.keys()).map(String::as_str).chain(listed);
        let seen = |call: &str| Finding {
            client: client.to_owned(),
            case: case.to_owned(),
            call: call.to_owned(),
            apache_kafka: said(apache_kafka, call),
            embedded: said(embedded, call),
            state: "open".to_owned(),
        };
        let calls: BTreeSet<_> = calls.collect();
        let wrong = calls.into_iter().filter_map(|call| {
            seen(call).against(rows.iter().find(|row| row.call == call).copied())
        });
        wrong.collect()
    }
}

fn said(answers: &Answers, call: &str) -> String {
    answers.get(call).map_or(NONE, String::as_str).to_owned()
}

impl Finding {
    fn parse(line: &str) -> Self {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [client, subject, apache_kafka, embedded, state] = cells[..] else {
            panic!("not five columns: {line}")
        };
        let (case, call) = subject.split_once(": ").unwrap();
        let known = ["fixed", "open"].contains(&state) || state.starts_with("accepted because ");
        assert!(known, "the state is none of fixed, open, accepted because …: {line}");
        let answer = |cell: &str| cell.trim_matches('`').trim().to_owned();
        Self {
            client: client.to_owned(),
            case: case.to_owned(),
            call: call.to_owned(),
            apache_kafka: answer(apache_kafka),
            embedded: answer(embedded),
            state: state.to_owned(),
        }
    }

    /// What is wrong with what was seen, or with the row of it.
    fn against(&self, listed: Option<&Self>) -> Option<String> {
        let same = self.apache_kafka == self.embedded;
        match listed {
            None if same => None,
            None => Some(format!("a difference that is not listed:\n{self}")),
            Some(row) if row.state == "fixed" && same && self.embedded != NONE => None,
            Some(row) if row.state == "fixed" => {
                Some(format!("not fixed, whatever the row says:\n{self}"))
            }
            Some(row) => {
                let seen = (&self.apache_kafka, &self.embedded);
                let outdated = same || seen != (&row.apache_kafka, &row.embedded);
                outdated.then(|| format!("an outdated row:\n{row}\nnow it is:\n{self}"))
            }
        }
    }
}

/// A table of one row, and what comparing `ok` with an answer of the embedded broker says.
fn compared(state: &str, embedded: &str) -> Vec<String> {
    let row = format!("| go | groups: join | `ok` | `NO` | {state} |");
    let table = format!("| client | call | … |\n| --- | --- | … |\n{row}\n\nAnd so on.");
    let answers = |answer: &str| Answers::from([("join".to_owned(), answer.to_owned())]);
    Findings::parse(&table).compare("go", "groups", &answers("ok"), &answers(embedded))
}

pub fn answers_that_differ_must_be_listed() {
    assert!(compared("open", "NO").is_empty());
    assert!(compared("accepted because it is so", "NO").is_empty());
    assert!(compared("fixed", "NO")[0].starts_with("not fixed"));
    let nothing = Findings(Vec::new());
    let answers = Answers::from([("join".to_owned(), "ok".to_owned())]);
    let wrong = nothing.compare("go", "groups", &answers, &Answers::new());
    assert_eq!(
        wrong,
        ["a difference that is not listed:\n| go | groups: join | `ok` | `–` | open |"]
    );
    assert!(nothing.compare("go", "groups", &answers, &answers).is_empty());
}

pub fn a_row_that_is_outdated_fails() {
    assert!(compared("open", "MAYBE")[0].starts_with("an outdated row"));
    assert!(compared("open", "ok")[0].starts_with("an outdated row"));
    assert!(compared("fixed", "ok").is_empty());
}
