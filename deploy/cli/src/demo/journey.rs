//! Follows each order from the shop to the ERP, and prints it as it lands.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Orders on their way that are remembered, at most: those beyond land without a latency.
const AT_MOST: usize = 10_000;

/// The orders on their way. Cheap to clone.
#[derive(Clone, Default)]
pub struct Journey(Arc<Mutex<HashMap<String, Instant>>>);

/// An order that the ERP has.
pub struct Landing<'a> {
    /// The order's id.
    pub order: &'a str,
    /// Who bought.
    pub customer: &'a str,
    /// How many lines.
    pub lines: usize,
    /// The total with its currency.
    pub total: &'a str,
    /// The ERP's own number of it.
    pub sale: &'a str,
}

impl Journey {
    /// The shop is about to send this order.
    pub fn left_the_shop(&self, order: &str) {
        let mut orders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.len() < AT_MOST {
            orders.insert(order.to_owned(), Instant::now());
        }
    }

    /// The ERP has this order: prints it with the time since the shop sent it.
    pub fn landed(&self, landing: &Landing<'_>) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(landing.order);
        let latency = left.map_or_else(
            || "      ".to_owned(),
            |left| format!("{:>3} ms", left.elapsed().as_millis()),
        );
        let time = chrono::Local::now().format("%H:%M:%S");
        let Landing { order, customer, lines, total, sale } = landing;
        let plural = if *lines == 1 { " " } else { "s" };
        // A closed terminal must not stop the demo's pipeline.
        let _ = writeln!(
            std::io::stdout(),
            "{time}  {order:<8} {customer:<20} {lines} line{plural} {total:>12}  →  {sale:<8} {latency}"
        );
    }
}
