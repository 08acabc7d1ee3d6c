//! From a text to a checked program.

use std::ops::Range;
use std::thread;

use vrl::compiler::state::{ExternalEnv, LocalEnv, TypeState};
use vrl::compiler::{CompileConfig, Compiler, Program};
use vrl::path::OwnedTargetPath;

use super::diagnostic::Diagnostic;
use super::input::Input;
use super::review::{Assigned, Reviewed, review};
use super::{functions, metadata};

/// What a program may do with `.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Read it: keys, filters, templates.
    Read,
    /// Change it: maps.
    Write,
}

/// A program of VRL that has passed every check.
pub(super) struct Compiled {
    pub(super) program: Program,
    pub(super) assignments: Vec<Assigned>,
}

/// Longest expression, in bytes.
const LONGEST: usize = 32 * 1024;

/// VRL's compiler recurses over the text's nesting, which only its length bounds. A stack is address
/// space: memory is taken only as deep as the text nests.
fn stack(text: &str) -> usize {
    8 * 1024 * 1024 + text.len() * 8 * 1024
}

/// Compiles `text`, on a stack of its own.
pub(super) fn compile(
    text: &str,
    input: &Input,
    access: Access,
) -> Result<Compiled, Vec<Diagnostic>> {
    if text.len() > LONGEST {
        let cause = format!("The expression has {} bytes, more than {LONGEST}.", text.len());
        return Err(vec![Diagnostic::new(
            0..0,
            "too_long",
            cause,
            "Split the work over two routes.",
        )]);
    }
    let done = thread::scope(|scope| {
        let work = || compile_here(text, input, access);
        let thread = thread::Builder::new().name("compile".to_owned()).stack_size(stack(text));
        thread.spawn_scoped(scope, work).map(thread::ScopedJoinHandle::join)
    });
    match done {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(vec![unfinished(text, "VRL's compiler panicked on it")]),
        Err(error) => Err(vec![unfinished(text, &format!("no thread could be started: {error}"))]),
    }
}

fn unfinished(text: &str, cause: &str) -> Diagnostic {
    let cause = format!("The expression could not be compiled: {cause}.");
    Diagnostic::new(0..text.len(), "compiler_failed", cause, "Write it another way.")
}

fn compile_here(text: &str, input: &Input, access: Access) -> Result<Compiled, Vec<Diagnostic>> {
    let ast = vrl::parser::parse(text)
        .map_err(|error| Diagnostic::list(text, vec![Box::new(error) as Box<_>].into()))?;
    if ast.is_empty() && access == Access::Read {
        let cause = "The expression is empty.";
        let hint = "Write one, for example `.id`.";
        return Err(vec![Diagnostic::new(0..text.len(), "empty", cause, hint)]);
    }
    let Reviewed { mistakes: mut found, assignments } = review(text, ast.clone(), &input.shape);
    if found.iter().any(|one| one.code == "too_deep") {
        return Err(found);
    }
    let external = ExternalEnv::new_with_kind(input.shape.kind.clone(), metadata::kind());
    let state = TypeState { local: LocalEnv::default(), external };
    let mut config = CompileConfig::default();
    match access {
        Access::Read => config.set_read_only(),
        Access::Write => config.set_read_only_path(OwnedTargetPath::metadata_root(), true),
    }
    match Compiler::compile(&functions::ALL, ast, &state, config) {
        Ok(result) if found.is_empty() => Ok(Compiled { program: result.program, assignments }),
        Ok(_) => Err(found),
        Err(list) => {
            // What VRL says of the same place follows from the same mistake.
            let apart = |one: &Diagnostic| !found.iter().any(|ours| overlap(&ours.span, &one.span));
            let theirs: Vec<_> = Diagnostic::list(text, list).into_iter().filter(apart).collect();
            found.extend(theirs);
            found.sort_by_key(|one| one.span.start);
            Err(found)
        }
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}
