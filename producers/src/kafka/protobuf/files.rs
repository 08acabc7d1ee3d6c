//! `.proto` files compiled, without protoc: from disk, and from a registry.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, File, FileResolver, GoogleFileResolver,
    IncludeFileResolver,
};
use protox::prost_reflect::FileDescriptor;
use protox::{Compiler, Error};
use schemas::registry::Protobuf;

/// What writers take for known, and registries hold no references to: see `known.py`.
const KNOWN: &[u8] = include_bytes!("known.pb");

/// Compiles a file; `imports` is where its imports start.
///
/// # Errors
/// What is wrong, with the file and the line where that is known.
pub(super) fn from_disk(file: &Path, imports: &Path) -> Result<FileDescriptor, String> {
    let mut files = ChainFileResolver::new();
    files.add(IncludeFileResolver::new(imports.to_owned()));
    compile(files, file)
}

/// Compiles the file that a registry has under an id.
///
/// # Errors
/// What is wrong, with the file and the line where that is known.
pub(super) fn from_registry(id: u32, schema: &Protobuf) -> Result<FileDescriptor, String> {
    let name = format!("schema {id}");
    let mut files = ChainFileResolver::new();
    files.add(Registered { name: name.clone(), schema: schema.clone() });
    compile(files, Path::new(&name))
}

fn compile(mut files: ChainFileResolver, file: &Path) -> Result<FileDescriptor, String> {
    files.add(GoogleFileResolver::new());
    files.add(known()?);
    let mut compiler = Compiler::with_file_resolver(files);
    compiler.open_file(file).map_err(|error| said(&error))?;
    let pool = compiler.descriptor_pool();
    let named = compiler.files().find(|file| !file.is_import()).map(|file| file.name().to_owned());
    let opened = named.and_then(|name| pool.get_file_by_name(&name));
    opened.ok_or_else(|| format!("{}: the compiler has lost it", file.display()))
}

/// The file, the line and the column, where they are known, and the cause. (Its `Debug` is what an
/// error of protox says to people; at a file's end it has no place.)
fn said(error: &Error) -> String {
    let said = format!("{error:?}");
    match error.file().filter(|file| !said.contains(*file)) {
        Some(file) => format!("{file}: {said}"),
        None => said,
    }
}

fn known() -> Result<DescriptorSetFileResolver, String> {
    let known = DescriptorSetFileResolver::decode(KNOWN);
    known.map_err(|error| format!("the files that are always known: {error}"))
}

/// A schema of a registry, by a name of ours, and what it references, by the names of its imports.
struct Registered {
    name: String,
    schema: Protobuf,
}

impl FileResolver for Registered {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        let imported = || self.schema.imports.get(name);
        let text = if name == self.name { Some(&self.schema.text) } else { imported() };
        let text = text.ok_or_else(|| Error::file_not_found(name))?;
        // Some registries keep what Python's and .NET's clients send, a descriptor; a text is no base64.
        let Ok(bytes) = STANDARD.decode(text.trim()) else { return File::from_source(name, text) };
        let mut file = File::decode_file_descriptor_proto(bytes.as_slice())
            .map_err(Error::new)?
            .file_descriptor_proto()
            .clone();
        file.name = Some(name.to_owned());
        Ok(file.into())
    }
}
