//! Events as rows, by the folder that they belong in.

use std::borrow::Cow;
use std::collections::BTreeMap;

use engine::connector::Setup;
use engine::expression::{CompiledTemplate, Template, sentence};
use engine::{Event, Fault, Value};

/// What files are made of.
pub(super) trait Format: Send + Sync {
    /// What their names end with.
    fn extension(&self) -> &'static str;

    /// The rows of a new file.
    fn begin(&self) -> Box<dyn Rows>;
}

/// The rows of a file that is being made.
pub(super) trait Rows: Send {
    /// Adds one, or leaves everything as it was.
    ///
    /// # Errors
    /// A `Data` fault when it cannot be a row.
    fn add(&mut self, value: &Value) -> Result<(), Fault>;

    /// The file's bytes.
    ///
    /// # Errors
    /// An `Internal` fault.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, Fault>;
}

/// The longest name of a folder; file systems take 255 bytes.
const LONGEST: usize = 200;
/// Other tasks of this thread have their turn after so many rows.
const PAUSE_EVERY: usize = 200;

/// The folder of each event, `/` between its parts.
pub(super) struct Folders(Option<CompiledTemplate>);

impl Folders {
    /// # Errors
    /// A `Config` fault when the template is wrong.
    pub fn compile(path: Option<&Template>, setup: &Setup) -> Result<Self, Fault> {
        let path = path.map(|Template(path)| Template(path.trim_end_matches('/').to_owned()));
        let compiled = path.map(|path| path.compile(setup)).transpose();
        compiled.map(Self).map_err(|mistakes| {
            Fault::config("template", format!("`path` is wrong: {}", sentence(&mistakes)))
        })
    }

    fn of(&self, event: &Event) -> Result<String, Fault> {
        let Some(template) = &self.0 else { return Ok(String::new()) };
        let path = template.render_with(event, as_one_name)?;
        let odd = |part: &str| {
            part.is_empty() || part.starts_with('.') || part.len() > LONGEST || part.contains('\0')
        };
        match path.split('/').find(|part| odd(part)) {
            None => Ok(path),
            Some(part) => Err(Fault::data(
                "path_invalid",
                format!(
                    "`path` gives `{path}`, in which `{part}` is no name of a folder: a name is not \
                     empty, does not begin with a dot, and has at most {LONGEST} bytes."
                ),
            )),
        }
    }
}

/// A value is one name: it does not lead elsewhere.
fn as_one_name(text: &str) -> Cow<'_, str> {
    let odd = |c: char| c == '/' || c == '\\' || c.is_control();
    match text.contains(odd) {
        true => text.replace(odd, "_").into(),
        false => text.into(),
    }
}

/// The files that a batch becomes, one for each folder.
pub(super) struct Files<'s> {
    format: &'s dyn Format,
    folders: &'s Folders,
    files: BTreeMap<String, (Box<dyn Rows>, Vec<usize>)>,
    looked_at: usize,
}

/// A file's content.
pub(super) struct Content {
    /// The folder, `/` between its parts; empty for the connection's own.
    pub folder: String,
    /// What its name ends with.
    pub extension: &'static str,
    /// The events in it, by their place in the batch, in the order of their offsets.
    pub rows: Vec<usize>,
    /// Its bytes.
    pub bytes: bytes::Bytes,
}

impl<'s> Files<'s> {
    pub fn new(format: &'s dyn Format, folders: &'s Folders) -> Self {
        Self { format, folders, files: BTreeMap::new(), looked_at: 0 }
    }

    /// Adds an event that has a value.
    ///
    /// # Errors
    /// A `Data` fault when it has no folder, or cannot be a row.
    pub fn add(&mut self, index: usize, event: &Event) -> Result<(), Fault> {
        let folder = self.folders.of(event)?;
        let value = event.value.as_ref().unwrap_or(&Value::Null);
        let (rows, indexes) =
            self.files.entry(folder).or_insert_with(|| (self.format.begin(), Vec::new()));
        rows.add(value)?;
        indexes.push(index);
        Ok(())
    }

    /// Lets others have their turn now and then.
    pub async fn pause(&mut self) {
        self.looked_at += 1;
        if self.looked_at.is_multiple_of(PAUSE_EVERY) {
            tokio::task::yield_now().await;
        }
    }

    /// # Errors
    /// An `Internal` fault.
    pub fn finish(self) -> Result<Vec<Content>, Fault> {
        let extension = self.format.extension();
        let filled = self.files.into_iter().filter(|(_, (_, rows))| !rows.is_empty());
        let finished = filled.map(|(folder, (content, rows))| {
            let bytes = content.finish()?.into();
            Ok(Content { folder, extension, rows, bytes })
        });
        finished.collect()
    }
}
