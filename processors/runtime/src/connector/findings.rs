//! The mistakes that connectors find in their options.

use std::ops::Range;

/// Where in the file a finding belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The route's own section; for a processor, its step's value in it.
    Route,
    /// The section of the connection that the route uses.
    Connection,
}

/// A mistake that a connector found in its options.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The section it is in.
    pub place: Place,
    /// The way from that section to the value, as a JSON pointer (`/headers/Accept`).
    pub pointer: String,
    /// The bytes of the text that are wrong, when the value is a text.
    pub span: Option<Range<usize>>,
    /// True when the file can be run all the same.
    pub warning: bool,
    /// A short stable name of the mistake, in snake case.
    pub code: &'static str,
    /// What is wrong, as a sentence.
    pub cause: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds a mistake in the route's section.
    pub fn route(
        &mut self,
        pointer: &str,
        code: &'static str,
        cause: impl Into<String>,
        hint: &str,
    ) {
        self.add(Place::Route, pointer, code, cause.into(), hint);
    }

    /// Adds a mistake in the connection's section.
    pub fn connection(
        &mut self,
        pointer: &str,
        code: &'static str,
        cause: impl Into<String>,
        hint: &str,
    ) {
        self.add(Place::Connection, pointer, code, cause.into(), hint);
    }

    fn add(&mut self, place: Place, pointer: &str, code: &'static str, cause: String, hint: &str) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.0.push(Finding {
            place,
            pointer: pointer.to_owned(),
            span: None,
            warning: false,
            code,
            cause,
            hint,
        });
    }
}
