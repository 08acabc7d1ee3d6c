//! `passerelle test`: runs the examples written in pipeline files.

use std::process::ExitCode;

use engine::configuration::examples;

use crate::arguments::Files;
use crate::failure::Outcome;
use crate::{catalogue, files, output};

/// Runs every example of every file; fails if any gives something else than it expects.
pub fn run(options: &Files) -> Outcome {
    let (mut passed, mut failed) = (0, 0);
    for pipeline in files::read(&options.files)?.pipelines {
        for outcome in examples::run(&pipeline, &catalogue::all())? {
            output::write(&outcome);
            match outcome.passed() {
                true => passed += 1,
                false => failed += 1,
            }
        }
    }
    say!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
