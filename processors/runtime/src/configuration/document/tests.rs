use std::path::Path;

use super::*;

fn file(text: &str) -> File {
    File::new(Path::new("a.yaml"), text.to_owned())
}

fn read(text: &str) -> Node {
    parse(&file(text)).unwrap()
}

/// The codes of what is wrong, with their lines.
fn wrong(text: &str) -> Vec<(String, usize)> {
    let problems = parse(&file(text)).unwrap_err();
    problems.into_iter().map(|problem| (problem.code.into_owned(), problem.line)).collect()
}

fn shown(node: &Node) -> String {
    match &node.content {
        Content::Null => "null".to_owned(),
        Content::Bool(value) => value.to_string(),
        Content::Number(number) => number.to_string(),
        Content::Text(text) => format!("{:?}", text.as_str()),
        Content::List(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(","))
        }
        Content::Map(entries) => {
            let field = |entry: &Entry| format!("{}:{}", entry.name, shown(&entry.value));
            format!("{{{}}}", entries.iter().map(field).collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn scalars_have_the_core_types_and_numbers_keep_their_digits() {
    let all = "[1.10, 0123, +5, 0x1F, 1e400, yes, on, true, ~, 1., .5, 12.50 EUR, '1', -3, 1_000]";
    assert_eq!(
        shown(&read(all)),
        r#"[1.10,"0123",5,31,1e+400,"yes","on",true,null,"1.",".5","12.50 EUR","1",-3,"1_000"]"#
    );
}

#[test]
fn names_of_fields_are_what_is_written() {
    assert_eq!(shown(&read("on: 1\n2: a\ntrue: b\n'x y':\n")), r#"{on:1,2:"a",true:"b",x y:null}"#);
}

#[test]
fn a_field_given_twice_is_a_problem_and_so_is_every_other() {
    let twice = "a: 1\nb: {c: 1, c: 2}\na: 3\n";
    assert_eq!(wrong(twice), [("duplicate_field".into(), 2), ("duplicate_field".into(), 3)]);
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = "base: &b { x: 1, y: 2 }\nitem: { <<: *b, y: 3 }\nlist: [*b]\n";
    assert_eq!(shown(&read(text)), "{base:{x:1,y:2},item:{y:3,x:1},list:[{x:1,y:2}]}");
    assert_eq!(wrong("a: &a { b: *a }\n"), [("recursive_alias".into(), 1)]);
    assert_eq!(wrong("a: { <<: 3 }\n"), [("bad_merge".into(), 1)]);
    assert_eq!(wrong("a: *b\n"), [("yaml_syntax".into(), 1)]);
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let line = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{line}]\n"));
    }
    assert_eq!(wrong(&text)[0].0, "file_too_large");
}

#[test]
fn a_bottomless_file_is_refused() {
    assert_eq!(wrong(&"[".repeat(100_000))[0].1, 1);
    let deep: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert_eq!(wrong(&deep), [("too_deep".into(), 65)]);
}

#[test]
fn usual_mistakes_come_with_advice() {
    let advice = |text: &str| parse(&file(text)).unwrap_err()[0].hint.clone().unwrap_or_default();
    assert!(advice("a:\n\tb: 1\n").contains("never tabs"));
    assert!(advice("a: %headers.x\n").contains("needs quotes"));
    assert!(advice("a: b: c\n").contains("`: ` needs quotes"));
    assert!(advice("a: !exists(.x)\n").contains("begins with `!`"));
    assert!(advice("a: {{ .id }}\n").contains("begins with `{`"));
    assert!(advice("").contains("name: orders"));
    assert!(advice("a: 1\n---\nb: 2\n").contains("file of its own"));
}

/// Mutations of a real file, by a fixed sequence: none may panic, and every place must be inside.
#[test]
fn no_mutation_of_a_file_panics() {
    let seed = "name: orders\ntopics: &t\n  a.b: {x: 1, y: [2, 'it''s', \"q\\n\\u00e9\"]}\n\
                map: |\n  .x = 1\n    .y = \"é\"\nfold: >-\n  a\n  b\n\nend: *t\n";
    let alphabet: Vec<char> = "\n\t :-{}[],&*!|>'\"%@`#?~<\\${}é\u{0}\u{85}ab0.".chars().collect();
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..4_000 {
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..=next(4) {
            let at = next(text.len());
            match next(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, alphabet[next(alphabet.len())]),
                _ => text[at] = alphabet[next(alphabet.len())],
            }
        }
        let file = file(&text.into_iter().collect::<String>());
        match parse(&file) {
            Ok(root) => root.walk(&mut |node| {
                assert!(file.text().get(node.span.clone()).is_some());
                if let Content::Text(text) = &node.content {
                    for at in 0..=text.as_str().len() {
                        let span = text.locate(&(at..at + 1));
                        assert!(span.start <= file.text().len());
                    }
                }
            }),
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
}
