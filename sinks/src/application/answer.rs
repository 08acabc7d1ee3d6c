//! What answers mean.

use std::borrow::Cow;

use engine::expression::Program;
use engine::{Event, Fault, Value};
use exchange::{Answer, Exchange};
use vrl::value::ObjectMap;

use super::description::{Class, Rule};
use super::request::Compiler;

/// The rules of a description, compiled.
pub(super) struct Rules(Vec<Prepared>);

struct Prepared {
    statuses: Vec<u16>,
    when: Option<Program>,
    class: Class,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Told {
    /// It was done. What the answer says.
    Done(Value),
    /// An object of this id is there already.
    There(Fault),
    /// The object has changed meanwhile.
    Stale(Fault),
    /// There is no such object.
    Missing(Fault),
    /// It was not done.
    Failed(Fault),
}

impl Rules {
    pub fn compile(rules: &[Rule], compiler: &mut Compiler) -> Self {
        let prepared = rules.iter().enumerate().map(|(at, rule)| Prepared {
            statuses: rule.status.clone(),
            when: rule
                .when
                .as_ref()
                .and_then(|when| compiler.code(when, &format!("/errors/{at}/when"))),
            class: rule.is,
        });
        Self(prepared.collect())
    }

    /// What an answer to a request means.
    pub fn judge(&self, exchange: &Exchange, answer: &Answer) -> Told {
        let body = body(answer);
        let status = answer.status.as_u16();
        // Where the body tells what a status means, only a whole one does.
        if let Some(cut) = answer.cut.as_ref().filter(|_| self.reads_the_body(status)) {
            return Told::Failed(cut.clone().unknown());
        }
        let class = self.class(status, &body);
        let said = || exchange.said(answer);
        match (exchange.verdict(answer), class) {
            (Ok(()), None) => Told::Done(body),
            (Err(fault), None) => Told::Failed(fault),
            (Ok(()), Some(class)) => told(class, "application_error", said(), None),
            (Err(fault), Some(class)) => told(class, fault.cause, said(), Some(fault)),
        }
    }

    /// Whether a rule looks at the body of an answer of this status.
    fn reads_the_body(&self, status: u16) -> bool {
        self.0.iter().any(|rule| rule.when.is_some() && rule.is_about(status))
    }

    /// What the error of one item of a batch means.
    pub fn judge_item(&self, exchange: &Exchange, error: Value) -> Told {
        let shown = exchange.shown(schemas::json::write(&error).as_bytes());
        let said = format!("The application refused it in a batch: {shown}");
        let class = self.class(0, &error).unwrap_or(Class::Data);
        told(class, "item_refused", said, None)
    }

    /// The first rule's that fits. An item of a batch has no status of its own.
    fn class(&self, status: u16, body: &Value) -> Option<Class> {
        let context = Event::of_value(context(status, body.clone()));
        let fits = |rule: &&Prepared| {
            // A condition that fails on an answer does not hold of it. Of an item only conditions tell.
            let value = context.value.as_ref().unwrap_or(&Value::Null);
            (status == 0 || rule.is_about(status))
                && match &rule.when {
                    Some(when) => matches!(when.run(&context, value), Ok(Value::Boolean(true))),
                    None => status != 0,
                }
        };
        self.0.iter().find(fits).map(|rule| rule.class)
    }
}

impl Prepared {
    fn is_about(&self, status: u16) -> bool {
        match self.statuses.as_slice() {
            [] => !(200..300).contains(&status),
            statuses => statuses.contains(&status),
        }
    }
}

fn told(class: Class, cause: &'static str, said: String, by_status: Option<Fault>) -> Told {
    match class {
        Class::Data => {
            Told::Failed(Fault::data(cause, format!("{said}; it would answer the same again.")))
        }
        Class::Remote => Told::Failed(match by_status {
            // It knows how long to wait.
            Some(fault) if fault.domain == engine::Domain::Remote => fault,
            _ => Fault::remote(cause, format!("{said}; it is tried again.")),
        }),
        Class::Refused => {
            let advice = "the route waits; check the connection's credentials and rights";
            Told::Failed(Fault::refused(cause, format!("{said}; {advice}.")))
        }
        Class::There => Told::There(Fault::data(cause, format!("{said}; it cannot be looked up."))),
        Class::Stale => Told::Stale(Fault::remote(
            cause,
            format!("{said}; it changes faster than it can be written, and is tried again."),
        )),
        Class::Missing => Told::Missing(Fault::data(cause, format!("{said}; it is not there."))),
    }
}

/// An answer's body: JSON where it is that, else its text.
pub(super) fn body(answer: &Answer) -> Value {
    if answer.body.is_empty() {
        return Value::Null;
    }
    schemas::json::read_plain(&answer.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&answer.body).into_owned()))
}

/// A value's text, if it is one.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
        _ => None,
    }
}

/// What an expression reads of an answer.
pub(super) fn context(status: u16, body: Value) -> Value {
    let mut fields = ObjectMap::new();
    fields.insert("status".into(), Value::Integer(status.into()));
    fields.insert("body".into(), body);
    Value::Object(fields)
}
