//! Personal data that outcomes must not hold.

use std::fmt::Write as _;

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use vrl::path::{OwnedValuePath, PathPrefix, parse_target_path};
use vrl::value::Kind;

use super::Policy;
use crate::Value;
use crate::address::encoded;
use crate::options::Secret;

/// What stands for a value that is hidden.
const HIDDEN: &str = "***";
/// What stands for a whole text, where it is not known which values would have to be hidden.
const UNREAD: &str = "hidden: the event's value was not read";

/// The place of a value that outcomes must not hold: `.customer.email`, or `%key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskPath(Place);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Key,
    Value(OwnedValuePath),
}

impl MaskPath {
    /// Reads a path in VRL's form.
    ///
    /// # Errors
    /// A sentence that shows the forms that are understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "%key" {
            return Ok(Self(Place::Key));
        }
        match parse_target_path(text) {
            Ok(path) if path.prefix == PathPrefix::Event && text.starts_with('.') => {
                Ok(Self(Place::Value(path.path)))
            }
            _ => Err(format!(
                "`{text}` names no value; write a path such as .customer.email, or %key"
            )),
        }
    }

    /// Whether values of this type have something there.
    pub(crate) fn is_in(&self, kind: &Kind) -> bool {
        match &self.0 {
            Place::Key => true,
            Place::Value(path) => !kind.at_path(path).is_undefined(),
        }
    }
}

/// What a pipeline hides, and how.
#[derive(Debug)]
pub(super) struct Mask {
    paths: Vec<OwnedValuePath>,
    key: bool,
    hash_key: Option<Secret>,
}

/// What is to be hidden of one event.
pub(super) struct Hidden<'a> {
    mask: &'a Mask,
    /// `None` when it is not known: then everything is.
    values: Option<Vec<String>>,
}

impl Mask {
    pub fn new(policy: &Policy) -> Self {
        let paths = policy.mask.iter().filter_map(|path| match &path.0 {
            Place::Value(path) => Some(path.clone()),
            Place::Key => None,
        });
        let key = policy.mask.iter().any(|path| path.0 == Place::Key);
        Self { paths: paths.collect(), key, hash_key: policy.hash_key.clone() }
    }

    /// Whether events' values have to be looked at.
    pub fn reads_values(&self) -> bool {
        !self.paths.is_empty()
    }

    /// What is to be hidden of an event with this value; `None` where it was not read.
    pub fn of(&self, value: Option<&Value>) -> Hidden<'_> {
        let values = match value {
            _ if self.paths.is_empty() => Some(Vec::new()),
            None => None,
            Some(value) => {
                let mut texts = Vec::new();
                self.paths.iter().filter_map(|path| value.get(path)).for_each(|found| {
                    collect(found, &mut texts);
                });
                written(&mut texts);
                // The longest first, so that one which holds another is hidden whole.
                texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
                Some(texts)
            }
        };
        Hidden { mask: self, values }
    }
}

impl Hidden<'_> {
    /// Hides the values in a text.
    pub fn hide(&self, text: &mut String) {
        match &self.values {
            None => UNREAD.clone_into(text),
            Some(values) => {
                for value in values {
                    if text.contains(value.as_str()) {
                        *text = text.replace(value.as_str(), HIDDEN);
                    }
                }
            }
        }
    }

    /// A key as it is kept: hashed if it is one of the values, or could be.
    pub fn key(&self, key: &[u8]) -> String {
        let text = key_text(key);
        let hide = self.mask.key
            || self
                .values
                .as_ref()
                .is_none_or(|values| values.iter().any(|value| text.contains(value)));
        if hide { hashed_key(&text, self.mask.hash_key.as_ref()) } else { text }
    }
}

/// The texts of a value and of everything in it.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|value| collect(value, texts)),
        Value::Array(items) => items.iter().for_each(|value| collect(value, texts)),
        Value::Null | Value::Boolean(_) => {}
        scalar => {
            let text = scalar.to_string_lossy().into_owned();
            if !text.is_empty() {
                texts.push(text);
            }
        }
    }
}

/// Adds how texts are written in addresses and in JSON: messages show what was asked, and answers.
fn written(texts: &mut Vec<String>) {
    for index in 0..texts.len() {
        let text = &texts[index];
        let json = serde_json::Value::from(text.as_str()).to_string();
        let json = json[1..json.len() - 1].to_owned();
        let address = encoded(text).into_owned();
        let other = [address, json].into_iter().filter(|form| form != text).collect::<Vec<_>>();
        texts.extend(other);
    }
}

/// A key as outcomes keep it: the text, or hexadecimal where it is none.
pub fn key_text(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("0x{}", hex::encode(key)),
    }
}

/// A masked key as outcomes keep it: `hmac:` (with the pipeline's `hash_key`) or `sha256:`, and the
/// first 16 bytes of the hash.
pub fn hashed_key(key: &str, hash_key: Option<&Secret>) -> String {
    let keyed = hash_key.and_then(|secret| {
        // HMAC takes keys of any length: an error cannot come.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).ok()?;
        mac.update(key.as_bytes());
        Some(("hmac:", mac.finalize().into_bytes()))
    });
    let (form, hash) = keyed.unwrap_or_else(|| ("sha256:", Sha256::digest(key.as_bytes())));
    let mut text = form.to_owned();
    for byte in hash.iter().take(16) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str], hash_key: Option<&str>) -> Mask {
        Mask::new(&Policy {
            mask: paths.iter().map(|path| MaskPath::parse(path).unwrap()).collect(),
            hash_key: hash_key.map(Secret::new),
            ..Policy::default()
        })
    }

    fn order() -> Value {
        vrl::value!({
            id: "O-1",
            customer: { email: "ann@example.com", address: { city: "Bern", number: 12 } },
        })
    }

    fn hidden(mask: &Mask, value: Option<&Value>, text: &str) -> String {
        let mut text = text.to_owned();
        mask.of(value).hide(&mut text);
        text
    }

    #[test]
    fn named_values_and_all_that_is_in_them_are_hidden_in_answers() {
        let mask = mask(&[".customer"], None);
        let text = "party ann@example.com of Bern 12 created for O-1";
        assert_eq!(hidden(&mask, Some(&order()), text), "party *** of *** *** created for O-1");
    }

    #[test]
    fn values_are_hidden_in_addresses_and_in_json_too() {
        let mask = mask(&[".customer"], None);
        let value = vrl::value!({ customer: { email: "ann@example.com", name: "Zoë \"Zo\" Li" } });
        let text = r#"POST /parties/ann%40example.com?of=Zo%C3%AB%20%22Zo%22%20Li: {"name":"Zoë \"Zo\" Li"}"#;
        let kept = r#"POST /parties/***?of=***: {"name":"***"}"#;
        assert_eq!(hidden(&mask, Some(&value), text), kept);
    }

    #[test]
    fn where_the_value_was_not_read_nothing_of_the_answer_is_kept() {
        let mask = mask(&[".customer.email"], None);
        assert_eq!(hidden(&mask, None, "ann@example.com"), UNREAD);
        assert!(mask.of(None).key(b"ann@example.com").starts_with("sha256:"));
    }

    #[test]
    fn a_key_that_is_a_hidden_value_is_hashed_and_others_stay() {
        let mask = mask(&[".customer.email"], None);
        let value = order();
        let of = mask.of(Some(&value));
        assert_eq!(of.key(b"ann@example.com"), hashed_key("ann@example.com", None));
        assert_eq!(of.key(b"O-1"), "O-1");
        assert_eq!(of.key(b"\xff\x01"), "0xff01");
    }

    #[test]
    fn every_key_can_be_hashed_with_a_key_of_ones_own() {
        let mask = mask(&["%key"], Some("pepper"));
        let key = mask.of(Some(&order())).key(b"O-1");
        assert!(key.starts_with("hmac:") && key.len() == 5 + 32, "{key}");
        assert_eq!(key, hashed_key("O-1", Some(&Secret::new("pepper"))));
        assert_ne!(key, hashed_key("O-1", Some(&Secret::new("salt"))));
        assert!(!mask.reads_values());
    }

    #[test]
    fn what_names_no_value_is_refused() {
        for text in ["customer.email", "%headers.x", "", ".a b["] {
            assert!(
                MaskPath::parse(text).is_err_and(|why| why.contains(".customer.email")),
                "{text}"
            );
        }
    }
}
