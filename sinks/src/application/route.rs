//! A route to one object of an application: its part of the description, compiled.

use std::sync::Arc;

use engine::connector::Setup;
use engine::expression::{Expression, Program, sentence};
use engine::{Event, Fault, Value};
use exchange::{Exchange, header_name};
use reqwest::header::HeaderName;
use tokio::sync::Mutex;
use vrl::value::{KeyString, ObjectMap};

use super::answer::{self, Rules};
use super::connection::{self, Connected};
use super::contract::Contract;
use super::description::{Batch, Description, Find, Idempotency, KeyOf, Look, Object, Write};
use super::options::{Operation, RouteOptions};
use super::request::{Common, Compiler, Prepared};
use crate::http::OnDelete;

/// What a sink works with.
pub(super) struct Route {
    pub exchange: Exchange,
    pub common: Common,
    pub rules: Rules,
    pub object: String,
    pub operation: Operation,
    pub on_delete: OnDelete,
    pub steps: Steps,
    pub idempotency: Option<KeyIn>,
    settings: Value,
    name: Arc<str>,
    id: Option<String>,
    fields: Option<Program>,
    /// The fields that the route is known to write before any event comes.
    pub declared: Vec<String>,
}

/// What can be done with the object.
#[derive(Default)]
pub(super) struct Steps {
    pub find: Option<Finding>,
    pub contract: Option<Contract>,
    pub create: Option<Writing>,
    pub update: Option<Writing>,
    pub upsert: Option<Writing>,
    pub delete: Option<Writing>,
}

/// A look-up, compiled.
pub(super) struct Finding {
    pub request: Prepared,
    pub record: Program,
    pub next: Option<Program>,
}

/// A write, compiled.
pub(super) struct Writing {
    pub request: Prepared,
    pub look: Look,
    pub key: KeyOf,
    pub result: Option<Program>,
    pub batch: Option<Batching>,
}

/// How several are written in one request, compiled.
pub(super) struct Batching {
    pub most: usize,
    pub item: Program,
    pub results: Program,
    pub errors: Option<Program>,
    pub trace: Option<Program>,
}

/// Where the idempotency key goes.
pub(super) enum KeyIn {
    Header(HeaderName),
    Query(String),
}

/// What is to be written of one event.
pub(super) struct Job<'e> {
    pub event: &'e Event,
    /// The object's fields.
    pub value: Value,
    /// The object's id, as a text.
    pub id: Option<String>,
    /// The event's idempotency key.
    pub key: String,
    /// A tombstone.
    pub deletion: bool,
    /// Whether it may have been sent before.
    pub repeat: bool,
}

impl Steps {
    /// Compiles everything about an object; what is wrong is noted.
    pub fn compile(object: &Object, pointer: &str, compiler: &mut Compiler) -> Self {
        let mut write = |write: &Option<Write>, name: &str| {
            let write = write.as_ref()?;
            Writing::compile(write, &format!("{pointer}/{name}"), compiler)
        };
        let (create, update) = (write(&object.create, "create"), write(&object.update, "update"));
        let (upsert, delete) = (write(&object.upsert, "upsert"), write(&object.delete, "delete"));
        let find = object
            .find
            .as_ref()
            .and_then(|find| Finding::compile(find, &format!("{pointer}/find"), compiler));
        let contract = object.contract.as_ref().and_then(|contract| {
            let pointer = format!("{pointer}/contract");
            let request = Prepared::compile(&contract.request, &pointer, compiler);
            let fields = compiler.code(&contract.fields, &format!("{pointer}/fields"));
            Some(Contract { request: request?, fields: fields?, known: Mutex::default() })
        });
        Self { find, contract, create, update, upsert, delete }
    }

    /// The write that does what a route asks for in one step, if there is one.
    pub fn of(&self, operation: Operation) -> Option<&Writing> {
        match operation {
            Operation::Create => self.create.as_ref(),
            Operation::Update => self.update.as_ref(),
            Operation::Upsert => self.upsert.as_ref(),
            Operation::Delete => self.delete.as_ref(),
        }
    }
}

impl Finding {
    fn compile(find: &Find, pointer: &str, compiler: &mut Compiler) -> Option<Self> {
        let request = Prepared::compile(&find.request, pointer, compiler);
        let record = compiler.code(&find.record, &format!("{pointer}/record"));
        let next = find.next.as_ref();
        let next = next.and_then(|next| compiler.code(next, &format!("{pointer}/next")));
        Some(Self { request: request?, record: record?, next })
    }
}

impl Writing {
    fn compile(write: &Write, pointer: &str, compiler: &mut Compiler) -> Option<Self> {
        let request = Prepared::compile(&write.request, pointer, compiler);
        let result = write.result.as_ref();
        let result = result.and_then(|result| compiler.code(result, &format!("{pointer}/result")));
        let batch = write.batch.as_ref();
        let batch =
            batch.and_then(|batch| Batching::compile(batch, &format!("{pointer}/batch"), compiler));
        Some(Self { request: request?, look: write.look, key: write.key, result, batch })
    }
}

impl Batching {
    fn compile(batch: &Batch, pointer: &str, compiler: &mut Compiler) -> Option<Self> {
        let item = compiler.code(&batch.item, &format!("{pointer}/item"));
        let results = compiler.code(&batch.results, &format!("{pointer}/results"));
        let mut optional = |code: &Option<_>, name: &str| {
            code.as_ref().and_then(|code| compiler.code(code, &format!("{pointer}/{name}")))
        };
        let (errors, trace) = (optional(&batch.errors, "errors"), optional(&batch.trace, "trace"));
        let most = usize::from(batch.most.max(1));
        Some(Self { most, item: item?, results: results?, errors, trace })
    }
}

impl KeyIn {
    /// # Errors
    /// A `Config` fault: the header has no name that headers may have.
    pub fn of(idempotency: &Idempotency) -> Result<Option<Self>, Fault> {
        Ok(match (&idempotency.header, &idempotency.query) {
            (Some(name), _) => Some(Self::Header(header_name(name, "/idempotency/header")?)),
            (None, Some(name)) => Some(Self::Query(name.clone())),
            (None, None) => None,
        })
    }
}

impl Route {
    /// Compiles what a route needs of a description.
    ///
    /// # Errors
    /// A `Config` fault: the connection, the route or the description cannot be used.
    pub fn new(
        description: &Description,
        connection: &serde_json::Value,
        options: RouteOptions,
        setup: &Setup,
    ) -> Result<Self, Fault> {
        let Connected { connection, common, secrets, settings } =
            connection::connect(description, connection)?;
        let (name, object, operation) = options.resolved(description)?;
        let mut compiler = Compiler::default();
        let steps = Steps::compile(object, &format!("/objects/{name}"), &mut compiler);
        let rules = Rules::compile(&description.errors, &mut compiler);
        if let Some(fault) = compiler.fault() {
            return Err(fault);
        }
        let fields = options.fields.as_ref().map(|fields| compiled(fields, setup)).transpose()?;
        let exchange = Exchange::with(&connection, &secrets, setup)?
            .with_retry_after_cap(options.retry_after_cap.0);
        let key_in = description.idempotency.as_ref().map(KeyIn::of).transpose()?.flatten();
        let kind = fields.as_ref().map_or(&setup.input, Program::kind);
        let known = kind.as_object().into_iter().flat_map(|object| object.known().keys());
        let declared = known.map(ToString::to_string).collect();
        Ok(Self {
            exchange,
            common,
            rules,
            object: name.to_owned(),
            operation,
            on_delete: options.on_delete,
            steps,
            idempotency: key_in,
            settings,
            name: Arc::clone(&setup.route),
            id: options.id.or_else(|| object.id.clone()),
            fields,
            declared,
        })
    }

    /// What is to be written of an event.
    ///
    /// # Errors
    /// A `Data` fault: the event gives no object, or none with an id.
    pub fn job<'e>(&self, event: &'e Event, attempt: u32) -> Result<Job<'e>, Fault> {
        let deletion = event.payload.is_none() && event.value.is_none();
        let value = match (&self.fields, &event.value) {
            _ if deletion => Value::Null,
            (Some(program), value) => program.run(event, value.as_ref().unwrap_or(&Value::Null))?,
            (None, Some(value)) => value.clone(),
            (None, None) => return Err(Fault::data("value_missing", "The event has no value.")),
        };
        let id = match &self.id {
            _ if deletion => event.key_text(),
            Some(field) => Some(id_of(&value, field)?),
            None => None,
        };
        let repeat = attempt > 1 || event.headers.get(engine::event::REPLAY).is_some();
        let key = event.idempotency_key(&self.name);
        Ok(Job { event, value, id, key, deletion, repeat })
    }

    /// What requests read for a job.
    pub fn context(&self, job: &Job<'_>, found: &Value, more: [(&str, Value); 1]) -> Event {
        let mut fields = self.of_the_route();
        let mut add = |name: &str, value: Value| fields.insert(KeyString::from(name), value);
        add("value", job.value.clone());
        add("id", job.id.clone().map_or(Value::Null, Value::from));
        add("found", found.clone());
        add("idempotency_key", Value::from(job.key.clone()));
        for (name, value) in more {
            add(name, value);
        }
        Event { value: Some(Value::Object(fields)), payload: None, ..job.event.clone() }
    }

    /// What a batch's request reads.
    pub fn context_of(&self, items: Vec<Value>) -> Event {
        let mut fields = self.of_the_route();
        fields.insert("items".into(), Value::Array(items));
        Event::of_value(Value::Object(fields))
    }

    /// What a request reads that is about no event.
    pub fn context_of_none(&self) -> Event {
        Event::of_value(Value::Object(self.of_the_route()))
    }

    fn of_the_route(&self) -> ObjectMap {
        let id_field = self.id.clone().map_or(Value::Null, Value::from);
        let fields = [("settings", self.settings.clone()), ("id_field", id_field)];
        fields.into_iter().map(|(name, value)| (KeyString::from(name), value)).collect()
    }
}

fn compiled(fields: &Expression, setup: &Setup) -> Result<Program, Fault> {
    fields.compile(setup).map_err(|found| {
        let message = format!("The option `fields` cannot be compiled: {}", sentence(&found));
        Fault::config("expression", message)
    })
}

/// The text at a field such as `properties.code`.
fn id_of(value: &Value, field: &str) -> Result<String, Fault> {
    let mut at = Some(value);
    for name in field.split('.') {
        at = at.and_then(|value| value.as_object()?.get(name));
    }
    let text = match at {
        Some(Value::Integer(number)) => number.to_string(),
        Some(value) => answer::text(value).unwrap_or_default().into_owned(),
        None => String::new(),
    };
    if text.is_empty() {
        let message = format!(
            "What is to be written has no text in `{field}`, which names the object in the \
             application."
        );
        return Err(Fault::data("id_missing", message));
    }
    Ok(text)
}
