//! Booking sales: looked up, created, held against their totals, quoted, confirmed; each step for all
//! sales of a batch at once, where the ERP takes many.

use std::collections::{BTreeMap, BTreeSet};

use engine::event::REPLAY;
use engine::{Event, Fault};
use serde_json::{Value as Json, json};

use super::TrytonSink;
use super::booked::Booked;
use super::failure::{Failure, halved};
use super::options::Goal;
use super::parties::{self, Asked, Buyer};
use super::references::Shop;
use super::rest::{self, Id};
use super::sale::Sale;
use super::task::{Outcome, Task, Tasks};

const SALE: &str = "sale.sale";

/// What is read of a sale.
pub(super) const FIELDS: [&str; 4] = ["web_id", "state", "total_amount", "untaxed_amount"];

/// A sale goes through two steps; somebody in the ERP may take it back meanwhile, not for ever.
const MOST_STEPS: usize = 6;

/// How many sales one button is pressed for: an ERP takes 0.3 to 0.6 s to confirm one, and a call is
/// to end before the connection's time-out.
const PRESSED_AT_ONCE: usize = 10;

type SaleTask<'e> = Task<'e, Sale, Booked>;

impl TrytonSink {
    /// Books the sales of a batch.
    pub(super) async fn sales(&self, batch: &[Event], attempt: u32) -> Vec<Outcome> {
        let mut tasks = Tasks::of(batch);
        let end = self.book(&mut tasks.all, attempt).await;
        tasks.ended(end)
    }

    /// Takes every task to its end.
    ///
    /// # Errors
    /// A fault of all that are still open.
    async fn book(&self, tasks: &mut [SaleTask<'_>], attempt: u32) -> Result<(), Fault> {
        if tasks.is_empty() {
            return Ok(());
        }
        let shop = self.references.shop(&self.erp).await?;
        // The first try is nearly always the first: alone, it asks only when the ERP refuses it. For
        // many one question is cheaper than what a single repeat among them would cost.
        let replayed = |task: &SaleTask<'_>| task.event.headers.get(REPLAY).is_some();
        if attempt > 1 || tasks.len() > 1 || tasks.iter().any(replayed) {
            self.look_up(shop, tasks).await?;
        }
        self.create(shop, tasks).await?;
        for _ in 0..MOST_STEPS {
            self.check(tasks);
            let mut pressed = false;
            for button in ["quote", "confirm"] {
                pressed |= self.press(button, shop, tasks).await?;
            }
            if !pressed {
                break;
            }
        }
        for task in tasks.iter_mut().filter(|task| task.is_open()) {
            task.end = Some(Err(kept_going_back(task)));
        }
        Ok(())
    }

    /// Finds those that the ERP has.
    async fn look_up(&self, shop: Shop, tasks: &mut [SaleTask<'_>]) -> Result<(), Fault> {
        let ids: Vec<&str> = tasks.iter().map(|task| task.told.web_id.as_str()).collect();
        let domain = json!([["web_shop", "=", shop.id], ["web_id", "in", ids]]);
        let found = self.erp.search(SALE, &domain, &FIELDS, ids.len()).await?;
        for task in tasks {
            let same = found.iter().find(|record| record["web_id"] == task.told.web_id);
            task.there = same.map(|record| self.booked(record, true)).transpose()?;
        }
        Ok(())
    }

    /// The sale of this shop and web id, if the ERP has it.
    async fn find(&self, shop: Shop, sale: &Sale) -> Result<Option<Booked>, Fault> {
        let domain = json!([["web_shop", "=", shop.id], ["web_id", "=", sale.web_id]]);
        let found = self.erp.search(SALE, &domain, &FIELDS, 1).await?;
        found.first().map(|record| self.booked(record, true)).transpose()
    }

    fn booked(&self, record: &Json, already_there: bool) -> Result<Booked, Fault> {
        Booked::read("sale", record, self.options.check_total, already_there)
    }

    /// Creates those that are not there, or finds one when the ERP says that it cannot be created:
    /// its answer to a duplicate is a sentence in the user's language, so only a look-up tells.
    async fn create(&self, shop: Shop, tasks: &mut [SaleTask<'_>]) -> Result<(), Fault> {
        let mut new: Vec<&mut SaleTask<'_>> =
            tasks.iter_mut().filter(|task| task.is_open() && task.there.is_none()).collect();
        let records = self.records(shop, &mut new).await?;
        new.retain(|task| task.is_open());
        let at_once = self.erp.at_once(self.options.batch);
        let created = halved(records, at_once, async |records: Vec<Json>| {
            self.erp.create(SALE, &records, &FIELDS).await
        })
        .await;
        for (task, created) in new.into_iter().zip(created) {
            let booked = match created {
                Ok(record) => self.booked(&record, false),
                Err(refused @ Failure::Refused { .. }) => {
                    match self.find(shop, &task.told).await? {
                        Some(known) => Ok(known),
                        None => {
                            // Perhaps for what we remember of it, which has changed.
                            self.references.forget();
                            Err(refused.into())
                        }
                    }
                }
                Err(failure) => Err(failure.into()),
            };
            match booked {
                Ok(booked) => task.there = Some(booked),
                Err(fault) => task.end = Some(Err(fault)),
            }
        }
        Ok(())
    }

    /// The records of these tasks, as they are to be created; a task whose record cannot be made is
    /// at its end.
    async fn records(
        &self,
        shop: Shop,
        tasks: &mut [&mut SaleTask<'_>],
    ) -> Result<Vec<Json>, Fault> {
        let codes: Vec<&str> = tasks.iter().map(|task| task.told.party.code.as_str()).collect();
        let mut asked = match codes.len() {
            0 | 1 => Asked::default(),
            _ => Asked::of(&self.erp.of_company(shop.company), codes).await?,
        };
        let mut records = Vec::new();
        for task in tasks {
            match self.record(task.event, &task.told, shop, &mut asked).await {
                Ok(record) => records.push(record),
                Err(fault) => task.end = Some(Err(fault)),
            }
        }
        Ok(records)
    }

    async fn record(
        &self,
        event: &Event,
        sale: &Sale,
        shop: Shop,
        asked: &mut Asked,
    ) -> Result<Json, Fault> {
        let Self { references, options, .. } = self;
        let erp = &self.erp.of_company(shop.company);
        let currency = references.currency(erp, &sale.currency).await?;
        let products = references.products(erp, &sale.lines).await?;
        let term = match &options.payment_term {
            Some(name) => Some(references.payment_term(erp, name).await?),
            None => None,
        };
        let by = options.match_party;
        let buyer = parties::find_or_create(erp, references, by, &sale.party, asked).await?;
        let Buyer { id: party, address, payment_term } = buyer;
        let lines = sale.lines.iter().zip(products);
        let lines: Vec<Json> =
            lines.map(|(line, product)| line.record(product)).collect::<Result<_, _>>()?;
        let mut record = json!({
            "company": shop.company,
            "web_shop": shop.id,
            "web_id": sale.web_id,
            "currency": currency,
            "party": party,
            "invoice_address": address,
            "shipment_address": address,
            "payment_term": term.or(payment_term),
            "reference": sale.reference.as_ref().unwrap_or(&sale.web_id),
            "sale_date": rest::date(sale.date),
            "lines": [["create", lines]],
        });
        self.add_fields(event, &mut record)?;
        Ok(record)
    }

    /// Ends those that are where they are wanted, and those whose total is not the event's.
    fn check(&self, tasks: &mut [SaleTask<'_>]) {
        for task in tasks.iter_mut().filter(|task| task.is_open()) {
            let Some(at) = &task.there else { continue };
            let Sale { web_id, total, currency, .. } = &task.told;
            let checked = at.check_total(web_id, total, currency);
            task.end = match (checked, self.button(at)) {
                (Err(fault), _) => Some(Err(fault)),
                (Ok(()), Some(_)) => None,
                (Ok(()), None) => Some(Ok(at.delivered())),
            };
        }
    }

    /// What takes the sale further, unless it is where it is wanted.
    fn button(&self, at: &Booked) -> Option<&'static str> {
        match (at.state.as_str(), self.options.state.unwrap_or(Goal::Confirmed)) {
            ("draft", Goal::Quotation | Goal::Confirmed) => Some("quote"),
            ("quotation", Goal::Confirmed) => Some("confirm"),
            _ => None,
        }
    }

    /// Presses a button of all those that wait for it; tells whether there were any.
    async fn press(
        &self,
        button: &'static str,
        shop: Shop,
        tasks: &mut [SaleTask<'_>],
    ) -> Result<bool, Fault> {
        let waits = |task: &SaleTask<'_>| {
            let at = task.there.as_ref().filter(|_| task.is_open())?;
            (self.button(at) == Some(button)).then_some(at.id)
        };
        // Two events of one batch may tell of one sale.
        let ids: BTreeSet<Id> = tasks.iter().filter_map(waits).collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let (ids, at_once) = (Vec::from_iter(ids), self.options.batch.min(PRESSED_AT_ONCE));
        let pressed = halved(ids.clone(), self.erp.at_once(at_once), async |ids: Vec<Id>| {
            self.erp.press(SALE, &ids, button, &FIELDS).await
        })
        .await;
        let pressed: BTreeMap<Id, Result<Json, Failure>> = ids.into_iter().zip(pressed).collect();
        for task in tasks {
            let Some(pressed) = waits(task).and_then(|id| pressed.get(&id)).cloned() else {
                continue;
            };
            let Some(before) = task.there.take() else { continue };
            let now = match pressed {
                Ok(record) => self.booked(&record, before.already_there),
                // Another try, or a person, may have pressed it meanwhile.
                Err(refused @ Failure::Refused { .. }) => {
                    match self.find(shop, &task.told).await? {
                        Some(mut now) if now.state != before.state => {
                            now.already_there = before.already_there;
                            Ok(now)
                        }
                        _ => Err(refused.into()),
                    }
                }
                Err(failure) => Err(failure.into()),
            };
            match now {
                Ok(now) => task.there = Some(now),
                Err(fault) => task.end = Some(Err(fault)),
            }
        }
        Ok(true)
    }
}

fn kept_going_back(task: &SaleTask<'_>) -> Fault {
    let (id, state) = task.there.as_ref().map_or((0, ""), |at| (at.id, at.state.as_str()));
    let message = format!(
        "The sale {id} ({}) keeps going back to `{state}` in the ERP; it is tried again.",
        task.told.web_id
    );
    Fault::remote("tryton_state", message)
}
