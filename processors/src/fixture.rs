//! What the tests of processors share: a route from orders to sales, and an order.

use engine::connector::{Findings, ProcessorConnector, Setup, Shared};
use engine::contract::hold;
use engine::{Emit, Emitted, Event, Fault, Headers, Value};
use schemas::{Schema, events};
use serde_json::json;

/// A route between topics with these schemas.
pub fn setup(input: &str, output: &str) -> Setup {
    let input = Schema::parse(input).unwrap();
    Setup {
        route: "shop/route".into(),
        input: schemas::kind(&input),
        input_schema: Some(input),
        output_schema: Some(Schema::parse(output).unwrap()),
        folder: ".".into(),
        connection: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        shared: Shared::default(),
    }
}

/// A route from the built-in orders to the built-in sales.
pub fn orders_to_sales() -> Setup {
    setup(events::ORDER, events::SALE)
}

/// An order of two lines.
pub fn order() -> Value {
    let order = json!({
        "id": "o-1001",
        "placed_at": 1_700_000_000_123_i64,
        "currency": "EUR",
        "customer": {
            "id": "c-7",
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "address": {
                "street": "1 rue de la Paix", "city": "Paris", "postal_code": "75002", "country": "FR"
            }
        },
        "lines": [
            { "sku": "tea", "description": null, "quantity": "3", "unit_price": "19.99" },
            { "sku": "cup", "description": "A cup", "quantity": "0.5", "unit_price": "4.00" }
        ],
        "total": "61.97",
        "note": null
    });
    let schema = Schema::parse(events::ORDER).unwrap();
    schemas::json::read(&schema, order.to_string().as_bytes()).unwrap().value
}

/// The event around a value.
pub fn event() -> Event {
    Event {
        topic: "shop.orders".into(),
        partition: 0,
        offset: 7,
        timestamp: 1_700_000_000_456,
        key: Some("c-7".into()),
        payload: None,
        headers: Headers::default(),
        value: None,
    }
}

/// What a processor makes of a value.
pub fn process<P: ProcessorConnector>(
    options: P::Options,
    setup: &Setup,
    value: Value,
) -> Result<Vec<Value>, Fault> {
    Ok(emitted::<P>(options, setup, value)?.into_iter().map(|one| one.value).collect())
}

/// What a processor emits for a value.
pub fn emitted<P: ProcessorConnector>(
    options: P::Options,
    setup: &Setup,
    value: Value,
) -> Result<Vec<Emitted>, Fault> {
    let processor = P::build(options, setup)?;
    let mut out = Emit::default();
    processor.process(&event(), value, &mut out)?;
    Ok(out.take())
}

/// The mistakes that `check` finds, each as `code at "text": cause (hint)`.
pub fn findings<P: ProcessorConnector>(
    text: &str,
    options: &P::Options,
    setup: &Setup,
) -> Vec<String> {
    let mut findings = Findings::default();
    P::check(options, setup, &mut findings);
    let (emitted, output) = (P::emits(options, setup), &setup.output_schema);
    if let (Some(emitted), Some(output)) = (emitted, output) {
        let origin = |path: &schemas::Path| P::origin(options, setup, path);
        let misfits = hold(&emitted, output, setup.input_schema.as_ref(), origin);
        findings.0.extend(misfits.into_iter().map(|(_, finding)| finding));
    }
    let shown = |finding: engine::connector::Finding| {
        let shown = finding.span.and_then(|span| text.get(span));
        let place = shown.map(|text| format!(" at {text:?}")).unwrap_or_default();
        let hint = finding.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}{place}: {}{hint}", finding.code, finding.cause)
    };
    findings.0.into_iter().map(shown).collect()
}
