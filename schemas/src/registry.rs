//! The schema registry: a client for any registry of Confluent's HTTP API, and an embedded server
//! of the same API for one machine.

mod client;
mod error;
pub mod server;

pub use client::{
    Auth, Content, Level, Protobuf, Registered, Registry, RegistryConfig, SchemaId, Verdict,
};
pub use error::RegistryError;

#[cfg(test)]
mod testing;
