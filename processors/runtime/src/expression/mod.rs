//! Expressions of the file, in VRL: compiled and type-checked when the file is checked.
//!
//! - [`Expression::compile`] gives a [`Program`], which reads an event and gives a value: a key, a
//!   filter, a body.
//! - [`Map::compile`] gives a [`Mapping`], which changes `.`, the event's value.
//! - [`Template::compile`] gives a [`CompiledTemplate`], a text with expressions in it.
//!
//! All of them are pure: they reach no clock, no network, no file and no chance, so that a replay
//! gives what the first run gave. `docs/expressions.md` tells users the same.

mod compilation;
mod decimal;
mod diagnostic;
mod functions;
mod input;
mod metadata;
mod option;
mod program;
mod review;
mod shape;
mod template;

pub use diagnostic::{Diagnostic, sentence};
pub use input::Input;
pub use option::{Expression, Map, Own, Template};
pub use program::{Mapping, Program};
pub use template::CompiledTemplate;

#[cfg(test)]
mod tests;
