//! What a command says on standard output. Whoever reads it may go early, as `head` does: the rest is
//! then for nobody, and no reason to fail.

use std::fmt::Display;
use std::io::Write as _;

/// Writes a text.
pub fn write(text: impl Display) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Writes a line.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($text)*))) };
}
