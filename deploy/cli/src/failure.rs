//! Why a command ends without having done its work.

use std::fmt;

/// A sentence for whoever typed the command: what was being done, to what, what came back, what to do.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// A failure of this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<engine::Fault> for Failure {
    fn from(fault: engine::Fault) -> Self {
        Self(fault.message)
    }
}

/// What a command comes to: an exit code, or a failure (exit code 1).
pub type Outcome = Result<std::process::ExitCode, Failure>;
