use engine::study::Field;
use serde_json::json;

use super::*;

fn shop() -> Json {
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Shop", "version": "2.1" },
        "webhooks": { "orderCreated": { "post": {} } },
        "paths": {
            "/orders": {
                "get": {
                    "parameters": [
                        { "name": "cursor", "in": "query" },
                        { "$ref": "#/components/parameters/Limit" },
                        { "name": "updated_since", "in": "query" },
                    ],
                    "responses": {
                        "200": { "content": { "application/json": { "schema": {
                            "properties": { "data": { "type": "array", "items": { "$ref": "#/components/schemas/Order" } } },
                        } } } },
                        "429": {},
                    },
                },
                "post": {
                    "parameters": [{ "name": "Idempotency-Key", "in": "header" }],
                    "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Order" } } } },
                    "responses": { "201": {} },
                },
            },
            "/orders/{number}": {
                "parameters": [{ "name": "number", "in": "path" }],
                "delete": { "responses": { "204": {} } },
            },
        },
        "components": {
            "parameters": { "Limit": { "name": "limit", "in": "query", "schema": { "maximum": 100 } } },
            "schemas": { "Order": {
                "properties": { "number": { "type": "string" }, "total": { "type": "string", "format": "decimal" } },
                "required": ["number"],
            } },
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
                "token": { "type": "http", "scheme": "Bearer" },
                "oauth": { "type": "oauth2", "flows": { "clientCredentials": {} } },
            },
        },
    })
}

fn field(name: &str, kind: &str, required: bool, key: bool) -> Field {
    Field { name: name.to_owned(), kind: kind.to_owned(), required: Some(required), key }
}

#[test]
fn a_description_becomes_objects_with_their_operations_and_fields() {
    let study = study(&shop());
    assert_eq!(study.application, "Shop 2.1");
    let [order] = study.objects.as_slice() else { panic!("{:?}", study.objects) };
    assert_eq!(order.name, "Order");
    assert_eq!(order.operations, ["GET /orders", "POST /orders", "DELETE /orders/{number}"]);
    let expected =
        [field("number", "string", true, true), field("total", "string (decimal)", false, false)];
    assert_eq!(order.fields, expected);
}

#[test]
fn what_an_answer_always_holds_is_not_what_must_be_given() {
    let mut description = shop();
    description["paths"]["/orders"]["post"]["requestBody"] = json!({ "content": { "application/json": {
        "schema": { "properties": { "total": {}, "gift": { "type": "boolean" } }, "required": ["total"] },
    } } });
    let study = study(&description);
    let [order] = study.objects.as_slice() else { panic!("{:?}", study.objects) };
    let told: Vec<_> =
        order.fields.iter().map(|field| (field.name.as_str(), field.required)).collect();
    assert_eq!(told, [("number", Some(false)), ("total", Some(true)), ("gift", Some(false))]);
    // Where nothing creates one, nobody knows.
    description["paths"]["/orders"]["post"] = Json::Null;
    let study = super::study(&description);
    assert_eq!(study.objects[0].fields[0].required, None);
}

#[test]
fn its_webhooks_pages_credentials_and_limits_are_told() {
    let study = study(&shop());
    let [webhook, poll, _] = study.reads.as_slice() else { panic!("{:?}", study.reads) };
    assert_eq!(webhook.open, Some(true));
    assert!(webhook.because.contains("orderCreated"));
    assert!(poll.because.contains("changes: GET /orders by `updated_since`"), "{}", poll.because);
    assert!(poll.because.contains("pages: GET /orders by `cursor`, `limit`"), "{}", poll.because);
    let access = study.access.join("\n");
    for way in
        ["headers: { X-Api-Key: … }", "auth: { bearer: … }", "oauth2: … }` (clientCredentials)"]
    {
        assert!(access.contains(way), "{access}");
    }
    assert!(study.writes.join("\n").contains("idempotency_header: Idempotency-Key"));
    let limits = study.limits.join("\n");
    assert!(limits.contains("429") && limits.contains("`limit` is 100 at most"), "{limits}");
}

#[test]
fn without_webhooks_the_fallback_is_a_poll_with_its_latency() {
    let mut description = shop();
    description["webhooks"] = Json::Null;
    let fallback = study(&description).fallback();
    assert!(fallback.sentence.starts_with("no webhooks: poll every 30 s: up to 30 s + 1 request"));
    // Where one can subscribe to something, it may be to webhooks.
    description["paths"]["/subscriptions"] = json!({ "post": {} });
    let fallback = study(&description).fallback();
    assert!(fallback.sentence.starts_with("webhooks unknown: poll"), "{}", fallback.sentence);
}

#[test]
fn a_description_of_swagger_2_is_read_as_well() {
    let description = json!({
        "swagger": "2.0",
        "info": { "title": "Old" },
        "securityDefinitions": { "basic": { "type": "basic" } },
        "definitions": { "Party": { "properties": { "id": { "type": "integer" } } } },
        "paths": { "/parties": {
            "get": { "responses": { "200": { "schema": { "type": "array", "items": { "$ref": "#/definitions/Party" } } } } },
            "post": { "parameters": [{ "in": "body", "name": "body", "schema": { "$ref": "#/definitions/Party" } }] },
        } },
    });
    let study = study(&description);
    assert_eq!(study.objects.len(), 1);
    assert_eq!(study.objects[0].name, "Party");
    assert_eq!(study.objects[0].operations.len(), 2);
    assert!(study.access[0].contains("basic: { user"), "{:?}", study.access);
}

#[test]
fn a_description_of_odd_shape_gives_little_and_breaks_nothing() {
    for odd in [
        json!({}),
        json!({ "paths": [] }),
        json!({ "paths": { "/a": { "get": [] }, "": { "get": {} } } }),
        json!({ "paths": { "/{": { "get": { "parameters": [1, { "in": "query" }] } } }, "webhooks": 3 }),
        json!({ "paths": { "/a": { "$ref": "#/paths/~1a" } } }),
    ] {
        study(&odd).fallback();
    }
}
