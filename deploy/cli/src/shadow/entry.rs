//! One line of a log: a request that was sent, or would have been.

use serde_json::{Map, Number, Value as Json};

/// How the lines of two logs are held against each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The field of what is sent that names the object; without it, each line's `key` does.
    pub key: Option<FieldPath>,
    /// Fields that are not compared.
    pub ignore: Vec<FieldPath>,
}

/// The way to a field: `customer.id`, `lines[].sku`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// What names the object.
    pub key: String,
    /// What a repeat of the same line has as well: only ours have it.
    pub id: Option<String>,
    /// What was done, if the line tells it.
    pub operation: Option<String>,
    /// What was given, as canonical JSON without the fields that are not compared; or why nothing
    /// would have been sent.
    pub payload: Result<String, String>,
}

impl std::str::FromStr for FieldPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim_start_matches('.');
        let steps: Vec<String> = text.replace("[]", ".[]").split('.').map(str::to_owned).collect();
        match steps.iter().any(String::is_empty) {
            true => Err("write a field as `customer.id` or `lines[].sku`".to_owned()),
            false => Ok(Self(steps)),
        }
    }
}

impl Entry {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &[u8], terms: &Terms) -> Result<Self, String> {
        let json: Json =
            serde_json::from_slice(line).map_err(|error| format!("it is not JSON: {error}"))?;
        let Json::Object(mut fields) = json else { return Err("it is no JSON object".to_owned()) };
        let (id, given) = (text(fields.get("id")), text(fields.get("key")));
        if let Some(refused) = text(fields.get("refused")) {
            return Ok(Self {
                key: given.unwrap_or_default(),
                id,
                operation: None,
                payload: Err(refused),
            });
        }
        let operation = text(fields.get("operation"));
        let Some(mut payload) = fields.remove("payload") else {
            return Err("it has no `payload`".to_owned());
        };
        let named = match &terms.key {
            None => given.ok_or_else(|| {
                "it has no `key`; `--key FIELD` takes it from the payload".to_owned()
            }),
            // A deletion has no payload that could tell.
            Some(FieldPath(path)) => text(at(&payload, path)).or(given).ok_or_else(|| {
                format!("its payload has no text or number in `{}`", path.join("."))
            }),
        };
        terms.ignore.iter().for_each(|FieldPath(path)| remove(&mut payload, path));
        Ok(Self { key: named?, id, operation, payload: Ok(canonical(payload).to_string()) })
    }
}

/// A text or a number as a text.
fn text(value: Option<&Json>) -> Option<String> {
    match value? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn at<'j>(json: &'j Json, path: &[String]) -> Option<&'j Json> {
    path.iter().try_fold(json, |json, name| json.get(name))
}

fn remove(json: &mut Json, path: &[String]) {
    match (path, json) {
        ([all, rest @ ..], Json::Array(items)) if all == "[]" => {
            items.iter_mut().for_each(|item| remove(item, rest));
        }
        ([last], Json::Object(fields)) => drop(fields.remove(last)),
        ([name, rest @ ..], Json::Object(fields)) => {
            fields.get_mut(name).into_iter().for_each(|value| remove(value, rest));
        }
        _ => {}
    }
}

/// The same, so that what means the same reads the same: fields sorted, numbers without the zeros that
/// say nothing. A number and a text stay different: the target sees the difference.
fn canonical(json: Json) -> Json {
    match json {
        Json::Object(fields) => {
            let mut fields: Vec<(String, Json)> =
                fields.into_iter().map(|(name, value)| (name, canonical(value))).collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            Json::Object(fields.into_iter().collect::<Map<_, _>>())
        }
        Json::Array(items) => items.into_iter().map(canonical).collect(),
        Json::Number(number) => {
            let plain = plain(&number.to_string());
            Json::Number(plain.parse::<Number>().unwrap_or(number))
        }
        other => other,
    }
}

/// `1.50` and `1.5`, `2.0` and `2` are the same number; what has an exponent stays as it is.
fn plain(number: &str) -> String {
    if number.contains(['e', 'E']) {
        return number.to_owned();
    }
    let short = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(line: &str, terms: &Terms) -> String {
        Entry::read(line.as_bytes(), terms).unwrap().payload.unwrap()
    }

    #[test]
    fn what_means_the_same_reads_the_same() {
        let terms = Terms::default();
        let one = payload(r#"{"key":1,"payload":{"b":2.50,"a":[1.0,-0]}}"#, &terms);
        assert_eq!(one, payload(r#"{"key":"1","payload":{"a":[1,0.0],"b":2.5}}"#, &terms));
        let text = payload(r#"{"key":1,"payload":{"a":[1,0],"b":"2.5"}}"#, &terms);
        assert_ne!(one, text, "a text is no number");
        let precise = r#"{"key":1,"payload":0.10000000000000000001}"#;
        assert_eq!(payload(precise, &terms), "0.10000000000000000001");
    }

    #[test]
    fn fields_that_are_not_compared_are_left_out_wherever_they_lie() {
        let ignore = ["lines[].id", ".at"].map(|path| path.parse().unwrap()).to_vec();
        let terms = Terms { key: Some("order.id".parse().unwrap()), ignore };
        let line = br#"{"payload":{"order":{"id":7},"at":"now","lines":[{"id":1,"sku":"A"}]}}"#;
        let entry = Entry::read(line, &terms).unwrap();
        assert_eq!(entry.key, "7");
        assert_eq!(entry.payload.unwrap(), r#"{"lines":[{"sku":"A"}],"order":{"id":7}}"#);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        let keyed = Terms { key: Some("id".parse().unwrap()), ..Terms::default() };
        for (line, terms, cause) in [
            ("{", &Terms::default(), "not JSON"),
            ("[]", &Terms::default(), "no JSON object"),
            (r#"{"key":"a"}"#, &Terms::default(), "no `payload`"),
            (r#"{"payload":{}}"#, &Terms::default(), "no `key`"),
            (r#"{"payload":{}}"#, &keyed, "`id`"),
        ] {
            let told = Entry::read(line.as_bytes(), terms).unwrap_err();
            assert!(told.contains(cause), "{line}: {told}");
        }
        assert!("a..b".parse::<FieldPath>().is_err());
    }
}
