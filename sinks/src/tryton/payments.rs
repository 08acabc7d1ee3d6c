//! Booking payments of customers' invoices, by the wizard with which a person pays one: it books a
//! move, and the invoice is paid once all of it is.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use engine::{Delivery, Event, Fault};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::TrytonSink;
use super::erp::Erp;
use super::invoices::INVOICE;
use super::references::unreadable;
use super::rest::{self, Id};
use super::rpc::Rpc;
use super::task::{Outcome, Tasks};
use super::told::{Told, exact};

/// A payment as the event tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Payment {
    id: String,
    invoice: String,
    date: NaiveDate,
    currency: String,
    #[serde(deserialize_with = "exact")]
    amount: BigDecimal,
    method: String,
}

impl Told for Payment {
    const WHAT: &'static str = "payment";
    const SCHEMA: (&'static str, &'static str) = ("payment.avsc", schemas::events::PAYMENT);

    fn ids(&self) -> Vec<(&'static str, &str)> {
        vec![("id", &self.id), ("invoice", &self.invoice)]
    }
}

const WIZARD: &str = "wizard.account.invoice.pay";

const FIELDS: [&str; 4] = ["state", "party", "account", "currency.code"];

impl TrytonSink {
    /// Books the payments of a batch, one after the other: the wizard pays one invoice.
    pub(super) async fn payments(&self, batch: &[Event]) -> Vec<Outcome> {
        let mut tasks = Tasks::<Payment, ()>::of(batch);
        let end = match self.company().await {
            Ok(rpc) => {
                for task in &mut tasks.all {
                    task.end = Some(self.pay(&rpc, &task.told).await);
                }
                Ok(())
            }
            Err(fault) => Err(fault),
        };
        tasks.ended(end)
    }

    async fn pay(&self, rpc: &Rpc, payment: &Payment) -> Outcome {
        let erp = Erp::Rpc(rpc.clone());
        let invoice = self.invoice_of(rpc, payment).await?;
        let id = rest::id(&invoice).ok_or_else(|| unreadable("the invoice"))?;
        if let Some(known) = self.move_of(&erp, id, payment).await? {
            let answer = format!("move {known} of invoice {id}");
            return Ok(Delivery { answer, already_there: true });
        }
        payable(&invoice, payment)?;
        let method = self.references.payment_method(&erp, &payment.method).await?;
        let start = json!({
            "payee": invoice["party"], "payees": [invoice["party"]], "company": rpc.company(),
            "currency": rest::id(&invoice["currency"]), "invoice_account": invoice["account"],
            "amount": rest::decimal(&payment.amount), "payment_method": method,
            "date": rest::date(payment.date), "description": payment.id,
        });
        // Asked whether the rest stays to be paid, a person would say so.
        let ask = json!({
            "type": "partial", "invoice": id, "company": rpc.company(),
            "currency": rest::id(&invoice["currency"]),
            "amount": rest::decimal(&payment.amount),
            "lines": [], "lines_to_pay": [], "payment_lines": [],
        });
        let wizard = rpc.call(&format!("{WIZARD}.create"), json!([])).await?;
        let forms = json!({ "start": start, "ask": ask });
        let params = json!([wizard[0], forms, "pay"]);
        rpc.call_about(INVOICE, id, &format!("{WIZARD}.execute"), params).await?;
        // It only holds what was filled in, and the ERP cleans up itself where this fails. One whose
        // answer was lost may still be at work.
        drop(rpc.call(&format!("{WIZARD}.delete"), json!([wizard[0]])).await);
        let booked = self.move_of(&erp, id, payment).await?;
        let number = booked.map(|number| format!("move {number} of ")).unwrap_or_default();
        Ok(Delivery { answer: format!("{number}invoice {id}"), already_there: false })
    }

    async fn invoice_of(&self, rpc: &Rpc, payment: &Payment) -> Result<Json, Fault> {
        let domain = json!([
            ["type", "=", "out"],
            ["reference", "=", payment.invoice],
            ["company", "=", rpc.company()]
        ]);
        let erp = Erp::Rpc(rpc.clone());
        let mut found = erp.search(INVOICE, &domain, &FIELDS, 2).await?;
        match (found.pop(), found.pop()) {
            (Some(invoice), None) => Ok(invoice),
            (None, _) => {
                let message = format!(
                    "The ERP has no invoice of the reference `{}`, which the payment `{}` pays; it is \
                     tried again, for it may be on its way.",
                    payment.invoice, payment.id
                );
                Err(Fault::remote("tryton_invoice", message))
            }
            _ => {
                let message = format!(
                    "The ERP has several invoices of the reference `{}`: which one the payment `{}` \
                     pays is unknown. Give one of them another reference there, then retry.",
                    payment.invoice, payment.id
                );
                Err(Fault::data("tryton_several", message))
            }
        }
    }

    /// The move that books this payment, if there is one.
    async fn move_of(
        &self,
        erp: &Erp,
        invoice: Id,
        payment: &Payment,
    ) -> Result<Option<Id>, Fault> {
        let domain = json!([
            ["origin", "=", format!("{INVOICE},{invoice}")],
            ["description", "=", payment.id]
        ]);
        let found = erp.search("account.move", &domain, &["id"], 1).await?;
        Ok(found.first().and_then(rest::id))
    }
}

/// # Errors
/// The invoice is not posted yet, is paid by something else, or is of another currency.
fn payable(invoice: &Json, payment: &Payment) -> Result<(), Fault> {
    let Payment { id, invoice: reference, currency, .. } = payment;
    let state = invoice["state"].as_str().unwrap_or_default();
    if let "draft" | "validated" = state {
        let message = format!(
            "The invoice `{reference}` is a {state} in the ERP and cannot be paid yet (payment `{id}`); \
             it is tried again."
        );
        return Err(Fault::remote("tryton_invoice", message));
    }
    if state != "posted" {
        let message = format!(
            "The invoice `{reference}` is {state} in the ERP, not by the payment `{id}`: it would be \
             paid twice. Look there which payment is right."
        );
        return Err(Fault::data("tryton_paid", message));
    }
    let theirs = invoice["currency"]["code"].as_str().unwrap_or_default();
    if theirs != currency {
        let message = format!(
            "The invoice `{reference}` is in {theirs} in the ERP, and the payment `{id}` in {currency}."
        );
        return Err(Fault::data("tryton_currency", message));
    }
    Ok(())
}
