//! Applications that are described in a file, not coded.
//!
//! A description (`sinks/applications/*.yaml`, or a user's own file) says how an application is spoken
//! to: credentials, objects, requests, what answers mean. Here it becomes a sink connector: read once
//! ([`declare`]), compiled for each route ([`Route`]), and run for each event.

mod answer;
mod batch;
pub(crate) mod catalogue;
mod connect;
mod connection;
mod contract;
mod deliver;
mod description;
mod options;
mod probe;
mod request;
mod route;

use std::sync::Arc;

use async_trait::async_trait;
use engine::connector::{
    Checked, Descriptions, Finding, Findings, Place, SinkDeclaration, schema_of,
};
use engine::sink::{Intent, Once};
use engine::{Delivery, Event, Fault, Sink};
use serde_json::Value as Json;

use crate::http::OnDelete;
use answer::Rules;
use description::Description;
use options::{Operation, RouteOptions, operations, promise};
use request::Compiler;
use route::{Job, KeyIn, Route, Steps};

/// How files that describe applications are read.
pub fn descriptions() -> Descriptions {
    Descriptions { schema: schema_of::<Description>(), declare }
}

/// The connector that a description is.
fn declare(file: Json, findings: &mut Findings) -> Checked<Option<SinkDeclaration>> {
    let description: Description = serde_json::from_value(file)?;
    let before = findings.0.len();
    check(&description, findings);
    let sound = findings.0[before..].iter().all(|finding| finding.warning);
    Ok(sound.then(|| declaration(description)))
}

/// Looks for mistakes that the shape of the file does not exclude.
fn check(description: &Description, findings: &mut Findings) {
    let mut compiler = Compiler::default();
    connection::compile(description, &mut compiler);
    Rules::compile(&description.errors, &mut compiler);
    for (name, object) in &description.objects {
        let pointer = format!("/objects/{}", exchange::escaped(name));
        Steps::compile(object, &pointer, &mut compiler);
        if operations(object).is_empty() {
            let cause = format!("Nothing can be done with `{name}`.");
            let hint = "Describe `create`, `update`, `upsert` or `delete`.";
            compiler.wrong(&pointer, "no_operation", cause, hint);
        }
        if object.create.as_ref().is_some_and(|create| create.batch.is_some()) {
            let cause = format!(
                "`create` of `{name}` is batched: nothing is looked up and no key is sent then, so that a repeat makes second objects."
            );
            let hint = "Leave `batch` out, or describe an `upsert`.";
            compiler.wrong(&format!("{pointer}/create/batch"), "batch_creates", cause, hint);
        }
        if object.find.is_some() && object.id.is_none() {
            let cause = format!("`{name}` is looked up, and has no `id` to look for.");
            compiler.wrong(&pointer, "id_missing", cause, "Name the field that names the object.");
        }
    }
    if let Some(Err(fault)) = description.idempotency.as_ref().map(KeyIn::of) {
        compiler.wrong("/idempotency", "header_invalid", fault.message, "");
    }
    if description.objects.is_empty() {
        let cause = "The application has no objects.".to_owned();
        compiler.wrong("/objects", "no_objects", cause, "Describe at least one.");
    }
    findings.0.extend(compiler.findings);
}

fn declaration(description: Description) -> SinkDeclaration {
    let description = Arc::new(description);
    let of = |description: &Arc<Description>| Arc::clone(description);
    let (for_once, for_overwrites) = (of(&description), of(&description));
    let (for_check, for_build) = (of(&description), of(&description));
    let for_probe = of(&description);
    SinkDeclaration {
        name: description.name.clone().into(),
        summary: description.summary.clone().into(),
        example: description.example.clone().into(),
        coverage: Some(Arc::new(options::coverage(&description))),
        connection: connection::schema(&description),
        options: RouteOptions::schema(&description),
        once: Arc::new(move |options| {
            let options: RouteOptions = serde_json::from_value(options)?;
            let resolved = options.resolved(&for_once);
            Ok(resolved
                .map_or(Once::No, |(_, object, operation)| promise(&for_once, object, operation)))
        }),
        overwrites: Arc::new(move |options| {
            let options: RouteOptions = serde_json::from_value(options)?;
            let resolved = options.resolved(&for_overwrites);
            Ok(resolved.is_ok_and(|(.., operation)| {
                matches!(operation, Operation::Update | Operation::Upsert)
            }))
        }),
        check: Arc::new(move |connection, options, findings| {
            connection::check(&for_check, &connection, findings);
            check_route(&for_check, &serde_json::from_value(options)?, findings);
            Ok(())
        }),
        build: Arc::new(move |connection, options, setup| {
            let options = serde_json::from_value(options).map_err(|error| {
                Fault::config("options", format!("The route's options cannot be read: {error}."))
            })?;
            let route = Route::new(&for_build, &connection, options, setup)?;
            Ok(Box::new(ApplicationSink(route)))
        }),
        probe: Some(Arc::new(move |connection, question, setup| {
            let description = Arc::clone(&for_probe);
            Box::pin(
                async move { probe::study(&description, &connection, &question, &setup).await },
            )
        })),
    }
}

fn check_route(description: &Description, options: &RouteOptions, findings: &mut Findings) {
    match options.resolved(description) {
        Err(fault) => findings.route("/operation", "unknown_operation", fault.message, ""),
        Ok((name, object, _)) => {
            if options.on_delete == OnDelete::Delete && object.delete.is_none() {
                let cause = format!("`{name}` of `{}` cannot be deleted.", description.name);
                findings.0.push(Finding {
                    place: Place::Route,
                    pointer: "/on_delete".to_owned(),
                    span: None,
                    warning: false,
                    code: "unknown_operation",
                    cause,
                    hint: Some("Write `ignore` or `dead_letter`.".to_owned()),
                });
            }
        }
    }
}

/// Delivers to one object of an application.
struct ApplicationSink(Route);

impl Route {
    /// What is to be written of an event; none for a deletion that is ignored.
    fn accepted<'e>(&self, event: &'e Event, attempt: u32) -> Result<Option<Job<'e>>, Fault> {
        let job = self.job(event, attempt)?;
        match (job.deletion, self.on_delete) {
            (false, _) | (true, OnDelete::Delete) => Ok(Some(job)),
            (true, OnDelete::Ignore) => Ok(None),
            (true, OnDelete::DeadLetter) => {
                let message = "The event is a deletion (a key without a value), and the sink's \
                               `on_delete` does not say what to do with one.";
                Err(Fault::data("tombstone", message))
            }
        }
    }
}

fn ignored() -> Delivery {
    Delivery { answer: "a deletion, ignored".to_owned(), already_there: false }
}

#[async_trait]
impl Sink for ApplicationSink {
    fn batch(&self) -> usize {
        let writing = self.0.steps.of(self.0.operation);
        writing.and_then(|writing| writing.batch.as_ref()).map_or(1, |batch| batch.most)
    }

    async fn contract(&self) -> Result<(), Fault> {
        match self.0.contract() {
            Some(contract) => self.0.hold(contract, std::iter::empty()).await,
            None => Ok(()),
        }
    }

    async fn connect(&self) -> Result<String, Fault> {
        self.0.connect().await
    }

    fn intent(&self, event: &Event) -> Result<Option<Intent>, Fault> {
        let Some(job) = self.0.accepted(event, 1)? else { return Ok(None) };
        let operation = if job.deletion { Operation::Delete } else { self.0.operation };
        Ok(Some(Intent {
            operation: operation.word().to_owned(),
            payload: engine::sink::payload(&job.value)?,
            key: job.id,
        }))
    }

    async fn deliver(&self, events: &[Event], attempt: u32) -> Vec<Result<Delivery, Fault>> {
        let Self(route) = self;
        let (jobs, mut outcomes) = batch::sort(route, events, attempt);
        let batching = route
            .steps
            .of(route.operation)
            .and_then(|writing| Some((writing, writing.batch.as_ref()?)));
        let mut together = Vec::new();
        for (at, job) in jobs {
            match batching {
                Some(_) if !job.deletion => match route.hold_contract(&job).await {
                    Ok(()) => together.push((at, job)),
                    Err(fault) => outcomes[at] = Some(Err(fault)),
                },
                _ => outcomes[at] = Some(route.write(&job).await),
            }
        }
        if let Some((writing, batch)) = batching {
            let (places, jobs): (Vec<_>, Vec<_>) = together.into_iter().unzip();
            let written = route.write_all(writing, batch, &jobs).await;
            for (at, outcome) in places.into_iter().zip(written) {
                outcomes[at] = Some(outcome);
            }
        }
        let missing = || Fault::internal("batch", "An event was left out of its batch.");
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(missing()))).collect()
    }
}

#[cfg(test)]
mod tests;
