//! See `Cargo.toml`.

pub mod log;
