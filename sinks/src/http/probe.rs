//! What an application over HTTP lets us read and write, as its OpenAPI description says.

mod openapi;
mod schema;

use std::path::Path;

use engine::configuration::document::parse;
use engine::configuration::file::File;
use engine::connector::{Probing, Setup};
use engine::study::{OpenApi, Question, Study};
use engine::{Domain, Fault};
use exchange::{Call, Connection, Exchange};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value as Json;

/// Where descriptions usually are, below an application's address.
const USUAL: [&str; 5] =
    ["/openapi.json", "/openapi.yaml", "/swagger.json", "/v3/api-docs", "/api-docs"];
/// How much of a description is read.
const MOST: usize = 32 << 20;

/// Studies the application of a connection.
pub(super) fn probe(connection: Connection, question: Question, setup: Setup) -> Probing {
    Box::pin(async move {
        let exchange = Exchange::with(&connection, &[], &setup)?;
        let (place, description) = match &question.openapi {
            Some(OpenApi::File { name, text }) => (format!("`{name}`"), read(text, name)?),
            Some(OpenApi::Path(path)) => match ask(&exchange, path).await? {
                Some(found) => found,
                None => return Err(missing(&exchange, &[path])),
            },
            None => search(&exchange).await?,
        };
        let study = openapi::study(&description);
        let application = match study.application.as_str() {
            "" => exchange.origin().to_owned(),
            title => format!("{title} at {}", exchange.origin()),
        };
        let study = Study { application: format!("{application}, as {place} says"), ..study };
        if study.objects.is_empty() && study.reads.iter().all(|one| one.open != Some(true)) {
            let message = format!("{place} describes no operation: is it an OpenAPI description?");
            return Err(Fault::config("openapi_empty", message));
        }
        Ok(study)
    })
}

async fn search(exchange: &Exchange) -> Result<(String, Json), Fault> {
    for path in USUAL {
        if let Some(found) = ask(exchange, path).await? {
            return Ok(found);
        }
    }
    Err(missing(exchange, &USUAL))
}

fn missing(exchange: &Exchange, asked: &[&str]) -> Fault {
    let message = format!(
        "{} has no OpenAPI description at {}. Give its path after the connection's `url` with \
         `--openapi PATH`, or a file of it with `--openapi FILE`.",
        exchange.origin(),
        asked.join(", ")
    );
    Fault::config("openapi_missing", message)
}

/// The description at a path; nothing if there is nothing.
async fn ask(exchange: &Exchange, path: &str) -> Result<Option<(String, Json)>, Fault> {
    let mut headers = HeaderMap::new();
    headers
        .insert(ACCEPT, HeaderValue::from_static("application/json, application/yaml, */*;q=0.1"));
    let call =
        Call { method: Method::GET, path: path.to_owned(), headers, body: Vec::new(), most: MOST };
    let answer = exchange.send(call).await?;
    if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
        return Ok(None);
    }
    exchange.verdict(&answer).map_err(|fault| match fault.domain {
        Domain::Data => Fault::refused(fault.cause, fault.message),
        _ => fault,
    })?;
    if let Some(cut) = answer.cut {
        return Err(cut);
    }
    let text = String::from_utf8_lossy(&answer.body);
    let description = read(&text, path)?;
    Ok(Some((format!("`{path}`"), description)))
}

/// Reads a description, JSON or YAML.
fn read(text: &str, name: &str) -> Result<Json, Fault> {
    let wrong = |why: String| {
        let message = format!("`{name}` cannot be read as an OpenAPI description: {why}.");
        Fault::config("openapi_unreadable", message)
    };
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| wrong(error.to_string()));
    }
    let file = File::new(Path::new(name), text.to_owned());
    let root = parse(&file).map_err(|problems| {
        let first = problems.first();
        wrong(first.map(|problem| problem.cause.clone()).unwrap_or_default())
    })?;
    let description = root.json();
    if !description.is_object() {
        return Err(wrong("it is not a map".to_owned()));
    }
    Ok(description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_json_or_yaml() {
        let json = read(r#"{"openapi":"3.1.0","paths":{}}"#, "a.json").unwrap();
        let yaml = read("openapi: 3.1.0\npaths: {}\n", "a.yaml").unwrap();
        assert_eq!(json, yaml);
        for wrong in ["<html>no</html>", "{", "- a", ""] {
            let fault = read(wrong, "a.yaml").unwrap_err();
            assert!(fault.message.contains("`a.yaml`"), "{wrong}: {}", fault.message);
        }
    }
}
