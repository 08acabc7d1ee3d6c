//! Texts, numbers, true and false against a schema.

use serde_json::{Number, Value as Json};

use super::{Code, Place, Validation, suggestion, types};
use crate::configuration::document::{self, Content, Node};
use crate::configuration::text::Text;
use crate::options::{Listen, Period, Retention, Size, Start};
use crate::outcomes::MaskPath;

impl<'a> Validation<'a> {
    pub(super) fn read_scalar(
        &mut self,
        node: &'a Node,
        schema: &Json,
        types: &[&str],
        place: &Place,
    ) -> Json {
        let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
        let written = self.file.text().get(node.span.clone()).unwrap_or_default();
        if format == "secret" && !written.contains("${") {
            self.secrets.push(node.span.clone());
        }
        // An option that may be a text keeps what is written: `1.10` as a password is no number.
        let as_text = types.contains(&"string");
        let text = match &node.content {
            Content::Text(text) if as_text || types.is_empty() => Some(text.as_str().to_owned()),
            Content::Number(_) | Content::Bool(_) if as_text => Some(written.to_owned()),
            _ => None,
        };
        let Some(text) = text else { return self.read_number(node, schema, place) };
        if let Content::Text(written) = &node.content
            && matches!(format, "expression" | "template")
        {
            self.code.push(Code {
                text: written,
                template: format == "template",
                pointer: place.pointer.clone(),
            });
        }
        self.check_choices(node, &text, schema, place);
        self.check_length(node, &text, schema, place);
        self.check_format(node, &text, format);
        Json::String(text)
    }

    fn check_choices(&mut self, node: &Node, text: &str, schema: &Json, place: &Place) {
        let one = schema.get("const").map(std::slice::from_ref);
        let several = schema.get("enum").and_then(Json::as_array).map(Vec::as_slice);
        let Some(choices) = one.or(several) else { return };
        let choices: Vec<_> = choices.iter().filter_map(Json::as_str).collect();
        if !choices.contains(&text) {
            self.not_one_of(node, text, &choices, place);
        }
    }

    /// A text that is none of a list.
    pub(super) fn not_one_of(&mut self, node: &Node, text: &str, choices: &[&str], place: &Place) {
        let hidden = node.text().is_some_and(Text::is_secret);
        let shown = if hidden { "this value".to_owned() } else { format!("`{text}`") };
        let cause = format!("{shown} is not one of {}: {}", place.noun.trim(), choices.join(", "));
        let hint = if hidden { String::new() } else { suggestion(text, choices) };
        self.wrong(node.span.clone(), "not_one_of", cause, hint);
    }

    fn check_length(&mut self, node: &Node, text: &str, schema: &Json, place: &Place) {
        let least = schema.get("minLength").and_then(Json::as_u64).unwrap_or(0);
        let most = schema.get("maxLength").and_then(Json::as_u64).unwrap_or(u64::MAX);
        let length = text.chars().count() as u64;
        if length == 0 && least > 0 {
            let cause = format!("{} is empty", place.noun);
            self.wrong(node.span.clone(), "empty_value", cause, "");
        } else if length < least || length > most {
            let wanted = match most {
                u64::MAX => format!("at least {least}"),
                _ => format!("{least} to {most}"),
            };
            let cause = format!("{} has {length} characters, and needs {wanted}", place.noun);
            self.wrong(node.span.clone(), "wrong_length", cause, "");
        }
    }

    fn check_format(&mut self, node: &Node, text: &str, format: &str) {
        let (code, wrong) = match format {
            "period" => ("bad_period", Period::parse(text).err()),
            "size" => ("bad_size", Size::parse(text).err()),
            "retention" => ("bad_period", Retention::parse(text).err()),
            "mask" => ("bad_path", MaskPath::parse(text).err()),
            "start" => ("bad_start", Start::parse(text).err()),
            "listen" => ("bad_address", Listen::parse(text).err()),
            _ => return,
        };
        let Some(sentence) = wrong else { return };
        let (cause, hint) = match sentence.split_once("; ") {
            Some((cause, hint)) => (cause.to_owned(), hint.to_owned()),
            None => (sentence, String::new()),
        };
        let hidden = node.text().is_some_and(Text::is_secret);
        let cause =
            if hidden { "the value is not of the form wanted here".to_owned() } else { cause };
        self.wrong(node.span.clone(), code, cause, hint);
    }

    fn read_number(&mut self, node: &Node, schema: &Json, place: &Place) -> Json {
        let typed = node.text().and_then(typed);
        match typed.as_ref().unwrap_or(&node.content) {
            Content::Bool(value) => Json::Bool(*value),
            Content::Number(number) => {
                self.check_range(node, number, schema, place);
                Json::Number(number.clone())
            }
            _ => Json::Null,
        }
    }

    fn check_range(&mut self, node: &Node, number: &Number, schema: &Json, place: &Place) {
        let bound = |word: &str| schema.get(word).and_then(Json::as_f64);
        let (of_type_least, of_type_most) = match schema.get("format").and_then(Json::as_str) {
            Some("uint" | "uint64") => (Some(0.0), None),
            Some("uint32") => (Some(0.0), Some(f64::from(u32::MAX))),
            Some("int32") => (Some(f64::from(i32::MIN)), Some(f64::from(i32::MAX))),
            _ => (None, None),
        };
        let least = bound("minimum").or(of_type_least);
        let most = bound("maximum").or(of_type_most);
        let Some(value) = number.as_f64() else { return };
        let above = bound("exclusiveMinimum").is_none_or(|bound| value > bound);
        let below = bound("exclusiveMaximum").is_none_or(|bound| value < bound);
        let inside =
            least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most);
        if inside && above && below {
            return;
        }
        let wanted = match (least.or(bound("exclusiveMinimum")), most.or(bound("exclusiveMaximum")))
        {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) if above => format!("at least {least}"),
            (Some(least), None) => format!("more than {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => return,
        };
        let cause = format!("{} is {wanted}, not {number}", place.noun);
        self.wrong(node.span.clone(), "out_of_range", cause, "");
    }

    pub(super) fn wrong_type(
        &mut self,
        node: &Node,
        allowed: &[&str],
        schema: &Json,
        place: &Place,
    ) {
        if matches!(node.content, Content::Null) {
            let cause =
                format!("{} has no value, and needs {}", place.noun, wanted(allowed, schema));
            let hint = "";
            self.wrong(place.span.clone(), "empty_value", cause, hint);
            return;
        }
        let cause = format!("{} is {}, not {}", place.noun, wanted(allowed, schema), node.kind());
        let quotable = matches!(node.content, Content::Number(_) | Content::Bool(_));
        let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
        let hint = match node.content {
            Content::Number(ref number) if matches!(format, "period" | "retention") => {
                format!("write its unit, too: {number}s, {number}m, {number}h or {number}d")
            }
            _ if quotable && allowed.contains(&"string") => {
                let written = self.file.text().get(node.span.clone()).unwrap_or_default();
                format!("write it in quotes: \"{written}\"")
            }
            Content::Null | Content::List(_) | Content::Map(_) => fields_hint(schema),
            _ if allowed.contains(&"array") => {
                "write a list: each item on a line of its own after `- `, or `[a, b]`".to_owned()
            }
            Content::Text(ref text) if allowed.contains(&"integer") && !text.is_secret() => {
                number_hint(text.as_str())
            }
            _ => fields_hint(schema),
        };
        self.wrong(node.span.clone(), "wrong_type", cause, hint);
    }
}

/// What a schema wants, for sentences.
pub(super) fn wanted(allowed: &[&str], schema: &Json) -> String {
    let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
    let of_format = match format {
        "period" => "a length of time such as 30s",
        "size" => "a size such as 1MiB",
        "retention" => "a length of time such as 1y, or forever",
        "start" => "beginning, now or a time",
        "listen" => "an address such as 127.0.0.1:8080",
        "expression" | "own_expression" => "an expression, a text in VRL",
        _ => "",
    };
    if !of_format.is_empty() {
        return of_format.to_owned();
    }
    let mut words: Vec<_> = allowed
        .iter()
        .filter_map(|name| match *name {
            "boolean" => Some("true or false"),
            "integer" => Some("a whole number"),
            "number" => Some("a number"),
            "string" => Some("a text"),
            "array" => Some("a list"),
            "object" => Some("a map"),
            _ => None,
        })
        .collect();
    words.dedup();
    words.join(" or ")
}

fn number_hint(text: &str) -> String {
    if text.len() > 1 && text.starts_with('0') && text.chars().all(|c| c.is_ascii_digit()) {
        "a number with a leading zero is read as a text: leave the zero out".to_owned()
    } else {
        String::new()
    }
}

fn fields_hint(schema: &Json) -> String {
    let properties = schema.get("properties").and_then(Json::as_object);
    let names: Vec<_> = properties.into_iter().flat_map(|all| all.keys()).cloned().collect();
    if names.is_empty() || !types(schema).contains(&"object") {
        return String::new();
    }
    format!("its fields are: {}", names.join(", "))
}

/// What a text from a variable says where a number, or true or false, is wanted.
pub(super) fn typed(text: &Text) -> Option<Content> {
    let content = document::plain(text.as_str().trim()).filter(|_| text.is_secret())?;
    matches!(content, Content::Number(_) | Content::Bool(_)).then_some(content)
}

/// Whether a number is whole: `12`, not `12.0` and not `1e3`, which the options' types refuse.
pub(super) fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64()
}
