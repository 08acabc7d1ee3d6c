//! Calling an ERP's REST interface (trytond 8, `protocols/rest.py`).

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bigdecimal::BigDecimal;
use chrono::{Datelike, NaiveDate};
use engine::{Domain, Fault};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use exchange::{Answer, Call, Exchange};

use super::failure::Failure;
use super::rpc;

/// How much of an answer is read: a party with all its addresses is far smaller.
const MOST_OF_AN_ANSWER: usize = 1024 * 1024;

/// A record's number in the ERP.
pub(super) type Id = i64;

/// The REST interface of one database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rest {
    exchange: Arc<Exchange>,
    authorization: HeaderValue,
    /// The company whose eyes records are seen with: terms and accounts differ between companies.
    company: Option<Id>,
}

impl Rest {
    pub(super) fn new(exchange: Exchange, authorization: HeaderValue) -> Self {
        Self { exchange: Arc::new(exchange), authorization, company: None }
    }

    /// The same, seen by a company.
    pub(super) fn of_company(&self, company: Id) -> Self {
        Self { company: Some(company), ..self.clone() }
    }

    /// Scheme, host and port: all of the address that may be shown.
    pub(super) fn origin(&self) -> &str {
        self.exchange.origin()
    }

    /// The records in `domain`, as [`Erp::search`](super::erp::Erp::search) has them.
    pub(super) async fn search(
        &self,
        model: &str,
        domain: &Json,
        fields: &[&str],
        most: usize,
    ) -> Result<Vec<Json>, Failure> {
        let domain = query_value(&domain.to_string());
        let order = query_value(r#"[["id","ASC"]]"#);
        let path = format!("{}&d={domain}&o={order}&s={most}", path(model, fields));
        match self.call(Method::GET, path, None).await? {
            Json::Array(records) => Ok(records),
            _ => Err(Fault::remote("tryton_answer", format!("The ERP listed no {model}.")).into()),
        }
    }

    pub(super) async fn fields_of(&self, model: &str) -> Result<Json, Failure> {
        let path = format!("/rest/model/{}/fields_get", exchange::encoded(model));
        self.call(Method::POST, path, Some(&json!({}))).await
    }

    /// Creates a record and reads these fields of it.
    pub(super) async fn create(
        &self,
        model: &str,
        record: &Json,
        fields: &[&str],
    ) -> Result<Json, Failure> {
        self.call(Method::POST, path(model, fields), Some(record)).await
    }

    /// Calls a button of a record and reads these fields of it.
    pub(super) async fn press(
        &self,
        model: &str,
        id: Id,
        button: &str,
        fields: &[&str],
    ) -> Result<Json, Failure> {
        let model = format!("{model}/{id}/{button}");
        self.call(Method::POST, path(&model, fields), Some(&json!({}))).await
    }

    async fn call(
        &self,
        method: Method,
        path: String,
        sent: Option<&Json>,
    ) -> Result<Json, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(company) = self.company {
            let context = BASE64_URL_SAFE.encode(json!({ "company": company }).to_string());
            let context = HeaderValue::try_from(context)
                .map_err(|_| Fault::internal("header", "The context's header cannot be made."))?;
            headers.insert("x-tryton-context", context);
        }
        let body = sent.map(|sent| sent.to_string().into_bytes()).unwrap_or_default();
        let call = Call { method, path, headers, body, most: MOST_OF_AN_ANSWER };
        let answer = self.exchange.send(call).await?;
        match answer.status {
            StatusCode::BAD_REQUEST => Err(self.refusal(&answer)),
            StatusCode::NOT_FOUND => Err(missing(&self.exchange, &answer)),
            StatusCode::INTERNAL_SERVER_ERROR => Err(self.breakdown(&answer, sent)),
            StatusCode::CONFLICT => Err(self.warning(&answer)),
            StatusCode::LOCKED => Err(Failure::Stale { said: self.exchange.said(&answer) }),
            StatusCode::NO_CONTENT => Ok(Json::Null),
            _ => {
                self.exchange.verdict(&answer)?;
                read(answer).map_err(Failure::Fault)
            }
        }
    }

    /// A 400 is `{"status": 400, "message": …, "description": …}` from the ERP's rules, in the language of
    /// the key's user. Anything else is a request that the ERP could not read.
    fn refusal(&self, answer: &Answer) -> Failure {
        let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(message) = json["message"].as_str() else {
            let said = self.exchange.said(answer);
            return Failure::Fault(Fault::data("tryton_400", format!("{said}.")));
        };
        let description = json["description"].as_str().unwrap_or_default();
        let sentence = self.exchange.shown(format!("{message} {description}").as_bytes());
        let said = format!("{} was refused by the ERP: {sentence}", answer.asked);
        Failure::Refused { cause: "tryton_refused", said }
    }

    /// A 409 is a question to a person (trytond's `UserWarning`), a 423 its `ConcurrencyException`.
    fn warning(&self, answer: &Answer) -> Failure {
        let said = rpc::warning(&answer.asked, &self.exchange.shown(&answer.body));
        Failure::Refused { cause: "tryton_warning", said }
    }

    /// A 500 is whatever was thrown, as HTML.
    fn breakdown(&self, answer: &Answer, sent: Option<&Json>) -> Failure {
        let text = String::from_utf8_lossy(&answer.body).replace("&#39;", "'");
        let thrown = text.split_once("<p>").and_then(|(_, rest)| rest.split_once("</p>"));
        let name = self.exchange.shown(thrown.unwrap_or_default().0.as_bytes());
        if let Some(fault) = unknown_name(&answer.asked, &answer.asked, sent, &name) {
            return fault.into();
        }
        let said = self.exchange.said(answer);
        Failure::Broken(Fault::remote("tryton_500", format!("{said}; it is tried again.")))
    }
}

/// The answer 404.
pub(super) fn missing(exchange: &Exchange, answer: &Answer) -> Failure {
    let said = exchange.said(answer);
    let message = format!(
        "{said}; the record is gone, or the connection's `url` does not end in the database's name."
    );
    Failure::Missing(Fault::remote("tryton_missing", message))
}

/// The fault of a field or a model that the ERP does not have: what is thrown there (Python's
/// `KeyError`) says only its name, between quotes. When we sent such a name, no event will ever pass
/// until the module that brings it is installed, or the name mended. Other failures may pass.
pub(super) fn unknown_name(
    method: &str,
    asked: &str,
    sent: Option<&Json>,
    thrown: &str,
) -> Option<Fault> {
    let name = thrown.strip_prefix('\'')?.strip_suffix('\'')?;
    if !says(method, sent, name) {
        return None;
    }
    let message = format!(
        "{asked} failed because the ERP has no model or field `{name}`. Install the module that \
         brings it (web_shop for web_id), or mend the sink's options."
    );
    Some(Fault::refused("tryton_unknown_field", message))
}

/// Whether a call spoke of this model or field. The fields that it wanted to read are our own list
/// and part of the sale's own models: they are asked for in every call.
fn says(asked: &str, sent: Option<&Json>, name: &str) -> bool {
    fn has_key(json: &Json, name: &str) -> bool {
        match json {
            Json::Object(fields) => {
                fields.contains_key(name) || fields.values().any(|value| has_key(value, name))
            }
            Json::Array(items) => items.iter().any(|item| has_key(item, name)),
            _ => false,
        }
    }
    // `GET /rest/model/MODEL of …`, `model.MODEL.search_read`
    let asked_of_it = asked.split(['/', ' ']).any(|part| part == name)
        || asked.strip_prefix("model.").is_some_and(|rest| rest.starts_with(name));
    asked_of_it || sent.is_none_or(|sent| has_key(sent, name))
}

/// A fault of what was asked without an event.
pub(super) fn not_of_an_event(fault: Fault) -> Fault {
    match fault.domain {
        Domain::Data => Fault::refused(fault.cause, fault.message),
        _ => fault,
    }
}

/// The JSON of an answer.
pub(super) fn read(answer: Answer) -> Result<Json, Fault> {
    if let Some(cut) = answer.cut {
        return Err(cut);
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        let message = format!(
            "{} answered {} with what is not JSON ({error}); does the connection's `url` lead to \
             the ERP?",
            answer.asked, answer.status
        );
        Fault::remote("tryton_answer", message).unknown()
    })
}

fn path(model: &str, fields: &[&str]) -> String {
    format!("/rest/model/{model}?f={}", fields.join("&f="))
}

/// JSON as the interface wants it in a query.
fn query_value(json: &str) -> String {
    let base64 = BASE64_URL_SAFE.encode(json);
    utf8_percent_encode(&base64, NON_ALPHANUMERIC).to_string()
}

/// The header that a key makes. The file of a key often ends in a line break.
pub(super) fn authorization(key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A decimal in the ERP's JSON.
pub(super) fn decimal(number: &BigDecimal) -> Json {
    json!({ "__class__": "Decimal", "decimal": number.normalized().to_plain_string() })
}

/// The decimal in the ERP's JSON.
pub(super) fn read_decimal(json: &Json) -> Option<BigDecimal> {
    json["decimal"].as_str()?.parse().ok()
}

/// A day in the ERP's JSON.
pub(super) fn date(day: NaiveDate) -> Json {
    json!({ "__class__": "date", "year": day.year(), "month": day.month(), "day": day.day() })
}

/// The number of a record that was read.
pub(super) fn id(record: &Json) -> Option<Id> {
    record["id"].as_i64()
}
