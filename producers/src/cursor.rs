//! Cursors as texts: what a source that must run once leaves in Kafka beside its events.

use std::fmt::Display;

use engine::Fault;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A cursor that says of which form it is.
pub(crate) trait Versioned: Serialize + DeserializeOwned {
    /// The form that is written and read.
    const VERSION: u32;

    /// The form of this one.
    fn version(&self) -> u32;

    /// Reads what [`text`](Self::text) wrote.
    ///
    /// # Errors
    /// A `Config` fault: it is of another source, or of a later version.
    fn read(text: &str) -> Result<Self, Fault> {
        let cursor: Self = serde_json::from_str(text).map_err(unreadable)?;
        match cursor.version() {
            version if version == Self::VERSION => Ok(cursor),
            other => Err(unreadable(format!("it is of version {other}"))),
        }
    }

    /// The cursor as it lies in Kafka.
    ///
    /// # Errors
    /// An `Internal` fault; it has no value that JSON lacks.
    fn text(&self) -> Result<String, Fault> {
        text(self)
    }
}

/// A cursor as it lies in Kafka.
///
/// # Errors
/// An `Internal` fault; no cursor has a value that JSON lacks.
pub(crate) fn text(cursor: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(cursor).map_err(|error| Fault::internal("cursor", error.to_string()))
}

/// A cursor that is not this source's, and why.
pub(crate) fn unreadable(what: impl Display) -> Fault {
    let message = format!(
        "The source's cursor in passerelle.owners cannot be read: {what}. Was another kind of \
         source of this name here before? Give this one another name."
    );
    Fault::config("cursor_unreadable", message)
}
