//! Writes one object: looks it up, writes it, and does what the answer asks for.

use engine::expression::Program;
use engine::{Delivery, Event, Fault, Value};
use reqwest::header::HeaderValue;

use super::answer::{self, Told};
use super::contract::Contract;
use super::description::{KeyOf, Look};
use super::options::Operation;
use super::request::add_parameter;
use super::route::{Finding, Job, KeyIn, Route, Writing};

/// An object that changes as fast as it is looked up is left for a later try.
const MOST_ROUNDS: usize = 4;

/// The pages of a look-up that are read at most.
const MOST_PAGES: usize = 100;

/// What one round asks for.
enum Step<'r> {
    /// Nothing is to be done: the answer.
    Nothing(&'static str),
    /// To write so.
    Write(&'r Writing, Operation),
}

impl Route {
    /// Does with a job what the route says.
    ///
    /// # Errors
    /// What the application, or the way to it, made of it.
    pub async fn write(&self, job: &Job<'_>) -> Result<Delivery, Fault> {
        let operation = if job.deletion { Operation::Delete } else { self.operation };
        self.hold_contract(job).await?;
        let mut look = self.looks_first(operation, job);
        let mut last = None;
        for round in 0..MOST_ROUNDS {
            let found = match (&self.steps.find, look) {
                (Some(find), true) => self.find(find, job).await?,
                _ => Value::Null,
            };
            let (writing, word) = match self.step(operation, look, &found)? {
                Step::Nothing(answer) => return Ok(there(answer)),
                Step::Write(writing, word) => (writing, word),
            };
            let told = self.send(writing, word, job, &found, round).await?;
            last = Some(match told {
                Told::Done(body) => return Ok(self.delivered(writing, word, job, body)),
                Told::Failed(fault) => return Err(fault),
                Told::There(fault) if look && found.is_null() && round > 0 => return Err(fault),
                Told::There(fault) | Told::Stale(fault) => fault,
                Told::Missing(_) if operation == Operation::Delete => {
                    return Ok(there("is not there any more"));
                }
                Told::Missing(fault) if operation == Operation::Upsert => fault,
                Told::Missing(fault) => return Err(fault),
            });
            if self.steps.find.is_none() {
                break;
            }
            look = true;
        }
        Err(last.unwrap_or_else(|| Fault::internal("rounds", "Nothing was tried.")))
    }

    /// Whether the object is looked up before the first write.
    fn looks_first(&self, operation: Operation, job: &Job<'_>) -> bool {
        let Some(writing) = self.steps.of(operation) else {
            // An upsert in two steps begins with the look-up.
            return true;
        };
        match writing.look {
            Look::Always => self.steps.find.is_some(),
            Look::OnRepeat => self.steps.find.is_some() && job.repeat,
            Look::Never => false,
        }
    }

    fn step(&self, operation: Operation, looked: bool, found: &Value) -> Result<Step<'_>, Fault> {
        let steps = &self.steps;
        let write = |writing: &'_ Option<Writing>| writing.is_some();
        let looked = looked && steps.find.is_some();
        let chosen = match operation {
            Operation::Create if looked && !found.is_null() => {
                return Ok(Step::Nothing("is there already"));
            }
            Operation::Delete if looked && found.is_null() => {
                return Ok(Step::Nothing("is not there any more"));
            }
            Operation::Update if looked && found.is_null() => {
                let message = format!(
                    "The application has no such object in `{}`: create it there, or let the route \
                     `upsert`.",
                    self.object
                );
                return Err(Fault::data("object_missing", message));
            }
            Operation::Upsert if write(&steps.upsert) => Operation::Upsert,
            Operation::Upsert if found.is_null() => Operation::Create,
            Operation::Upsert => Operation::Update,
            other => other,
        };
        steps.of(chosen).map(|writing| Step::Write(writing, chosen)).ok_or_else(|| {
            let message = format!("`{}` cannot be done with `{}`.", chosen.word(), self.object);
            Fault::data("operation", message)
        })
    }

    /// Looks an object up; null if it is not there.
    pub(super) async fn find(&self, find: &Finding, job: &Job<'_>) -> Result<Value, Fault> {
        let mut cursor = Value::Null;
        for _ in 0..MOST_PAGES {
            let context = self.context(job, &Value::Null, [("cursor", cursor.clone())]);
            let answer = self.exchange.send(find.request.call(&context, &self.common)?).await?;
            match self.rules.judge(&self.exchange, &answer) {
                Told::Done(_) => {}
                Told::Missing(_) => return Ok(Value::Null),
                Told::Failed(fault) | Told::There(fault) | Told::Stale(fault) => return Err(fault),
            }
            if let Some(cut) = answer.cut {
                return Err(cut);
            }
            let body = answer::body(&answer);
            let told = self.told(job, answer.status.as_u16(), body);
            let record = run(&find.record, &told)?;
            if !record.is_null() {
                return Ok(record);
            }
            let next = find.next.as_ref().map(|next| run(next, &told)).transpose()?;
            match next {
                None | Some(Value::Null) => return Ok(Value::Null),
                Some(next) if next == cursor => {
                    let message = format!(
                        "The look-up in `{}` names the same page twice: its `next` is wrong.",
                        self.object
                    );
                    return Err(Fault::refused("pages_repeat", message));
                }
                Some(next) => cursor = next,
            }
        }
        let message = format!("The look-up in `{}` has more than {MOST_PAGES} pages.", self.object);
        Err(Fault::data("pages_endless", message))
    }

    async fn send(
        &self,
        writing: &Writing,
        word: Operation,
        job: &Job<'_>,
        found: &Value,
        round: usize,
    ) -> Result<Told, Fault> {
        let context = self.context(job, found, [("cursor", Value::Null)]);
        let mut call = writing.request.call(&context, &self.common)?;
        let key = self.key(writing, word, job, round);
        match &self.idempotency {
            Some(KeyIn::Header(name)) => {
                let value = HeaderValue::from_str(&key).map_err(|_| {
                    Fault::internal("header", format!("The header `{name}` cannot be made."))
                })?;
                call.headers.insert(name, value);
            }
            Some(KeyIn::Query(name)) => add_parameter(&mut call.path, &format!("{name}={key}")),
            None => {}
        }
        let answer = self.exchange.send(call).await?;
        Ok(self.rules.judge(&self.exchange, &answer))
    }

    fn key(&self, writing: &Writing, word: Operation, job: &Job<'_>, round: usize) -> String {
        let word = word.word();
        match (writing.key, &job.id, round) {
            (KeyOf::Object, Some(id), _) => {
                format!("{}-{word}", job.event.key_of([&*self.object, id]))
            }
            // One event may need several writes, and applications take a key for one of them. The third
            // time the second one's key would be sent with another body.
            (_, _, 0) => format!("{}-{word}", job.key),
            (_, _, round) => format!("{}-{word}{round}", job.key),
        }
    }

    fn delivered(
        &self,
        writing: &Writing,
        word: Operation,
        job: &Job<'_>,
        body: Value,
    ) -> Delivery {
        let id = writing.result.as_ref().and_then(|result| {
            run(result, &self.told(job, 200, body)).ok().filter(|id| !id.is_null())
        });
        let done = match word {
            Operation::Create => "created",
            Operation::Update => "updated",
            Operation::Upsert => "upserted",
            Operation::Delete => "deleted",
        };
        let answer = match id {
            Some(id) => format!("{done} {}", schemas::json::write(&id).trim_matches('"')),
            None => done.to_owned(),
        };
        Delivery { answer, already_there: false }
    }

    /// What an expression reads of an answer to a job's request.
    pub(super) fn told(&self, job: &Job<'_>, status: u16, body: Value) -> Value {
        let mut told = answer::context(status, body);
        if let Some(fields) = told.as_object_mut() {
            fields.insert("value".into(), job.value.clone());
            fields.insert("id".into(), job.id.clone().map_or(Value::Null, Value::from));
        }
        told
    }

    /// Holds the fields that a job writes against those that the application has.
    pub(super) async fn hold_contract(&self, job: &Job<'_>) -> Result<(), Fault> {
        let Some(contract) = self.contract().filter(|_| !job.deletion) else { return Ok(()) };
        let written = job.value.as_object().into_iter().flat_map(|fields| fields.keys());
        self.hold(contract, written.map(|name| name.as_str())).await
    }

    /// What lists the fields that the application has, if the route writes any.
    pub(super) fn contract(&self) -> Option<&Contract> {
        self.steps.contract.as_ref().filter(|_| self.operation != Operation::Delete)
    }

    /// Holds these fields, and those that are known to be written, against those that it has.
    pub(super) async fn hold<'n>(
        &'n self,
        contract: &Contract,
        names: impl Iterator<Item = &'n str> + Send,
    ) -> Result<(), Fault> {
        let names = self.declared.iter().map(String::as_str).chain(names);
        let context = || self.context_of_none();
        contract.hold(names, &self.object, context, &self.exchange, &self.common).await
    }
}

/// Evaluates an expression on an answer.
pub(super) fn run(program: &Program, told: &Value) -> Result<Value, Fault> {
    program.run(&Event::of_value(Value::Null), told)
}

fn there(answer: &str) -> Delivery {
    Delivery { answer: answer.to_owned(), already_there: true }
}
