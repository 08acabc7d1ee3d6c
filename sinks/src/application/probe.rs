//! What a description says of its application, and the fields that the application lists itself.

use engine::connector::Setup;
use engine::sink::Once;
use engine::study::{Field, Object as Found, Question, Reading, Study, Way};
use engine::{Event, Fault, Value};
use exchange::{Auth, Exchange};
use serde_json::Value as Json;
use vrl::value::{KeyString, ObjectMap};

use super::connection::{self, Connected};
use super::description::{Description, Object};
use super::options::{operations, promise};
use super::request::{Common, Compiler};
use super::route::Steps;

/// Studies the application of a connection.
///
/// # Errors
/// A `Config` fault: the connection or the description cannot be used. What the application refuses is
/// told in the study.
pub(super) async fn study(
    description: &Description,
    connection: &Json,
    question: &Question,
    setup: &Setup,
) -> Result<Study, Fault> {
    let Connected { connection, common, secrets, settings } =
        connection::connect(description, connection)?;
    let exchange = Exchange::with(&connection, &secrets, setup)?;
    let mut study = Study {
        application: format!(
            "{} (API {}) at {}, as its description says",
            description.name,
            description.version,
            exchange.origin()
        ),
        access: vec![access(connection.auth.as_ref(), !connection.headers.is_empty()).to_owned()],
        limits: limits(description),
        writes: vec![writes(description)],
        reads: reads(description),
        ..Study::default()
    };
    let wanted = |name: &String| question.object.as_ref().is_none_or(|wanted| wanted == name);
    for (name, object) in description.objects.iter().filter(|(name, _)| wanted(name)) {
        let mut found = described(description, name, object);
        match live(object, &settings, &exchange, &common).await {
            Ok(Some(names)) => found.fields = fields(names, object.id.as_deref()),
            Ok(None) => found.notes.push("its fields are not listed by the application".to_owned()),
            Err(fault) => {
                study.unknown.push(format!("the fields of {name}: {}", fault.message));
            }
        }
        study.objects.push(found);
    }
    let lacks = description.coverage.lacks.iter().map(|what| format!("not covered: {what}"));
    let unsure = description.coverage.unsure.iter().map(|what| format!("not proven: {what}"));
    study.unknown.extend(lacks.chain(unsure));
    Ok(study)
}

/// The fields that the application lists now; nothing if it is not asked for them.
async fn live(
    object: &Object,
    settings: &Value,
    exchange: &Exchange,
    common: &Common,
) -> Result<Option<Vec<String>>, Fault> {
    let mut compiler = Compiler::default();
    let steps = Steps::compile(object, "", &mut compiler);
    if let Some(fault) = compiler.fault() {
        return Err(fault);
    }
    let Some(contract) = steps.contract else { return Ok(None) };
    let mut context = ObjectMap::new();
    let id_field = object.id.clone().map_or(Value::Null, Value::from);
    for (name, value) in [("settings", settings.clone()), ("id_field", id_field)] {
        context.insert(KeyString::from(name), value);
    }
    let context = Event::of_value(Value::Object(context));
    let names = contract.ask(&context, exchange, common).await?;
    Ok(Some(names.into_iter().collect()))
}

fn fields(names: Vec<String>, id: Option<&str>) -> Vec<Field> {
    // An id may lie deeper, as `properties.email` does; the application lists its last name.
    let key = id.map(|id| id.rsplit('.').next().unwrap_or(id));
    let field = |name: String| Field { key: key == Some(&*name), name, ..Field::default() };
    names.into_iter().map(field).collect()
}

fn described(description: &Description, name: &str, object: &Object) -> Found {
    let all = operations(object);
    let mut notes = Vec::new();
    notes.extend(object.id.as_ref().map(|id| format!("named by `{id}`")));
    if object.find.is_some() {
        notes.push("looked up before it is written".to_owned());
    }
    notes.extend(all.iter().map(|operation| {
        let word = operation.word();
        match promise(description, object, *operation) {
            Once::Forever => format!("{word}: a repeat has no second effect"),
            Once::For(time) => {
                format!("{word}: a repeat has no second effect for {} h", time.as_secs() / 3_600)
            }
            Once::No => format!("{word}: a repeat may have a second effect"),
        }
    }));
    let operations = all.iter().map(|operation| operation.word().to_owned()).collect();
    Found { name: name.to_owned(), operations, notes, ..Found::default() }
}

fn access(auth: Option<&Auth>, headers: bool) -> &'static str {
    match auth {
        Some(Auth::Bearer(_)) => "a bearer token",
        Some(Auth::Basic { .. }) => "a user and a password",
        Some(Auth::Oauth2(_)) => "OAuth 2.0",
        None if headers => "a key in a header",
        None => "no credentials",
    }
}

fn limits(description: &Description) -> Vec<String> {
    let limits = description.limits.and_then(|limits| serde_json::to_value(limits).ok());
    let limits = limits.as_ref().and_then(Json::as_object).into_iter().flatten();
    let given = limits.filter(|(_, value)| !value.is_null());
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    given.map(|(name, value)| format!("{name}: {}", text(value))).collect()
}

fn writes(description: &Description) -> String {
    let key = match &description.idempotency {
        Some(idempotency) => {
            let hours = idempotency.remembered.0.as_secs() / 3_600;
            format!("; it knows a repeat by its key for {hours} h")
        }
        None => String::new(),
    };
    format!("sink `{}`{key}", description.name)
}

/// A description tells how an application is written: how it is read stands in its own documentation.
fn reads(description: &Description) -> Vec<Reading> {
    let webhook = match &description.webhooks {
        Some(how) => Reading {
            to_do: vec![how.clone()],
            ..Reading::open(Way::Webhook, "it calls when something changes")
        },
        None => Reading::unknown(Way::Webhook, "the description does not say"),
    };
    vec![
        webhook,
        Reading::open(Way::Poll, "its lists, by the source `poll` over a connection `http`"),
        Reading::open(Way::File, "an export, dropped into a folder for the source `file`"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_names_an_object_is_its_key_wherever_it_lies() {
        let fields = fields(vec!["email".to_owned(), "name".to_owned()], Some("properties.email"));
        assert_eq!(fields.iter().map(|field| field.key).collect::<Vec<_>>(), [true, false]);
        // Nothing is claimed of what the list does not tell.
        assert_eq!(fields[0].required, None);
    }
}
