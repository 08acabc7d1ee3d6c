//! Running a tool.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

/// Runs a tool that reads some input, to its end.
pub fn output(command: &mut Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.spawn().unwrap();
    // A tool that reads no input may have closed it.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    process.wait_with_output().unwrap()
}

/// Runs a tool that must succeed, and returns what it printed.
pub fn run(command: &mut Command, input: &str) -> String {
    let output = output(command, input);
    let (printed, complaints) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{printed}\n{complaints}", output.status);
    printed
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The lines of what a tool printed, as words: how wide a column is says nothing.
pub fn rows(printed: &str) -> Vec<Vec<&str>> {
    let words = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| !words.is_empty()).collect()
}
