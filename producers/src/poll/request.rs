//! From a page's place to the request that asks for it.

use engine::expression::{CompiledTemplate, Diagnostic, Expression, Input, Own, Program, Template};
use engine::{Event, Fault, Value};
use exchange::{Call, encoded, escaped, header_name};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use vrl::value::Kind;
use vrl::value::kind::Collection;

use super::{Method, Mistake, RequestOptions};

/// What expressions read.
pub(crate) struct Inputs {
    /// Those of the request for a page.
    pub pages: Input,
    /// Those of an answer, or of an item in it.
    pub answer: Input,
}

impl Inputs {
    pub fn new() -> Self {
        let last = Collection::empty()
            .with_known("time", Kind::timestamp().or_null())
            .with_known("id", Kind::bytes());
        let known = Collection::empty()
            .with_known("since", Kind::timestamp())
            .with_known("page", Kind::integer())
            .with_known("offset", Kind::integer())
            .with_known("size", Kind::integer())
            .with_known("cursor", Kind::bytes().or_null())
            .with_known("last", Kind::object(last).or_null());
        Self { pages: Input::from(&Kind::object(known)), answer: Input::from(&Kind::any()) }
    }
}

/// What turns a value (a page's place, or an item) into a request.
pub(crate) struct Request {
    method: Method,
    path: CompiledTemplate,
    query: Vec<(String, CompiledTemplate)>,
    headers: Vec<(HeaderName, CompiledTemplate)>,
    body: Option<Program>,
}

/// Compiles an expression; what is wrong with it is noted.
pub(crate) fn expression(
    text: &Own<Expression>,
    input: &Input,
    pointer: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<Program> {
    noted(text.0.compile(input.clone()), pointer, mistakes)
}

fn template(
    text: &Own<Template>,
    input: &Input,
    pointer: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<CompiledTemplate> {
    noted(text.0.compile(input.clone()), pointer, mistakes)
}

fn noted<T>(
    compiled: Result<T, Vec<Diagnostic>>,
    pointer: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<T> {
    let note = |diagnostic| Mistake { pointer: pointer.to_owned(), diagnostic };
    compiled.map_err(|all| mistakes.extend(all.into_iter().map(note))).ok()
}

impl Request {
    /// Compiles what the file says; nothing if something is wrong with it, which is noted.
    pub fn compile(
        options: &RequestOptions,
        input: &Input,
        section: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let before = mistakes.len();
        let path = template(&options.path, input, &format!("{section}/path"), mistakes);
        let mut query = Vec::new();
        for (name, text) in &options.query {
            let pointer = format!("{section}/query/{}", escaped(name));
            let compiled = template(text, input, &pointer, mistakes);
            query.extend(compiled.map(|compiled| (name.clone(), compiled)));
        }
        let mut headers = Vec::new();
        for (name, text) in &options.headers {
            let pointer = format!("{section}/headers/{}", escaped(name));
            let compiled = template(text, input, &pointer, mistakes);
            match header_name(name, &pointer) {
                Ok(name) => headers.extend(compiled.map(|compiled| (name, compiled))),
                Err(wrong) => {
                    let diagnostic = Diagnostic::of_whole(wrong.code, wrong.cause, wrong.hint);
                    mistakes.push(Mistake { pointer, diagnostic });
                }
            }
        }
        let body = options.body.as_ref();
        let body =
            body.and_then(|body| expression(body, input, &format!("{section}/body"), mistakes));
        let method = options.method;
        (mistakes.len() == before).then_some(Self { method, path: path?, query, headers, body })
    }

    /// The request for what this value names. At most `most` bytes of its answer are read.
    ///
    /// # Errors
    /// A `Data` fault: an expression fails on the value.
    pub fn call(&self, value: &Value, most: usize) -> Result<Call, Fault> {
        let event = Event::of_value(value.clone());
        let mut path = self.path.render_with(&event, encoded)?;
        for (name, template) in &self.query {
            if let Some(text) = template.render_unless_null(&event)? {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.push_str(&format!("{}={}", encoded(name), encoded(&text)));
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let body = match &self.body {
            None => Vec::new(),
            Some(program) => {
                let given = program.run(&event, value)?;
                let (kind, body) = match given.as_bytes() {
                    Some(text) => ("text/plain; charset=utf-8", text.to_vec()),
                    None => ("application/json", schemas::json::write(&given).into_bytes()),
                };
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                body
            }
        };
        for (name, template) in &self.headers {
            let Some(text) = template.render_unless_null(&event)? else { continue };
            let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
                let message = format!(
                    "The header `{name}` cannot carry what its template gives: it holds a line \
                     break or another control character."
                );
                Fault::data("header_invalid", message)
            })?;
            headers.insert(name, value);
        }
        let method = match self.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        Ok(Call { method, path, headers, body, most })
    }
}
