//! Stateless processors, one file each. A route applies them in the order of [`all`].

mod filter;
mod map;

pub use filter::Filter;
pub use map::Map;

use engine::connector::ProcessorDeclaration;

/// The processors, in the order in which a route applies them.
pub fn all() -> Vec<ProcessorDeclaration> {
    vec![ProcessorDeclaration::of::<Filter>(), ProcessorDeclaration::of::<Map>()]
}

#[cfg(test)]
mod fixture;
