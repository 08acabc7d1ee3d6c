//! Texts and values that nobody means well with.

use super::*;

fn compiles(text: String) -> Result<(), Vec<&'static str>> {
    let codes = |mistakes: Vec<Diagnostic>| mistakes.into_iter().map(|one| one.code).collect();
    Map(text).compile(&order()).map(drop).map_err(codes)
}

#[test]
fn deep_nesting_is_refused_and_overflows_no_stack() {
    let deep = 4_000;
    let texts = [
        format!("{}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("{}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("{}true", "!".repeat(deep)),
        format!("1{}", " + 1".repeat(deep / 2)),
        format!(".a = {}1{}", "{ \"a\": ".repeat(300), "}".repeat(300)),
        format!("{}1{}", "if true { ".repeat(300), "}".repeat(300)),
        format!("if true {{ 1 }}{}", " else if true { 1 }".repeat(300)),
        format!("{}\"a\"{}", "upcase(".repeat(300), ")".repeat(300)),
    ];
    for text in texts {
        let start: String = text.chars().take(20).collect();
        let refused = compiles(text).unwrap_err();
        assert!(refused.contains(&"too_deep"), "{start}: {refused:?}");
    }
}

#[test]
fn the_deepest_nesting_allowed_compiles_and_runs_on_a_small_stack() {
    let depth = 100;
    let texts = [
        format!("{}1{}", "(".repeat(depth), ")".repeat(depth)),
        format!("\"a\"{}", " + \"a\"".repeat(depth)),
        format!("if .n == 0 {{ 1 }}{} else {{ 2 }}", " else if .n == 1 { 1 }".repeat(depth)),
        format!("{}\"a\"{}", "upcase(".repeat(depth), ")".repeat(depth)),
    ];
    let work = move || {
        for text in texts {
            run(&text, value!({ n: 5 })).unwrap();
        }
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(work).unwrap().join().unwrap();
}

#[test]
fn closures_nest_a_few_levels_only() {
    // VRL's compiler takes twice as long for each level.
    let nested = |depth: usize| {
        let (open, close) = ("map_values([1]) -> |v| { ".repeat(depth), " }".repeat(depth));
        Expression(format!("{open}1{close}")).compile(&anything())
    };
    assert!(nested(6).is_ok());
    assert_eq!(nested(40).unwrap_err()[0].code, "too_deep");
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    assert_eq!(compiles("# ".repeat(20_000)), Err(vec!["too_long"]));
    assert_eq!(compiles(format!(".a = \"{}\"", "x".repeat(30_000))), Ok(()));
}

#[test]
fn loops_in_loops_end() {
    let items = Value::Array(vec![value!(1); 300]);
    let lines = "n = 1; ".repeat(50);
    let text = format!(
        "for_each(array!(.a)) -> |_, x| {{ for_each(array!(.a)) -> |_, y| {{ \
         for_each(array!(.a)) -> |_, z| {{ {lines} }} }} }}"
    );
    let fault = run(&text, value!({ a: items })).unwrap_err();
    assert_eq!(fault.cause, "expression_failed");
    assert!(fault.message.contains("steps"), "{fault}");
}

#[test]
fn one_run_leaves_nothing_for_the_next() {
    let program = Expression("x = null; if .first == true { x = .id }; x".into());
    let program = program.compile(&anything()).unwrap();
    let on = |value: Value| program.run(&event(Value::Null), &value);
    assert_eq!(on(value!({ first: true, id: "a" })), Ok(value!("a")));
    assert_eq!(on(value!({ first: false, id: "b" })), Ok(Value::Null));
}

/// A small generator of its own, so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }
}

#[test]
fn a_soup_of_tokens_panics_nowhere() {
    let tokens = [
        ".",
        ".id",
        ".lines",
        "[0]",
        "%key",
        "x",
        "=",
        "|=",
        "==",
        "+",
        "-",
        "*",
        "/",
        "??",
        "||",
        "&&",
        "!",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ";",
        "\n",
        ":",
        "\"a\"",
        "s'b'",
        "r'c'",
        "t'd'",
        "1",
        "2.5",
        "null",
        "true",
        "if",
        "else",
        "abort",
        "return",
        "break",
        "upcase",
        "upcase(",
        "to_int!(",
        "decimal_add!(",
        "map_values(",
        ") -> |v| {",
        "|",
        "->",
        "del(",
        "é",
        "\\",
        "#",
        "{{",
        "}}",
        "\\{{",
        "_",
        "'",
        "\"",
        "for_each(.lines) -> |_, l| {",
        "9".repeat(40).leak(),
    ];
    let mut chance = Chance(42);
    let value = value!({ id: "o-1", lines: [{ n: 1 }, { n: "2" }] });
    let event = event(value.clone());
    let mut ran = 0;
    // Panics are caught, and say so.
    let sound = |text: &str, fault: Fault| assert!(!fault.message.contains("panicked"), "{text}");
    let placed = |text: &str, mistakes: Vec<Diagnostic>| {
        for one in mistakes {
            assert!(one.code != "compiler_failed", "{text}");
            assert!(text.get(one.span.clone()).is_some(), "{one:?} in {text}");
        }
    };
    for _ in 0..4_000 {
        let count = chance.below(14);
        let text: Vec<_> = (0..count).map(|_| tokens[chance.below(tokens.len())]).collect();
        let text = text.join(if chance.below(2) == 0 { " " } else { "" });
        match Expression(text.clone()).compile(&anything()) {
            Ok(program) => {
                ran += 1;
                let _ = program.run(&event, &value).map_err(|fault| sound(&text, fault));
            }
            Err(mistakes) => placed(&text, mistakes),
        }
        match Map(text.clone()).compile(&order()) {
            Ok(mapping) => {
                let _ = mapping.run(&event, value.clone()).map_err(|fault| sound(&text, fault));
            }
            Err(mistakes) => placed(&text, mistakes),
        }
        match Template(text.clone()).compile(&order()) {
            Ok(template) => drop(template.render(&event)),
            Err(mistakes) => placed(&text, mistakes),
        }
    }
    assert!(ran > 50, "only {ran} programs compiled");
}
