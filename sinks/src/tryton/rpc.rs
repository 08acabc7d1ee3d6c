//! Calling an ERP's JSON-RPC interface (trytond 8, `protocols/jsonrpc.py`): each call is one
//! transaction, whatever it is given.

use std::sync::Arc;

use engine::Fault;
use exchange::{Answer, Call, Exchange};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};

use super::failure::Failure;
use super::rest::{self, Id, missing, unknown_name};
use super::session::{Login, Session};

/// How much of an answer is read: fifty parties with all their addresses are smaller.
const MOST_OF_AN_ANSWER: usize = 8 * 1024 * 1024;

/// The JSON-RPC interface of one database. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rpc {
    exchange: Arc<Exchange>,
    login: Arc<Login>,
    /// The company whose eyes records are seen with.
    company: Option<Id>,
}

/// A change of a record.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) id: Id,
    pub(super) values: Json,
    /// What it must still be: its field `_timestamp`.
    pub(super) version: String,
}

impl Rpc {
    pub(super) fn new(exchange: Exchange, login: Login) -> Self {
        Self { exchange: Arc::new(exchange), login: Arc::new(login), company: None }
    }

    /// Scheme, host and port: all of the address that may be shown.
    pub(super) fn origin(&self) -> &str {
        self.exchange.origin()
    }

    pub(super) fn of_company(&self, company: Id) -> Self {
        Self { company: Some(company), ..self.clone() }
    }

    /// The company whose eyes records are seen with.
    pub(super) fn company(&self) -> Option<Id> {
        self.company
    }

    /// The number of the user that we are there.
    pub(super) async fn user(&self) -> Result<Id, Fault> {
        Ok(self.login.session(&self.exchange, None).await?.user)
    }

    /// The records in `domain`, as [`Erp::search`](super::erp::Erp::search) has them.
    pub(super) async fn search(
        &self,
        model: &str,
        domain: &Json,
        fields: &[&str],
        most: usize,
    ) -> Result<Vec<Json>, Failure> {
        let params = json!([domain, 0, most, [["id", "ASC"]], fields]);
        let found = self.call(&format!("model.{model}.search_read"), params).await?;
        records(found, model)
    }

    /// These fields of the records of these numbers, in their order.
    pub(super) async fn read(
        &self,
        model: &str,
        ids: &[Id],
        fields: &[&str],
    ) -> Result<Vec<Json>, Failure> {
        let found = self.call(&format!("model.{model}.read"), json!([ids, fields])).await?;
        let mut found = records(found, model)?;
        let place = |record: &Json| ids.iter().position(|id| rest::id(record) == Some(*id));
        found.sort_by_key(place);
        if found.len() != ids.len() {
            let message =
                format!("The ERP answered with {} {model} of {}.", found.len(), ids.len());
            return Err(Fault::remote("tryton_answer", message).into());
        }
        Ok(found)
    }

    /// Creates all of these records, or none; gives their numbers.
    pub(super) async fn create(&self, model: &str, all: &[Json]) -> Result<Vec<Id>, Failure> {
        let created = self.call(&format!("model.{model}.create"), json!([all])).await?;
        let ids: Option<Vec<Id>> =
            created.as_array().and_then(|ids| ids.iter().map(Json::as_i64).collect());
        ids.filter(|ids| ids.len() == all.len()).ok_or_else(|| {
            let message = format!("The ERP's answer does not number the {model} that it created.");
            Fault::remote("tryton_answer", message).unknown().into()
        })
    }

    /// Changes all of these records, or none: none if one of them is not of its version any more. Gives
    /// their numbers.
    pub(super) async fn write(&self, model: &str, all: &[Change]) -> Result<Vec<Id>, Failure> {
        let version = |change: &Change| (format!("{model},{}", change.id), json!(change.version));
        let mut context = self.context();
        context.insert("_timestamp".to_owned(), all.iter().map(version).collect());
        let params = all.iter().flat_map(|change| [json!([change.id]), change.values.clone()]);
        self.call_in(&format!("model.{model}.write"), params.collect(), context).await?;
        Ok(all.iter().map(|change| change.id).collect())
    }

    /// What the ERP proposes for a form in which this field was filled in last.
    pub(super) async fn proposal(
        &self,
        model: &str,
        form: &Json,
        field: &str,
    ) -> Result<Json, Failure> {
        self.call(&format!("model.{model}.on_change"), json!([form, [field]])).await
    }

    /// Calls a method about one record.
    pub(super) async fn call_about(
        &self,
        model: &str,
        id: Id,
        method: &str,
        params: Json,
    ) -> Result<Json, Failure> {
        let mut context = self.context();
        context.insert("active_model".to_owned(), json!(model));
        context.insert("active_id".to_owned(), json!(id));
        context.insert("active_ids".to_owned(), json!([id]));
        self.call_in(method, params, context).await
    }

    /// Calls a method of an interface: its last parameter is the context.
    pub(super) async fn call(&self, method: &str, params: Json) -> Result<Json, Failure> {
        self.call_in(method, params, self.context()).await
    }

    fn context(&self) -> Map<String, Json> {
        self.company.iter().map(|company| ("company".to_owned(), json!(company))).collect()
    }

    async fn call_in(
        &self,
        method: &str,
        mut params: Json,
        context: Map<String, Json>,
    ) -> Result<Json, Failure> {
        if let Json::Array(params) = &mut params {
            params.push(Json::Object(context));
        }
        let session = self.login.session(&self.exchange, None).await?;
        let mut answer = self.send(method, &params, &session).await?;
        // The session has ended: nothing was done.
        if answer.status == StatusCode::UNAUTHORIZED {
            let session = self.login.session(&self.exchange, Some(&session)).await?;
            answer = self.send(method, &params, &session).await?;
        }
        if answer.status == StatusCode::NOT_FOUND {
            return Err(missing(&self.exchange, &answer));
        }
        self.exchange.verdict(&answer)?;
        let asked = answer.asked.clone();
        let mut json = rest::read(answer)?;
        match json.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(self.failure(method, &asked, &params, &json["error"])),
        }
    }

    async fn send(&self, method: &str, params: &Json, by: &Session) -> Result<Answer, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, by.header.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = json!({ "id": 0, "method": method, "params": params }).to_string().into_bytes();
        let path = "/rpc/".to_owned();
        let call = Call { method: Method::POST, path, headers, body, most: MOST_OF_AN_ANSWER };
        let mut answer = self.exchange.send(call).await?;
        answer.asked = format!("{method} of {}", self.exchange.origin());
        Ok(answer)
    }

    /// The errors of a 200: `["UserError", [sentence, description, domain]]`, `["UserWarning", [name,
    /// sentence, description]]`, `["ConcurrencyException", sentence]`; anything else that was thrown
    /// is its own text and its traceback.
    fn failure(&self, method: &str, asked: &str, params: &Json, error: &Json) -> Failure {
        let shown = |parts: &[&Json]| {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.as_str()).collect();
            self.exchange.shown(texts.join(" ").as_bytes())
        };
        let (name, said) = (error[0].as_str().unwrap_or_default(), &error[1]);
        match name {
            "UserError" => Failure::Refused {
                cause: "tryton_refused",
                said: format!("{asked} was refused by the ERP: {}", shown(&[&said[0], &said[1]])),
            },
            "UserWarning" => Failure::Refused {
                cause: "tryton_warning",
                said: warning(asked, &shown(&[&said[1], &said[2]])),
            },
            "ConcurrencyException" => Failure::Stale {
                said: format!("{asked} was refused by the ERP: {}", shown(&[said])),
            },
            "LoginException" => {
                let message = format!(
                    "{asked}: the ERP wants to know who we are again: {}",
                    shown(&[&said[1]])
                );
                Fault::refused("tryton_login", message).into()
            }
            name => {
                let name = self.exchange.shown(name.as_bytes());
                // What is read is our own list.
                let reads = method.ends_with("read") || method.ends_with("fields_get");
                let sent = (!reads).then_some(params);
                if let Some(fault) = unknown_name(method, asked, sent, &name) {
                    return fault.into();
                }
                let message = format!("{asked} failed in the ERP: {name}; it is tried again.");
                Failure::Broken(Fault::remote("tryton_500", message))
            }
        }
    }
}

/// A question that the ERP asks a person, who can say that it is not to be asked again.
pub(super) fn warning(asked: &str, sentence: &str) -> String {
    format!(
        "{asked} was stopped by a warning of the ERP: {sentence} Do it there by hand, or let the \
         user answer it for always, then retry."
    )
}

/// What was found, in the shape of the REST interface: the fields of other records stand under the
/// name of the field that leads to them (JSON-RPC puts a dot after it, beside their numbers).
fn records(found: Json, model: &str) -> Result<Vec<Json>, Failure> {
    let Json::Array(found) = found else {
        return Err(Fault::remote("tryton_answer", format!("The ERP listed no {model}.")).into());
    };
    Ok(found.into_iter().map(nested).collect())
}

fn nested(record: Json) -> Json {
    match record {
        Json::Object(fields) => {
            let (others, mut own): (Map<_, _>, Map<_, _>) =
                fields.into_iter().partition(|(name, _)| name.ends_with('.'));
            for (name, value) in others {
                own.insert(name.trim_end_matches('.').to_owned(), nested(value));
            }
            Json::Object(own)
        }
        Json::Array(records) => Json::Array(records.into_iter().map(nested).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_records_stand_under_the_field_that_leads_to_them() {
        let found = json!([{ "id": 1, "party": 2, "party.": { "id": 2, "name": "A" },
                             "lines.": [{ "id": 3, "product.": { "code": "P" } }] }]);
        let read = records(found, "sale.sale").unwrap();
        let expected = json!({ "id": 1, "party": { "id": 2, "name": "A" },
                               "lines": [{ "id": 3, "product": { "code": "P" } }] });
        assert_eq!(read, [expected]);
        assert!(records(json!(null), "sale.sale").is_err());
    }
}
