//! Sinks: each delivers a topic to one kind of application, and each is one file or one folder.

pub mod exchange;
pub mod http;
pub mod tryton;

use engine::connector::SinkDeclaration;

/// Every sink, in the order in which the catalogue lists them.
pub fn all() -> Vec<SinkDeclaration> {
    vec![SinkDeclaration::of::<http::Http>(), SinkDeclaration::of::<tryton::Tryton>()]
}
