//! `passerelle dead-letters discard`.

use std::process::ExitCode;

use engine::dead_letters::{Entry, Standing};

use super::arguments::Discard;
use super::selection::Chosen;
use super::{Journal, decision, letters};
use crate::failure::{Failure, Outcome};

/// Decides that dead letters are not needed.
pub async fn run(options: Discard) -> Outcome {
    let opened = options.of.open().await?;
    let archive = &opened.archive;
    let chosen = Chosen::read(&options.selection)?.among(archive);
    if chosen.is_empty() {
        return Err(Failure::new(format!(
            "No open dead letter of `{}` is selected.",
            archive.route
        )));
    }
    if options.dry_run {
        say!("{} would be discarded.", letters(chosen.len()));
        return Ok(ExitCode::SUCCESS);
    }
    let journal = Journal::open(&opened.cluster)?;
    let decision = decision(Some(options.reason));
    for filed in &chosen {
        let next = filed.next_entry(&archive.route).becomes(Standing::Discarded);
        let letter = filed.letter.offset;
        journal.write(&Entry { letter, decision: Some(decision.clone()), ..next }).await?;
    }
    say!("{} discarded.", letters(chosen.len()));
    Ok(ExitCode::SUCCESS)
}
