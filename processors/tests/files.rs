//! Pipeline files with steps: what `check` says of them, and what their examples give.
#![expect(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::path::PathBuf;

use engine::Catalogue;
use engine::configuration::{draw_all, examples, load};
use engine::connector::{Setup, SinkConnector, SinkDeclaration};
use engine::lookup::{LookupConnector, LookupDeclaration};
use engine::sink::Once;
use schemas::events;

/// Orders, the topics that steps make of them, and no route yet.
const TOPICS: &str = "name: orders
topics:
  shop.orders: { schema: order.avsc }
  shop.large: { schema: order.avsc }
  shop.small: { schema: order.avsc }
  shop.lines: { schema: line.avsc }
  shop.cheap: { schema: line.avsc }
processors:
";

/// What is known of a customer.
const CONTACT: &str = r#"{ "type": "record", "name": "Contact", "fields": [
    { "name": "code", "type": ["null", "string"], "default": null } ] }"#;

fn catalogue() -> Catalogue {
    Catalogue {
        processors: processors::all(),
        lookups: vec![LookupDeclaration::of::<Stub>()],
        sinks: vec![SinkDeclaration::of::<Stub>()],
        ..Catalogue::default()
    }
}

/// A folder with the file of orders, with this text after its topics.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(text: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("order.avsc", events::ORDER);
        folder.write("line.avsc", events::LINE);
        folder.write("contact.avsc", CONTACT);
        folder.write("orders.yaml", &format!("{TOPICS}{text}"));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The mistakes of the file as a person sees them; warnings are left out.
    fn mistakes(&self) -> String {
        match load(&[self.path("orders.yaml")], &catalogue(), &|_| Some("secret".to_owned())) {
            Ok(_) => String::new(),
            Err(problems) => draw_all(&problems, false),
        }
    }

    /// What the examples say that differs.
    fn differences(&self) -> Vec<String> {
        let paths = [self.path("orders.yaml")];
        let loaded = load(&paths, &catalogue(), &|_| Some("secret".to_owned()));
        let loaded = loaded.unwrap_or_else(|problems| panic!("{}", draw_all(&problems, false)));
        let outcomes = examples::run(&loaded.pipelines[0], &catalogue()).unwrap();
        let differences = outcomes.into_iter().flat_map(|outcome| outcome.differences);
        differences.map(|difference| difference.to_string()).collect()
    }
}

/// The file's mistakes, which hold each of these.
fn assert_said(text: &str, parts: &[&str]) {
    let said = Folder::new(text).mistakes();
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    if parts.is_empty() {
        assert_eq!(said, "");
    }
}

const BRANCH: &str = r#"  sort:
    from: shop.orders
    branch:
      cases:
        - { when: 'decimal_greater!(.total, "100")', to: shop.large }
      default: shop.small
"#;

#[test]
fn a_branch_names_topics_that_are_there_and_is_held_against_the_schema_of_each() {
    assert_said(BRANCH, &[]);
    let misspelt = BRANCH.replace("to: shop.large", "to: shop.lage");
    assert_said(&misspelt, &["unknown_topic", "did you mean `shop.large`?"]);
    let misspelt = BRANCH.replace("default: shop.small", "default: shop.smal");
    assert_said(&misspelt, &["unknown_topic", "did you mean `shop.small`?"]);
    let of_another_schema = BRANCH.replace("to: shop.large", "to: shop.lines");
    assert_said(&of_another_schema, &["missing_field", "`.order_id` is not set"]);
    assert_said(&BRANCH.replace("default: shop.small", "default: none"), &[]);
    let silent = BRANCH.replace("      default: shop.small\n", "");
    assert_said(&silent, &["missing_field", "has no `default`"]);
}

#[test]
fn a_branch_ends_its_route_and_takes_the_place_of_to() {
    let both = BRANCH.replace("    branch:", "    to: shop.small\n    branch:");
    assert_said(&both, &["several_kinds", "leave `to` out"]);
    let more = format!("{BRANCH}    filter: .currency == \"EUR\"\n");
    assert_said(&more, &["step_after_the_end", "`filter` stands after `branch`"]);
    let neither = "  sort:\n    from: shop.orders\n    filter: .currency == \"EUR\"\n";
    assert_said(neither, &["missing_field", "has no `to`"]);
    let not_a_condition = BRANCH.replace("'decimal_greater!(.total, \"100\")'", ".currency");
    assert_said(&not_a_condition, &["not_a_condition"]);
    let does_not_compile = BRANCH.replace("decimal_greater!(.total", "decimal_greater!(.totl");
    assert_said(&does_not_compile, &["unknown_field"]);
}

#[test]
fn a_branch_that_leads_back_is_a_loop() {
    let itself = BRANCH.replace("to: shop.large", "to: shop.orders");
    assert_said(&itself, &["same_topic"]);
    let back = "  back: { from: shop.small, to: shop.orders, filter: .currency == \"EUR\" }\n";
    assert_said(&format!("{BRANCH}{back}"), &["cycle", "feed each other"]);
}

const SPLIT: &str = "  lines:
    from: shop.orders
    split: { items: .lines, id: .sku, with_event: order }
    map: |
      .order_id = .order.id
      .currency = .order.currency
    branch:
      cases:
        - { when: 'decimal_less!(.unit_price, \"5\")', to: shop.cheap }
      default: shop.lines
    key: .sku
";

#[test]
fn each_step_is_typed_by_what_the_one_before_emits() {
    assert_said(SPLIT, &[]);
    let of_the_order = SPLIT.replace(".order.currency", ".currency");
    assert_said(&of_the_order, &["unknown_field"]);
    let misspelt = SPLIT.replace(".order_id =", ".order_no =");
    assert_said(&misspelt, &["`.order_id` is not set", "the output schema has no `.order_no`"]);
    let number = SPLIT.replace(".order_id = .order.id", ".order_id = 7");
    assert_said(&number, &["wrong_type", "`.order_id` is an integer"]);
    let before = SPLIT.replace("    split:", "    filter: .sku == \"tea\"\n    split:");
    assert_said(&before, &["unknown_field"]);
}

#[test]
fn a_mask_is_typed_by_what_it_reads_and_what_is_written() {
    let mask = "  hide:
    from: shop.orders
    to: shop.small
    map: .customer.name = upcase(.customer.name)
    mask:
      paths: { .customer.name: redact, .customer.email: hash }
      hash_key: \"${KEY}\"
";
    assert_said(mask, &[]);
    let misspelt = mask.replace(".customer.name: redact", ".customer.nme: redact");
    assert_said(&misspelt, &["unknown_path", "`.customer.nme`"]);
    let erased = mask.replace(".customer.name: redact", ".customer.name: erase");
    assert_said(&erased, &["wrong_type", "`.customer.name` is null"]);
    let unkeyed = mask.replace("      hash_key: \"${KEY}\"\n", "");
    assert_said(&unkeyed, &["hash_key_missing"]);
    let unknown_way = mask.replace(": redact", ": blur");
    assert_said(&unknown_way, &["blur", "redact"]);
}

const ORDER: &str = r#"{ "id": "o-1", "placed_at": 1700000000123, "currency": "EUR", "customer": { "id": "c-7",
    "name": "Ada", "email": "ada@example.com", "address": { "street": "1 rue", "city": "Paris",
    "postal_code": "75002", "country": "FR" } }, "lines": [
    { "sku": "tea", "quantity": "3", "unit_price": "19.99" },
    { "sku": "cup", "quantity": "1", "unit_price": "4.00" } ], "total": "63.97" }"#;

#[test]
fn the_examples_of_a_file_run_through_its_steps() {
    let tests = r#"tests:
  - input: { shop.orders: order.json }
    expect:
      shop.lines:
        - { order_id: o-1, currency: EUR, sku: tea, quantity: "3.0000", unit_price: "19.99" }
      shop.cheap:
        - { order_id: o-1, currency: EUR, sku: cup, quantity: "1.0000", unit_price: "4.00" }
"#;
    let folder = Folder::new(&format!("{SPLIT}{tests}"));
    folder.write("order.json", ORDER);
    assert_eq!(folder.differences(), [""; 0]);
}

#[test]
fn a_route_may_only_drop_what_comes_again() {
    let once =
        "  once: { from: shop.orders, to: shop.small, deduplicate: { for: 24h, by: .id } }\n";
    assert_said(once, &[]);
    assert_said(&once.replace("by: .id", "by: .idd"), &["unknown_field"]);
    assert_said(&once.replace(", deduplicate: { for: 24h, by: .id }", ""), &["nothing_to_do"]);
    assert_said(&once.replace("shop.small", "shop.lines"), &["`.order_id` is not set"]);
}

#[test]
fn the_expected_files_of_examples_are_written_and_then_pass() {
    let tests = "tests:
  - input: { shop.orders: order.json }
    expect: { shop.lines: lines.json, shop.cheap: [{ order_id: o-2, currency: EUR, sku: cup, quantity: \"1\", unit_price: \"4.00\" }] }
";
    let folder = Folder::new(&format!("{SPLIT}{tests}"));
    folder.write("order.json", ORDER);
    folder.write("lines.json", "[]");
    assert!(!folder.differences().is_empty());
    let paths = [folder.path("orders.yaml")];
    let loaded = load(&paths, &catalogue(), &|_| None).unwrap();
    let update = || examples::update(&loaded.pipelines[0], &catalogue()).unwrap().remove(0);
    let updated = update();
    assert_eq!(updated.written, [folder.path("lines.json")]);
    let [left] = &updated.left[..] else { panic!("{updated:?}") };
    assert!(left.starts_with("shop.cheap stands in the pipeline file") && left.contains("o-1"));
    let written = std::fs::read_to_string(folder.path("lines.json")).unwrap();
    assert!(written.starts_with("{\n  \"") && written.contains("\"19.99\""), "{written}");
    assert_eq!(update().written, [""; 0].map(PathBuf::from), "it says the same now");
    let differing = folder.differences();
    assert!(differing.iter().all(|one| one.starts_with("shop.cheap")), "{differing:?}");
}

const ENRICHED: &str = r#"  lines:
    from: shop.orders
    to: shop.lines
    enrich:
      contact: { lookup: crm, by: .customer.email, schema: contact.avsc, stub: {} }
    split: { items: .lines, id: .sku, with_event: order }
    map: |
      .order_id = string(.order.contact.code) ?? .order.id
      .currency = .order.currency
connections:
  crm: { stub: { url: "http://crm" } }
"#;

/// Look-ups of an application that no example asks.
struct Stub;

/// Where it is.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[expect(dead_code, reason = "nobody asks it")]
struct StubConnection {
    /// Its address.
    url: String,
}

/// Nothing to choose.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct StubOptions {}

#[async_trait::async_trait]
impl engine::Lookup for Stub {
    async fn find(&self, _: &engine::Value) -> Result<Option<engine::Value>, engine::Fault> {
        panic!("an example asked an application")
    }
}

#[async_trait::async_trait]
impl engine::Sink for Stub {
    async fn deliver(
        &self,
        _: &[engine::Event],
        _: u32,
    ) -> Vec<Result<engine::Delivery, engine::Fault>> {
        panic!("an example delivered to an application")
    }
}

impl LookupConnector for Stub {
    const NAME: &'static str = "stub";
    const SUMMARY: &'static str = "Nothing.";
    const EXAMPLE: &'static str = "name: stubs\n";
    type Options = StubOptions;

    fn build(_: StubOptions, _: &Setup) -> Result<Box<dyn engine::Lookup>, engine::Fault> {
        Ok(Box::new(Self))
    }
}

impl SinkConnector for Stub {
    const NAME: &'static str = "stub";
    const SUMMARY: &'static str = "Nothing.";
    const EXAMPLE: &'static str = "name: stubs\n";
    type Connection = StubConnection;
    type Options = StubOptions;

    fn once(_: &StubOptions) -> Once {
        Once::No
    }

    fn build(
        _: StubConnection,
        _: StubOptions,
        _: &Setup,
    ) -> Result<Box<dyn engine::Sink>, engine::Fault> {
        Ok(Box::new(Self))
    }
}

#[test]
fn what_is_looked_up_is_typed_for_the_steps_and_given_by_examples() {
    assert_said(ENRICHED, &[]);
    assert_said(&ENRICHED.replace("lookup: crm", "lookup: crn"), &["unknown_connection", "`crm`"]);
    assert_said(&ENRICHED.replace(".customer.email", ".customer.mail"), &["unknown_field"]);
    assert_said(&ENRICHED.replace(".contact.code", ".contact.cod"), &["unknown_field"]);
    assert_said(&ENRICHED.replace("contact.avsc", "contacts.avsc"), &["schema_missing"]);
    assert_said(&ENRICHED.replace("      contact:", "      note:"), &["field_taken"]);
    assert_said(&ENRICHED.replace(", stub: {}", ""), &["look-up", "stub"]);
    for word in ["null", "dead_letter", "wait"] {
        assert_said(&ENRICHED.replace("stub: {} ", &format!("stub: {{}}, on_miss: {word} ")), &[]);
    }
    let tests = r#"tests:
  - input: { shop.orders: order.json }
    lookups: { contact: { "ada@example.com": { code: C-1, unknown: 1 } } }
    expect: { shop.lines: lines.json }
  - input: { shop.orders: order.json }
    lookups: { contact: {} }
    expect: { shop.lines: others.json }
"#;
    let lines = |id: &str| {
        format!(
            r#"[{{ "order_id": "{id}", "currency": "EUR", "sku": "tea", "quantity": "3", "unit_price": "19.99" }},
            {{ "order_id": "{id}", "currency": "EUR", "sku": "cup", "quantity": "1", "unit_price": "4.00" }}]"#
        )
    };
    let folder = Folder::new(&format!("{ENRICHED}{tests}"));
    folder.write("order.json", ORDER);
    folder.write("lines.json", &lines("C-1"));
    folder.write("others.json", &lines("o-1"));
    assert_eq!(folder.differences(), [""; 0]);
    let silent = tests.replace("    lookups: { contact: {} }\n", "");
    folder.write("orders.yaml", &format!("{TOPICS}{ENRICHED}{silent}"));
    let said = folder.differences().join("\n");
    assert!(said.contains("lookups: { contact: … }"), "{said}");
}
