//! Compiled expressions, and how they run.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use schemas::{Path, Segment};
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::{ExpressionError, SecretTarget, Target, TimeZone};
use vrl::path::{OwnedSegment, OwnedTargetPath, OwnedValuePath, PathPrefix};
use vrl::value::{Kind, Value};

use super::compilation::{Access, Compiled, compile};
use super::diagnostic;
use super::metadata::Needed;
use super::review::Assigned;
use super::{Diagnostic, Expression, Input, Map};
use crate::{Event, Fault};

/// Most steps (VRL expressions evaluated) of one run: seconds of work. Loops over an event's own
/// items are the only loops that VRL has, but they nest.
const MOST_STEPS: u32 = 5_000_000;

/// A compiled expression that reads an event and gives a value. Shared between threads.
#[derive(Debug, Clone)]
pub struct Program {
    run: Run,
    kind: Kind,
}

/// A compiled map: it changes the event's value. Shared between threads.
#[derive(Debug, Clone)]
pub struct Mapping {
    run: Run,
    kind: Kind,
    assignments: Vec<Assigned>,
}

impl Expression {
    /// Compiles the expression. It may set variables of its own, and may not assign to `.`.
    ///
    /// # Errors
    /// Every mistake that can be told before an event comes, each with its place in the text.
    pub fn compile(&self, input: impl Into<Input>) -> Result<Program, Vec<Diagnostic>> {
        compile(&self.0, &input.into(), Access::Read)
            .map(|compiled| Program::new(&self.0, compiled))
    }
}

impl Map {
    /// Compiles the statements.
    ///
    /// # Errors
    /// Every mistake that can be told before an event comes, each with its place in the text.
    pub fn compile(&self, input: impl Into<Input>) -> Result<Mapping, Vec<Diagnostic>> {
        compile(&self.0, &input.into(), Access::Write)
            .map(|compiled| Mapping::new(&self.0, compiled))
    }
}

impl Program {
    fn new(text: &str, compiled: Compiled) -> Self {
        let kind = compiled.program.final_type_info().result.kind().clone();
        let causes = Causes { failed: "expression_failed", aborted: "expression_aborted" };
        Self { run: Run::new(text, compiled.program, causes), kind }
    }

    /// The type of what it gives.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether it reads the event's headers: `%headers`, or `%id`, which is one of them.
    pub fn reads_headers(&self) -> bool {
        self.run.metadata.has_headers()
    }

    /// Evaluates it on an event's value.
    ///
    /// # Errors
    /// A `Data` fault: `expression_failed` with VRL's sentence and the place in the expression, or
    /// `expression_aborted` with the message of its `abort`.
    pub fn run(&self, event: &Event, value: &Value) -> Result<Value, Fault> {
        self.run.run(event, Cow::Borrowed(value)).map(|(result, _)| result)
    }
}

impl Mapping {
    fn new(text: &str, compiled: Compiled) -> Self {
        let state = compiled.program.final_type_info().state;
        let kind = state.external.target_kind().clone();
        let causes = Causes { failed: "map_failed", aborted: "map_aborted" };
        let Compiled { program, assignments } = compiled;
        Self { run: Run::new(text, program, causes), kind, assignments }
    }

    /// The type of `.` after it ran.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The bytes of the text that name what is assigned at `path` of `.`, or above it; the last
    /// such assignment, nothing when there is none.
    pub fn assignment(&self, path: &Path) -> Option<Range<usize>> {
        let above = |assigned: &&Assigned| is_at_or_above(&assigned.path, path);
        self.assignments.iter().rev().find(above).map(|assigned| assigned.span.clone())
    }

    /// Maps an event's value: what it gives is `.` after the last statement.
    ///
    /// # Errors
    /// A `Data` fault: `map_failed` with VRL's sentence and the place in the map, or `map_aborted`
    /// with the message of its `abort`.
    pub fn run(&self, event: &Event, value: Value) -> Result<Value, Fault> {
        self.run.run(event, Cow::Owned(value)).map(|(_, target)| target.into_owned())
    }
}

/// Whether a program's path names what is at `path`, or something that holds it.
fn is_at_or_above(assigned: &OwnedValuePath, path: &Path) -> bool {
    assigned.segments.len() <= path.segments().len()
        && assigned.segments.iter().zip(path.segments()).all(|pair| match pair {
            (OwnedSegment::Field(ours), Segment::Field(theirs)) => ours.as_str() == theirs,
            (OwnedSegment::Index(_), Segment::Index(_) | Segment::Items) => true,
            _ => false,
        })
}

#[derive(Debug, Clone, Copy)]
struct Causes {
    failed: &'static str,
    aborted: &'static str,
}

/// What both kinds of program are made of.
#[derive(Debug, Clone)]
struct Run {
    /// The text, to name lines and columns of.
    text: Box<str>,
    program: vrl::compiler::Program,
    metadata: Needed,
    causes: Causes,
}

/// Times without a zone are UTC, wherever the process runs.
static UTC: LazyLock<TimeZone> = LazyLock::new(|| TimeZone::parse("UTC").unwrap_or_default());

thread_local! {
    /// VRL's variables: cleared and used again, so that a run allocates no table for them.
    static RUNTIME: RefCell<Runtime> = RefCell::new(Runtime::default());
}

impl Run {
    fn new(text: &str, program: vrl::compiler::Program, causes: Causes) -> Self {
        let metadata = Needed::of(&program.info().target_queries);
        Self { text: text.into(), program, metadata, causes }
    }

    /// The result and what `.` has become.
    fn run<'v>(
        &self,
        event: &Event,
        value: Cow<'v, Value>,
    ) -> Result<(Value, Cow<'v, Value>), Fault> {
        let mut target = On { value, metadata: self.metadata.value(event) };
        // A panic in one of VRL's functions is this event's fault, not the route's.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            RUNTIME.with(|runtime| match runtime.try_borrow_mut() {
                Ok(mut runtime) => self.resolve(&mut runtime, &mut target),
                Err(_) => self.resolve(&mut Runtime::default(), &mut target),
            })
        }));
        match ran {
            Ok(Ok(result)) => Ok((result, target.value)),
            Ok(Err(stop)) => Err(self.fault(stop)),
            Err(_) => Err(Fault::data(
                self.causes.failed,
                "The expression failed: a function of VRL panicked on this event's data.",
            )),
        }
    }

    fn resolve(&self, runtime: &mut Runtime, target: &mut On<'_>) -> Result<Value, Terminate> {
        let mut steps = 0_u32;
        let mut count = || {
            steps += 1;
            if steps > MOST_STEPS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        runtime.clear();
        runtime.resolve_with_control(target, &self.program, &UTC, &mut count)
    }

    fn fault(&self, stop: Terminate) -> Fault {
        match stop {
            Terminate::Abort(ExpressionError::Abort { message, span }) => {
                let message = message.unwrap_or_else(|| "it gives no message".to_owned());
                let place = diagnostic::place(&self.text, span.start());
                let sentence = format!("The expression aborted at {place}: {message}");
                Fault::data(self.causes.aborted, sentence)
            }
            Terminate::Interrupted => Fault::data(
                self.causes.failed,
                format!("The expression took more than {MOST_STEPS} steps on this event."),
            ),
            Terminate::Abort(error) | Terminate::Error(error) => {
                let sentence = diagnostic::failure(&self.text, &error.to_string());
                Fault::data(self.causes.failed, sentence)
            }
        }
    }
}

/// What a program runs on. Programs that only read borrow the value; the compiler has refused any
/// assignment in them.
#[derive(Debug)]
struct On<'a> {
    value: Cow<'a, Value>,
    metadata: Value,
}

impl Target for On<'_> {
    fn target_insert(&mut self, path: &OwnedTargetPath, value: Value) -> Result<(), String> {
        match path.prefix {
            PathPrefix::Event => self.value.to_mut().insert(&path.path, value),
            PathPrefix::Metadata => self.metadata.insert(&path.path, value),
        };
        Ok(())
    }

    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        Ok(match path.prefix {
            PathPrefix::Event => self.value.get(&path.path),
            PathPrefix::Metadata => self.metadata.get(&path.path),
        })
    }

    fn target_get_mut(&mut self, path: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        Ok(match path.prefix {
            PathPrefix::Event => self.value.to_mut().get_mut(&path.path),
            PathPrefix::Metadata => self.metadata.get_mut(&path.path),
        })
    }

    fn target_remove(
        &mut self,
        path: &OwnedTargetPath,
        compact: bool,
    ) -> Result<Option<Value>, String> {
        Ok(match path.prefix {
            PathPrefix::Event => self.value.to_mut().remove(&path.path, compact),
            PathPrefix::Metadata => self.metadata.remove(&path.path, compact),
        })
    }
}

/// Events have no secrets for VRL.
impl SecretTarget for On<'_> {
    fn get_secret(&self, _key: &str) -> Option<&str> {
        None
    }

    fn insert_secret(&mut self, _key: &str, _value: &str) {}

    fn remove_secret(&mut self, _key: &str) {}
}
