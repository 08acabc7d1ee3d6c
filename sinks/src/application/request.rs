//! Requests of a description, compiled, and how they are filled in.

use std::borrow::Cow;

use engine::connector::{Finding, Place};
use engine::expression::{CompiledTemplate, Diagnostic, Expression, Input, Own, Program, Template};
use engine::{Event, Fault, Value};
use exchange::{Call, encoded, escaped};
use reqwest::Method as HttpMethod;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use schemas::{Path, Segment};
use vrl::value::Kind;

use super::description::{Encoding, Method, Request};
use crate::http::request::with_numbers;

/// How much of an answer is read: a batch's answer holds all of its objects.
const MOST_OF_AN_ANSWER: usize = 4 << 20;

/// Compiles the expressions of a description. What they read depends on answers and settings, so
/// nothing is known of it beforehand.
#[derive(Default)]
pub(super) struct Compiler {
    pub findings: Vec<Finding>,
}

impl Compiler {
    fn noted<T>(&mut self, compiled: Result<T, Vec<Diagnostic>>, pointer: &str) -> Option<T> {
        let found = |diagnostic: Diagnostic| diagnostic.finding(Place::Route, pointer);
        compiled.map_err(|all| self.findings.extend(all.into_iter().map(found))).ok()
    }

    pub fn code(&mut self, code: &Own<Expression>, pointer: &str) -> Option<Program> {
        self.noted(code.0.compile(Input::from(&Kind::any())), pointer)
    }

    pub fn text(&mut self, text: &Own<Template>, pointer: &str) -> Option<CompiledTemplate> {
        self.noted(text.0.compile(Input::from(&Kind::any())), pointer)
    }

    pub fn wrong(&mut self, pointer: &str, code: &'static str, cause: String, hint: &str) {
        let found = Diagnostic::of_whole(code, cause, hint).finding(Place::Route, pointer);
        self.findings.push(Finding { span: None, ..found });
    }

    /// The first mistake as a fault, for a description that was not checked before.
    pub fn fault(&self) -> Option<Fault> {
        let Finding { pointer, cause, .. } = self.findings.first()?;
        Some(Fault::config(
            "description",
            format!("The description is wrong at `{pointer}`: {cause}"),
        ))
    }
}

/// A request, compiled.
pub(super) struct Prepared {
    method: HttpMethod,
    path: Option<CompiledTemplate>,
    query: Vec<(String, CompiledTemplate)>,
    body: Option<Program>,
    numbers: Vec<Path>,
}

/// What every request of a connection has.
pub(super) struct Common {
    pub encoding: Encoding,
    /// Parameters of the query, ready to send: `minorversion=75`.
    pub query: String,
}

impl Prepared {
    /// Compiles a request; nothing if something is wrong with it, which is noted.
    pub fn compile(request: &Request, pointer: &str, compiler: &mut Compiler) -> Option<Self> {
        let before = compiler.findings.len();
        let path = request.path.as_ref();
        let path = path.and_then(|path| compiler.text(path, &format!("{pointer}/path")));
        let mut query = Vec::new();
        for (name, text) in &request.query {
            let compiled = compiler.text(text, &format!("{pointer}/query/{}", escaped(name)));
            query.extend(compiled.map(|compiled| (name.clone(), compiled)));
        }
        let body = request.body.as_ref();
        let body = body.and_then(|body| compiler.code(body, &format!("{pointer}/body")));
        let numbers = request.numbers.iter().map(|text| number_path(text)).collect();
        let method = match request.method {
            Method::Get => HttpMethod::GET,
            Method::Post => HttpMethod::POST,
            Method::Put => HttpMethod::PUT,
            Method::Patch => HttpMethod::PATCH,
            Method::Delete => HttpMethod::DELETE,
        };
        let sound = compiler.findings.len() == before;
        sound.then_some(Self { method, path, query, body, numbers })
    }

    /// The request for what `context`'s value says.
    ///
    /// # Errors
    /// A `Data` fault: an expression fails on it.
    pub fn call(&self, context: &Event, common: &Common) -> Result<Call, Fault> {
        let mut path = match &self.path {
            Some(path) => path.render_with(context, encoded)?,
            None => String::new(),
        };
        for (name, template) in &self.query {
            if let Some(text) = template.render_unless_null(context)? {
                add_parameter(&mut path, &format!("{}={}", encoded(name), encoded(&text)));
            }
        }
        if !common.query.is_empty() {
            add_parameter(&mut path, &common.query);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut body = Vec::new();
        if let Some(program) = &self.body {
            let value = context.value.as_ref().unwrap_or(&Value::Null);
            let given = program.run(context, value)?;
            let (kind, written) = self.written(&given, common.encoding)?;
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            body = written;
        }
        Ok(Call { method: self.method.clone(), path, headers, body, most: MOST_OF_AN_ANSWER })
    }

    fn written(&self, given: &Value, encoding: Encoding) -> Result<(&'static str, Vec<u8>), Fault> {
        if encoding == Encoding::Form {
            let mut form = String::new();
            add_fields(&mut form, "", given);
            return Ok(("application/x-www-form-urlencoded", form.into_bytes()));
        }
        let mut json = schemas::json::write(given);
        if !self.numbers.is_empty() {
            json = with_numbers(&json, &self.numbers).map_err(|error| {
                Fault::internal("json", format!("Our own JSON cannot be read back: {error}."))
            })?;
        }
        Ok(("application/json", json.into_bytes()))
    }
}

/// Adds `name=value` to the query of a path.
pub(super) fn add_parameter(path: &mut String, parameter: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(parameter);
}

/// Writes a value as the fields of a form: `lines[0][price]=p`. Null is left out.
fn add_fields(form: &mut String, name: &str, value: &Value) {
    let below = |key: &str| match name {
        "" => encoded(key).into_owned(),
        name => format!("{name}[{}]", encoded(key)),
    };
    let text: Cow<'_, str> = match value {
        Value::Null => return,
        Value::Object(fields) => {
            return fields.iter().for_each(|(key, value)| add_fields(form, &below(key), value));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            return items.for_each(|(at, item)| add_fields(form, &below(&at.to_string()), item));
        }
        value => match super::answer::text(value) {
            Some(text) => text,
            None => schemas::json::write(value).trim_matches('"').to_owned().into(),
        },
    };
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(&format!("{name}={}", encoded(&text)));
}

/// `Line[].Amount` as a path.
fn number_path(text: &str) -> Path {
    let steps = text.trim_start_matches('.').split('.').flat_map(|step| {
        let (name, items) = match step.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (step, false),
        };
        let field = (!name.is_empty()).then(|| Segment::Field(name.to_owned()));
        [field, items.then_some(Segment::Items)]
    });
    Path::from(steps.flatten().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_writes_what_is_within_in_brackets() {
        let json =
            br#"{"email":"a&b@x","items":[{"price":"p 1","quantity":2}],"none":null,"yes":true}"#;
        let value = schemas::json::read_plain(json).unwrap();
        let mut form = String::new();
        add_fields(&mut form, "", &value);
        assert_eq!(form, "email=a%26b%40x&items[0][price]=p%201&items[0][quantity]=2&yes=true");
    }

    #[test]
    fn the_paths_of_numbers_are_read() {
        assert_eq!(number_path("Line[].Detail.Qty").to_string(), ".Line[].Detail.Qty");
        assert_eq!(number_path("[].Amount").to_string(), ".[].Amount");
    }
}
