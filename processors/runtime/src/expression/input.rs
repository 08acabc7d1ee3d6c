//! What is known, when a file is checked, of the values that an expression will read.

use schemas::{Path, Schema, Segment};
use vrl::path::OwnedValuePath;
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
        let Some(schema) = &setup.input_schema else { return Self::new(setup.input.clone(), &[]) };
        // What the steps before have changed is no decimal of the schema's any more.
        let read = schemas::kind(schema);
        let kept = |path: &Path| {
            let top = top_field(path);
            read.at_path(&top) == setup.input.at_path(&top)
        };
        let decimals = schemas::decimal_paths(schema).into_iter().filter(kept);
        Self::new(setup.input.clone(), &decimals.collect::<Vec<_>>())
    }
}

/// The field of the event that a path begins with; the event itself if it begins with none.
fn top_field(path: &Path) -> OwnedValuePath {
    match path.segments().first() {
        Some(Segment::Field(name)) => OwnedValuePath::single_field(name),
        _ => OwnedValuePath::root(),
    }
}
