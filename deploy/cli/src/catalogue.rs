//! Everything that pipeline files can name.

use engine::Catalogue;

/// The lists of all crates of connectors.
pub fn all() -> Catalogue {
    Catalogue {
        sources: producers::all(),
        processors: processors::all(),
        lookups: producers::lookups(),
        sinks: sinks::all(),
        descriptions: Some(sinks::descriptions()),
    }
}

#[cfg(test)]
mod tests;
