use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::options::Period;
use hmac::{Hmac, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::Sha256;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_614_265_330;

fn verifier(scheme: &Signature) -> Verifier {
    Verifier::new(scheme, Period(Duration::from_secs(300))).unwrap()
}

fn one(secret: &str) -> Secrets {
    Secrets::One(Secret::new(secret))
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap())
        })
        .collect()
}

/// The example of the specification's reference libraries.
fn standard(signature: &str) -> HeaderMap {
    headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", signature),
    ])
}

const BODY: &[u8] = br#"{"test": 2432232314}"#;
const GOOD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

#[test]
fn the_specifications_own_example_is_verified() {
    let verifier = verifier(&Signature::StandardWebhooks(one(SECRET)));
    let signed = verifier.verify(&standard(GOOD), BODY, NOW).unwrap();
    assert_eq!(signed.id.as_deref(), Some("msg_p5jXN8AQM9LWM0D4loKWxJek"));
    assert_eq!(signed.sent, Some(NOW));
}

#[test]
fn either_secret_and_either_signature_do_during_a_rotation() {
    let both = Secrets::Several(vec![
        Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        Secret::new(SECRET),
    ]);
    let verifier = verifier(&Signature::StandardWebhooks(both));
    let list = format!("v1,bm9wZQ== v2,x {GOOD}");
    assert!(verifier.verify(&standard(&list), BODY, NOW).is_ok());
}

#[test]
fn empty_truncated_and_foreign_signatures_are_refused() {
    let verifier = verifier(&Signature::StandardWebhooks(one(SECRET)));
    for signature in [
        "v1,",
        "v1",
        ",",
        "v1,g0hM",
        "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        " ",
        &GOOD[..GOOD.len() - 1],
    ] {
        assert!(verifier.verify(&standard(signature), BODY, NOW).is_err(), "{signature}");
    }
    assert!(
        verifier.verify(&standard(GOOD), br#"{"test":2432232314}"#, NOW).is_err(),
        "a body written anew"
    );
    assert!(verifier.verify(&HeaderMap::new(), BODY, NOW).is_err());
}

#[test]
fn a_timestamp_is_tolerated_five_minutes_in_both_directions() {
    let verifier = verifier(&Signature::StandardWebhooks(one(SECRET)));
    for (now, taken) in [
        (NOW + 300, true),
        (NOW - 300, true),
        (NOW + 301, false),
        (NOW - 301, false),
        (i64::MIN, false),
    ] {
        assert_eq!(verifier.verify(&standard(GOOD), BODY, now).is_ok(), taken, "{now}");
    }
}

#[test]
fn stripe_signs_the_time_and_the_body_in_hex() {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"whsec_test").unwrap();
    mac.update(b"1614265330.{}");
    let signature = hex::encode(mac.finalize().into_bytes());
    let verifier = verifier(&Signature::Stripe(one("whsec_test")));
    let call = headers(&[("stripe-signature", &format!("t=1614265330,v1={signature},v0=aa"))]);
    assert!(verifier.verify(&call, b"{}", NOW).is_ok());
    assert!(verifier.verify(&call, b"{} ", NOW).is_err());
    assert!(verifier.verify(&call, b"{}", NOW + 900).is_err());
    for broken in ["v1=aa", "t=,v1=", "t=1614265330", "t=99999999999999999999,v1=aa"] {
        assert!(
            verifier.verify(&headers(&[("stripe-signature", broken)]), b"{}", NOW).is_err(),
            "{broken}"
        );
    }
}

#[test]
fn github_shopify_and_a_plain_hmac_sign_the_body() {
    // GitHub's own example, from "Validating webhook deliveries".
    let github = verifier(&Signature::Github(one("It's a Secret to Everybody")));
    let call = headers(&[
        (
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
        ("x-github-delivery", "72d3162e"),
        ("x-github-event", "push"),
    ]);
    let signed = github.verify(&call, b"Hello, World!", NOW).unwrap();
    assert_eq!((signed.id.as_deref(), signed.kind.as_deref()), (Some("72d3162e"), Some("push")));
    assert!(github.verify(&call, b"Hello, World", NOW).is_err());

    let bytes =
        hex::decode("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17").unwrap();
    let shopify = verifier(&Signature::Shopify(one("It's a Secret to Everybody")));
    let call = headers(&[
        ("x-shopify-hmac-sha256", &STANDARD.encode(&bytes)),
        ("x-shopify-webhook-id", "w1"),
    ]);
    assert_eq!(shopify.verify(&call, b"Hello, World!", NOW).unwrap().id.as_deref(), Some("w1"));

    let plain = verifier(&Signature::Hmac(PlainHmac {
        header: "X-Signature".into(),
        secret: one("It's a Secret to Everybody"),
        algorithm: Algorithm::Sha256,
        encoding: Encoding::Hex,
        prefix: String::new(),
    }));
    let call = headers(&[("x-signature", &hex::encode_upper(&bytes))]);
    assert!(plain.verify(&call, b"Hello, World!", NOW).is_ok());
    assert!(plain.verify(&headers(&[("x-signature", "")]), b"Hello, World!", NOW).is_err());
}

#[test]
fn a_secret_that_cannot_be_one_is_refused_at_the_start() {
    for secret in ["whsec_", "whsec_short", "whsec_c2hvcnQ=", "not base64 at all!"] {
        assert!(
            Verifier::new(&Signature::StandardWebhooks(one(secret)), Period(Duration::ZERO))
                .is_err(),
            "{secret}"
        );
    }
    assert!(Verifier::new(&Signature::Github(one("")), Period(Duration::ZERO)).is_err());
    assert!(
        Verifier::new(&Signature::Github(Secrets::Several(vec![])), Period(Duration::ZERO))
            .is_err()
    );
}

fn hmac(secret: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn a_public_key_verifies_what_its_private_half_signed() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = format!("whpk_{}", STANDARD.encode(pair.public_key()));
    let verifier = verifier(&Signature::StandardWebhooks(one(&public)));
    let signed = [b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.", BODY].concat();
    let good = format!("v1,{} v1a,{}", "AAAA", STANDARD.encode(pair.sign(&signed)));
    assert!(verifier.verify(&standard(&good), BODY, NOW).is_ok());
    assert!(verifier.verify(&standard(&good), b"{}", NOW).is_err());
    assert!(verifier.verify(&standard(&good), BODY, NOW + 301).is_err());
    assert!(verifier.verify(&standard(GOOD), BODY, NOW).is_err(), "a shared secret's");
    // A public key is known to all: nothing may count as signed with it as a shared secret.
    let forged = hmac(&public, &[&signed]);
    assert!(
        verifier.verify(&standard(&format!("v1,{}", STANDARD.encode(forged))), BODY, NOW).is_err()
    );
    for broken in ["whpk_", "whpk_AAAA", "whpk_???"] {
        let scheme = Signature::StandardWebhooks(one(broken));
        assert!(Verifier::new(&scheme, Period(Duration::ZERO)).is_err(), "{broken}");
    }
}

#[test]
fn hubspot_signs_method_address_body_and_time() {
    let (secret, body, at) = ("app-secret", br#"[{"eventId":1}]"#, "1614265330123");
    let url = "https://hooks.example.com/hubspot%3Fa?b=%20%40";
    let scheme = Signature::Hubspot(HubSpot { secret: one(secret), url: url.to_owned() });
    let verifier = verifier(&scheme);
    let address = b"https://hooks.example.com/hubspot?a?b=%20@";
    let signature = STANDARD.encode(hmac(secret, &[b"POST", address, body, at.as_bytes()]));
    let call = |at: &str| {
        headers(&[("x-hubspot-signature-v3", &signature), ("x-hubspot-request-timestamp", at)])
    };
    assert_eq!(verifier.verify(&call(at), body, NOW).unwrap().sent, Some(NOW));
    assert!(verifier.verify(&call("1614265330124"), body, NOW).is_err(), "another time");
    assert!(verifier.verify(&call(at), b"[]", NOW).is_err());
    assert!(verifier.verify(&call(at), body, NOW + 301).is_err());
    assert!(verifier.verify(&call("soon"), body, NOW).is_err());
}

#[test]
fn slack_signs_version_time_and_body() {
    let signature = hex::encode(hmac("shh", &[b"v0:1614265330:", BODY]));
    let verifier = verifier(&Signature::Slack(one("shh")));
    let call = headers(&[
        ("x-slack-signature", &format!("v0={signature}")),
        ("x-slack-request-timestamp", "1614265330"),
    ]);
    assert!(verifier.verify(&call, BODY, NOW).is_ok());
    assert!(verifier.verify(&call, b"{}", NOW).is_err());
    assert!(verifier.verify(&call, BODY, NOW + 301).is_err());
}

#[test]
fn woocommerce_and_intuit_sign_the_body_in_base64() {
    let signature = STANDARD.encode(hmac("shh", &[BODY]));
    let woocommerce = verifier(&Signature::Woocommerce(one("shh")));
    let call = headers(&[
        ("x-wc-webhook-signature", &signature),
        ("x-wc-webhook-topic", "order.created"),
        ("x-wc-webhook-delivery-id", "17"),
    ]);
    let signed = woocommerce.verify(&call, BODY, NOW).unwrap();
    assert_eq!(signed.kind.as_deref(), Some("order.created"));
    assert_eq!(signed.id, None, "the delivery's id changes when it calls again");
    assert!(woocommerce.is_trial(b"webhook_id=17"));
    for no_trial in [&b"webhook_id="[..], b"webhook_id=17&a=b", b"{}", b""] {
        assert!(!woocommerce.is_trial(no_trial));
    }
    let intuit = verifier(&Signature::Intuit(one("shh")));
    assert!(!intuit.is_trial(b"webhook_id=17"));
    assert!(intuit.verify(&headers(&[("intuit-signature", &signature)]), BODY, NOW).is_ok());
    assert!(intuit.verify(&headers(&[("intuit-signature", &signature)]), b"{}", NOW).is_err());
}

#[test]
fn a_password_or_a_token_stands_in_the_call_itself() {
    let user = Basic { user: "shop".into(), password: one("p:w") };
    let basic = verifier(&Signature::Basic(user));
    let taken = |verifier: &Verifier, given: &str| {
        verifier.verify(&headers(&[("authorization", given)]), BODY, NOW).is_ok()
    };
    let encoded = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert!(taken(&basic, &encoded("shop:p:w")));
    let wrong = ["shop:p:", "shop:", "shop", "other:p:w", "p:w", ""];
    assert!(wrong.iter().all(|text| !taken(&basic, &encoded(text))));
    assert!(!taken(&basic, "Bearer p:w"));
    let both = Secrets::Several(vec![Secret::new("old"), Secret::new("new")]);
    let bearer = verifier(&Signature::Bearer(both));
    assert!(taken(&bearer, "Bearer old") && taken(&bearer, "bearer new"));
    assert!(
        ["Bearer", "Bearer ", "Bearer olda", "old", "Basic old", ""]
            .iter()
            .all(|given| !taken(&bearer, given))
    );
    assert!(bearer.verify(&HeaderMap::new(), BODY, NOW).is_err());
}
