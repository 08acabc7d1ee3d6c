//! What can be learnt of an application without writing to it, for `check --connect`.

use engine::{Domain, Event, Fault, Value};

use super::route::{Job, Route};

/// An id that no object has.
const NOBODY: &str = "passerelle-check";

impl Route {
    /// Asks for what its requests that only read tell: the list of fields, or else a look-up.
    ///
    /// # Errors
    /// The application cannot be reached, refuses us, or lacks a field that the route writes.
    pub async fn connect(&self) -> Result<String, Fault> {
        let Self { object, exchange, .. } = self;
        if let Some(contract) = self.contract() {
            self.hold(contract, std::iter::empty()).await?;
            let fields = match self.declared.as_slice() {
                [] => {
                    "lists its fields; which of them are written, the file does not tell".to_owned()
                }
                [one] => format!("has `{one}`, which is written"),
                all => format!("has all {} fields that are written", all.len()),
            };
            return Ok(format!(
                "{} takes our credentials; its `{object}` {fields}",
                exchange.origin()
            ));
        }
        if let Some(find) = &self.steps.find {
            let event = Event::of_value(Value::Null);
            let job = Job {
                event: &event,
                value: Value::Object(Default::default()),
                id: Some(NOBODY.to_owned()),
                key: String::new(),
                deletion: false,
                repeat: false,
            };
            return match self.find(find, &job).await {
                Ok(_) => Ok(format!(
                    "{} answers a look-up in `{object}`; which fields it has, only a write tells",
                    exchange.origin()
                )),
                // The made-up id may be none of its ids.
                Err(fault) if fault.domain == Domain::Data => Ok(format!(
                    "a look-up in `{object}` is answered, and does not tell more: {}",
                    fault.message
                )),
                Err(fault) => Err(fault),
            };
        }
        exchange.reach().await
    }
}
