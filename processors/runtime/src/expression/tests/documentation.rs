//! `docs/expressions.md` says what the code says. `UPDATE_DOCS=1` writes the generated part.

use std::fmt::Write as _;

use vrl::compiler::Function;

use super::*;
use crate::expression::{decimal, metadata};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/expressions.md");
const START: &str = "by the test that checks this file -->\n";
const END: &str = "<!-- end of functions -->";

/// The functions as the tables of the book.
fn functions() -> String {
    let mut text = "| function | gives | example |\n|---|---|---|\n".to_owned();
    for function in &decimal::ALL {
        let parameters: Vec<_> =
            function
                .parameters
                .iter()
                .map(|one| {
                    if one.required { one.keyword.to_owned() } else { format!("[{}]", one.keyword) }
                })
                .collect();
        let examples: Vec<_> = (&function)
            .examples()
            .iter()
            .map(|example| format!("`{}` = `{}`", example.source, example.result.unwrap()))
            .collect();
        let call = format!("{}({})", function.name, parameters.join(", "));
        writeln!(text, "| `{call}` | {} | {} |", function.summary, examples.join("<br>")).unwrap();
    }
    text.push_str("\n| `mode` | rounds |\n|---|---|\n");
    for mode in decimal::ROUNDING {
        let default = if mode.value == "half_even" { " (the default)" } else { "" };
        writeln!(text, "| `\"{}\"`{default} | {} |", mode.value, mode.description).unwrap();
    }
    text
}

#[test]
fn the_book_lists_the_functions_as_they_are_declared() {
    let book = std::fs::read_to_string(FILE).unwrap();
    let (before, rest) = book.split_once(START).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let declared = functions();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(FILE, format!("{before}{START}{declared}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, declared, "run this test with UPDATE_DOCS=1");
    }
}

#[test]
fn the_book_lists_the_metadata_with_its_types() {
    let book = std::fs::read_to_string(FILE).unwrap();
    for field in metadata::Field::ALL {
        let row = format!("| `%{}` | {} | ", field.name(), field.kind());
        assert!(book.contains(&row), "{row}");
    }
}

#[test]
fn the_functions_that_the_book_leaves_out_are_refused_and_no_others() {
    let book = std::fs::read_to_string(FILE).unwrap();
    let (_, left_out) = book.split_once("## What is left out").unwrap();
    let (left_out, _) = left_out.split_once("\n## ").unwrap();
    let known = |name: &str| functions::ALL.iter().any(|function| function.identifier() == name);
    for function in vrl::stdlib::all() {
        let name = function.identifier();
        let listed = left_out.contains(&format!("`{name}`"))
            || name.starts_with("random_") && left_out.contains("`random_*`");
        assert_eq!(known(name), !listed, "{name}");
    }
}
