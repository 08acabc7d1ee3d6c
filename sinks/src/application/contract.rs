//! What fields an application has: held against what a route writes, before it writes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use engine::expression::Program;
use engine::{Domain, Event, Fault, Value};
use exchange::Exchange;
use tokio::sync::Mutex;

use super::answer;
use super::request::{Common, Prepared};

/// How long the list is taken to hold: somebody may remove a field.
const FRESH: Duration = Duration::from_secs(600);

/// Lists an object's fields.
pub(super) struct Contract {
    pub request: Prepared,
    pub fields: Program,
    pub known: Mutex<Option<(Instant, BTreeSet<String>)>>,
}

impl Contract {
    /// Holds the names of fields against those that the application has.
    ///
    /// # Errors
    /// The route waits: one of them is not there. Or the list cannot be had.
    pub async fn hold<'n>(
        &self,
        names: impl Iterator<Item = &'n str> + Send,
        object: &str,
        context: impl FnOnce() -> Event + Send,
        exchange: &Exchange,
        common: &Common,
    ) -> Result<(), Fault> {
        let mut known = self.known.lock().await;
        let fresh = known.take().filter(|(since, _)| since.elapsed() < FRESH);
        let (since, fields) = match fresh {
            Some(fresh) => fresh,
            None => (Instant::now(), self.ask(&context(), exchange, common).await?),
        };
        let gone: Vec<_> =
            names.filter(|name| !fields.contains(*name)).map(str::to_owned).collect();
        if gone.is_empty() {
            *known = Some((since, fields));
            return Ok(());
        }
        // It is asked again at the next try: the field may have come.
        let message = format!(
            "The application's `{object}` has no field `{}`, which the route writes: nothing is \
             written. Create it there, or leave it out here.",
            gone.join("`, `")
        );
        Err(Fault::refused("contract", message))
    }

    /// The names of the fields that the application has now.
    ///
    /// # Errors
    /// The list cannot be had.
    pub async fn ask(
        &self,
        context: &Event,
        exchange: &Exchange,
        common: &Common,
    ) -> Result<BTreeSet<String>, Fault> {
        let answer = exchange.send(self.request.call(context, common)?).await?;
        // Whatever is wrong with the list is not the event's fault.
        exchange.verdict(&answer).map_err(|fault| match fault.domain {
            Domain::Data => Fault::refused("contract", fault.message),
            _ => fault,
        })?;
        if let Some(cut) = answer.cut {
            return Err(cut);
        }
        let told = answer::context(answer.status.as_u16(), answer::body(&answer));
        let unreadable = |why: &str| {
            let message =
                format!("The list of fields cannot be read from {}: {why}.", answer.asked);
            Fault::refused("contract", message)
        };
        match self.fields.run(&Event::of_value(told.clone()), &told) {
            Ok(Value::Array(names)) => {
                Ok(names.iter().filter_map(|name| Some(answer::text(name)?.into_owned())).collect())
            }
            Ok(other) => Err(unreadable(&format!("it is {}", other.kind_str()))),
            Err(fault) => Err(unreadable(fault.message.trim_end_matches('.'))),
        }
    }
}
