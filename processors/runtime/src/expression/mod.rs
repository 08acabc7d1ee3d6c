//! Expressions of the file, in VRL: compiled and type-checked when the file is checked.

mod option;

pub use option::{Expression, Template};
