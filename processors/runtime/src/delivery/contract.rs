//! Before anything is delivered: what the sink is known to write is held against what its target has.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::time::sleep;

use super::backoff;
use super::desk::Contract;
use super::worker::Station;
use crate::{Domain, Retry};

/// Holds the sink's contract, again and again until it holds; the workers wait for it. The topic is
/// read meanwhile, so that the route's lag is known.
pub(super) async fn hold(station: Arc<Station>) {
    let mut failures = 0;
    loop {
        let asked = AssertUnwindSafe(station.sink.contract()).catch_unwind().await;
        let Ok(held) = asked else {
            return station.desk.halt("The sink panicked: a bug, please report it.".to_owned());
        };
        let fault = match held {
            Ok(()) => return station.desk.set_contract(Contract::Holds),
            Err(fault) => fault,
        };
        if matches!(fault.domain, Domain::Config | Domain::Internal) {
            return station.desk.halt(fault.message);
        }
        failures += 1;
        let wait = match fault.retry {
            Retry::After(wait) => backoff::at_least(wait),
            _ => backoff::wait(station.backoff, failures),
        };
        tracing::debug!(route = &*station.route, %fault, ?wait, "nothing is delivered yet");
        station.desk.set_contract(Contract::Broken(fault.message, wait));
        sleep(wait).await;
    }
}
