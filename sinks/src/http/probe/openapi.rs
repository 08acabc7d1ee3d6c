//! An OpenAPI description (3.x, or Swagger 2.0) as a study: its objects and what can be done with
//! them, webhooks, credentials, how lists are paged and asked for changes.

use std::collections::{BTreeMap, BTreeSet};

use engine::study::{Object, Reading, Study, Way};
use serde_json::Value as Json;

use super::schema::{Description, Subject};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Parameters by which lists are cut into pages.
const PAGING: [&str; 14] = [
    "page",
    "per_page",
    "perpage",
    "page_size",
    "pagesize",
    "limit",
    "offset",
    "cursor",
    "after",
    "starting_after",
    "page_token",
    "pagetoken",
    "start",
    "skip",
];
/// Parts of the names of parameters that ask for what changed since.
const SINCE: [&str; 7] =
    ["since", "updated", "modified", "changed", "created_after", "createdafter", "last_update"];
/// Names in a sentence.
const NAMED: usize = 8;

/// An operation of the description.
struct Operation<'d> {
    /// `GET /orders/{id}`
    title: String,
    method: &'d str,
    path: &'d str,
    parameters: Vec<&'d Json>,
    told: &'d Json,
}

/// What a description says.
pub(super) fn study(description: &Json) -> Study {
    let all = Description(description);
    let operations = operations(all);
    Study {
        application: title(description),
        objects: objects(all, &operations),
        access: access(description),
        reads: vec![webhooks(description, &operations), poll(&operations), file()],
        writes: writes(&operations),
        limits: limits(&operations),
        ..Study::default()
    }
}

fn title(description: &Json) -> String {
    let text = |name: &str| description["info"][name].as_str().unwrap_or_default();
    format!("{} {}", text("title"), text("version")).trim().to_owned()
}

fn operations(all: Description<'_>) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in all.0["paths"].as_object().into_iter().flatten() {
        let item = all.resolve(item).schema;
        for method in METHODS {
            let told = &item[method];
            if !told.is_object() {
                continue;
            }
            let declared = parameters(item).iter().chain(parameters(told));
            let parameters = declared.map(|one| all.resolve(one).schema).collect();
            let title = format!("{} {path}", method.to_uppercase());
            operations.push(Operation { title, method, path, parameters, told });
        }
    }
    operations
}

fn parameters(value: &Json) -> &[Json] {
    value["parameters"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What a body or an answer holds.
fn content<'d>(all: Description<'d>, value: &'d Json) -> Option<Subject<'d>> {
    let value = all.resolve(value).schema;
    let by_kind = value["content"].as_object().and_then(|kinds| kinds.values().next());
    // Swagger 2.0 has the schema itself.
    let schema = by_kind.map_or(&value["schema"], |kind| &kind["schema"]);
    Some(all.subject(schema)).filter(|subject| !subject.schema.is_null())
}

impl<'d> Operation<'d> {
    /// What it is about: what it takes, or else what it gives.
    fn subject(&self, all: Description<'d>) -> Option<Subject<'d>> {
        let (taken, given) = (self.taken(all), self.given(all));
        if self.method == "get" { given.or(taken) } else { taken.or(given) }
    }

    /// What its body is.
    fn taken(&self, all: Description<'d>) -> Option<Subject<'d>> {
        // Swagger 2.0 has the body among the parameters.
        let body = self.parameters.iter().find(|one| one["in"] == "body").copied();
        content(all, body.unwrap_or(&self.told["requestBody"]))
    }

    /// What its answer is.
    fn given(&self, all: Description<'d>) -> Option<Subject<'d>> {
        let statuses = ["200", "201", "202", "2XX", "default"];
        statuses.iter().find_map(|status| content(all, &self.told["responses"][*status]))
    }

    /// `orders` of `/v1/orders/{id}`.
    fn resource(&self) -> &'d str {
        let mut parts = self.path.rsplit('/').filter(|part| !part.is_empty());
        parts.find(|part| !part.starts_with('{')).unwrap_or("/")
    }

    fn is_list(&self) -> bool {
        self.method == "get" && !self.path.contains('{')
    }

    /// The parameters of its query.
    fn query(&self) -> impl Iterator<Item = &'d str> {
        let query = self.parameters.iter().filter(|one| one["in"] == "query");
        query.filter_map(|one| one["name"].as_str())
    }

    fn in_path(&self) -> impl Iterator<Item = &'d str> {
        self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
    }
}

/// What is gathered of an object.
#[derive(Default)]
struct Gathered<'d> {
    operations: Vec<String>,
    /// What it is.
    schema: Option<&'d Json>,
    /// What creates it.
    created_by: Option<&'d Json>,
    /// The names that paths call it by.
    keys: Vec<String>,
}

/// The objects, each with what can be done with it: those that the description names, and what lies at
/// a path where it names none.
fn objects<'d>(all: Description<'d>, operations: &[Operation<'d>]) -> Vec<Object> {
    let mut found: BTreeMap<String, Gathered<'d>> = BTreeMap::new();
    let mut by_resource: BTreeMap<&str, String> = BTreeMap::new();
    for operation in operations {
        let subject = operation.subject(all);
        let resource = operation.resource();
        let named = subject.and_then(|subject| subject.name).map(str::to_owned);
        // What takes and gives nothing, such as a DELETE, is about what lies at its path.
        let name = named
            .or_else(|| by_resource.get(resource).cloned())
            .unwrap_or_else(|| resource.to_owned());
        by_resource.entry(resource).or_insert_with(|| name.clone());
        let object = found.entry(name).or_default();
        object.operations.push(operation.title.clone());
        object.schema = object.schema.or(subject.map(|subject| subject.schema));
        object.keys.extend(operation.in_path().map(str::to_owned));
        if operation.method == "post" {
            let taken = operation.taken(all).map(|subject| subject.schema);
            object.created_by = object.created_by.or(taken);
        }
    }
    found.into_iter().map(|(name, gathered)| gathered.object(name, all)).collect()
}

impl<'d> Gathered<'d> {
    /// What must be given is what the body that creates it says: an answer's `required` only says what
    /// is always in it.
    fn object(self, name: String, all: Description<'d>) -> Object {
        let Self { operations, schema, created_by, keys } = self;
        let mut fields = schema.map(|schema| all.fields(schema, &keys)).unwrap_or_default();
        let given = created_by.map(|schema| all.fields(schema, &keys));
        for field in &mut fields {
            let same = given.iter().flatten().find(|one| one.name == field.name);
            field.required =
                given.as_ref().map(|_| same.is_some_and(|same| same.required == Some(true)));
        }
        let known: BTreeSet<_> = fields.iter().map(|field| field.name.clone()).collect();
        let further = given.into_iter().flatten().filter(|field| !known.contains(&field.name));
        fields.extend(further);
        Object { name, operations, fields, ..Object::default() }
    }
}

/// The credentials that it takes, and how a connection gives them.
fn access(description: &Json) -> Vec<String> {
    let schemes = &description["components"]["securitySchemes"];
    let schemes = if schemes.is_null() { &description["securityDefinitions"] } else { schemes };
    let mut all = Vec::new();
    for (name, scheme) in schemes.as_object().into_iter().flatten() {
        let text = |name: &str| scheme[name].as_str().unwrap_or_default();
        let scheme_word = text("scheme").to_lowercase();
        let how = match (text("type"), scheme_word.as_str(), text("in")) {
            ("http", "bearer", _) => "`auth: { bearer: … }`".to_owned(),
            ("http" | "basic", "basic" | "", _) => {
                "`auth: { basic: { user: …, password: … } }`".to_owned()
            }
            ("apiKey", _, "header") => format!("`headers: {{ {}: … }}`", text("name")),
            ("apiKey", _, "query") => {
                format!("the parameter `{}` in the connection's `url`", text("name"))
            }
            ("oauth2", ..) => format!("`auth: {{ oauth2: … }}` ({})", flows(scheme)),
            (kind, ..) => format!("{kind}, which a connection does not speak"),
        };
        all.push(format!("{name}: {how}"));
    }
    if all.is_empty() {
        all.push("the description names no credentials".to_owned());
    }
    all
}

fn flows(scheme: &Json) -> String {
    let flows = scheme["flows"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let flows: Vec<_> = flows.chain(scheme["flow"].as_str()).collect();
    flows.join(", ")
}

/// Whether the application calls us: webhooks that are described, calls back, and paths where one
/// subscribes.
fn webhooks(description: &Json, operations: &[Operation<'_>]) -> Reading {
    let described = [&description["webhooks"], &description["x-webhooks"]];
    let named = described.into_iter().filter_map(Json::as_object).flat_map(|all| all.keys());
    let mut events: BTreeSet<String> = named.cloned().collect();
    for operation in operations {
        let callbacks = operation.told["callbacks"].as_object().into_iter().flatten();
        events.extend(
            callbacks.map(|(name, _)| format!("{name} (called back by {})", operation.title)),
        );
    }
    let subscribes = |operation: &&Operation<'_>| {
        let resource = operation.resource().to_lowercase();
        operation.method == "post"
            && !operation.path.ends_with('}')
            && ["hook", "subscription", "subscribe"].iter().any(|word| resource.contains(word))
    };
    let subscribe: Vec<_> =
        operations.iter().filter(subscribes).map(|one| one.title.clone()).collect();
    let to_do = vec![format!(
        "{}a source `webhook`, whose address the application is given",
        match subscribe.first() {
            Some(title) => format!("subscribe by {title}; then "),
            None => String::new(),
        }
    )];
    if !events.is_empty() {
        let because = format!("it calls us: {}", some(events.iter().map(String::as_str)));
        return Reading { to_do, ..Reading::open(Way::Webhook, because) };
    }
    match subscribe.as_slice() {
        [] => Reading::closed(Way::Webhook, "the description has no webhooks and no callbacks"),
        _ => {
            let paths = some(subscribe.iter().map(String::as_str));
            // `/subscriptions` may be what a shop sells.
            let because =
                format!("it seems that one can subscribe ({paths}); the calls are not described");
            Reading { to_do, ..Reading::unknown(Way::Webhook, because) }
        }
    }
}

/// Whether it can be asked again and again, and what for.
fn poll(operations: &[Operation<'_>]) -> Reading {
    let lists: Vec<_> = operations.iter().filter(|operation| operation.is_list()).collect();
    if lists.is_empty() {
        return Reading::closed(Way::Poll, "the description has no list: every GET wants an id");
    }
    let is = |name: &str, known: &[&str]| known.contains(&name.to_lowercase().as_str());
    let told = |wanted: &dyn Fn(&str) -> bool| {
        let with = lists.iter().filter_map(|list| {
            let names: Vec<_> = list.query().filter(|name| wanted(name)).collect();
            (!names.is_empty()).then(|| format!("{} by {}", list.title, ticked(&names)))
        });
        with.collect::<Vec<_>>()
    };
    let since = told(&|name| {
        let name = name.to_lowercase();
        SINCE.iter().any(|part| name.contains(part))
    });
    let paged = told(&|name| is(name, &PAGING));
    let titles = some(lists.iter().map(|list| list.title.as_str()));
    let mut because = format!("it lists {titles}");
    match since.as_slice() {
        [] => because += "; no parameter asks for changes alone: each poll reads everything",
        some_of => because += &format!("; changes: {}", some(some_of.iter().map(String::as_str))),
    }
    match paged.as_slice() {
        [] => because += "; no parameter of pages is described",
        some_of => because += &format!("; pages: {}", some(some_of.iter().map(String::as_str))),
    }
    let to_do = vec!["a source `poll` with `path`, `pages`, and `changed` or `id`".to_owned()];
    Reading { to_do, ..Reading::open(Way::Poll, because) }
}

fn file() -> Reading {
    let because = "if the application exports files: dropped into a folder for the source `file`";
    Reading::unknown(Way::File, because)
}

/// How it is written, and whether it knows a repeat.
fn writes(operations: &[Operation<'_>]) -> Vec<String> {
    let writing: Vec<_> = operations.iter().filter(|one| one.method != "get").collect();
    if writing.is_empty() {
        return vec!["nothing: the description has no POST, PUT, PATCH or DELETE".to_owned()];
    }
    let titles = some(writing.iter().map(|one| one.title.as_str()));
    let mut all = vec![format!("sink `http`: {titles}")];
    let keyed = writing.iter().find_map(|one| {
        let headers = one.parameters.iter().filter(|parameter| parameter["in"] == "header");
        let mut names = headers.filter_map(|parameter| parameter["name"].as_str());
        names.find(|name| name.to_lowercase().contains("idempotency"))
    });
    all.push(match keyed {
        Some(name) => format!("`idempotency_header: {name}` makes a repeat harmless"),
        None => "no header of an idempotency key is described: a repeated POST may have a second \
                 effect; a PUT replaces"
            .to_owned(),
    });
    all
}

fn limits(operations: &[Operation<'_>]) -> Vec<String> {
    let mut limits = Vec::new();
    if operations.iter().any(|one| one.told["responses"]["429"].is_object()) {
        limits.push(
            "it answers 429 when it is asked too often: give the connection `limits`".to_owned(),
        );
    }
    let mut most: BTreeMap<&str, i64> = BTreeMap::new();
    for one in operations.iter().flat_map(|operation| operation.parameters.iter()) {
        let schema = if one["schema"].is_null() { *one } else { &one["schema"] };
        if let (Some(name), Some(maximum)) = (one["name"].as_str(), schema["maximum"].as_i64())
            && PAGING.contains(&name.to_lowercase().as_str())
        {
            let known = most.entry(name).or_insert(maximum);
            *known = maximum.min(*known);
        }
    }
    limits.extend(most.iter().map(|(name, maximum)| format!("`{name}` is {maximum} at most")));
    if limits.is_empty() {
        limits.push("the description names none".to_owned());
    }
    limits
}

/// The first of several, and how many more there are.
fn some<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let all: Vec<_> = names.collect();
    let shown = all.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn ticked(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
