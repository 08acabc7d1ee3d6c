//! `map`: makes of each event the one that another application understands.

use engine::connector::{Finding, Findings, Place, ProcessorConnector, Setup};
use engine::expression::{self, Mapping};
use engine::{Emit, Event, Fault, Processor, Value};
use schemas::{Misfit, misfits};

/// Changes the value of each event.
pub struct Map {
    mapping: Mapping,
}

impl ProcessorConnector for Map {
    const NAME: &'static str = "map";
    const SUMMARY: &'static str = "Changes the value of each event: statements in VRL.";
    const EXAMPLE: &'static str = r#"name: sales
topics:
  shop.orders: { schema: order.avsc }
  erp.sales: { schema: sale.avsc }
processors:
  to_sale:
    from: shop.orders
    to: erp.sales
    map: |
      .web_id = .id
      .date = format_timestamp!(.placed_at, "%Y-%m-%d")
      .party = { "code": .customer.id, "name": .customer.name, "email": .customer.email, "address": .customer.address }
      .total = decimal_sum!(map_values(.lines) -> |line| {
        decimal_round!(decimal_multiply!(line.unit_price, line.quantity), 2)
      })
      .lines = map_values(.lines) -> |line| {
        { "product": line.sku, "quantity": line.quantity, "unit_price": line.unit_price }
      }
      .reference = .note
"#;
    type Options = expression::Map;

    fn check(map: &expression::Map, setup: &Setup, findings: &mut Findings) {
        match map.compile(setup) {
            Ok(mapping) => findings.0.extend(contract(&mapping, setup)),
            Err(mistakes) => {
                let findings_of = mistakes.into_iter().map(|one| one.finding(Place::Route, ""));
                findings.0.extend(findings_of);
            }
        }
    }

    fn build(map: expression::Map, setup: &Setup) -> Result<Box<dyn Processor>, Fault> {
        let mapping = map.compile(setup).map_err(|mistakes| {
            let mistakes = expression::sentence(&mistakes);
            Fault::config("map", format!("The map of {} is wrong: {mistakes}", setup.route))
        })?;
        Ok(Box::new(Self { mapping }))
    }
}

/// Holds the type of what the map gives against the schema of the topic that it writes.
fn contract(mapping: &Mapping, setup: &Setup) -> Vec<Finding> {
    let Some(output) = &setup.output_schema else { return Vec::new() };
    let found = misfits(mapping.kind(), output, setup.input_schema.as_ref());
    found.into_iter().map(|misfit| finding(mapping, &misfit)).collect()
}

fn finding(mapping: &Mapping, misfit: &Misfit) -> Finding {
    let (code, hint) = advice(misfit);
    let mut cause = misfit.to_string();
    // The sentence starts with a path in backticks, or with "the".
    if let Some(rest) = cause.strip_prefix("the ") {
        cause = format!("The {rest}");
    }
    if !cause.ends_with(['.', '?']) {
        cause.push('.');
    }
    Finding {
        place: Place::Route,
        pointer: String::new(),
        span: mapping.assignment(&misfit.path),
        warning: false,
        code,
        cause,
        hint: Some(hint),
    }
}

/// The name of the mistake, and what to do.
fn advice(misfit: &Misfit) -> (&'static str, String) {
    use schemas::Cause;
    let Misfit { path, expected, found, .. } = misfit;
    match misfit.cause {
        Cause::MissingField => ("missing_field", format!("Set it: `{path} = …`.")),
        Cause::MaybeMissing => (
            "maybe_missing_field",
            format!("Set it on every way through the map, also in an `else`: `{path} = …`."),
        ),
        Cause::WrongKind => ("wrong_type", convert(expected)),
        Cause::MaybeWrong if found == "null" => {
            ("maybe_null", "Say what to write instead of null: `… || \"none\"`.".to_owned())
        }
        Cause::MaybeWrong => ("maybe_wrong_type", convert(expected)),
        Cause::AmbiguousUnion => {
            ("ambiguous_union", "Give it a type that only one branch of the union has.".to_owned())
        }
        Cause::UnknownField { .. } => {
            ("unknown_field", "Rename it, or add it to the output's schema.".to_owned())
        }
    }
}

/// How to come to a type of the output schema.
fn convert(expected: &str) -> String {
    let wanted = expected.split([' ', '(']).next().unwrap_or_default();
    let way = match wanted {
        "string" | "enum" | "uuid" => "`to_string(…)`, or `string!(…)` to assert it",
        "int" | "long" => "`to_int!(…)`, or `int!(…)` to assert it",
        "float" | "double" => "`to_float!(…)`",
        "boolean" => "a comparison, or `bool!(…)` to assert it",
        "decimal" | "big-decimal" => {
            "`to_decimal!(…)`, from a text or an integer and never a float"
        }
        "date" => "`format_timestamp!(…, \"%Y-%m-%d\")`",
        "timestamp-millis" | "timestamp-micros" | "timestamp-nanos" => {
            "`parse_timestamp!(…, \"%+\")`, or `from_unix_timestamp!(…)`"
        }
        "array" => "`[…]`, or `array!(…)` to assert it",
        _ => "a value of that type",
    };
    format!("Use {way}.")
}

impl Processor for Map {
    fn process(&self, event: &Event, value: Value, out: &mut Emit) -> Result<(), Fault> {
        out.send(self.mapping.run(event, value)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
