//! Stateless processors, one file each. A route applies them in the order in which they stand in it.

mod branch;
mod condition;
mod filter;
mod map;
mod mask;
mod split;

pub use branch::Branch;
pub use filter::Filter;
pub use map::Map;
pub use mask::Mask;
pub use split::Split;

use engine::connector::ProcessorDeclaration;

/// The processors.
pub fn all() -> Vec<ProcessorDeclaration> {
    vec![
        ProcessorDeclaration::of::<Filter>(),
        ProcessorDeclaration::of::<Split>(),
        ProcessorDeclaration::of::<Map>(),
        ProcessorDeclaration::of::<Mask>(),
        ProcessorDeclaration::of::<Branch>(),
    ]
}

#[cfg(test)]
mod fixture;
