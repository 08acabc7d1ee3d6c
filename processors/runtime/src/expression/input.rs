//! What is known, when a file is checked, of the values that an expression will read.

use schemas::{Path, Schema};
use vrl::value::Kind;

use super::shape::Shape;
use crate::connector::Setup;

/// The type of the values that an expression reads.
///
/// `&Kind`, `&Schema` and `&Setup` turn into one. A bare kind does not tell decimals from other
/// texts: operators on them are refused only where the schema is known.
#[derive(Debug, Clone)]
pub struct Input {
    /// The type of `.`, and where its decimals are.
    pub(super) shape: Shape,
}

impl Input {
    fn new(kind: Kind, decimals: &[Path]) -> Self {
        Self { shape: Shape::new(kind, decimals) }
    }
}

impl From<&Kind> for Input {
    fn from(kind: &Kind) -> Self {
        Self::new(kind.clone(), &[])
    }
}

impl From<&Schema> for Input {
    fn from(schema: &Schema) -> Self {
        Self::new(schemas::kind(schema), &schemas::decimal_paths(schema))
    }
}

impl From<&Setup> for Input {
    fn from(setup: &Setup) -> Self {
        let decimals = setup.input_schema.as_ref().map(schemas::decimal_paths);
        Self::new(setup.input.clone(), &decimals.unwrap_or_default())
    }
}
