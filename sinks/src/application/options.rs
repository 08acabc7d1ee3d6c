//! What a route to an application says, and what follows for repeats.

use engine::Fault;
use engine::connector::schema_of;
use engine::expression::Expression;
use engine::options::Period;
use engine::sink::Once;
use exchange::DEFAULT_RETRY_AFTER_CAP;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::description::{Description, Look, Object, Promise, Write};
use crate::http::OnDelete;

/// What a route writes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct RouteOptions {
    /// What is written.
    #[serde(default)]
    pub object: Option<String>,
    /// What is done with it.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// The field that names the object in the application, where that is not the usual one.
    #[serde(default)]
    pub id: Option<String>,
    /// What is written of an event: an expression that gives the object's fields, by the application's
    /// names. Without it, the event's value.
    #[serde(default)]
    pub fields: Option<Expression>,
    /// What a deletion (a tombstone: a key without a value) does: with `delete`, the object whose id is
    /// the event's key is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// How long a `Retry-After` of 429 and 503 is honoured at most.
    #[serde(default = "RouteOptions::default_retry_after_cap")]
    pub retry_after_cap: Period,
}

/// What is done with an object.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operation {
    /// It is created; one that is there is left as it is.
    Create,
    /// One that is there is changed.
    Update,
    /// It is created, or changed if it is there.
    Upsert,
    /// It is deleted.
    Delete,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Upsert, Self::Delete];

    /// The word of files and messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }

    /// The writes that it is made of, each with what it does; none if the object does not have it.
    fn writes(self, object: &Object) -> Vec<(Self, &Write)> {
        let Object { find, create, update, upsert, delete, .. } = object;
        let alone = |write| Option::as_ref(write).map(|write| (self, write)).into_iter().collect();
        match self {
            Self::Create => alone(create),
            Self::Update => alone(update),
            Self::Delete => alone(delete),
            Self::Upsert => match (upsert, find, create, update) {
                (None, Some(_), Some(create), Some(update)) => {
                    vec![(Self::Create, create), (Self::Update, update)]
                }
                (upsert, ..) => alone(upsert),
            },
        }
    }
}

/// The operations that an object has.
pub(super) fn operations(object: &Object) -> Vec<Operation> {
    let has = |operation: &Operation| !operation.writes(object).is_empty();
    Operation::ALL.into_iter().filter(has).collect()
}

impl RouteOptions {
    fn default_retry_after_cap() -> Period {
        Period(DEFAULT_RETRY_AFTER_CAP)
    }

    /// The JSON Schema of a route to the application.
    pub fn schema(description: &Description) -> schemars::Schema {
        let mut schema = schema_of::<Self>();
        let names: Vec<_> = description.objects.keys().cloned().collect();
        let all: Vec<_> = description.objects.values().flat_map(operations).collect();
        let mut required = Vec::new();
        if let Some(object) = schema.as_object_mut() {
            if names.len() > 1 {
                required.push("object");
            }
            if description.objects.values().any(|object| operations(object).len() > 1) {
                required.push("operation");
            }
            let present = Operation::ALL.into_iter().filter(|one| all.contains(one));
            let words: Vec<_> = present.map(Operation::word).collect();
            object["properties"]["object"] =
                json!({ "type": "string", "enum": names, "description": "What is written." });
            object["properties"]["operation"] = json!({
                "type": "string", "enum": words, "description": "What is done with it: `create` (one that is there is left as it is), `update`, `upsert`, `delete`.",
            });
            object.insert("required".to_owned(), json!(required));
            object.remove("title");
        }
        schema
    }

    /// The object and what is done with it. What a description has one of need not be said.
    ///
    /// # Errors
    /// A `Config` fault: there is no such thing.
    pub fn resolved<'d>(
        &self,
        description: &'d Description,
    ) -> Result<(&'d str, &'d Object, Operation), Fault> {
        let mut objects = description.objects.iter();
        let chosen = match &self.object {
            Some(name) => objects.find(|(one, _)| *one == name),
            None => objects.next(),
        };
        let no = |message: String| Fault::config("operation", message);
        let (name, object) =
            chosen.ok_or_else(|| no(format!("`{}` has no such object.", description.name)))?;
        let has = operations(object);
        let operation = self.operation.or(has.first().copied());
        let operation = operation.filter(|operation| has.contains(operation)).ok_or_else(|| {
            let words: Vec<_> = has.iter().map(|one| one.word()).collect();
            no(format!("`{name}` of `{}` can be: {}.", description.name, words.join(", ")))
        })?;
        Ok((name, object, operation))
    }
}

/// What an operation promises about repeats.
pub(super) fn promise(description: &Description, object: &Object, operation: Operation) -> Once {
    let of = |(step, write): &(Operation, &Write)| match write.once {
        Some(Promise::No) => Once::No,
        Some(Promise::For(Period(time))) => Once::For(time),
        Some(Promise::Forever) => Once::Forever,
        None => derived(description, object, *step, write.look),
    };
    let worth = |once: &Once| match once {
        Once::No => (0, std::time::Duration::ZERO),
        Once::For(time) => (1, *time),
        Once::Forever => (2, std::time::Duration::ZERO),
    };
    operation.writes(object).iter().map(of).min_by_key(worth).unwrap_or(Once::No)
}

/// An object that is looked up first, or kept unique by the application, is created once for ever; one
/// that is sent with a key, as long as the key is known. To change or delete it twice is to do it once.
fn derived(description: &Description, object: &Object, operation: Operation, look: Look) -> Once {
    let looked = object.find.is_some();
    match (operation, look, &description.idempotency) {
        (Operation::Create | Operation::Upsert, Look::Always, _) if looked => Once::Forever,
        (Operation::Create, Look::Always | Look::OnRepeat | Look::Never, Some(idempotency)) => {
            Once::For(idempotency.remembered.0)
        }
        (Operation::Create, Look::OnRepeat, None) if looked => Once::Forever,
        (Operation::Create, ..) => Once::No,
        (Operation::Update | Operation::Upsert | Operation::Delete, ..) => Once::Forever,
    }
}

/// What a description covers, for people and programs.
pub(super) fn coverage(description: &Description) -> Json {
    let operation = |object: &Object, operation: Operation| {
        let batch = operation.writes(object).iter().find_map(|(_, write)| write.batch.as_ref());
        let once = match promise(description, object, operation) {
            Once::Forever => "for ever".to_owned(),
            Once::For(time) => format!("for {} h", time.as_secs() / 3_600),
            Once::No => "no".to_owned(),
        };
        json!({ "once": once, "batch": batch.map_or(1, |batch| batch.most) })
    };
    let objects: serde_json::Map<String, Json> = description
        .objects
        .iter()
        .map(|(name, object)| {
            let all: serde_json::Map<String, Json> = operations(object)
                .into_iter()
                .map(|one| (one.word().to_owned(), operation(object, one)))
                .collect();
            let described = json!({
                "id": object.id,
                "looked_up": object.find.is_some(),
                "contract": object.contract.is_some(),
                "operations": all,
            });
            (name.clone(), described)
        })
        .collect();
    let super::description::Coverage { lacks, unsure, sources } = &description.coverage;
    json!({
        "version": description.version, "objects": objects,
        "lacks": lacks, "unsure": unsure, "sources": sources,
    })
}
