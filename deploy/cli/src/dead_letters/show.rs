//! `passerelle dead-letters show`.

use std::process::ExitCode;

use serde_json::json;

use super::arguments::Show;
use super::list::time;
use super::selection::is_named;
use crate::failure::{Failure, Outcome};
use crate::tap::Payloads;

/// Shows one dead letter as JSON.
pub async fn run(options: Show) -> Outcome {
    let opened = options.of.open().await?;
    let mut named =
        opened.archive.letters.values().rev().filter(|filed| is_named(filed, &options.id));
    let Some(filed) = named.next() else {
        return Err(Failure::new(format!(
            "No dead letter of `{}` has the id or the place `{}`.",
            opened.archive.route, options.id
        )));
    };
    let mut shown = Payloads::of(opened.registry.as_deref()).show(&filed.letter.event).await;
    let (cause, message) = filed.cause();
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("id".into(), filed.letter.event.id().into());
        shown.insert("cause".into(), cause.into());
        shown.insert("message".into(), message.into());
        shown.insert("dead_since".into(), time(filed.letter.at).into());
        shown.insert("standing".into(), standing(filed));
        if let Some(entry) = &filed.entry {
            shown.insert("parked".into(), filed.is_parked().into());
            shown.insert("retries".into(), entry.retries.into());
            shown.insert("came_back".into(), entry.returned.into());
            let decision = entry.decision.as_ref().map(|decision| {
                json!({ "by": decision.by, "at": time(decision.at), "reason": decision.reason })
            });
            shown.insert("decision".into(), decision.unwrap_or_default());
        }
    }
    let text =
        serde_json::to_string_pretty(&shown).map_err(|error| Failure::new(error.to_string()))?;
    say!("{text}");
    Ok(ExitCode::SUCCESS)
}

fn standing(filed: &engine::dead_letters::Filed) -> serde_json::Value {
    use engine::dead_letters::Standing;
    match filed.entry.as_ref().map(|entry| &entry.standing) {
        None => json!("open"),
        Some(Standing::Parked) => json!("parked"),
        Some(Standing::Retrying { .. }) => json!("being tried again"),
        Some(Standing::Returned { .. }) => json!("came back"),
        Some(Standing::Delivered { answer }) => json!(format!("delivered: {answer}")),
        Some(Standing::Discarded) => json!("discarded"),
    }
}
