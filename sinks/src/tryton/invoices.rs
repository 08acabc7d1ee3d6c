//! Booking customers' invoices: looked up by their reference, created with the accounts and taxes that
//! the ERP itself proposes, held against their totals, posted where that is asked for.

use bigdecimal::BigDecimal;
use chrono::NaiveDate;
use engine::{Event, Fault};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::TrytonSink;
use super::booked::Booked;
use super::erp::Erp;
use super::failure::halved;
use super::options::Goal;
use super::parties::{self, Asked};
use super::rest::{self, Id};
use super::rpc::Rpc;
use super::sale::{Line, Party};
use super::task::{Outcome, Task, Tasks};
use super::told::{Told, exact};

pub(super) const INVOICE: &str = "account.invoice";

const FIELDS: [&str; 4] = ["reference", "state", "total_amount", "untaxed_amount"];

/// How many invoices one call posts: to number and to book one takes an ERP 0.1 to 0.4 s.
const POSTED_AT_ONCE: usize = 10;

/// An invoice as the event tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Invoice {
    id: String,
    date: NaiveDate,
    currency: String,
    party: Party,
    lines: Vec<Line>,
    #[serde(deserialize_with = "exact")]
    total: BigDecimal,
}

impl Told for Invoice {
    const WHAT: &'static str = "invoice";
    const SCHEMA: (&'static str, &'static str) = ("invoice.avsc", schemas::events::INVOICE);

    fn ids(&self) -> Vec<(&'static str, &str)> {
        vec![("id", &self.id), ("party.code", &self.party.code)]
    }
}

type InvoiceTask<'e> = Task<'e, Invoice, Booked>;

impl TrytonSink {
    /// Books the invoices of a batch. The ERP has nothing unique of an invoice that is a draft, so each
    /// is looked up first, also at the first try: that may follow a restart.
    pub(super) async fn invoices(&self, batch: &[Event]) -> Vec<Outcome> {
        let mut tasks = Tasks::of(batch);
        let end = self.book_invoices(&mut tasks.all).await;
        tasks.ended(end)
    }

    async fn book_invoices(&self, tasks: &mut [InvoiceTask<'_>]) -> Result<(), Fault> {
        let rpc = &self.company().await?;
        // An invoice that comes twice is created at its first coming.
        let twice = |at: usize, tasks: &[InvoiceTask<'_>]| {
            tasks[..at].iter().any(|first| first.told.id == tasks[at].told.id)
        };
        let (first, again): (Vec<usize>, Vec<usize>) =
            (0..tasks.len()).partition(|at| !twice(*at, tasks));
        for places in [first, again] {
            let mut turn: Vec<&mut InvoiceTask<'_>> = Vec::new();
            for (at, task) in tasks.iter_mut().enumerate() {
                if places.contains(&at) {
                    turn.push(task);
                }
            }
            if turn.is_empty() {
                continue;
            }
            self.find_invoices(rpc, &mut turn).await?;
            self.create_invoices(rpc, &mut turn).await?;
            self.post_invoices(rpc, &mut turn).await?;
        }
        Ok(())
    }

    async fn find_invoices(
        &self,
        rpc: &Rpc,
        turn: &mut [&mut InvoiceTask<'_>],
    ) -> Result<(), Fault> {
        let ids: Vec<&str> = turn.iter().map(|task| task.told.id.as_str()).collect();
        let domain = json!([
            ["type", "=", "out"],
            ["reference", "in", ids],
            ["company", "=", rpc.company()]
        ]);
        let erp = Erp::Rpc(rpc.clone());
        let found = erp.search(INVOICE, &domain, &FIELDS, 2 * ids.len()).await?;
        for task in turn {
            let same = found.iter().find(|record| record["reference"] == task.told.id);
            task.there = same.map(|record| self.invoice(record, true)).transpose()?;
        }
        Ok(())
    }

    fn invoice(&self, record: &Json, already_there: bool) -> Result<Booked, Fault> {
        Booked::read("invoice", record, self.options.check_total, already_there)
    }

    async fn create_invoices(
        &self,
        rpc: &Rpc,
        turn: &mut [&mut InvoiceTask<'_>],
    ) -> Result<(), Fault> {
        let (mut places, mut records) = (Vec::new(), Vec::new());
        for (at, task) in turn.iter_mut().enumerate().filter(|(_, task)| task.there.is_none()) {
            match self.invoice_record(rpc, task).await {
                Ok(record) => {
                    places.push(at);
                    records.push(record);
                }
                Err(fault) => task.end = Some(Err(fault)),
            }
        }
        let erp = &Erp::Rpc(rpc.clone());
        let created = halved(records, self.options.batch, async |records: Vec<Json>| {
            erp.create(INVOICE, &records, &FIELDS).await
        })
        .await;
        for (at, created) in places.into_iter().zip(created) {
            let booked =
                created.map_err(Fault::from).and_then(|record| self.invoice(&record, false));
            match booked {
                Ok(booked) => turn[at].there = Some(booked),
                Err(fault) => {
                    // Perhaps for what we remember of it, which has changed.
                    self.references.forget();
                    turn[at].end = Some(Err(fault));
                }
            }
        }
        Ok(())
    }

    /// The invoice as it is created. Its accounts, terms and taxes are those that the ERP proposes to a
    /// person who fills in the same form (`on_change`).
    async fn invoice_record(&self, rpc: &Rpc, task: &InvoiceTask<'_>) -> Result<Json, Fault> {
        let (told, references) = (&task.told, &self.references);
        let erp = &Erp::Rpc(rpc.clone());
        let currency = references.currency(erp, &told.currency).await?;
        let products = references.products(erp, &told.lines).await?;
        let (by, mut asked) = (self.options.match_party, Asked::default());
        let buyer = parties::find_or_create(erp, references, by, &told.party, &mut asked).await?;
        let company = rpc.company();
        let mut form = json!({
            "type": "out", "company": company, "currency": currency, "party": buyer.id,
        });
        let proposed = rpc.proposal(INVOICE, &form, "party").await?;
        let mut lines = Vec::new();
        for (line, product) in told.lines.iter().zip(products) {
            let mut record = json!({
                "type": "line", "company": company, "currency": currency, "party": buyer.id,
                "product": product.id, "invoice_type": "out",
            });
            let proposed = rpc.proposal("account.invoice.line", &record, "product").await?;
            record["account"] = proposed["account"].clone();
            if let Some(taxes) = proposed["taxes"].as_array().filter(|taxes| !taxes.is_empty()) {
                record["taxes"] = json!([["add", taxes]]);
            }
            if let (Some(record), Json::Object(line)) =
                (record.as_object_mut(), line.record(product)?)
            {
                record.remove("invoice_type");
                record.extend(line);
            }
            lines.push(record);
        }
        let term = match &self.options.payment_term {
            Some(name) => json!(references.payment_term(erp, name).await?),
            None => proposed["payment_term"].clone(),
        };
        form["account"] = proposed["account"].clone();
        form["payment_term"] = term;
        form["invoice_address"] = json!(buyer.address);
        form["journal"] = json!(references.revenue_journal(erp).await?);
        form["reference"] = json!(told.id);
        form["invoice_date"] = rest::date(told.date);
        form["lines"] = json!([["create", lines]]);
        self.add_fields(task.event, &mut form)?;
        Ok(form)
    }

    /// Holds the totals against the events', posts those that are to be posted, and ends all.
    async fn post_invoices(
        &self,
        rpc: &Rpc,
        turn: &mut [&mut InvoiceTask<'_>],
    ) -> Result<(), Fault> {
        let (mut places, mut ids) = (Vec::new(), Vec::new());
        for (at, task) in turn.iter_mut().enumerate().filter(|(_, task)| task.is_open()) {
            let Some(there) = &task.there else { continue };
            let is_open = matches!(there.state.as_str(), "draft" | "validated");
            if let Err(fault) =
                there.check_total(&task.told.id, &task.told.total, &task.told.currency)
            {
                task.end = Some(Err(fault));
            } else if is_open && self.options.state == Some(Goal::Posted) {
                places.push(at);
                ids.push(there.id);
            } else {
                task.end = Some(Ok(there.delivered()));
            }
        }
        let (erp, at_once) = (&Erp::Rpc(rpc.clone()), self.options.batch.min(POSTED_AT_ONCE));
        let posted = halved(ids, at_once, async |ids: Vec<Id>| {
            erp.press(INVOICE, &ids, "post", &FIELDS).await
        })
        .await;
        for (at, posted) in places.into_iter().zip(posted) {
            let task = &mut *turn[at];
            let already_there = task.there.as_ref().is_some_and(|there| there.already_there);
            let posted = posted.map_err(Fault::from);
            let now = posted.and_then(|record| self.invoice(&record, already_there));
            task.end = Some(now.map(|there| there.delivered()));
        }
        Ok(())
    }
}
