//! What a Tryton lets us read and write: its models, their fields, which of them must be given.

use engine::connector::{Probing, Setup};
use engine::study::{Field, Object, Question, Reading, Study, Way};
use engine::{Domain, Fault};
use exchange::Exchange;
use serde_json::{Value as Json, json};

use super::Connection;
use super::erp::Erp;

/// Models that are listed.
const MOST_MODELS: usize = 2_000;
/// Models whose fields are asked for, one request each, when none is named.
const MOST_ASKED: usize = 300;
/// Models of the framework itself, which no route writes. One that is asked for by name is shown.
const OWN: [&str; 3] = ["ir.", "res.", "workflow."];

/// Studies the database of a connection.
pub(super) fn probe(connection: Connection, question: Question, setup: Setup) -> Probing {
    Box::pin(async move {
        let address = Exchange::new(&connection.target, &[], &setup)?.origin().to_owned();
        study(&Erp::of(&connection, &setup)?, &address, &question).await
    })
}

async fn study(erp: &Erp, address: &str, question: &Question) -> Result<Study, Fault> {
    let mut unknown = Vec::new();
    let models = match &question.object {
        Some(name) => vec![name.clone()],
        None => models(erp).await?,
    };
    let mut objects = Vec::new();
    for (at, name) in models.iter().enumerate() {
        if at >= MOST_ASKED {
            let message = format!(
                "the fields of {} models were not asked for: name one to see them",
                models.len() - at
            );
            unknown.push(message);
            let bare = |name: &String| Object { name: name.clone(), ..Object::default() };
            objects.extend(models[at..].iter().map(bare));
            break;
        }
        match erp.fields_of(name).await {
            Ok(told) => objects.extend(object(name, &told).filter(|object| {
                // Forms and wizards keep nothing.
                question.object.is_some() || object.operations.len() > 1
            })),
            Err(fault) if fault.domain == Domain::Remote && question.object.is_none() => {
                unknown.push(match fault.cause {
                    "http_403" => format!("the fields of {name}: the key may not see them (403)"),
                    _ => format!("the fields of {name}: {}", fault.message),
                });
                if unknown.len() >= 5 {
                    // The answers are all alike: a right that is missing, a server that went.
                    break;
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(told(address, objects, unknown))
}

/// The models' names, those of the framework left out.
async fn models(erp: &Erp) -> Result<Vec<String>, Fault> {
    let found = erp.search("ir.model", &json!([]), &["name"], MOST_MODELS).await?;
    let names = found.iter().filter_map(|model| model["name"].as_str());
    let mut names: Vec<_> = names
        .filter(|name| !OWN.iter().any(|own| name.starts_with(own)))
        .map(str::to_owned)
        .collect();
    names.sort();
    Ok(names)
}

/// A model, of what `fields_get` says (trytond, `model/model.py`).
fn object(name: &str, told: &Json) -> Option<Object> {
    let mut fields: Vec<Field> = told
        .as_object()?
        .iter()
        .map(|(name, field)| {
            let text = |name: &str| field[name].as_str().unwrap_or_default();
            let target = text("relation");
            let readonly = field["readonly"].as_bool().unwrap_or_default();
            let kind = match (text("type"), target) {
                (kind, "") => kind.to_owned(),
                (kind, target) => format!("{kind} of {target}"),
            };
            let kind = if readonly { format!("{kind}, read only") } else { kind };
            // An integer field named `id` is the record's number.
            let required =
                name != "id" && !readonly && field["required"].as_bool().unwrap_or(false);
            Field { name: name.clone(), kind, required: Some(required), key: name == "id" }
        })
        .collect();
    // What must be given comes first.
    fields.sort_by_key(|field| (!field.key, field.required != Some(true), field.name.clone()));
    let kept = told.get("write_date").is_some();
    let operations: &[&str] =
        if kept { &["search", "read", "create", "write", "delete"] } else { &["read"] };
    let conditional = told.as_object()?.values().filter(|field| {
        field["states"].as_str().is_some_and(|states| states.contains("\"required\""))
    });
    let mut notes = Vec::new();
    let count = conditional.count();
    if count > 0 {
        notes.push(format!("{count} more fields are required in some states of the record"));
    }
    Some(Object {
        name: name.to_owned(),
        operations: operations.iter().map(ToString::to_string).collect(),
        fields,
        notes,
        ..Object::default()
    })
}

fn told(address: &str, objects: Vec<Object>, unknown: Vec<String>) -> Study {
    let poll = "every stored model has `write_date` and `create_date`; `write_date` is null until the \
                first change; deletions are not seen";
    let how = "source `poll` on GET /rest/model/MODEL?f=… with the domain [\"OR\", [\"write_date\", \
               \">=\", since], [\"create_date\", \">=\", since]], ordered by write_date and id";
    Study {
        application: format!("Tryton at {address}"),
        objects,
        access: vec![
            "a user application of the kind REST, or a user; the rights say which models and fields"
                .to_owned(),
        ],
        reads: vec![
            Reading::closed(Way::Webhook, "Tryton sends none"),
            Reading { to_do: vec![how.to_owned()], ..Reading::open(Way::Poll, poll) },
            Reading::open(Way::File, "an export as CSV, saved from a list, for the source `file`"),
        ],
        writes: vec![
            "sink `tryton`: sale.sale, once for each web_id (module web_shop); party.party, \
             product.product, account.invoice and its payments, by JSON-RPC"
                .to_owned(),
            "sink `http`: POST /rest/model/MODEL creates a record, and a repeat makes a second one"
                .to_owned(),
        ],
        limits: vec![
            "one writer at a time where the database is SQLite: more concurrency gains nothing"
                .to_owned(),
        ],
        unknown,
        further_objects: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_required_fields_come_first_and_what_it_reads_itself_is_no_duty() {
        let told = json!({
            "id": { "type": "integer", "required": true, "readonly": true },
            "name": { "type": "char", "required": false, "readonly": false },
            "party": { "type": "many2one", "relation": "party.party", "required": true, "readonly": false },
            "state": { "type": "selection", "required": true, "readonly": true },
            "lines": { "type": "one2many", "states": "{\"required\": {\"__class__\": \"Eval\"}}" },
            "write_date": { "type": "timestamp", "readonly": true },
        });
        let object = object("sale.sale", &told).unwrap();
        let names: Vec<_> = object.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names[..2], ["id", "party"]);
        let required = object.fields.iter().filter(|field| field.required == Some(true)).count();
        assert_eq!(required, 1);
        assert_eq!(object.fields[1].kind, "many2one of party.party");
        assert_eq!(object.notes.len(), 1);
        assert!(object.operations.contains(&"create".to_owned()));
    }

    #[test]
    fn a_form_that_keeps_nothing_cannot_be_written() {
        let form = object("party.check", &json!({ "id": { "type": "integer" } })).unwrap();
        assert_eq!(form.operations, ["read"]);
    }
}
