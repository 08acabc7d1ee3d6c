//! Sources: what an application says becomes events on a topic. One file, or one folder, a source.
//! (The folder is called `producers` for what sources are to Kafka.)

mod cursor;
pub mod file;
pub mod kafka;
mod lookup;
pub mod poll;
pub mod postgres;
pub mod schedule;
pub mod webhook;

pub use lookup::all as lookups;

use engine::connector::SourceDeclaration;

/// The list of sources: a new one is one file and one line here.
pub fn all() -> Vec<SourceDeclaration> {
    vec![
        SourceDeclaration::of::<webhook::Webhook>(),
        SourceDeclaration::of::<poll::Poll>(),
        SourceDeclaration::of::<file::File>(),
        SourceDeclaration::of::<file::S3>(),
        SourceDeclaration::of::<schedule::Schedule>(),
        SourceDeclaration::of::<kafka::Kafka>(),
        SourceDeclaration::of::<postgres::Postgres>(),
    ]
}
