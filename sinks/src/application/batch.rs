//! Writes several objects in one request, and finds what became of each in its answer.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use engine::{Delivery, Domain, Event, Fault, Value};

use super::answer::{self, Told};
use super::deliver::run;
use super::route::{Batching, Job, Route, Writing};

/// What became of a job; none if the answer does not speak of it.
type Outcome = Option<Result<Delivery, Fault>>;

impl Route {
    /// Writes all jobs, in as few requests as the application allows. One request never holds two
    /// objects of one id: applications refuse that.
    pub async fn write_all(
        &self,
        writing: &Writing,
        batch: &Batching,
        jobs: &[Job<'_>],
    ) -> Vec<Result<Delivery, Fault>> {
        let mut outcomes: Vec<Outcome> = jobs.iter().map(|_| None).collect();
        for turn in turns(jobs, batch.most) {
            let these: Vec<&Job<'_>> = turn.iter().map(|at| &jobs[*at]).collect();
            for (at, outcome) in turn.iter().zip(self.write_some(writing, batch, &these).await) {
                outcomes[*at] = Some(outcome);
            }
        }
        let missing = || Fault::internal("batch", "An event was left out of its batch.");
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(missing()))).collect()
    }

    /// One request for all; where it was refused for one of them, or its answer does not speak of
    /// some, those are sent alone.
    async fn write_some(
        &self,
        writing: &Writing,
        batch: &Batching,
        jobs: &[&Job<'_>],
    ) -> Vec<Result<Delivery, Fault>> {
        let together = self.request(writing, batch, jobs).await;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for (job, outcome) in jobs.iter().zip(together) {
            let alone = jobs.len() > 1
                && match &outcome {
                    None => true,
                    Some(Err(fault)) => {
                        fault.domain == Domain::Data && fault.cause != "item_refused"
                    }
                    Some(Ok(_)) => false,
                };
            let outcome = match alone {
                true => self.request(writing, batch, &[*job]).await.pop().flatten(),
                false => outcome,
            };
            outcomes.push(outcome.unwrap_or_else(|| {
                let message = "The application's answer does not say what became of the event.";
                Err(Fault::remote("answer_silent", message).unknown())
            }));
        }
        outcomes
    }

    async fn request(
        &self,
        writing: &Writing,
        batch: &Batching,
        jobs: &[&Job<'_>],
    ) -> Vec<Outcome> {
        match self.answer(writing, batch, jobs).await {
            Ok(outcomes) => outcomes,
            Err(fault) => jobs.iter().map(|_| Some(Err(fault.clone()))).collect(),
        }
    }

    async fn answer(
        &self,
        writing: &Writing,
        batch: &Batching,
        jobs: &[&Job<'_>],
    ) -> Result<Vec<Outcome>, Fault> {
        let mut items = Vec::with_capacity(jobs.len());
        for job in jobs {
            let context = self.context(job, &Value::Null, [("trace", job.key.clone().into())]);
            let value = context.value.as_ref().unwrap_or(&Value::Null);
            items.push(batch.item.run(&context, value)?);
        }
        let call = writing.request.call(&self.context_of(items), &self.common)?;
        let answer = self.exchange.send(call).await?;
        let body = match self.rules.judge(&self.exchange, &answer) {
            Told::Done(body) => body,
            Told::Failed(fault)
            | Told::There(fault)
            | Told::Stale(fault)
            | Told::Missing(fault) => return Err(fault),
        };
        if let Some(cut) = answer.cut {
            return Err(cut.unknown());
        }
        let told = answer::context(answer.status.as_u16(), body);
        let results = list(run(&batch.results, &told)?);
        let errors = match &batch.errors {
            Some(errors) => list(run(errors, &told)?),
            None => Vec::new(),
        };
        Ok(self.matched(batch, jobs, results, errors))
    }

    /// Gives each job what the answer says of it.
    fn matched(
        &self,
        batch: &Batching,
        jobs: &[&Job<'_>],
        results: Vec<Value>,
        errors: Vec<Value>,
    ) -> Vec<Outcome> {
        let done = || -> Outcome {
            Some(Ok(Delivery { answer: "written in a batch".to_owned(), already_there: false }))
        };
        // What is said to one is said of it.
        if let [_] = jobs {
            return vec![match errors.into_iter().next() {
                Some(error) => Some(Err(self.refused(error))),
                None if results.is_empty() => None,
                None => done(),
            }];
        }
        let Some(trace) = &batch.trace else {
            let all = errors.is_empty() && results.len() == jobs.len();
            return jobs.iter().map(|_| if all { done() } else { None }).collect();
        };
        let trace_of = |item: &Value| {
            run(trace, item).ok().as_ref().and_then(answer::text).map(Cow::into_owned)
        };
        let written: HashSet<String> = results.iter().filter_map(trace_of).collect();
        let mut refused: HashMap<String, Value> = HashMap::new();
        for error in errors {
            if let Some(of) = trace_of(&error) {
                refused.insert(of, error);
            }
        }
        let outcome = |job: &&Job<'_>| match refused.remove(&job.key) {
            Some(error) => Some(Err(self.refused(error))),
            None if written.contains(&job.key) => done(),
            None => None,
        };
        jobs.iter().map(outcome).collect()
    }

    fn refused(&self, error: Value) -> Fault {
        match self.rules.judge_item(&self.exchange, error) {
            Told::Failed(fault)
            | Told::There(fault)
            | Told::Stale(fault)
            | Told::Missing(fault) => fault,
            Told::Done(_) => Fault::internal("batch", "An error was taken for a success."),
        }
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// The places of jobs that go together: at most so many, none with another's id, in their order.
fn turns(jobs: &[Job<'_>], most: usize) -> Vec<Vec<usize>> {
    let mut turns: Vec<(HashSet<Option<&str>>, Vec<usize>)> = Vec::new();
    for (at, job) in jobs.iter().enumerate() {
        let id = job.id.as_deref();
        // After every turn that has its id: what comes later is written later.
        let first = turns.iter().rposition(|(ids, _)| id.is_some() && ids.contains(&id));
        let from = first.map_or(0, |first| first + 1);
        match turns.iter_mut().skip(from).find(|(_, places)| places.len() < most) {
            Some((ids, places)) => {
                ids.insert(id);
                places.push(at);
            }
            None => turns.push((HashSet::from([id]), vec![at])),
        }
    }
    turns.into_iter().map(|(_, places)| places).collect()
}

/// The jobs of a batch that can be written, with their places; the outcomes of the others.
pub(super) fn sort<'e>(
    route: &Route,
    events: &'e [Event],
    attempt: u32,
) -> (Vec<(usize, Job<'e>)>, Vec<Outcome>) {
    let mut jobs = Vec::new();
    let mut outcomes: Vec<Outcome> = events.iter().map(|_| None).collect();
    for (at, event) in events.iter().enumerate() {
        match route.accepted(event, attempt) {
            Ok(Some(job)) => jobs.push((at, job)),
            Ok(None) => outcomes[at] = Some(Ok(super::ignored())),
            Err(fault) => outcomes[at] = Some(Err(fault)),
        }
    }
    (jobs, outcomes)
}
