//! Reading pipeline files for a command.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::configuration::{self, Loaded, Problem, draw_all};

use crate::arguments::{Check, Files};
use crate::failure::{Failure, Outcome};
use crate::{catalogue, output};

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads and checks files.
///
/// # Errors
/// Every problem of every file.
pub fn load(files: &[PathBuf]) -> Result<Loaded, Vec<Problem>> {
    configuration::load(files, &catalogue::all(), &environment)
}

/// Reads and checks files; shows warnings on standard error.
///
/// # Errors
/// All mistakes, drawn.
pub fn read(files: &[PathBuf]) -> Result<Loaded, Failure> {
    let loaded = read_quietly(files)?;
    if !loaded.warnings.is_empty() {
        eprint!("{}", draw_all(&loaded.warnings, std::io::stderr().is_terminal()));
    }
    Ok(loaded)
}

/// Reads and checks files whose warnings do not matter: a file that is being begun leaves much unused.
///
/// # Errors
/// All mistakes, drawn.
pub fn read_quietly(files: &[PathBuf]) -> Result<Loaded, Failure> {
    let colour = std::io::stderr().is_terminal();
    load(files).map_err(|problems| Failure::new(draw_all(&problems, colour)))
}

/// `passerelle check`.
pub fn check(options: &Check) -> Outcome {
    let Files { files } = &options.files;
    let problems = match load(files) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    tell(&problems, options.json)
}

/// Shows what a check has found.
pub fn tell(problems: &[Problem], as_json: bool) -> Outcome {
    let wrong = problems.iter().any(Problem::is_error);
    if as_json {
        let text = serde_json::to_string_pretty(problems)
            .map_err(|error| Failure::new(error.to_string()))?;
        say!("{text}");
    } else {
        output::write(draw_all(problems, std::io::stdout().is_terminal()));
    }
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
