//! What is different about a source.

use std::ops::Range;

use crate::endtoend::folder::Folder;
use crate::endtoend::topic::Record;
use crate::world::World;

/// How long Kafka takes nothing: longer than a transaction may be open, so that the source starts anew
/// in the middle.
pub const HELD: std::time::Duration = std::time::Duration::from_secs(12);

const EVENT: &str = r#"{"type": "record", "name": "Event", "fields": [
  {"name": "id", "type": "string"}, {"name": "body", "type": "string"}]}"#;

/// A text of so many bytes, which differs from one number to the next.
pub fn body(number: usize, bytes: usize) -> String {
    format!("{number:08} ").repeat(bytes / 9)
}

/// The names of what changes: `e-000017`.
pub fn names(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("e-{number:06}")).collect()
}

/// An application, and the source that reads from it.
pub trait Application: Sized + Send + 'static {
    /// The source's name.
    const NAME: &'static str;
    /// The topic that it writes to, and the schema of what it writes.
    const TOPIC: &'static str = "events";
    const SCHEMA: &'static str = EVENT;
    /// Whether each event is in the topic once, whatever fails; else at least once, under one `ce_id`.
    const ONCE: bool = true;
    /// How many mebibytes more its process may come to hold (`VmHWM`) while Kafka takes nothing.
    const GROWTH: u64 = 64;
    /// Whether things change by themselves, too.
    const CHANGES_BY_ITSELF: bool = false;
    /// Its secret before and after it was changed at the application; the source reads it from the file
    /// `application.secret`.
    const SECRETS: [&'static str; 2];
    /// Why nothing can be wrong with its credentials, if nothing can.
    const WITHOUT_CREDENTIALS: Option<&'static str> = None;

    /// Why it cannot run on this machine, if it cannot.
    fn obstacle() -> Option<String> {
        None
    }

    /// An application that runs.
    async fn start() -> Self;

    /// The connection, and the source `source` that writes to the topic.
    fn sections(&self) -> String;

    /// The pipeline runs in this folder from now on.
    fn meets(&mut self, _folder: &Folder) {}

    /// Changes so many things at most; gives the names that their events have.
    async fn change(&mut self, count: usize) -> Vec<String>;

    /// The name of what an event tells the change of.
    fn name_of(event: &Record) -> String {
        String::from_utf8(event.key.clone().unwrap_or_default()).unwrap()
    }

    /// Shows again what it has shown before.
    async fn repeats(&mut self) {}

    /// Waits until it has been told that all is taken, if it is told.
    async fn is_told(&self) {}

    /// Comes to hold far more than fits into memory, at once: the names of its events, in order. Nothing
    /// runs meanwhile. `kafka` is the address of our brokers.
    async fn floods(&mut self, kafka: &str) -> Vec<String>;

    /// Goes on while Kafka takes nothing.
    async fn goes_on(&mut self) {
        tokio::time::sleep(HELD).await;
    }

    /// Its secret is the second one from now on, and nobody is let in with the first one.
    async fn lock(&mut self);

    /// What is said about that, if it is said yet.
    async fn refusal(world: &World<Self>) -> Option<String> {
        let mut routes = world.folder().operators().routes().await;
        let route = routes.remove("orders/source")?;
        let waits = route["state"] == "waiting";
        waits.then(|| route["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// What has to be said: where, what was refused, what to do.
    fn expected_refusal(&self) -> Vec<String>;

    /// What is put right at the application, where a secret is not what was wrong.
    async fn unlock(&mut self) {}

    /// Takes away what it leaves behind.
    async fn end(self) {}
}
