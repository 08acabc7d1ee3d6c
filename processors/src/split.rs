//! `split`: makes an event of each item of a list.

use std::collections::HashSet;

use engine::connector::{Finding, Findings, Place, ProcessorConnector, Setup};
use engine::expression::{self, Diagnostic, Expression, Own, Program};
use engine::{Emit, Event, Fault, Processor, Value};
use schemars::JsonSchema;
use serde::Deserialize;
use vrl::value::Kind;
use vrl::value::kind::Field;

/// The list, and what tells its items apart.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Options {
    /// The list: VRL that gives one, such as `.lines`.
    items: Expression,
    /// What tells the items of one event apart, VRL that reads the item: `.sku`. The item's event has
    /// the id of its event, a slash, and this, so it must be the same whenever the event comes again.
    /// Without it, the item's number, from 1: then the application must keep the order of its items.
    id: Option<Own<Expression>>,
    /// A field of each item that gets the whole event, for what the items need of it.
    with_event: Option<String>,
}

/// Makes an event of each item of a list.
pub struct Split {
    items: Program,
    id: Option<Program>,
    with_event: Option<String>,
}

impl ProcessorConnector for Split {
    const NAME: &'static str = "split";
    const SUMMARY: &'static str =
        "Makes an event of each item of a list, with an id of its own below that of its event.";
    const EXAMPLE: &'static str = include_str!("../../docs/examples/order-lines/pipeline.yaml");
    type Options = Options;

    fn check(options: &Options, setup: &Setup, findings: &mut Findings) {
        // An `items` that does not compile is reported with every other expression of the file.
        let Ok(program) = options.items.compile(setup) else { return };
        if !program.kind().is_array() {
            return findings.0.push(not_a_list(&options.items, program.kind()));
        }
        let Some(item) = item(&program) else { return };
        if options.with_event.is_some() && !item.is_object() {
            let cause = format!("Only a map has room for the event; an item may be {item}.");
            let hint = "Make a map of each: `map_values(.tags) -> |tag| { { \"tag\": tag } }`.";
            findings.route("/with_event", "not_a_map", cause, hint);
            return;
        }
        let Some(Own(id)) = &options.id else { return };
        let Some(emitted) = Self::emits(options, setup) else { return };
        match id.compile(&emitted) {
            Ok(program) => findings.0.extend(unfit_for_id(id, program.kind())),
            Err(mistakes) => {
                let findings_of = |one: Diagnostic| one.finding(Place::Route, "/id");
                findings.0.extend(mistakes.into_iter().map(findings_of));
            }
        }
    }

    fn emits(options: &Options, setup: &Setup) -> Option<Kind> {
        let mut item = item(&options.items.compile(setup).ok()?)?;
        if let Some(name) = &options.with_event {
            let fields = item.as_object_mut()?;
            fields.known_mut().insert(Field::from(name.as_str()), setup.input.clone());
        }
        Some(item)
    }

    fn build(options: Options, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        let wrong = |mistakes: Vec<Diagnostic>| {
            let mistakes = expression::sentence(&mistakes);
            Fault::config("split", format!("The split of {} is wrong: {mistakes}", setup.route))
        };
        let items = options.items.compile(setup).map_err(wrong)?;
        let emitted = Self::emits(&options, setup).unwrap_or_else(Kind::any);
        let id = options.id.map(|Own(id)| id.compile(&emitted)).transpose().map_err(wrong)?;
        Ok(Box::new(Self { items, id, with_event: options.with_event }))
    }
}

/// The type of the items of a list.
fn item(items: &Program) -> Option<Kind> {
    let list = items.kind().as_array()?;
    Some(list.reduced_kind().without_undefined())
}

fn not_a_list(items: &Expression, kind: &Kind) -> Finding {
    let text = items.0.trim_end();
    let hint = match kind.contains_null() && kind.contains_array() {
        true => format!("Say what to take instead of null: `{text} || []`."),
        false => format!("Name a list, or assert that it is one: `array!({text})`."),
    };
    Finding {
        place: Place::Route,
        pointer: "/items".to_owned(),
        span: Some(0..text.len()),
        warning: false,
        code: "not_a_list",
        cause: format!("What is split is a list; this one may be {kind}."),
        hint: Some(hint),
    }
}

fn unfit_for_id(id: &Expression, kind: &Kind) -> Option<Finding> {
    if Kind::bytes().or_integer().is_superset(kind).is_ok() {
        return None;
    }
    let text = id.0.trim_end();
    Some(Finding {
        place: Place::Route,
        pointer: "/id".to_owned(),
        span: Some(0..text.len()),
        warning: false,
        code: "not_an_id",
        cause: format!("An id is a text or a whole number; this one may be {kind}."),
        hint: Some(format!("Assert it, `string!({text})`: an item without one is a mistake.")),
    })
}

impl Processor for Split {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        let items = match self.items.run(event, &value)? {
            Value::Array(items) => items,
            other => {
                let message = format!("What is split is {}, not a list.", other.kind_str());
                return Err(Fault::data("split_failed", message));
            }
        };
        let mut ids = HashSet::with_capacity(items.len());
        for (number, item) in (1..).zip(items) {
            let item = self.with_event(item, &value)?;
            let id = self.id(event, &item, number)?;
            out.send_child(event, &id, item);
            if let Some(id) = ids.replace(id) {
                let message = format!("Two items have the id `{id}`: ids tell items apart.");
                return Err(Fault::data("split_id_twice", message));
            }
        }
        Ok(())
    }
}

impl Split {
    fn with_event(&self, mut item: Value, event: &Value) -> Result<Value, Fault> {
        let Some(name) = &self.with_event else { return Ok(item) };
        if let Some(fields) = item.as_object_mut() {
            fields.insert(name.as_str().into(), event.clone());
            return Ok(item);
        }
        let kind = item.kind_str();
        let message = format!("An item is {kind}, which has no room for `{name}`.");
        Err(Fault::data("split_failed", message))
    }

    fn id(&self, event: &Event, item: &Value, number: usize) -> Result<String, Fault> {
        let Some(id) = &self.id else { return Ok(number.to_string()) };
        let unfit = |what: &str| {
            let message =
                format!("The id of item {number} is {what}, not a text or a whole number.");
            Err(Fault::data("split_id_invalid", message))
        };
        match id.run(event, item)? {
            Value::Bytes(text) if text.is_empty() => unfit("empty"),
            Value::String(text) if text.is_empty() => unfit("empty"),
            Value::Bytes(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Value::String(text) => Ok(text.to_string()),
            Value::Integer(number) => Ok(number.to_string()),
            other => unfit(other.kind_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::event::CE_ID;
    use schemas::events;
    use serde_json::json;

    use super::*;
    use crate::fixture::{emitted, findings, order, setup};

    fn options(options: serde_json::Value) -> Options {
        serde_json::from_value(options).unwrap()
    }

    /// The ids and values of the events that an order becomes.
    fn split(given: serde_json::Value) -> Result<Vec<(String, serde_json::Value)>, Fault> {
        let setup = setup(events::ORDER, events::ORDER);
        let emitted = emitted::<Split>(options(given), &setup, order())?;
        let child = |one: engine::Emitted| {
            let child = one.child.unwrap();
            assert_eq!(child.key.as_deref(), Some(&b"c-7"[..]), "the key stays");
            (
                child.headers.text(CE_ID).unwrap().to_owned(),
                serde_json::to_value(one.value).unwrap(),
            )
        };
        Ok(emitted.into_iter().map(child).collect())
    }

    fn found(given: serde_json::Value) -> Vec<String> {
        let text = given["items"].as_str().unwrap().to_owned();
        let setup = Setup { output_schema: None, ..setup(events::ORDER, events::ORDER) };
        findings::<Split>(&text, &options(given), &setup)
    }

    #[test]
    fn each_line_of_an_order_becomes_an_event_with_an_id_below_the_orders() {
        let lines = split(json!({ "items": ".lines", "id": ".sku" })).unwrap();
        let ids: Vec<_> = lines.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["shop.orders/0/7/tea", "shop.orders/0/7/cup"]);
        assert_eq!(lines[1].1["unit_price"], json!("4.00"));
        let numbered = split(json!({ "items": ".lines" })).unwrap();
        let ids: Vec<_> = numbered.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["shop.orders/0/7/1", "shop.orders/0/7/2"]);
    }

    #[test]
    fn an_item_may_hold_the_event_that_it_is_of() {
        let given = json!({ "items": ".lines", "id": ".order.id + .sku", "with_event": "order" });
        assert_eq!(found(given.clone()), [""; 0]);
        let lines = split(given).unwrap();
        assert_eq!(lines[0].0, "shop.orders/0/7/o-1001tea");
        assert_eq!(lines[0].1["order"]["customer"]["name"], json!("Ada Lovelace"));
    }

    #[test]
    fn an_empty_list_becomes_nothing() {
        assert_eq!(split(json!({ "items": "[]" })).unwrap(), []);
    }

    #[test]
    fn two_items_of_one_id_send_the_event_to_the_dead_letters() {
        let given =
            json!({ "items": "map_values(.lines) -> |_l| { { \"sku\": \"tea\" } }", "id": ".sku" });
        let fault = split(given).unwrap_err();
        assert_eq!((fault.domain, fault.cause), (engine::Domain::Data, "split_id_twice"));
        assert!(fault.message.contains("`tea`"), "{fault}");
        let fault = split(json!({ "items": ".lines", "id": "\"\"" })).unwrap_err();
        assert_eq!(fault.message, "The id of item 1 is empty, not a text or a whole number.");
    }

    #[test]
    fn what_cannot_be_split_is_found_before_an_event_comes() {
        let one = |given: serde_json::Value| {
            let all = found(given);
            let [one] = &all[..] else { panic!("{all:?}") };
            one.clone()
        };
        let of_text = one(json!({ "items": ".currency" }));
        assert!(of_text.starts_with("not_a_list at \".currency\": What is split is"), "{of_text}");
        let no_map = one(json!({ "items": "[.id]", "with_event": "order" }));
        assert!(no_map.starts_with("not_a_map: Only a map"), "{no_map}");
        let no_id = one(json!({ "items": ".lines", "id": ".description" }));
        assert!(no_id.starts_with("not_an_id: An id is a text"), "{no_id}");
        let unknown = one(json!({ "items": ".lines", "id": ".skew" }));
        assert!(unknown.starts_with("unknown_field"), "{unknown}");
    }
}
