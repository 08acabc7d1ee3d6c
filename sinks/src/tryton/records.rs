//! Parties and products: created where the ERP lacks them, and changed where the event says something
//! else, but never over what somebody has changed there.

use bigdecimal::BigDecimal;
use engine::{Delivery, Event, Fault};
use serde_json::{Map, Value as Json, json};

use super::TrytonSink;
use super::failure::{Failure, halved};
use super::options::OnConflict;
use super::references::unreadable;
use super::rest::{self, Id};
use super::rpc::{Change, Rpc};
use super::task::{Outcome, Task, Tasks};
use super::told::Told;

/// How often a record is read again because somebody changed it between our reading and our writing.
const MOST_TRIES: usize = 5;

/// A kind of record.
pub(super) struct Kind {
    pub(super) model: &'static str,
    /// The field that holds its code.
    pub(super) key: &'static str,
    /// What an answer calls it.
    pub(super) name: &'static str,
    /// What is read of its children.
    pub(super) children: &'static [&'static str],
}

/// A record as an event wants it.
pub(super) struct Wanted {
    /// How it is created.
    pub(super) record: Json,
    /// The fields that are held against the ERP's.
    pub(super) fields: Vec<(String, Json)>,
    /// Records that belong to it, with the field that they stand in: those that the ERP lacks are
    /// added, and those that it has besides are kept.
    pub(super) children: Vec<(&'static str, Json)>,
}

/// A kind of record that events tell.
pub(super) trait Kept: Told + Send + Sync {
    const KIND: Kind;

    /// Its code.
    fn code(&self) -> &str;

    /// The record that is wanted, its references found.
    fn wanted(
        &self,
        sink: &TrytonSink,
        rpc: &Rpc,
    ) -> impl Future<Output = Result<Wanted, Fault>> + Send;
}

/// What is to be done about a record.
enum Decision {
    Nothing,
    Write(Json),
}

/// A record in the ERP.
struct Found(Json);

impl TrytonSink {
    /// Creates or changes the records of a batch.
    pub(super) async fn keep<T: Kept>(&self, batch: &[Event]) -> Vec<Outcome> {
        let mut tasks = Tasks::<T, Wanted>::of(batch);
        let end = self.keep_all(&mut tasks.all).await;
        tasks.ended(end)
    }

    async fn keep_all<T: Kept>(&self, tasks: &mut [Task<'_, T, Wanted>]) -> Result<(), Fault> {
        let rpc = &self.company().await?;
        for task in tasks.iter_mut() {
            match self.want(task, rpc).await {
                Ok(wanted) => task.there = Some(wanted),
                Err(fault) => task.end = Some(Err(fault)),
            }
        }
        // One event of a record after the other, each read anew.
        for _ in 0..tasks.len().saturating_mul(MOST_TRIES) {
            let mut turn: Vec<&mut Task<'_, T, Wanted>> = Vec::new();
            for task in tasks.iter_mut().filter(|task| task.is_open()) {
                if turn.iter().all(|first| first.told.code() != task.told.code()) {
                    turn.push(task);
                }
            }
            if turn.is_empty() {
                return Ok(());
            }
            self.turn(rpc, &mut turn).await?;
        }
        let message = "The records are changed in the ERP again and again; they are tried again.";
        Err(Fault::remote("tryton_changed", message))
    }

    async fn want<T: Kept>(&self, task: &Task<'_, T, Wanted>, rpc: &Rpc) -> Result<Wanted, Fault> {
        let mut wanted = task.told.wanted(self, rpc).await?;
        let mut more = json!({});
        self.add_fields(task.event, &mut more)?;
        for (name, value) in more.as_object().into_iter().flatten() {
            wanted.record[name] = value.clone();
            wanted.fields.push((name.clone(), value.clone()));
        }
        Ok(wanted)
    }

    /// Looks for the records, creates those that are not there and changes those that differ. A task
    /// whose record was changed meanwhile stays open.
    async fn turn<T: Kept>(
        &self,
        rpc: &Rpc,
        turn: &mut [&mut Task<'_, T, Wanted>],
    ) -> Result<(), Fault> {
        let found = self.look(rpc, turn).await?;
        let user = rpc.user().await?;
        let (mut new, mut changes) = (Vec::new(), Vec::new());
        for (at, task) in turn.iter_mut().enumerate() {
            let Some(wanted) = &task.there else { continue };
            let same: Vec<&Found> =
                found.iter().filter(|one| one.has(T::KIND.key, task.told.code())).collect();
            match same.as_slice() {
                [] => new.push((at, wanted.record.clone())),
                [one] => match self.decide(&T::KIND, task.told.code(), wanted, one, user) {
                    Ok(Decision::Write(values)) => changes.push((at, one.change(values)?)),
                    Ok(Decision::Nothing) => {
                        let answer = format!("{} {} unchanged", T::KIND.name, one.id()?);
                        task.end = Some(Ok(Delivery { answer, already_there: true }));
                    }
                    Err(fault) => task.end = Some(Err(fault)),
                },
                _ => task.end = Some(Err(several(&T::KIND, task.told.code()))),
            }
        }
        self.create_new(rpc, turn, new).await?;
        self.write(rpc, turn, changes).await
    }

    async fn look<T: Kept>(
        &self,
        rpc: &Rpc,
        turn: &[&mut Task<'_, T, Wanted>],
    ) -> Result<Vec<Found>, Fault> {
        let codes: Vec<&str> = turn.iter().map(|task| task.told.code()).collect();
        let mut fields =
            vec![T::KIND.key, "_timestamp", "write_uid.rec_name", "create_uid.rec_name"];
        fields.extend(T::KIND.children);
        let wanted = turn.iter().filter_map(|task| task.there.as_ref());
        let names = wanted.flat_map(|wanted| wanted.fields.iter().map(|(name, _)| name.as_str()));
        for name in names {
            if !fields.contains(&name) {
                fields.push(name);
            }
        }
        let domain = json!([[T::KIND.key, "in", codes]]);
        let erp = super::erp::Erp::Rpc(rpc.clone());
        let found = erp.search(T::KIND.model, &domain, &fields, 2 * codes.len()).await?;
        Ok(found.into_iter().map(Found).collect())
    }

    async fn create_new<T: Kept>(
        &self,
        rpc: &Rpc,
        turn: &mut [&mut Task<'_, T, Wanted>],
        new: Vec<(usize, Json)>,
    ) -> Result<(), Fault> {
        let (places, records): (Vec<usize>, Vec<Json>) = new.into_iter().unzip();
        let created = halved(records, self.options.batch, async |records: Vec<Json>| {
            rpc.create(T::KIND.model, &records).await
        })
        .await;
        for (at, created) in places.into_iter().zip(created) {
            let task = &mut *turn[at];
            task.end = match created {
                Ok(id) => {
                    let answer = format!("{} {id} created", T::KIND.name);
                    Some(Ok(Delivery { answer, already_there: false }))
                }
                // Somebody else may have created it meanwhile: it is then read and decided upon.
                Err(refused @ Failure::Refused { .. }) => {
                    match self.look(rpc, &[task]).await?.is_empty() {
                        true => Some(Err(refused.into())),
                        false => None,
                    }
                }
                Err(failure) => Some(Err(failure.into())),
            };
        }
        Ok(())
    }

    async fn write<T: Kept>(
        &self,
        rpc: &Rpc,
        turn: &mut [&mut Task<'_, T, Wanted>],
        changes: Vec<(usize, Change)>,
    ) -> Result<(), Fault> {
        let (places, changes): (Vec<usize>, Vec<Change>) = changes.into_iter().unzip();
        let written = halved(changes, self.options.batch, async |changes: Vec<Change>| {
            rpc.write(T::KIND.model, &changes).await
        })
        .await;
        for (at, written) in places.into_iter().zip(written) {
            turn[at].end = match written {
                Ok(id) => {
                    let answer = format!("{} {id} changed", T::KIND.name);
                    Some(Ok(Delivery { answer, already_there: false }))
                }
                // It is read again, and decided upon anew.
                Err(Failure::Stale { .. }) => None,
                Err(failure) => Some(Err(failure.into())),
            };
        }
        Ok(())
    }

    /// What is to be written over the record that was found. What somebody else wrote last is theirs:
    /// a field that differs from the event's is a conflict.
    fn decide(
        &self,
        kind: &Kind,
        code: &str,
        wanted: &Wanted,
        found: &Found,
        user: Id,
    ) -> Result<Decision, Fault> {
        let differ = |(name, value): &&(String, Json)| !is_same(&found.0[name], value);
        let differing: Vec<&(String, Json)> = wanted.fields.iter().filter(differ).collect();
        let by = found.written_by().ok_or_else(|| unreadable(kind.name))?;
        let conflict = by.0 != user && !differing.is_empty();
        let mut values = Map::new();
        match self.options.on_conflict {
            OnConflict::DeadLetter if conflict => {
                return Err(in_conflict(kind, code, &differing, found, by.1));
            }
            OnConflict::Keep if conflict => {}
            _ => values.extend(differing.into_iter().cloned()),
        }
        for (field, child) in &wanted.children {
            if !found.has_child(field, child) {
                let added = values.entry(*field).or_insert_with(|| json!([["create", []]]));
                if let Some(added) = added[0][1].as_array_mut() {
                    added.push(child.clone());
                }
            }
        }
        Ok(if values.is_empty() {
            Decision::Nothing
        } else {
            Decision::Write(Json::Object(values))
        })
    }
}

impl Found {
    fn id(&self) -> Result<Id, Fault> {
        rest::id(&self.0).ok_or_else(|| unreadable("the record"))
    }

    /// Whether its code is this one: its own field, or one of its children's (`products.code`).
    fn has(&self, key: &str, code: &str) -> bool {
        match key.split_once('.') {
            None => self.0[key] == code,
            Some((children, key)) => {
                let children = self.0[children].as_array();
                children.is_some_and(|all| all.iter().any(|child| child[key] == code))
            }
        }
    }

    fn has_child(&self, field: &str, child: &Json) -> bool {
        let same = |known: &Json| {
            let parts = child.as_object();
            parts.is_some_and(|all| all.iter().all(|(name, value)| is_same(&known[name], value)))
        };
        self.0[field].as_array().is_some_and(|all| all.iter().any(same))
    }

    /// The number and the name of the user that wrote it last.
    fn written_by(&self) -> Option<(Id, &str)> {
        let user = |field: &str| {
            let user = &self.0[field];
            Some((rest::id(user)?, user["rec_name"].as_str().unwrap_or("somebody")))
        };
        user("write_uid").or_else(|| user("create_uid"))
    }

    fn change(&self, values: Json) -> Result<Change, Fault> {
        let version = self.0["_timestamp"].as_str().ok_or_else(|| unreadable("the record"))?;
        Ok(Change { id: self.id()?, values, version: version.to_owned() })
    }
}

/// Whether two values mean the same: the ERP trims texts, keeps nothing for an empty one, writes a
/// decimal with other zeros, and on SQLite has 1 for true.
fn is_same(theirs: &Json, ours: &Json) -> bool {
    let text = |json: &Json| json.as_str().unwrap_or_default().trim().to_owned();
    let number = |json: &Json| -> Option<BigDecimal> {
        match json {
            Json::Bool(yes) => Some(BigDecimal::from(i32::from(*yes))),
            Json::Number(number) => number.to_string().parse().ok(),
            other => rest::read_decimal(other),
        }
    };
    match (theirs, ours) {
        (Json::String(_) | Json::Null, Json::String(_) | Json::Null) => text(theirs) == text(ours),
        _ => match (number(theirs), number(ours)) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => theirs == ours,
        },
    }
}

fn in_conflict(
    kind: &Kind,
    code: &str,
    differing: &[&(String, Json)],
    found: &Found,
    by: &str,
) -> Fault {
    let shown = |json: &Json| match (json, rest::read_decimal(json)) {
        (_, Some(decimal)) => decimal.to_plain_string(),
        (Json::String(text), None) => text.clone(),
        (json, None) => json.to_string(),
    };
    let both = |(name, ours): &&(String, Json)| {
        format!("`{name}` is `{}` there and `{}` in the event", shown(&found.0[name]), shown(ours))
    };
    let both: Vec<String> = differing.iter().map(both).collect();
    let message = format!(
        "The {} `{code}` was last changed in the ERP by {by}: {}. It was left as it is. Write there \
         what is right and retry or discard the event, or let the sink's `on_conflict` decide.",
        kind.name,
        both.join(", ")
    );
    Fault::data("tryton_conflict", message)
}

fn several(kind: &Kind, code: &str) -> Fault {
    let name = kind.name;
    let message = format!(
        "The ERP has several {name} records of the code `{code}`: which is meant is unknown. Merge \
         them there, then retry."
    );
    Fault::data("tryton_several", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_mean_the_same_are_no_difference() {
        let decimal = |text: &str| json!({ "__class__": "Decimal", "decimal": text });
        for (theirs, ours, same) in [
            (json!("Ann"), json!("Ann "), true),
            (json!(null), json!(""), true),
            (json!(1), json!(true), true),
            (decimal("13"), decimal("13.00"), true),
            (decimal("13"), decimal("13.01"), false),
            (json!("Ann"), json!(null), false),
            (json!([1]), json!([1]), true),
        ] {
            assert_eq!(is_same(&theirs, &ours), same, "{theirs} {ours}");
        }
    }
}
