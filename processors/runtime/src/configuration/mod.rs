//! Pipeline files: read, checked, and turned into what the runtime runs.
//!
//! A file's mistakes are all reported at once, each at its line and column with its cause and a
//! hint, the way a compiler does.

pub mod applications;
mod check;
mod clients;
pub mod document;
pub mod examples;
pub mod file;
pub mod grammar;
mod keys;
mod load;
pub mod pipeline;
mod place;
mod plan;
pub mod problem;
mod reference;
pub mod sections;
pub mod substitution;
pub mod text;
mod validation;

pub use grammar::{Grammar, clashes};
pub use load::{Loaded, load};
pub use pipeline::{
    Application, ConnectionSection, DeclaredTopic, Pipeline, ProcessorSection, SinkSection,
    SourceSection,
};
pub use plan::Surroundings;
pub use problem::{Problem, Severity, draw_all, summary};
pub use reference::{FOLDERS, Page, Shelf, reference};

#[cfg(test)]
mod tests;
