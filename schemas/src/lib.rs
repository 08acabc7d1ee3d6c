//! What Passerelle knows of Avro: the schemas of the built-in events, the codec between Avro's
//! bytes and VRL's values, the registry's client, server and compatibility rules.

pub mod compatibility;
pub mod events;
pub mod path;
pub mod registry;
pub mod schema;

pub use path::{Path, Segment};
pub use schema::{Schema, SchemaError};
