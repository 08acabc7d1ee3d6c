//! What the file system says, as faults: the route waits until there is room again, or the right to
//! write, and gives up no event for it.

use std::io::{Error, ErrorKind};
use std::path::Path;

use engine::Fault;

/// `doing` is what was tried, `Writing`; the path is what it was tried on.
pub(super) fn fault(doing: &str, path: &Path, error: &Error) -> Fault {
    let path = path.display();
    let (cause, advice) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ("disk_full", "it goes on once there is room")
        }
        ErrorKind::ReadOnlyFilesystem => ("folder_read_only", "it goes on once it can write there"),
        ErrorKind::PermissionDenied => {
            ("folder_refused", "give this process the right to write there")
        }
        ErrorKind::NotFound => ("folder_missing", "create the folder, or mount its disk"),
        _ => ("folder_failed", "it is tried again"),
    };
    Fault::refused(cause, format!("{doing} `{path}` failed ({error}): {advice}."))
}
