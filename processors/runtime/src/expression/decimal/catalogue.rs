//! The functions over decimals: VRL, the documentation and the checks all come from this table.

use std::cmp::Ordering;

use vrl::compiler::Parameter;
use vrl::compiler::function::Example;
use vrl::compiler::value::kind;
use vrl::example;

use super::functions::{DecimalFunction, ROUNDING, Work};
use super::number::Decimal;

const DECIMAL: u16 = kind::BYTES | kind::INTEGER;

const VALUE: Parameter = Parameter::required("value", DECIMAL, "A decimal's text, or an integer.");
const OTHER: Parameter = Parameter::required("other", DECIMAL, "A decimal's text, or an integer.");
const BY: Parameter = Parameter::required("by", DECIMAL, "The divisor.");
const SCALE: Parameter = Parameter::required("scale", kind::INTEGER, "The decimals to keep.");
const MODE: Parameter =
    Parameter::optional("mode", kind::BYTES, "How to round.").enum_variants(ROUNDING);
const VALUES: Parameter =
    Parameter::required("values", kind::ARRAY, "Decimals' texts or integers.")
        .with_element_kind(DECIMAL);

const fn function(
    name: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    work: Work,
    examples: &'static [Example],
) -> DecimalFunction {
    DecimalFunction { name, summary, parameters, examples, work }
}

/// Every function over decimals, in the order of the documentation.
pub(in crate::expression) static ALL: [DecimalFunction; 18] = [
    function(
        "decimal_add",
        "The sum, with as many decimals as the longer operand.",
        &[VALUE, OTHER],
        Work::Two(Decimal::add),
        &[example! { title: "", source: r#"decimal_add("0.1", "0.20")"#, result: Ok("0.30") }],
    ),
    function(
        "decimal_subtract",
        "The difference, with as many decimals as the longer operand.",
        &[VALUE, OTHER],
        Work::Two(Decimal::subtract),
        &[example! { title: "", source: r#"decimal_subtract("100.00", 1)"#, result: Ok("99.00") }],
    ),
    function(
        "decimal_multiply",
        "The product; its decimals are those of both operands together. Round it where the schema \
         has fewer.",
        &[VALUE, OTHER],
        Work::Two(Decimal::multiply),
        &[
            example! { title: "", source: r#"decimal_multiply("19.99", "1.5")"#, result: Ok("29.985") },
        ],
    ),
    function(
        "decimal_divide",
        "The quotient, rounded once to `scale` decimals.",
        &[VALUE, BY, SCALE, MODE],
        Work::Divide,
        &[
            example! { title: "", source: r#"decimal_divide("10.00", 3, 2)"#, result: Ok("3.33") },
            example! { title: "", source: r#"decimal_divide(1999, 100, 2)"#, result: Ok("19.99") },
        ],
    ),
    function(
        "decimal_round",
        "The number with exactly `scale` decimals.",
        &[VALUE, SCALE, MODE],
        Work::Round,
        &[
            example! { title: "", source: r#"decimal_round("2.345", 2)"#, result: Ok("2.34") },
            example! { title: "", source: r#"decimal_round("2.345", 2, "half_up")"#, result: Ok("2.35") },
            example! { title: "", source: r#"decimal_round(7, 2)"#, result: Ok("7.00") },
        ],
    ),
    function(
        "decimal_sum",
        "The sum of an array; 0 for an empty one.",
        &[VALUES],
        Work::Sum,
        &[
            example! { title: "", source: r#"decimal_sum!(["0.10", "0.20", 1])"#, result: Ok("1.30") },
        ],
    ),
    function(
        "decimal_min",
        "The smaller one, as it is written.",
        &[VALUE, OTHER],
        Work::Two(|a, b| Ok(if a.compare(b) == Ordering::Greater { b.clone() } else { a.clone() })),
        &[example! { title: "", source: r#"decimal_min("9.00", "100.00")"#, result: Ok("9.00") }],
    ),
    function(
        "decimal_max",
        "The larger one, as it is written.",
        &[VALUE, OTHER],
        Work::Two(|a, b| Ok(if a.compare(b) == Ordering::Less { b.clone() } else { a.clone() })),
        &[example! { title: "", source: r#"decimal_max("9.00", "100.00")"#, result: Ok("100.00") }],
    ),
    function(
        "decimal_abs",
        "The number without its sign.",
        &[VALUE],
        Work::One(|value| Ok(value.absolute())),
        &[example! { title: "", source: r#"decimal_abs("-1.50")"#, result: Ok("1.50") }],
    ),
    function(
        "decimal_negate",
        "The number with the other sign.",
        &[VALUE],
        Work::One(|value| Ok(value.negate())),
        &[example! { title: "", source: r#"decimal_negate("1.50")"#, result: Ok("-1.50") }],
    ),
    function(
        "decimal_greater",
        "Whether `value` > `other`.",
        &[VALUE, OTHER],
        Work::Holds(Ordering::is_gt),
        &[
            example! { title: "", source: r#"decimal_greater("100.00", "9.00")"#, result: Ok("true") },
        ],
    ),
    function(
        "decimal_greater_or_equal",
        "Whether `value` ≥ `other`.",
        &[VALUE, OTHER],
        Work::Holds(Ordering::is_ge),
        &[
            example! { title: "", source: r#"decimal_greater_or_equal("1.0", 1)"#, result: Ok("true") },
        ],
    ),
    function(
        "decimal_less",
        "Whether `value` < `other`.",
        &[VALUE, OTHER],
        Work::Holds(Ordering::is_lt),
        &[example! { title: "", source: r#"decimal_less("-1", 0)"#, result: Ok("true") }],
    ),
    function(
        "decimal_less_or_equal",
        "Whether `value` ≤ `other`.",
        &[VALUE, OTHER],
        Work::Holds(Ordering::is_le),
        &[
            example! { title: "", source: r#"decimal_less_or_equal("1.01", 1)"#, result: Ok("false") },
        ],
    ),
    function(
        "decimal_equal",
        "Whether both are the same number: `1.50` and `1.5` are.",
        &[VALUE, OTHER],
        Work::Holds(Ordering::is_eq),
        &[example! { title: "", source: r#"decimal_equal("1.50", "1.5")"#, result: Ok("true") }],
    ),
    function(
        "decimal_compare",
        "-1, 0 or 1 as `value` is less than, equal to or greater than `other`.",
        &[VALUE, OTHER],
        Work::Compare,
        &[example! { title: "", source: r#"decimal_compare("9.00", "100.00")"#, result: Ok("-1") }],
    ),
    function(
        "to_decimal",
        "A text or an integer as a decimal: checks it, and writes it without `+` or exponent.",
        &[VALUE],
        Work::One(|value| Ok(value.clone())),
        &[example! { title: "", source: r#"to_decimal("1.5e3")"#, result: Ok("1500") }],
    ),
    function(
        "decimal_to_integer",
        "The whole number that it is; fails where something stands behind the point.",
        &[VALUE],
        Work::Whole,
        &[
            example! { title: "", source: r#"decimal_to_integer!(decimal_multiply("19.99", 100))"#, result: Ok("1999") },
        ],
    ),
];
