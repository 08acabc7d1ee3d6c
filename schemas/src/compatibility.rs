//! Whether readers of one schema can read what was written with another.
//!
//! The rules are those of the Avro specification's schema resolution as Java's
//! `SchemaCompatibility`, and so Confluent's registry, applies them: names match without their
//! namespace, `string` and `bytes` read each other, an enum's default stands for unknown symbols,
//! logical types do not count. One rule is stricter: the specification says that decimals match
//! only if scale and precision do, Java does not look. A changed scale reads 12.50 as 125.0, so
//! here it is a [`Kind::TypeMismatch`], as is a reader's smaller precision; a larger one only
//! makes room and is allowed. What passes here passes at Confluent's registry.

mod changes;
mod rules;

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

pub use changes::changes;

use crate::{Path, Schema};

/// What a new version of a subject may change.
/// The default is Confluent's: [`Level::Backward`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Level {
    /// Anything.
    None,
    /// The new schema reads events of the latest version.
    #[default]
    Backward,
    /// The new schema reads events of every version: what replays of history need.
    BackwardTransitive,
    /// The latest version reads events of the new schema.
    Forward,
    /// Every version reads events of the new schema.
    ForwardTransitive,
    /// Both ways with the latest version.
    Full,
    /// Both ways with every version.
    FullTransitive,
}

impl Level {
    /// Every level, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// The name in the registry's API: `BACKWARD_TRANSITIVE`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    const fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    const fn new_reads_old(self) -> bool {
        matches!(
            self,
            Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive
        )
    }

    const fn old_reads_new(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }
}

impl Display for Level {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A level's name that no registry knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a compatibility level; they are NONE, BACKWARD, BACKWARD_TRANSITIVE, FORWARD, \
     FORWARD_TRANSITIVE, FULL and FULL_TRANSITIVE"
)]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| UnknownLevel(name.to_owned()))
    }
}

/// What kind of incompatibility, by the names of Avro's and Confluent's checkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The reader's record, enum or fixed has another name, and no alias for the writer's.
    NameMismatch,
    /// The two sizes of a fixed differ.
    FixedSizeMismatch,
    /// The reader's enum lacks symbols and has no default.
    MissingEnumSymbols,
    /// The reader has a field that the writer lacks, without a default.
    ReaderFieldMissingDefaultValue,
    /// The reader's type cannot hold the writer's.
    TypeMismatch,
    /// No branch of the reader's union can hold one of the writer's types.
    MissingUnionBranch,
}

impl Kind {
    /// `TYPE_MISMATCH` and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NameMismatch => "NAME_MISMATCH",
            Self::FixedSizeMismatch => "FIXED_SIZE_MISMATCH",
            Self::MissingEnumSymbols => "MISSING_ENUM_SYMBOLS",
            Self::ReaderFieldMissingDefaultValue => "READER_FIELD_MISSING_DEFAULT_VALUE",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::MissingUnionBranch => "MISSING_UNION_BRANCH",
        }
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One reason why a schema does not fit the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Incompatibility {
    /// What kind of reason.
    pub kind: Kind,
    /// The field, as the reader has it.
    pub path: Path,
    /// What changed, whom it breaks, and what to do.
    pub message: String,
}

impl Display for Incompatibility {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// Which of two schemas reads what the other wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    NewReadsOld,
    OldReadsNew,
}

/// Whether a subject of this level with these versions, oldest first, takes a new schema: it does
/// if nothing is found.
pub fn check(level: Level, new: &Schema, earlier: &[Schema]) -> Vec<Incompatibility> {
    let mut found: Vec<Incompatibility> = Vec::new();
    for old in compared(level, earlier) {
        if level.new_reads_old() {
            found.extend(rules::read(new, old, Direction::NewReadsOld));
        }
        if level.old_reads_new() {
            found.extend(rules::read(old, new, Direction::OldReadsNew));
        }
    }
    // Several versions, and several uses of one type, give the same reason.
    let mut seen = HashSet::new();
    found.retain(|reason| seen.insert(reason.clone()));
    found
}

/// The versions, of all oldest first, that a level compares with.
pub(crate) fn compared<T>(level: Level, versions: &[T]) -> &[T] {
    let first = match level {
        Level::None => versions.len(),
        _ if level.is_transitive() => 0,
        _ => versions.len().saturating_sub(1),
    };
    versions.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
