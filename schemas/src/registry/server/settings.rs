//! Compatibility levels and modes, of the registry and of subjects.

use std::str::FromStr;

use super::Plan;
use super::answer::Refusal;
use super::record::Record;
use super::state::State;
use crate::registry::Level;

/// What may be done to a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Everything; the registry chooses ids.
    #[default]
    ReadWrite,
    /// Nothing changes.
    ReadOnly,
    /// Schemas are taken over with the ids they have elsewhere, unchecked.
    Import,
}

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::Import => "IMPORT",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_uppercase().as_str() {
            "READWRITE" => Ok(Self::ReadWrite),
            "READONLY" => Ok(Self::ReadOnly),
            "IMPORT" => Ok(Self::Import),
            _ => Err(format!("`{name}` is not a mode; they are READWRITE, READONLY and IMPORT")),
        }
    }
}

/// Refuses changes of a subject that is read-only.
pub(super) fn writable(state: &State, subject: Option<&str>) -> Result<(), Refusal> {
    match (state.mode(subject), subject) {
        (Mode::ReadOnly, Some(subject)) => {
            Err(Refusal::not_permitted(format!("Subject '{subject}' is in read-only mode")))
        }
        (Mode::ReadOnly, None) => Err(Refusal::not_permitted("The registry is in read-only mode")),
        _ => Ok(()),
    }
}

pub(super) fn level(
    state: &State,
    subject: Option<&str>,
    default_to_global: bool,
) -> Result<Level, Refusal> {
    let own = state.levels.get(&subject.map(str::to_owned)).copied();
    match (own, subject) {
        (Some(level), _) => Ok(level),
        (None, Some(subject)) if !default_to_global => Err(Refusal::no_level(subject)),
        (None, _) => Ok(state.levels.get(&None).copied().unwrap_or_default()),
    }
}

pub(super) fn set_level(
    state: &State,
    subject: Option<&str>,
    level: Level,
) -> Result<Plan<()>, Refusal> {
    writable(state, subject)?;
    let record = Record::Level { subject: subject.map(str::to_owned), level: Some(level) };
    Ok(Plan { records: vec![record], answer: () })
}

/// Answers the level that held.
pub(super) fn clear_level(state: &State, subject: Option<&str>) -> Result<Plan<Level>, Refusal> {
    writable(state, subject)?;
    let before = match subject {
        Some(name) => level(state, subject, false).map_err(|_| Refusal::no_subject(name))?,
        None => level(state, subject, true)?,
    };
    let record = Record::Level { subject: subject.map(str::to_owned), level: None };
    Ok(Plan { records: vec![record], answer: before })
}

pub(super) fn mode(
    state: &State,
    subject: Option<&str>,
    default_to_global: bool,
) -> Result<Mode, Refusal> {
    let own = state.modes.get(&subject.map(str::to_owned)).copied();
    match (own, subject) {
        (Some(mode), _) => Ok(mode),
        (None, Some(subject)) if !default_to_global => Err(Refusal::no_mode(subject)),
        (None, _) => Ok(state.mode(None)),
    }
}

/// Import mode, unless forced, is for subjects that hold nothing yet: their ids are chosen.
pub(super) fn set_mode(
    state: &State,
    subject: Option<&str>,
    mode: Mode,
    force: bool,
) -> Result<Plan<()>, Refusal> {
    let occupied = match subject {
        Some(subject) => state.versions(subject, true).next().is_some(),
        None => state.subjects().next().is_some(),
    };
    if mode == Mode::Import && occupied && !force && state.mode(subject) != Mode::Import {
        let cause = "there are schemas already. Set force=true to import all the same";
        return Err(Refusal::not_permitted(format!("Cannot switch to import mode: {cause}")));
    }
    let record = Record::Mode { subject: subject.map(str::to_owned), mode: Some(mode) };
    Ok(Plan { records: vec![record], answer: () })
}

/// Answers the mode that held.
pub(super) fn clear_mode(state: &State, subject: Option<&str>) -> Result<Plan<Mode>, Refusal> {
    let before = match subject {
        Some(name) => mode(state, subject, false).map_err(|_| Refusal::no_subject(name))?,
        None => mode(state, subject, true)?,
    };
    let record = Record::Mode { subject: subject.map(str::to_owned), mode: None };
    Ok(Plan { records: vec![record], answer: before })
}
