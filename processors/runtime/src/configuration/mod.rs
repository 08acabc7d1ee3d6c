//! Pipeline files: read, checked, and turned into what the runtime runs.
//!
//! A file's mistakes are all reported at once, each at its line and column with its cause and a
//! hint, the way a compiler does.

mod check;
pub mod document;
pub mod file;
pub mod grammar;
mod load;
pub mod pipeline;
pub mod problem;
pub mod sections;
pub mod substitution;
pub mod text;
mod validation;

pub use grammar::Grammar;
pub use load::{Loaded, load};
pub use pipeline::{DeclaredTopic, Pipeline, ProcessorSection, SinkSection, SourceSection};
pub use problem::{Problem, Severity, draw_all, summary};

#[cfg(test)]
mod tests;
