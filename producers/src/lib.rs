//! Sources: what an application says becomes events on a topic. One file, or one folder, a source.
//! (The folder is called `producers` for what sources are to Kafka.)

pub mod webhook;

use engine::connector::SourceDeclaration;

/// The list of sources: a new one is one file and one line here.
pub fn all() -> Vec<SourceDeclaration> {
    vec![SourceDeclaration::of::<webhook::Webhook>()]
}
