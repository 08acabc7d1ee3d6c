//! Problems of a file, drawn the way a compiler draws its errors.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::file::Position;

/// Whether a file with this problem can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but look at it.
    Warning,
}

/// Something wrong in a pipeline file: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A short stable name in snake case, `unknown_field`.
    pub code: Cow<'static, str>,
    /// Whether the file can be run all the same.
    pub severity: Severity,
    /// The file, as the user named it.
    pub file: String,
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// The column in characters, from 1; 0 when it is about the whole file.
    pub column: usize,
    /// How many characters of that line are meant.
    pub length: usize,
    /// What is wrong. Holds no secret.
    pub cause: String,
    /// What to do.
    pub hint: Option<String>,
    #[serde(skip)]
    excerpt: String,
    /// The byte at which the excerpt's line starts in the file.
    #[serde(skip)]
    line_start: usize,
}

impl Problem {
    pub(super) fn new(file: &Path, code: &'static str, cause: impl Into<String>) -> Self {
        Self {
            code: Cow::Borrowed(code),
            severity: Severity::Error,
            file: file.display().to_string(),
            line: 0,
            column: 0,
            length: 0,
            cause: cause.into(),
            hint: None,
            excerpt: String::new(),
            line_start: 0,
        }
    }

    /// A problem of a whole file.
    pub fn of_file(file: &Path, code: &'static str, cause: impl Into<String>) -> Self {
        Self::new(file, code, cause)
    }

    pub(super) fn at(
        mut self,
        start: Position,
        length: usize,
        excerpt: &str,
        line_start: usize,
    ) -> Self {
        (self.line, self.column, self.length) = (start.line, start.column, length);
        excerpt.clone_into(&mut self.excerpt);
        self.line_start = line_start;
        self
    }

    /// The same problem, with nothing shown of its line but what is meant.
    #[must_use]
    pub(super) fn alone(mut self) -> Self {
        let before = self.column.saturating_sub(1);
        let meant: String = self.excerpt.chars().skip(before).take(self.length).collect();
        self.excerpt = format!("{}{meant}", " ".repeat(before));
        self
    }

    /// The same problem with advice; none for an empty text.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.hint = (!hint.is_empty()).then_some(hint);
        self
    }

    /// The same problem as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether the file cannot be run.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Hides what must never be printed: the bytes of the file that hold literal secrets, and the
    /// values that came from variables and files.
    pub(super) fn hide(&mut self, secret_spans: &[Range<usize>], secret_texts: &[String]) {
        for span in secret_spans {
            let start = span.start.saturating_sub(self.line_start).min(self.excerpt.len());
            let end = span.end.saturating_sub(self.line_start).min(self.excerpt.len());
            if let Some(shown) = self.excerpt.get(start..end) {
                let stars = "*".repeat(shown.chars().count());
                self.excerpt.replace_range(start..end, &stars);
            }
        }
        for secret in secret_texts {
            for text in [Some(&mut self.cause), self.hint.as_mut()].into_iter().flatten() {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), "***");
                }
            }
        }
    }

    /// Draws it, with colours for a terminal or without.
    pub fn draw(&self, colour: bool) -> String {
        Drawing { problem: self, colour }.to_string()
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Drawing { problem: self, colour: false }.fmt(f)
    }
}

/// Sorts problems by their place and draws them all, with a summary at the end.
pub fn draw_all(problems: &[Problem], colour: bool) -> String {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&problem.draw(colour));
        text.push('\n');
    }
    text.push_str(&summary(problems));
    text.push('\n');
    text
}

/// `3 errors, 1 warning`; `no problems` for none.
pub fn summary(problems: &[Problem]) -> String {
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let parts: Vec<_> = [("error", Severity::Error), ("warning", Severity::Warning)]
        .into_iter()
        .map(|(word, severity)| (word, count(severity)))
        .filter(|(_, count)| *count > 0)
        .map(|(word, count)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() { "no problems".to_owned() } else { parts.join(", ") }
}

/// Sorts by file, in the order given, then by place; drops what is said twice.
pub(super) fn sort(problems: &mut Vec<Problem>, files: &[PathBuf]) {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    problems.sort_by_cached_key(|problem| {
        let file = names.iter().position(|name| *name == problem.file);
        (file, problem.line, problem.column, problem.severity, problem.cause.clone())
    });
    problems.dedup();
}

struct Drawing<'a> {
    problem: &'a Problem,
    colour: bool,
}

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const BLUE: &str = "\u{1b}[1;34m";
const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

impl Drawing<'_> {
    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn excerpt(&self, f: &mut Formatter<'_>, margin: &str, loud: &str) -> fmt::Result {
        let Problem { line, column, length, .. } = *self.problem;
        let bar = self.paint(BLUE, &format!("{margin} |"));
        // Tabs are drawn as one space, so that the marks stand under what they mean.
        let text: String =
            self.problem.excerpt.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let marks = self.paint(loud, &"^".repeat(length));
        let number = self.paint(BLUE, &format!("{line:>width$} |", width = margin.len()));
        writeln!(f, "{bar}")?;
        writeln!(f, "{number} {text}")?;
        writeln!(f, "{bar} {}{marks}", " ".repeat(column.saturating_sub(1)))
    }
}

impl Display for Drawing<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let problem = self.problem;
        let (word, loud) = match problem.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        let head = self.paint(loud, &format!("{word}[{}]", problem.code));
        writeln!(f, "{head}{}", self.paint(BOLD, &format!(": {}", problem.cause)))?;
        let margin = " ".repeat(problem.line.to_string().len());
        let arrow = self.paint(BLUE, &format!("{margin}-->"));
        if problem.line == 0 {
            writeln!(f, "{arrow} {}", problem.file)?;
        } else {
            writeln!(f, "{arrow} {}:{}:{}", problem.file, problem.line, problem.column)?;
            self.excerpt(f, &margin, loud)?;
        }
        if let Some(hint) = &problem.hint {
            let indented = hint.replace('\n', &format!("\n{margin}         "));
            writeln!(f, "{} hint: {indented}", self.paint(BLUE, &format!("{margin} =")))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::*;

    fn problem() -> Problem {
        let text = "topics:\n  shop.orders:\n    partitons: 12\n";
        let file = File::new(Path::new("file.yaml"), text.to_owned());
        file.problem(27..36, "unknown_field", "unknown field `partitons` in a topic")
            .hint("did you mean `partitions`?")
    }

    #[test]
    fn a_problem_is_drawn_at_its_line_with_its_hint() {
        insta::assert_snapshot!(problem(), @r"
        error[unknown_field]: unknown field `partitons` in a topic
         --> file.yaml:3:5
          |
        3 |     partitons: 12
          |     ^^^^^^^^^
          = hint: did you mean `partitions`?
        ");
    }

    #[test]
    fn a_literal_secret_is_not_drawn() {
        let mut problem = problem();
        problem.hide(std::slice::from_ref(&(38..40)), &["partitions".to_owned()]);
        let drawn = problem.to_string();
        assert!(drawn.contains("partitons: **\n"), "{drawn}");
        assert!(drawn.contains("did you mean `***`?"), "{drawn}");
    }

    #[test]
    fn problems_are_counted() {
        assert_eq!(summary(&[]), "no problems");
        let all = [problem(), problem(), problem().warning()];
        assert_eq!(summary(&all), "2 errors, 1 warning");
        assert!(draw_all(&all, false).ends_with("\n\n2 errors, 1 warning\n"));
    }

    #[test]
    fn the_json_form_has_no_excerpt() {
        let json = serde_json::to_value(problem()).unwrap();
        assert_eq!(json["line"], 3);
        assert_eq!(json["severity"], "error");
        assert!(json.get("excerpt").is_none());
    }
}
