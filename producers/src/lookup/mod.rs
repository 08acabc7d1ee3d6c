//! Look-ups: what events are enriched with, asked of an application or held in memory. One file a kind;
//! that of topics is the engine's own.

mod batch;
mod csv;
mod http;

use engine::lookup::{LookupDeclaration, Topic};

pub use csv::Csv;
pub use http::Http;

/// Every look-up: a new one is one file and one line here.
pub fn all() -> Vec<LookupDeclaration> {
    vec![
        LookupDeclaration::of::<Http>(),
        LookupDeclaration::of::<Csv>(),
        LookupDeclaration::of::<Topic>(),
    ]
}
