//! Connections to described applications: their options, and what requests carry because of them.

use engine::connector::{Findings, schema_of};
use engine::expression::{Own, Template};
use engine::options::Secret;
use engine::{Event, Fault, Value};
use exchange::{Connection, Limits, Target, encoded, escaped};
use serde_json::{Map, Value as Json, json};
use vrl::value::{Kind, ObjectMap};

use super::description::{Auth, Description, Setting, Text};
use super::request::{Common, Compiler, add_parameter};

/// A connection, as requests need it.
pub(super) struct Connected {
    pub connection: Connection,
    pub common: Common,
    /// The settings that no message may show.
    pub secrets: Vec<Secret>,
    /// Its settings but for the secret ones.
    pub settings: Value,
}

/// What a description's texts read: the connection's settings.
struct Settings {
    all: Event,
    given: Vec<String>,
}

/// The JSON Schema of a connection to the application.
pub(super) fn schema(description: &Description) -> schemars::Schema {
    let mut schema = schema_of::<Target>();
    let limits = schema_of::<Limits>().to_value();
    let Some(object) = schema.as_object_mut() else { return schema };
    let mut properties = Map::new();
    if let Some(Json::Object(own)) = object.remove("properties") {
        properties.extend(own);
    }
    if let Some(url) = &description.url {
        properties["url"]["description"] =
            format!("Its address, where that is not `{}`: a sandbox, say.", url.0.0).into();
    }
    properties.insert("limits".to_owned(), limits);
    let mut required: Vec<Json> = Vec::new();
    if description.url.is_none() {
        required.push("url".into());
    }
    for (name, setting) in &description.settings {
        let mut property =
            json!({ "type": ["string", "number"], "description": setting.description });
        if setting.secret {
            property["format"] = "secret".into();
        }
        match &setting.default {
            Some(default) => property["default"] = default.as_str().into(),
            None if !setting.optional => required.push(name.as_str().into()),
            None => {}
        }
        properties.insert(name.clone(), property);
    }
    object.insert("properties".to_owned(), properties.into());
    object.insert("required".to_owned(), required.into());
    object.remove("title");
    schema
}

/// Looks for mistakes in a connection.
pub(super) fn check(description: &Description, options: &Json, findings: &mut Findings) {
    match connect(description, options) {
        Ok(connected) => connected.connection.check(findings),
        Err(fault) => findings.connection("", "connection", fault.message, ""),
    }
}

/// Compiles the texts of a description that settings are put into.
pub(super) fn compile(description: &Description, compiler: &mut Compiler) {
    let Description { url, headers, query, auth, settings, .. } = description;
    let mut all: Vec<(String, &Text)> = Vec::new();
    all.extend(url.iter().map(|text| ("/url".to_owned(), text)));
    all.extend(headers.iter().map(|(name, text)| (format!("/headers/{}", escaped(name)), text)));
    all.extend(query.iter().map(|(name, text)| (format!("/query/{}", escaped(name)), text)));
    for (at, auth) in auth.iter().enumerate() {
        all.extend(texts(auth).into_iter().map(|text| (format!("/auth/{at}"), text)));
    }
    for (pointer, text) in all {
        compiler.text(text, &pointer);
        let unknown = named(text).into_iter().find(|name| !settings.contains_key(name));
        if let Some(name) = unknown {
            let cause = format!("`.{name}` is no setting of the application.");
            compiler.wrong(&pointer, "unknown_setting", cause, "Declare it in `settings`.");
        }
    }
}

/// What requests need of a connection with these options.
///
/// # Errors
/// A `Config` fault: its credentials are incomplete, or a text cannot be filled in.
pub(super) fn connect(description: &Description, options: &Json) -> Result<Connected, Fault> {
    let settings = Settings::of(description, options);
    let mut connection = Map::new();
    for name in ["allow_private", "timeout", "tls"] {
        if let Some(value) = options.get(name) {
            connection.insert(name.to_owned(), value.clone());
        }
    }
    let limits = options.get("limits").cloned();
    let own = description.limits.and_then(|limits| serde_json::to_value(limits).ok());
    if let Some(limits) = limits.or(own) {
        connection.insert("limits".to_owned(), limits);
    }
    let url = match (options.get("url").and_then(Json::as_str), &description.url) {
        (Some(url), _) => url.to_owned(),
        (None, Some(url)) => settings.fill_encoded(url)?,
        (None, None) => String::new(),
    };
    connection.insert("url".to_owned(), url.into());
    let mut headers = Map::new();
    for (name, text) in description.headers.iter().filter(|(_, text)| settings.has(text)) {
        headers.insert(name.clone(), settings.fill(text)?.into());
    }
    if !description.auth.is_empty() {
        let auth = settings.chosen(&description.auth)?;
        settings.add_auth(auth, &mut connection, &mut headers)?;
    }
    connection.insert("headers".to_owned(), headers.into());
    let connection = serde_json::from_value(connection.into()).map_err(|error| {
        Fault::config("connection", format!("The connection is wrong: {error}."))
    })?;
    let mut query = String::new();
    for (name, text) in description.query.iter().filter(|(_, text)| settings.has(text)) {
        let text = settings.fill(text)?;
        add_parameter(&mut query, &format!("{}={}", encoded(name), encoded(&text)));
    }
    let query = query.trim_start_matches('?').to_owned();
    let common = Common { encoding: description.encoding, query };
    let secret = |(name, _): (&String, &Setting)| options.get(name)?.as_str().map(Secret::new);
    let secrets = description.settings.iter().filter(|(_, setting)| setting.secret);
    let secrets = secrets.filter_map(secret).collect();
    Ok(Connected { connection, common, secrets, settings: settings.shown(description) })
}

impl Settings {
    fn of(description: &Description, options: &Json) -> Self {
        let mut fields = ObjectMap::new();
        let mut given = Vec::new();
        for (name, setting) in &description.settings {
            let text = match options.get(name) {
                Some(Json::String(text)) => Some(text.clone()),
                Some(Json::Number(number)) => Some(number.to_string()),
                _ => setting.default.clone(),
            };
            if let Some(text) = text {
                given.push(name.clone());
                fields.insert(name.as_str().into(), Value::from(text));
            }
        }
        Self { all: Event::of_value(Value::Object(fields)), given }
    }

    /// What requests may read of them.
    fn shown(&self, description: &Description) -> Value {
        let fields = self.all.value.as_ref().and_then(Value::as_object).into_iter().flatten();
        let public = |name: &str| description.settings.get(name).is_some_and(|one| !one.secret);
        let public = fields.filter(|(name, _)| public(name.as_str()));
        Value::Object(public.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn fill(&self, text: &Text) -> Result<String, Fault> {
        self.compiled(text)?.render(&self.all)
    }

    /// The same with what is put in percent-encoded.
    fn fill_encoded(&self, text: &Text) -> Result<String, Fault> {
        self.compiled(text)?.render_with(&self.all, encoded)
    }

    fn compiled(&self, Own(text): &Text) -> Result<engine::expression::CompiledTemplate, Fault> {
        Template::compile(text, &Kind::any()).map_err(|found| {
            let found = engine::expression::sentence(&found);
            Fault::config("description", format!("`{}` cannot be compiled: {found}", text.0))
        })
    }

    /// The first way whose settings are all given.
    fn chosen<'d>(&self, ways: &'d [Auth]) -> Result<&'d Auth, Fault> {
        let complete = |auth: &&Auth| {
            let needed = needed(auth).into_iter().flat_map(named);
            needed.into_iter().all(|name| self.given.contains(&name))
        };
        ways.iter().find(complete).ok_or_else(|| {
            let way = |auth: &Auth| {
                let names = needed(auth).into_iter().flat_map(named);
                names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            };
            let ways = ways.iter().map(way).collect::<Vec<_>>().join("; or ");
            Fault::config("credentials", format!("Credentials are missing: give {ways}."))
        })
    }

    fn add_auth(
        &self,
        auth: &Auth,
        connection: &mut Map<String, Json>,
        headers: &mut Map<String, Json>,
    ) -> Result<(), Fault> {
        let auth = match auth {
            Auth::Bearer(token) => json!({ "bearer": self.fill(token)? }),
            Auth::Basic { user, password } => {
                json!({ "basic": { "user": self.fill(user)?, "password": self.fill(password)? } })
            }
            Auth::Headers(all) => {
                for (name, text) in all {
                    headers.insert(name.clone(), self.fill(text)?.into());
                }
                return Ok(());
            }
            Auth::Oauth2(oauth2) => {
                let mut client = json!({
                    "token_url": self.fill(&oauth2.token_url)?,
                    "client_id": self.fill(&oauth2.client_id)?,
                    "client_secret": self.fill(&oauth2.client_secret)?,
                    "credentials_in": oauth2.credentials_in,
                });
                let further = [("refresh_token", &oauth2.refresh_token), ("store", &oauth2.store)];
                for (name, text) in further {
                    let text = text.as_ref().filter(|text| self.has(text));
                    if let Some(text) = text {
                        client[name] = self.fill(text)?.into();
                    }
                }
                if let Some(scope) = &oauth2.scope {
                    client["scope"] = scope.as_str().into();
                }
                json!({ "oauth2": client })
            }
        };
        connection.insert("auth".to_owned(), auth);
        Ok(())
    }

    fn has(&self, text: &Text) -> bool {
        named(text).iter().all(|name| self.given.contains(name))
    }
}

/// The texts of a way in.
fn texts(auth: &Auth) -> Vec<&Text> {
    let mut all = needed(auth);
    if let Auth::Oauth2(oauth2) = auth {
        all.extend([&oauth2.refresh_token, &oauth2.store].into_iter().flatten());
    }
    all
}

/// The texts of a way in that it cannot do without.
fn needed(auth: &Auth) -> Vec<&Text> {
    match auth {
        Auth::Bearer(token) => vec![token],
        Auth::Basic { user, password } => vec![user, password],
        Auth::Headers(all) => all.values().collect(),
        Auth::Oauth2(oauth2) => vec![&oauth2.token_url, &oauth2.client_id, &oauth2.client_secret],
    }
}

/// The settings that a text names: what stands after a point between its braces.
fn named(text: &Text) -> Vec<String> {
    let inserted = text.0.0.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let word = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    inserted
        .flat_map(|code| code.split('.').skip(1).map(word).collect::<Vec<_>>())
        .filter(|name| !name.is_empty())
        .collect()
}
