//! What the ERP has of a sale or an invoice.

use bigdecimal::BigDecimal;
use engine::{Delivery, Fault};
use serde_json::Value as Json;

use super::options::CheckTotal;
use super::references::unreadable;
use super::rest::{self, Id};

/// A sale or an invoice in the ERP.
#[derive(Debug)]
pub(super) struct Booked {
    /// Which of the two: a word for messages.
    what: &'static str,
    pub(super) id: Id,
    pub(super) state: String,
    /// The amount that is to be the event's, if one is.
    total: Option<BigDecimal>,
    /// Whether it was there before this delivery.
    pub(super) already_there: bool,
}

impl Booked {
    /// Reads a record of the ERP's.
    ///
    /// # Errors
    /// The route waits when the record lacks fields.
    pub(super) fn read(
        what: &'static str,
        record: &Json,
        check: CheckTotal,
        already_there: bool,
    ) -> Result<Self, Fault> {
        let unreadable = || unreadable(&format!("the {what}"));
        let total = match check {
            CheckTotal::No => None,
            CheckTotal::TotalAmount => Some(&record["total_amount"]),
            CheckTotal::UntaxedAmount => Some(&record["untaxed_amount"]),
        };
        let read = |total| rest::read_decimal(total).ok_or_else(unreadable);
        Ok(Self {
            what,
            id: rest::id(record).ok_or_else(unreadable)?,
            state: record["state"].as_str().ok_or_else(unreadable)?.to_owned(),
            total: total.map(read).transpose()?,
            already_there,
        })
    }

    /// The answer to its event.
    pub(super) fn delivered(&self) -> Delivery {
        let Self { what, id, state, .. } = self;
        Delivery { answer: format!("{what} {id} {state}"), already_there: self.already_there }
    }

    /// Money that differs is not booked: it stays as it is for a person to look at. What somebody
    /// cancelled in the ERP was delivered before. `name` and `told` are the event's id and amount.
    ///
    /// # Errors
    /// A `Data` fault with both amounts.
    pub(super) fn check_total(
        &self,
        name: &str,
        told: &BigDecimal,
        currency: &str,
    ) -> Result<(), Fault> {
        let differs = self.total.as_ref().filter(|total| *total != told);
        let Some(total) = differs.filter(|_| self.state != "cancelled") else { return Ok(()) };
        let Self { what, id, state, .. } = self;
        let message = format!(
            "The {what} {id} ({name}) comes to {total} {currency} in the ERP and to {told} {currency} in \
             the event; it is left there as {state}. Mend its prices or taxes in the ERP, or the sink's \
             `check_total`, then retry."
        );
        Err(Fault::data("tryton_total", message))
    }
}
