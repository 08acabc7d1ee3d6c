//! Texts in addresses.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986.
const INSERTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text to put into an address, or into a form (RFC 6749, appendix B): whatever it holds, it stays one part
/// of the path, the query or the form.
pub fn encoded(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, INSERTED).into()
}
