//! Holds the type of what a route's last step emits against the schema of a topic that it writes.

use schemas::{Misfit, Path, Schema, misfits};
use vrl::value::Kind;

use crate::connector::{Finding, Origin, Place};

/// Where what is emitted does not fit a topic's schema, each with the path to it. `origin` says
/// where the steps decide what is at a path.
///
/// What no step has set is passed through: a field that the schema lacks is left out then.
pub fn hold(
    emitted: &Kind,
    output: &Schema,
    input: Option<&Schema>,
    origin: impl Fn(&Path) -> Option<Origin>,
) -> Vec<(Path, Finding)> {
    let found = misfits(emitted, output, input).into_iter();
    let shown =
        |misfit: Misfit| Some((misfit.path.clone(), finding(origin(&misfit.path), &misfit)?));
    found.filter_map(shown).collect()
}

fn finding(origin: Option<Origin>, misfit: &Misfit) -> Option<Finding> {
    if origin.is_none() && matches!(misfit.cause, schemas::Cause::UnknownField { .. }) {
        return None;
    }
    let (code, hint) = advice(misfit);
    let mut cause = misfit.to_string();
    // The sentence starts with a path in backticks, or with "the".
    if let Some(rest) = cause.strip_prefix("the ") {
        cause = format!("The {rest}");
    }
    if !cause.ends_with(['.', '?']) {
        cause.push('.');
    }
    let Origin { pointer, span } = origin.unwrap_or(Origin { pointer: String::new(), span: None });
    Some(Finding {
        place: Place::Route,
        pointer,
        span,
        warning: false,
        code,
        cause,
        hint: Some(hint),
    })
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
