//! `mask`: hides personal data.

use std::collections::BTreeMap;

use engine::connector::{Findings, Origin, ProcessorConnector, Setup};
use engine::options::Secret;
use engine::{Emit, Event, Fault, Processor, Value};
use hmac::{Hmac, Mac as _};
use schemars::JsonSchema;
use schemas::{Path, Segment};
use serde::Deserialize;
use sha2::Sha256;
use vrl::value::Kind;

/// What stands for a text that is hidden.
const HIDDEN: &str = "***";
/// What stands for all of a text but its end.
const CUT: &str = "****";
/// How many characters [`Way::Last4`] leaves.
const LEFT: usize = 4;

/// What is hidden, and how.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// The values to hide, each by its path and a way: `.customer.email: hash`. `[]` stands for every
    /// item of a list (`.lines[].note`), `.*` for every value of a map. The event's key stays: give
    /// the route a `key` that reads what is hidden.
    #[schemars(extend("minProperties" = 1))]
    paths: BTreeMap<String, Way>,
    /// The secret that `hash` needs: without it, nobody can try out which value a hash is of.
    hash_key: Option<Secret>,
}

/// How a value is hidden. What is null or missing stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// `***` instead of a text.
    Redact,
    /// An HMAC-SHA-256 of a text with `hash_key`, 32 hexadecimal digits: the same for the same text,
    /// so that events can still be joined and counted by it.
    Hash,
    /// `****` and the last four characters of a text; no character of a text of four or fewer.
    Last4,
    /// Null instead of any value.
    Erase,
}

/// Hides values at paths.
pub struct Mask {
    paths: Vec<(Path, Way)>,
    key: Option<Secret>,
}

impl ProcessorConnector for Mask {
    const NAME: &'static str = "mask";
    const SUMMARY: &'static str = "Hides personal data: values at paths, each in its way.";
    const EXAMPLE: &'static str =
        include_str!("../../docs/examples/anonymous-orders/pipeline.yaml");
    type Options = Options;

    fn check(options: &Options, setup: &Setup, findings: &mut Findings) {
        let hashes = options.paths.values().any(|way| *way == Way::Hash);
        if hashes && options.hash_key.is_none() {
            let cause = "`hash` needs a secret: a hash without one can be tried out.";
            findings.route("", "hash_key_missing", cause, "Write `hash_key: \"${MASK_KEY}\"`.");
        }
        for (text, way) in &options.paths {
            if let Some((code, cause, hint)) = mistake(text, *way, setup) {
                findings.route(&pointer(text), code, cause, &hint);
            }
        }
    }

    fn emits(options: &Options, setup: &Setup) -> Option<Kind> {
        let mut emitted = setup.input.clone();
        for (path, way) in paths(options) {
            change(&mut emitted, path.segments(), way);
        }
        Some(emitted)
    }

    fn origin(options: &Options, _: &Setup, path: &Path) -> Option<Origin> {
        let text = path.to_string();
        let masked = options.paths.contains_key(&text);
        masked.then(|| Origin { pointer: pointer(&text), span: None })
    }

    fn build(options: Options, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        let paths: Vec<_> = paths(&options).collect();
        if paths.len() < options.paths.len() {
            let message = format!("The mask of {} names a path that is none.", setup.route);
            return Err(Fault::config("mask", message));
        }
        Ok(Box::new(Self { paths, key: options.hash_key }))
    }
}

/// The paths that are some.
fn paths(options: &Options) -> impl Iterator<Item = (Path, Way)> {
    options.paths.iter().filter_map(|(text, way)| Some((Path::parse(text)?, *way)))
}

fn pointer(path: &str) -> String {
    format!("/paths/{}", path.replace('~', "~0").replace('/', "~1"))
}

/// What is wrong with a path and its way: code, cause and hint.
fn mistake(text: &str, way: Way, setup: &Setup) -> Option<(&'static str, String, String)> {
    let Some(path) = Path::parse(text) else {
        let cause = format!("`{text}` is no path.");
        return Some(("bad_path", cause, "Write `.customer.email` or `.lines[].note`.".into()));
    };
    let kind = at(&setup.input, path.segments());
    if !kind.contains_any_defined() {
        let cause = format!("There is no value at `{text}`: nothing would be hidden.");
        return Some(("unknown_path", cause, nearest(text, setup)));
    }
    let erase = || format!("Erase it, `{text}: erase`, or make a text of it in `map` before.");
    if way == Way::Erase {
        return None;
    }
    let texts = Kind::bytes().or_null().or_undefined();
    if !kind.is_any() && texts.is_superset(&kind).is_err() {
        let cause = format!("`{text}` is {kind}, and only a text can be hidden so.");
        return Some(("wrong_type", cause, erase()));
    }
    // A decimal, a date and an enum are texts in VRL, but what hides them is none of theirs.
    let fields = setup.input_schema.as_ref().map(schemas::Schema::fields).unwrap_or_default();
    let declared = fields.into_iter().find(|field| field.path == path)?.kind;
    let is_text = |kind: &str| kind.split(" or ").all(|one| matches!(one, "string" | "null"));
    (!is_text(&declared)).then(|| {
        let cause = format!("`{text}` is {declared}, and only a text can be hidden so.");
        ("wrong_type", cause, erase())
    })
}

/// Names the paths that the input has.
fn nearest(text: &str, setup: &Setup) -> String {
    let fields = setup.input_schema.as_ref().map(schemas::Schema::fields).unwrap_or_default();
    let known: Vec<String> = fields.iter().map(|field| field.path.to_string()).collect();
    let last = text.rsplit('.').next().unwrap_or_default();
    let alike = known.iter().find(|path| path.rsplit('.').next() == Some(last));
    match alike {
        Some(path) => format!("Did you mean `{path}`?"),
        None if known.is_empty() => String::new(),
        None => format!("The topic's schema has: {}.", known.join(", ")),
    }
}

/// The type of what is at a path; undefined if there is nothing.
fn at(kind: &Kind, path: &[Segment]) -> Kind {
    let Some((first, rest)) = path.split_first() else { return kind.clone() };
    if kind.is_any() {
        return Kind::any();
    }
    let inner = match first {
        Segment::Field(name) => kind.as_object().map(|fields| {
            let known = fields.known().get(&name.as_str().into());
            known.cloned().unwrap_or_else(|| fields.unknown_kind())
        }),
        Segment::Values => kind.as_object().map(vrl::value::kind::Collection::reduced_kind),
        Segment::Items | Segment::Index(_) => {
            kind.as_array().map(vrl::value::kind::Collection::reduced_kind)
        }
    };
    inner.map_or_else(Kind::undefined, |inner| at(&inner, rest))
}

/// Changes the type of what is at a path to that of what hides it.
fn change(kind: &mut Kind, path: &[Segment], way: Way) {
    let Some((first, rest)) = path.split_first() else {
        *kind = hidden(kind, way);
        return;
    };
    match first {
        Segment::Field(name) => {
            let known = kind.as_object_mut().map(|fields| fields.known_mut());
            if let Some(field) = known.and_then(|known| known.get_mut(&name.as_str().into())) {
                change(field, rest, way);
            }
        }
        Segment::Values => {
            if let Some(fields) = kind.as_object_mut() {
                fields.known_mut().values_mut().for_each(|field| change(field, rest, way));
                let mut others = fields.unknown_kind();
                change(&mut others, rest, way);
                fields.set_unknown(others);
            }
        }
        Segment::Items | Segment::Index(_) => {
            if let Some(items) = kind.as_array_mut() {
                items.known_mut().values_mut().for_each(|item| change(item, rest, way));
                let mut others = items.unknown_kind();
                change(&mut others, rest, way);
                items.set_unknown(others);
            }
        }
    }
}

/// The type of what hides a value of this type.
fn hidden(kind: &Kind, way: Way) -> Kind {
    let mut hidden = match way {
        _ if !kind.contains_any_defined() => return kind.clone(),
        Way::Erase => Kind::null(),
        Way::Redact | Way::Hash | Way::Last4 => Kind::bytes(),
    };
    if kind.contains_null() {
        hidden.add_null();
    }
    if kind.contains_undefined() {
        hidden.add_undefined();
    }
    hidden
}

impl Processor for Mask {
    fn process(&self, _: &Event, mut value: Value, out: &mut Emit) -> Result<(), Fault> {
        for (path, way) in &self.paths {
            self.hide(&mut value, path.segments(), *way);
        }
        out.send(value);
        Ok(())
    }
}

impl Mask {
    fn hide(&self, value: &mut Value, path: &[Segment], way: Way) {
        match (path.split_first(), value) {
            (None, Value::Null) => {}
            (None, value) => *value = self.hidden(value, way),
            (Some((Segment::Field(name), rest)), Value::Object(fields)) => {
                if let Some(field) = fields.get_mut(name.as_str()) {
                    self.hide(field, rest, way);
                }
            }
            (Some((Segment::Values, rest)), Value::Object(fields)) => {
                fields.values_mut().for_each(|field| self.hide(field, rest, way));
            }
            (Some((Segment::Items, rest)), Value::Array(items)) => {
                items.iter_mut().for_each(|item| self.hide(item, rest, way));
            }
            (Some((Segment::Index(at), rest)), Value::Array(items)) => {
                if let Some(item) = items.get_mut(*at) {
                    self.hide(item, rest, way);
                }
            }
            // There is nothing to hide where the value has another form.
            (Some(_), _) => {}
        }
    }

    fn hidden(&self, value: &Value, way: Way) -> Value {
        let text = || match value {
            Value::Bytes(text) => String::from_utf8_lossy(text).into_owned(),
            Value::String(text) => text.to_string(),
            other => schemas::json::write(other),
        };
        match way {
            Way::Redact => HIDDEN.into(),
            Way::Hash => self.hash(&text()).into(),
            Way::Last4 => last_four(&text()).into(),
            Way::Erase => Value::Null,
        }
    }

    fn hash(&self, text: &str) -> String {
        let key = self.key.as_ref().map(|key| key.reveal().as_bytes()).unwrap_or_default();
        match Hmac::<Sha256>::new_from_slice(key) {
            Ok(mut mac) => {
                mac.update(text.as_bytes());
                hex::encode(&mac.finalize().into_bytes()[..16])
            }
            // HMAC takes keys of every length; if it did not, nothing would be told.
            Err(_) => HIDDEN.to_owned(),
        }
    }
}

/// The text's last characters, unless they are all of it.
fn last_four(text: &str) -> String {
    let end = text.char_indices().rev().nth(LEFT - 1).map_or(0, |(at, _)| at);
    let left = if end == 0 { "" } else { &text[end..] };
    format!("{CUT}{left}")
}

#[cfg(test)]
mod tests {
    use schemas::events;
    use serde_json::json;

    use super::*;
    use crate::fixture::{findings, order, process, setup};

    fn options(paths: serde_json::Value) -> Options {
        let options = json!({ "paths": paths, "hash_key": "a secret" });
        serde_json::from_value(options).unwrap()
    }

    fn masked(paths: serde_json::Value) -> serde_json::Value {
        let setup = setup(events::ORDER, events::ORDER);
        let mut values = process::<Mask>(options(paths), &setup, order()).unwrap();
        serde_json::to_value(values.remove(0)).unwrap()
    }

    fn found(paths: serde_json::Value) -> String {
        let found = findings::<Mask>("", &options(paths), &setup(events::ORDER, events::ORDER));
        found.join("\n")
    }

    #[test]
    fn values_are_hidden_each_in_its_way_and_others_stay() {
        let masked = masked(json!({
            ".customer.name": "redact", ".customer.email": "hash", ".customer.id": "last4",
            ".customer.address.street": "last4", ".lines[].description": "redact", ".note": "redact",
        }));
        let customer = &masked["customer"];
        assert_eq!(customer["name"], "***");
        assert_eq!(customer["email"].as_str().unwrap().len(), 32);
        assert_eq!(customer["id"], "****", "a short text tells nothing");
        assert_eq!(customer["address"]["street"], "****Paix");
        assert_eq!(customer["address"]["city"], "Paris");
        assert_eq!(masked["lines"][0]["description"], json!(null), "null stays null");
        assert_eq!(masked["lines"][1]["description"], "***");
        assert_eq!((masked["note"].is_null(), &masked["total"]), (true, &json!("61.97")));
    }

    #[test]
    fn a_hash_is_the_same_for_the_same_text_and_key_only() {
        let paths = json!({ ".customer.email": "hash", ".customer.name": "hash" });
        let (one, again) = (masked(paths.clone()), masked(paths.clone()));
        assert_eq!(one, again);
        assert_ne!(one["customer"]["email"], one["customer"]["name"]);
        let other = json!({ "paths": paths, "hash_key": "another" });
        let other: Options = serde_json::from_value(other).unwrap();
        let other = process::<Mask>(other, &setup(events::ORDER, events::ORDER), order()).unwrap();
        let other = serde_json::to_value(&other[0]).unwrap();
        assert_ne!(one["customer"]["email"], other["customer"]["email"]);
    }

    #[test]
    fn what_cannot_be_hidden_so_is_found_before_an_event_comes() {
        assert_eq!(
            found(json!({ ".customer.email": "hash", ".lines[].description": "erase" })),
            ""
        );
        assert_eq!(
            found(json!({ ".custmer.email": "redact" })),
            "unknown_path: There is no value at `.custmer.email`: nothing would be hidden. \
             (Did you mean `.customer.email`?)"
        );
        assert!(found(json!({ ".total": "hash" })).starts_with("wrong_type: `.total` is decimal"));
        assert!(
            found(json!({ ".placed_at": "last4" }))
                .starts_with("wrong_type: `.placed_at` is timestamp")
        );
        assert!(
            found(json!({ "customer": "redact" })).starts_with("bad_path: `customer` is no path")
        );
        let erased = found(json!({ ".customer.name": "erase" }));
        assert!(
            erased.starts_with("wrong_type: `.customer.name` is null, and the output"),
            "{erased}"
        );
    }

    #[test]
    fn a_hash_needs_a_secret() {
        let options = json!({ "paths": { ".note": "hash" } });
        let options: Options = serde_json::from_value(options).unwrap();
        let found = findings::<Mask>("", &options, &setup(events::ORDER, events::ORDER));
        assert!(found[0].starts_with("hash_key_missing: `hash` needs a secret"), "{found:?}");
    }

    #[test]
    fn without_a_schema_nothing_leaks_whatever_the_value_is() {
        let mut setup = setup(events::ORDER, events::ORDER);
        (setup.input, setup.input_schema) = (Kind::any_object(), None);
        let value = vrl::value!({ a: 1_234_567, b: { c: "secret" }, d: [7] });
        let paths = json!({ ".a": "last4", ".b": "redact", ".d[]": "hash", ".x.y": "hash" });
        let mut values = process::<Mask>(options(paths), &setup, value).unwrap();
        let masked = serde_json::to_value(values.remove(0)).unwrap();
        assert_eq!((&masked["a"], &masked["b"]), (&json!("****4567"), &json!("***")));
        assert_eq!(masked["d"][0].as_str().unwrap().len(), 32);
    }
}
