//! Problems that are found after a file was checked, drawn where they belong.

use super::document::parse;
use super::file::File;
use super::pipeline::Pipeline;
use super::problem::Problem;

impl Pipeline {
    /// Something that is wrong with what a section of its file is, or with what the section has under
    /// a name. Of the file only the name is shown: secrets may stand beside it.
    pub fn problem(
        &self,
        section: &str,
        name: Option<&str>,
        code: &'static str,
        cause: impl Into<String>,
    ) -> Problem {
        let cause = cause.into();
        self.at(section, name, code, &cause)
            .unwrap_or_else(|| Problem::of_file(&self.file, code, cause))
    }

    /// Nothing if the file is no longer what was read.
    fn at(
        &self,
        section: &str,
        name: Option<&str>,
        code: &'static str,
        cause: &str,
    ) -> Option<Problem> {
        let file = File::read(&self.file).ok()?;
        let root = parse(&file).ok()?;
        let section = root.entry(section)?;
        let entry = match name {
            Some(name) => section.value.entry(name)?,
            None => section,
        };
        Some(file.problem(entry.name_span.clone(), code, cause).alone())
    }
}
