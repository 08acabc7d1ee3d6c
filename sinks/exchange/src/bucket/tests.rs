use ::tests::bad_server::{Act, BadServer, answer};
use engine::connector::Findings;
use engine::{Domain, Retry};
use serde_json::json;

use super::*;
use crate::tests::setup;

const SECRET: &str = "hush-hush-hush";

fn connection(endpoint: &str) -> Connection {
    let options = json!({
        "bucket": "lake", "folder": "shop", "endpoint": endpoint, "allow_private": true,
        "access_key": "AKID", "secret_key": SECRET, "timeout": "2s",
    });
    serde_json::from_value(options).unwrap()
}

fn bucket(endpoint: &str) -> Bucket {
    connection(endpoint).open(&setup()).unwrap()
}

fn refusal(status: &str, code: &str) -> Act {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>because of {SECRET}\n.</Message></Error>"
    );
    answer(status, "", &body)
}

/// The fault of a list, from a store that does this.
async fn fault(act: Act) -> Fault {
    let server = BadServer::start(move |_| act.clone()).await;
    bucket(&server.url).list("orders", None).await.unwrap_err()
}

#[tokio::test]
async fn each_refusal_makes_the_route_wait_and_names_bucket_cause_and_cure() {
    for (status, code, cause, cure) in [
        ("404 X", "NoSuchBucket", "bucket_missing", "create the bucket"),
        ("403 X", "InvalidAccessKeyId", "credentials_refused", "`access_key`"),
        ("403 X", "SignatureDoesNotMatch", "credentials_refused", "`secret_key`"),
        ("400 X", "ExpiredToken", "credentials_refused", "`session_token`"),
        ("403 X", "AccessDenied", "access_denied", "the right to list the bucket"),
        ("403 X", "RequestTimeTooSkewed", "clock_wrong", "clock"),
        ("400 X", "AuthorizationHeaderMalformed", "region_wrong", "`region`"),
        ("301 X", "PermanentRedirect", "region_wrong", "`region`"),
        ("503 X", "SlowDown", "store_busy", "tried again"),
        ("507 X", "XMinioStorageFull", "store_full", "room"),
        ("500 X", "InternalError", "store_failed", "tried again"),
        ("501 X", "NotImplemented", "store_lacks", "does not have"),
        ("418 X", "", "store_refused", "tried again"),
    ] {
        let fault = fault(refusal(status, code)).await;
        let told = (fault.domain, fault.retry, fault.cause);
        assert_eq!(told, (Domain::Remote, Retry::Route, cause), "{fault}");
        assert!(fault.message.contains(cure), "{fault}");
        assert!(fault.message.contains("`orders` in the bucket `lake` of http://127.0.0.1"));
        assert!(fault.message.contains(code) && !fault.message.contains(SECRET), "{fault}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_silent_is_waited_for() {
    assert_eq!(fault(Act::Silence).await.cause, "http_timeout");
    let cut = fault(Act::AnswerAndClose("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<".into()));
    assert_eq!(cut.await.retry, Retry::Route);
    let away = bucket("http://127.0.0.1:1").find("orders/a").await.unwrap_err();
    assert_eq!((away.cause, away.retry), ("http_connect", Retry::Route), "{away}");
}

#[tokio::test]
async fn an_object_is_created_where_none_is_by_a_signed_request() {
    let act = |number: usize| match number {
        0 => answer("200 OK", "etag: \"a\"\r\n", ""),
        _ => refusal("412 X", "PreconditionFailed"),
    };
    let server = BadServer::start(act).await;
    let bucket = bucket(&server.url);
    assert!(bucket.create("a b/é~1.json", "{}".into()).await.unwrap());
    assert!(!bucket.create("a b/é~1.json", "{}".into()).await.unwrap());
    let received = &server.received()[0];
    assert_eq!(received.line, "PUT /lake/shop/a%20b/%C3%A9~1.json HTTP/1.1");
    assert_eq!((received.headers["if-none-match"].as_str(), &*received.body), ("*", &b"{}"[..]));
    assert!(received.headers["authorization"].contains("/us-east-1/s3/aws4_request"));
    let shown = format!("{received:?}");
    assert!(!shown.contains(SECRET));
}

#[tokio::test]
async fn a_store_without_conditions_is_asked_beforehand() {
    let act = |number: usize| match number {
        0 => answer("404 X", "", ""),
        1 => answer("200 OK", "etag: \"a\"\r\n", ""),
        _ => Act::Answer(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\netag: \"a\"\r\n\
             last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n"
                .into(),
        ),
    };
    let server = BadServer::start(act).await;
    let mut connection = connection(&server.url);
    connection.conditional_put = false;
    let bucket = connection.open(&setup()).unwrap();
    assert!(bucket.create("a", "{}".into()).await.unwrap());
    assert!(!bucket.create("a", "{}".into()).await.unwrap());
    assert!(server.received().iter().all(|one| !one.headers.contains_key("if-none-match")));
}

#[tokio::test]
async fn keys_are_from_the_connections_folder() {
    let list = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents>\
                <Key>shop/orders/b.jsonl</Key><LastModified>2026-01-31T08:00:00.000Z</LastModified>\
                <ETag>\"x\"</ETag><Size>3</Size></Contents></ListBucketResult>";
    let server = BadServer::start(move |_| answer("200 OK", "", list)).await;
    let found = bucket(&server.url).list("orders", None).await.unwrap();
    assert_eq!((found[0].key.as_str(), found[0].size), ("orders/b.jsonl", 3));
    assert!(server.received()[0].line.contains("prefix=shop%2Forders%2F"));
}

#[test]
fn what_cannot_work_is_found_when_the_file_is_checked() {
    for (change, code) in [
        (json!({ "bucket": "https://lake" }), "bucket_invalid"),
        (json!({ "endpoint": "10.0.0.1:9000" }), "endpoint_invalid"),
        (json!({ "endpoint": "http://10.0.0.1:9000", "allow_private": false }), "endpoint_invalid"),
        (json!({ "endpoint": null, "region": "eu west" }), "endpoint_invalid"),
        (json!({ "folder": "a//b" }), "folder_invalid"),
        (json!({ "folder": "../b" }), "folder_invalid"),
        (json!({ "secret_key": "a\n" }), "key_invalid"),
        (json!({ "access_key": "" }), "key_invalid"),
        (json!({ "timeout": "0s" }), "timeout_zero"),
    ] {
        let mut options = json!({
            "bucket": "lake", "endpoint": "http://10.0.0.1:9000", "allow_private": true,
            "access_key": "AKID", "secret_key": SECRET,
        });
        options.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut findings = Findings::default();
        serde_json::from_value::<Connection>(options).unwrap().check(&mut findings);
        let found: Vec<_> = findings.0.iter().map(|finding| finding.code).collect();
        assert_eq!(found, [code], "{change}");
        assert!(!format!("{findings:?}").contains(SECRET));
    }
}
