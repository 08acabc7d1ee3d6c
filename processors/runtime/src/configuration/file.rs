//! The text of a pipeline file, and where its bytes stand: lines and columns.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::problem::Problem;

/// Files above this size are refused: no pipeline needs a mebibyte of YAML.
const LARGEST: u64 = 1 << 20;

/// A pipeline file as it was read.
#[derive(Debug)]
pub struct File {
    /// Its path as the user wrote it.
    pub path: PathBuf,
    text: String,
    /// The byte at which each line starts.
    lines: Vec<usize>,
}

/// A place in a file: both numbers count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// One problem: it is missing, too large, or not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Box<Problem>> {
        let size = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                let cause = format!("`{}` is a folder, not a pipeline file", path.display());
                return Err(Box::new(Problem::of_file(path, "unreadable_file", cause)));
            }
            Ok(found) => found.len(),
            Err(error) => return Err(unreadable(path, &error)),
        };
        if size > LARGEST {
            let cause = format!("the file has {size} bytes; at most {LARGEST} are read");
            return Err(Box::new(Problem::of_file(path, "file_too_large", cause)));
        }
        Self::from_bytes(path, std::fs::read(path).map_err(|error| unreadable(path, &error))?)
    }

    /// A file of these bytes.
    ///
    /// # Errors
    /// One problem: they are not UTF-8.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, Box<Problem>> {
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let file = Self::new(path, text);
                let cause = format!("the file is not UTF-8: byte {valid} is wrong");
                let problem = file.problem(valid..valid, "not_utf8", cause);
                Err(Box::new(problem.hint("save it as UTF-8")))
            }
        }
    }

    /// A file of this text. A byte order mark is dropped.
    pub fn new(path: &Path, text: String) -> Self {
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let mut lines = vec![0];
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let ends = *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
            if ends {
                lines.push(at + 1);
            }
        }
        Self { path: path.to_owned(), text, lines }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The folder it lies in: relative paths in it start there.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// The line and column of a byte.
    pub fn position(&self, byte: usize) -> Position {
        let byte = byte.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = 1 + self.text.get(start..byte).map_or(0, |before| before.chars().count());
        Position { line, column }
    }

    /// A line's text without its end; lines count from 1.
    pub fn line(&self, line: usize) -> &str {
        let start = line.checked_sub(1).and_then(|at| self.lines.get(at));
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        let text = start.and_then(|start| self.text.get(*start..end)).unwrap_or_default();
        text.trim_end_matches(['\n', '\r'])
    }

    /// The bytes of a line that hold its text.
    fn line_span(&self, line: usize) -> Range<usize> {
        let start = line.checked_sub(1).and_then(|at| self.lines.get(at)).copied().unwrap_or(0);
        start..start + self.line(line).len()
    }

    /// A problem at these bytes.
    pub fn problem(
        &self,
        span: Range<usize>,
        code: &'static str,
        cause: impl Into<String>,
    ) -> Problem {
        let start = self.position(span.start);
        let line = self.line_span(start.line);
        let end = span.end.clamp(span.start.min(line.end), line.end);
        let length = self.text.get(span.start..end).map_or(0, |text| text.chars().count());
        Problem::new(&self.path, code, cause).at(
            start,
            length.max(1),
            self.line(start.line),
            line.start,
        )
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Box<Problem> {
    let cause = format!("`{}` cannot be read: {error}", path.display());
    Box::new(Problem::of_file(path, "unreadable_file", cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File::new(Path::new("a.yaml"), text.to_owned())
    }

    #[test]
    fn columns_count_characters_and_lines_end_in_any_way() {
        let file = file("é: 1\r\nb: 2\rc: 3\n");
        assert_eq!(file.position(0), Position { line: 1, column: 1 });
        assert_eq!(file.position(2), Position { line: 1, column: 2 });
        assert_eq!(file.position(7), Position { line: 2, column: 1 });
        assert_eq!(file.position(12), Position { line: 3, column: 1 });
        assert_eq!(file.line(2), "b: 2");
        assert_eq!(file.line(9), "");
    }

    #[test]
    fn a_file_that_is_not_utf8_says_where() {
        let problem =
            File::from_bytes(Path::new("a.yaml"), b"name: x\nb: \xff".to_vec()).unwrap_err();
        assert_eq!((problem.line, problem.column), (2, 4));
    }

    #[test]
    fn a_missing_file_is_a_problem() {
        let problem = File::read(Path::new("/nonexistent/a.yaml")).unwrap_err();
        assert_eq!(problem.code, "unreadable_file");
    }
}
