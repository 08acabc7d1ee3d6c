//! What Passerelle knows of Avro: the schemas of the built-in events, the codec between Avro's
//! bytes and VRL's values, the registry's client, server and compatibility rules.

mod binary;
mod calendar;
pub mod columns;
pub mod compatibility;
mod contract;
mod decimal;
mod decoder;
mod defaults;
mod encoder;
pub mod events;
mod fit;
pub mod json;
mod kind;
mod leaf;
pub mod path;
pub mod registry;
pub mod schema;
pub mod wire;

pub use contract::{Cause, Misfit, misfits};
pub use decimal::short as short_decimal;
pub use decoder::{DecodeError, Decoder};
pub use encoder::{EncodeError, Encoder, Wrong};
pub use fit::{FitError, Form, fit};
pub use kind::{decimal_paths, kind};
pub use path::{Path, Segment};
pub use schema::{Schema, SchemaError};
