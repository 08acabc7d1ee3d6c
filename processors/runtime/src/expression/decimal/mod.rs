//! Exact decimals in VRL, where a decimal is its text: numbers ([`number`]), the functions over
//! them ([`functions`], one table in [`catalogue`]).

mod catalogue;
mod functions;
mod number;

pub(super) use catalogue::ALL;
#[cfg(test)]
pub(super) use functions::ROUNDING;

/// Whether a function of this name gives a decimal's text.
pub(super) fn gives_decimal(name: &str) -> bool {
    use vrl::compiler::{Function, value::kind};
    let named = ALL.iter().find(|function| function.name == name);
    named.is_some_and(|function| function.return_kind() == kind::BYTES)
}
