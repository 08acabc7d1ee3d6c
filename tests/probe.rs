//! `passerelle probe`: what it learns of applications, from simulated ones, a real PostgreSQL and a real
//! Tryton.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

#[path = "cdc/server.rs"]
mod database;
#[path = "endtoend/mod.rs"]
mod endtoend;

use std::path::PathBuf;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use database::Server;
use endtoend::process::{Answer, run};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "a-key-that-nobody-may-see";

const OPENAPI: &str = r##"
openapi: 3.0.3
info: { title: Shop, version: "2" }
components:
  securitySchemes:
    token: { type: http, scheme: bearer }
  schemas:
    Order:
      required: [number, lines]
      properties:
        number: { type: string }
        lines: { type: array, items: { $ref: "#/components/schemas/Line" } }
        note: { type: string }
    Line: { properties: { sku: { type: string } } }
paths:
  /orders:
    get:
      parameters:
        - { name: cursor, in: query, schema: { type: string } }
        - { name: updated_since, in: query, schema: { type: string, format: date-time } }
      responses:
        "200":
          content:
            application/json:
              schema: { properties: { data: { type: array, items: { $ref: "#/components/schemas/Order" } } } }
    post:
      requestBody: { content: { application/json: { schema: { $ref: "#/components/schemas/Order" } } } }
      responses: { "201": {} }
  /orders/{number}:
    put:
      requestBody: { content: { application/json: { schema: { $ref: "#/components/schemas/Order" } } } }
      responses: { "200": {} }
"##;

/// A shop that describes itself to whoever has the key, and an Odoo with one model.
async fn applications() -> String {
    let described = |headers: HeaderMap| async move {
        let given =
            headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        if given == format!("Bearer {KEY}") {
            return (StatusCode::OK, OPENAPI.to_owned());
        }
        (StatusCode::UNAUTHORIZED, format!("`{given}` is not a key"))
    };
    let fields = || async { Json(json!({ "ref": {}, "name": {}, "email": {} })) };
    let refused = || async { (StatusCode::FORBIDDEN, "no rights on sale.order\u{1b}[2J") };
    let app = Router::new()
        .route("/shop/openapi.yaml", get(described))
        .route("/json/2/res.partner/fields_get", post(fields))
        .route("/json/2/sale.order/fields_get", post(refused));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// A folder with a pipeline file that has these connections, and nothing else.
fn folder(connections: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let file = format!("name: study\n{connections}");
    std::fs::write(folder.path().join("pipeline.yaml"), file).unwrap();
    folder
}

async fn probe(folder: &TempDir, arguments: &[&str]) -> Answer {
    run(folder.path(), &[&["probe"], arguments].concat()).await
}

/// The one study of an answer in JSON.
#[track_caller]
fn study(answer: &Answer) -> Value {
    assert_eq!(answer.code, 0, "{answer:?}");
    let all: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 1);
    all[0].clone()
}

#[track_caller]
fn shows(answer: &Answer, code: i32, texts: &[&str]) {
    let shown = format!("{}{}", answer.stdout, answer.stderr);
    assert_eq!(answer.code, code, "{shown}");
    for text in texts {
        assert!(shown.contains(text), "`{text}` is not in:\n{shown}");
    }
    assert!(!shown.contains(KEY) && !shown.contains("panicked"), "{shown}");
}

/// The way of this name among those of a study.
#[track_caller]
fn way(study: &Value, name: &str) -> Value {
    let all = study["study"]["reads"].as_array().unwrap();
    all.iter().find(|reading| reading["way"] == name).unwrap().clone()
}

fn shop(url: &str, key: &str) -> String {
    format!(
        "connections:\n  shop: {{ http: {{ url: \"{url}/shop\", allow_private: true, auth: {{ bearer: \
         {key} }} }} }}\n  mail: {{ smtp: {{ url: \"smtp://127.0.0.1:1\" }} }}\n"
    )
}

#[tokio::test]
async fn an_application_that_describes_itself_is_studied_and_the_fallback_follows() {
    let folder = folder(&shop(&applications().await, KEY));
    let answer = probe(&folder, &["shop", "pipeline.yaml"]).await;
    shows(
        &answer,
        0,
        &[
            "Shop 2 at http://127.0.0.1",
            "GET /orders, POST /orders, PUT /orders/{number}",
            "3: number*!, lines!",
            "changes: GET /orders by `updated_since`",
            "pages: GET /orders by `cursor`",
            "Fallback: no webhooks: poll every 30 s: up to 30 s + 1 request; nightly file: up to 24 h.",
        ],
    );
    let told = study(&probe(&folder, &["shop", "pipeline.yaml", "--json"]).await);
    assert_eq!(told["fallback"]["way"], "poll");
    assert_eq!(told["connector"], "http");
    let answer = probe(&folder, &["shop", "pipeline.yaml", "Order"]).await;
    shows(&answer, 0, &["lines   array of Line  yes", "note    string         no"]);
}

#[tokio::test]
async fn what_is_in_the_way_is_told_with_its_place_and_its_cure() {
    let url = applications().await;
    let known = folder(&shop(&url, KEY));
    shows(&probe(&known, &["shp", "pipeline.yaml"]).await, 1, &["`shp`", "there are: mail, shop"]);
    let answer = probe(&known, &["shop", "pipeline.yaml", "Ordr"]).await;
    shows(&answer, 1, &["`shop` of pipeline.yaml", "Did you mean `Order`?"]);
    let answer = probe(&known, &["shop", "pipeline.yaml", "--openapi", "/none.json"]).await;
    shows(&answer, 1, &["/none.json", "--openapi"]);
    // One that fails hides nothing of another.
    let answer = probe(&known, &["mail,shop", "pipeline.yaml"]).await;
    shows(&answer, 1, &["`smtp` cannot be probed; these can: http", "Fallback: "]);
    // The application sends our own key back.
    let wrong = folder(&shop(&url, "another-key-of-ours"));
    let answer = probe(&wrong, &["shop", "pipeline.yaml"]).await;
    shows(&answer, 1, &["401", "credentials"]);
    assert!(!answer.stderr.contains("another-key-of-ours"), "{}", answer.stderr);
    let away = folder(&shop("http://127.0.0.1:9", KEY));
    shows(&probe(&away, &["shop", "pipeline.yaml"]).await, 1, &["127.0.0.1:9"]);
}

#[tokio::test]
async fn a_description_in_a_file_needs_no_application() {
    let folder = folder(&shop("http://127.0.0.1:9", KEY));
    std::fs::write(folder.path().join("spec.yaml"), OPENAPI).unwrap();
    let answer = probe(&folder, &["shop", "pipeline.yaml", "--openapi", "spec.yaml"]).await;
    shows(&answer, 0, &["as `spec.yaml` says", "POST /orders"]);
    std::fs::write(folder.path().join("spec.yaml"), "a: [").unwrap();
    let answer = probe(&folder, &["shop", "pipeline.yaml", "--openapi", "spec.yaml"]).await;
    shows(&answer, 1, &["`spec.yaml` cannot be read"]);
}

#[tokio::test]
async fn a_described_application_lists_its_own_fields_where_it_lets_us() {
    let url = applications().await;
    let folder = folder(&format!(
        "connections:\n  erp: {{ odoo: {{ url: \"{url}\", allow_private: true, key: {KEY}, database: x \
         }} }}\n"
    ));
    let answer = probe(&folder, &["erp", "pipeline.yaml"]).await;
    shows(
        &answer,
        0,
        &["create, update, upsert", "3: ref*", "no rights on sale.order", "not covered"],
    );
    assert!(!answer.stdout.contains('\u{1b}'));
    let answer = probe(&folder, &["erp", "pipeline.yaml", "res.partner"]).await;
    shows(
        &answer,
        0,
        &["named by `ref`", "upsert: a repeat has no second effect", "webhooks unknown"],
    );
    let told = study(&probe(&folder, &["erp", "pipeline.yaml", "res.partner", "--json"]).await);
    let fields = told["study"]["objects"][0]["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 3);
    assert!(fields[0]["required"].is_null());
}

#[tokio::test]
async fn what_a_database_lacks_for_change_capture_is_told_in_sql_that_brings_it() {
    let Some(server) = Server::find() else { return };
    let database = server.database().await;
    let role = database.name.clone();
    database
        .execute(&format!(
            "ALTER ROLE {role} NOREPLICATION; CREATE TABLE orders (id bigint PRIMARY KEY, total \
             numeric(12,2) NOT NULL, note text, state text NOT NULL DEFAULT 'new', updated_at \
             timestamptz NOT NULL); CREATE TABLE \"Odd \"\"name\" (a int); REVOKE SELECT ON \"Odd \
             \"\"name\" FROM {role}; INSERT INTO orders SELECT n, 1, '', 'new', now() FROM \
             generate_series(1, 1000) n; ANALYZE orders"
        ))
        .await;
    let folder = folder(&database.connection());
    let told = study(&probe(&folder, &["db", "pipeline.yaml", "--json"]).await);
    let capture = way(&told, "change_capture");
    assert_eq!(capture["open"], false, "{told}");
    assert_eq!(told["fallback"]["way"], "poll");
    let polled = told["fallback"]["sentence"].as_str().unwrap();
    assert!(polled.starts_with("no webhooks, no change capture: poll every 30 s"), "{polled}");
    let because = way(&told, "poll")["because"].as_str().unwrap().to_owned();
    assert!(because.contains("public.orders by `updated_at`"), "{because}");
    // Exactly what it says is run, line by line.
    let statements = capture["to_do"].as_array().unwrap();
    assert!(statements.len() >= 3, "{statements:?}");
    for statement in statements {
        database.execute(statement.as_str().unwrap()).await;
    }
    let told = study(&probe(&folder, &["db", "pipeline.yaml", "--json"]).await);
    let capture = way(&told, "change_capture");
    assert_eq!((&capture["open"], &capture["to_do"]), (&json!(true), &json!([])), "{told}");
    assert_eq!(told["fallback"]["way"], "change_capture");

    let told = study(&probe(&folder, &["db", "pipeline.yaml", "public.orders", "--json"]).await);
    let orders = &told["study"]["objects"][0];
    assert_eq!(orders["records"], 1000);
    let fields = orders["fields"].as_array().unwrap();
    let told: Vec<_> = fields
        .iter()
        .map(|field| (&field["name"], &field["kind"], &field["required"], &field["key"]))
        .map(|(name, kind, required, key)| json!([name, kind, required, key]))
        .collect();
    let expected = json!([
        ["id", "bigint", true, true],
        ["total", "numeric(12,2)", true, false],
        ["note", "text", false, false],
        ["state", "text", false, false],
        ["updated_at", "timestamp with time zone", true, false],
    ]);
    assert_eq!(Value::from(told), expected);
    let answer = probe(&folder, &["db", "pipeline.yaml"]).await;
    shows(
        &answer,
        0,
        &["PostgreSQL", "Fallback: no webhooks: change capture: within about a second"],
    );
    assert!(!answer.stdout.contains("secret-of-the-role"));
    database.end().await;
}

#[tokio::test]
async fn a_real_tryton_lists_its_models_and_what_must_be_given() {
    let Some(erp) = std::env::var_os("PASSERELLE_TEST_ERP").map(PathBuf::from) else {
        eprintln!("SKIPPED: a real Tryton is needed: `just probe` starts one and runs this.");
        return;
    };
    let read = |name: &str| std::fs::read_to_string(erp.join(name)).unwrap();
    let configuration = read("trytond.conf");
    let listen = configuration.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap();
    let key = read("key").trim().to_owned();
    let connection = |key: &str| {
        folder(&format!(
            "connections:\n  erp: {{ tryton: {{ url: \"http://{listen}/erp\", allow_private: true, key: \
             \"{key}\" }} }}\n"
        ))
    };
    let folder = connection(&key);
    let answer = probe(&folder, &["erp", "pipeline.yaml"]).await;
    let fallback = "no webhooks: poll every 30 s: up to 30 s + 1 request; nightly file: up to 24 h";
    shows(&answer, 0, &["party.party", "sale.sale", "sale.line", fallback]);
    assert!(!answer.stdout.contains(&key));
    let told = study(&probe(&folder, &["erp", "pipeline.yaml", "sale.sale", "--json"]).await);
    let fields = told["study"]["objects"][0]["fields"].as_array().unwrap();
    let find = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(find("company")["required"], true);
    assert_eq!(find("reference")["required"], false);
    assert_eq!(find("currency")["kind"], "many2one of currency.currency");
    let answer = probe(&folder, &["erp", "pipeline.yaml", "sale.sail"]).await;
    shows(&answer, 1, &["sale.sail"]);
    let answer = probe(&connection("not-the-key-of-it"), &["erp", "pipeline.yaml"]).await;
    shows(&answer, 1, &["401"]);
}
