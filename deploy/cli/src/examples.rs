//! `passerelle test`: runs the examples written in pipeline files.

use std::process::ExitCode;

use engine::configuration::examples;

use crate::arguments::Test;
use crate::failure::Outcome;
use crate::{catalogue, files, output};

/// Runs every example of every file; fails if any gives something else than it expects.
pub fn run(options: &Test) -> Outcome {
    if options.update {
        return update(options);
    }
    let (mut passed, mut failed) = (0, 0);
    for pipeline in files::read(&options.files.files)?.pipelines {
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

/// Writes what comes out into the expected files; fails if something is left to a person.
fn update(options: &Test) -> Outcome {
    let (mut written, mut left) = (0, 0);
    for pipeline in files::read(&options.files.files)?.pipelines {
        for updated in examples::update(&pipeline, &catalogue::all())? {
            output::write(&updated);
            written += updated.written.len();
            left += updated.left.len();
        }
    }
    say!("{written} files written, {left} left to you");
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
