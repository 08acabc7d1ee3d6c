//! Fetching what events are enriched with, for a window at once and before it begins: no transaction
//! is open while an application is asked.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};

use super::line::{Decoded, Mill};
use crate::dead_letters::Stage;
use crate::delivery::backoff_wait;
use crate::enrichment::Enrichment;
use crate::runtime::Backoff;
use crate::state::{State, StateOf};
use crate::{Domain, Event, Fault, Retry, Value};

/// Between tries of what an application does not answer.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(30) };

impl Mill {
    /// Puts into the values of events what is found for them. While an application does not answer,
    /// the partition waits.
    pub(super) async fn enrich(
        &self,
        events: &[Event],
        values: Vec<Decoded>,
        state: &StateOf,
    ) -> Vec<Decoded> {
        if self.enrichments.is_empty() {
            return values;
        }
        let at_once = self.enrichments.iter().map(|one| one.lookup.at_once()).min();
        let pairs = events.iter().zip(values);
        let work: Vec<BoxFuture<'_, Decoded>> =
            pairs.map(|(event, value)| self.enriched(event, value, state).boxed()).collect();
        stream::iter(work).buffered(at_once.unwrap_or(1)).collect().await
    }

    async fn enriched(&self, event: &Event, value: Decoded, state: &StateOf) -> Decoded {
        let Some(value) = value? else { return Ok(None) };
        let enriched = self.enrich_one(event, value, state).await;
        enriched.map(Some).map_err(|fault| (fault, Stage::Processing))
    }

    pub(super) async fn enrich_one(
        &self,
        event: &Event,
        mut value: Value,
        state: &StateOf,
    ) -> Result<Value, Fault> {
        for enrichment in &self.enrichments {
            let key = enrichment.key(event, &value)?;
            let mut failures = 0;
            let filled = loop {
                let fault = match fill(enrichment, key.as_ref(), &mut value).await {
                    Err(fault) if fault.domain == Domain::Remote => fault,
                    filled => break filled,
                };
                failures += 1;
                let wait = match fault.retry {
                    Retry::After(wait) => wait,
                    _ => backoff_wait(BACKOFF, failures),
                };
                state.set(State::waiting(fault.message, wait));
                tokio::time::sleep(wait).await;
            };
            if failures > 0 {
                state.set(State::Running);
            }
            filled?;
        }
        Ok(value)
    }
}

async fn fill(
    enrichment: &Enrichment,
    key: Option<&Value>,
    value: &mut Value,
) -> Result<(), Fault> {
    let found = match key {
        Some(key) => enrichment.find(key).await?,
        None => None,
    };
    enrichment.put(value, key, found)
}
