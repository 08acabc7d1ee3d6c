//! Who says that it is the application: signatures over the raw bytes of the body.
//!
//! Comparisons take constant time and check the length first (`hmac`'s `verify_slice`).

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Fault;
use engine::options::{Period, Secret};
use hmac::{Hmac, Mac};
use schemars::JsonSchema;
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// How the application signs its calls. A signed call proves who sent it; without a signature anyone
/// who can reach the address can make events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// No signature: only behind a gateway that checks the caller.
    None,
    /// Standard Webhooks 1.0.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,…`). The
    /// secret is `whsec_` and base64; a list holds the old and the new one during a rotation.
    StandardWebhooks(Secrets),
    /// Stripe (`Stripe-Signature: t=…,v1=…`). The secret is used as it is written, `whsec_` included.
    Stripe(Secrets),
    /// GitHub (`X-Hub-Signature-256: sha256=…`).
    Github(Secrets),
    /// Shopify (`X-Shopify-Hmac-Sha256`).
    Shopify(Secrets),
    /// A plain HMAC of the body in a header.
    Hmac(PlainHmac),
}

/// One secret, or several of which any may match (rotation).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Secrets {
    /// One.
    One(Secret),
    /// Several.
    Several(Vec<Secret>),
}

impl Secrets {
    /// All of them.
    pub fn all(&self) -> &[Secret] {
        match self {
            Secrets::One(secret) => std::slice::from_ref(secret),
            Secrets::Several(secrets) => secrets,
        }
    }
}

/// A plain HMAC of the body.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PlainHmac {
    /// The header that holds the signature, for example `X-Signature`.
    pub header: String,
    /// The secret, or several during a rotation.
    pub secret: Secrets,
    /// The hash.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// What stands before the signature, for example `sha256=`.
    #[serde(default)]
    pub prefix: String,
}

/// The hash of a plain HMAC.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// SHA-1: only for applications that offer nothing else.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a plain HMAC is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Hexadecimal digits, either case.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

/// What a verified call says about itself in its headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    /// The application's id of the event.
    pub id: Option<String>,
    /// What kind of event it is.
    pub kind: Option<String>,
    /// When the application sent it, in seconds since the Unix epoch.
    pub sent: Option<i64>,
}

/// Why a call is refused, as a sentence for its sender. Says nothing of the secret or of the
/// signature that was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

/// Verifies calls against secrets that were read once.
pub struct Verifier {
    scheme: Signature,
    keys: Vec<Vec<u8>>,
    tolerance: i64,
}

impl Verifier {
    /// A verifier for one scheme; `tolerance` is how far a signed timestamp may lie from now, in
    /// both directions.
    ///
    /// # Errors
    /// A `Config` fault when a secret cannot be one.
    pub fn new(scheme: &Signature, tolerance: Period) -> Result<Self, Fault> {
        let (secrets, standard) = match scheme {
            Signature::None => (&[][..], false),
            Signature::StandardWebhooks(secrets) => (secrets.all(), true),
            Signature::Stripe(secrets)
            | Signature::Github(secrets)
            | Signature::Shopify(secrets) => (secrets.all(), false),
            Signature::Hmac(plain) => (plain.secret.all(), false),
        };
        if secrets.is_empty() && !matches!(scheme, Signature::None) {
            return Err(Fault::config(
                "secret",
                "The list of secrets is empty: nothing could be verified.",
            ));
        }
        let keys = secrets.iter().map(|secret| key(secret, standard)).collect::<Result<_, _>>()?;
        let tolerance = i64::try_from(tolerance.0.as_secs()).unwrap_or(i64::MAX);
        Ok(Self { scheme: scheme.clone(), keys, tolerance })
    }

    /// Verifies a call. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The refusal to answer with 401.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Signed, Refusal> {
        match &self.scheme {
            Signature::None => Ok(Signed::default()),
            Signature::StandardWebhooks(_) => self.standard_webhooks(headers, body, now),
            Signature::Stripe(_) => self.stripe(headers, body, now),
            Signature::Github(_) => {
                let hex = required(headers, "x-hub-signature-256")?
                    .strip_prefix("sha256=")
                    .unwrap_or_default();
                self.matches::<Hmac<Sha256>>(&decode_hex(hex), &[body])?;
                Ok(Signed {
                    id: text(headers, "x-github-delivery"),
                    kind: text(headers, "x-github-event"),
                    sent: None,
                })
            }
            Signature::Shopify(_) => {
                let signature = decode_base64(required(headers, "x-shopify-hmac-sha256")?);
                self.matches::<Hmac<Sha256>>(&signature, &[body])?;
                let id = text(headers, "x-shopify-event-id")
                    .or_else(|| text(headers, "x-shopify-webhook-id"));
                Ok(Signed { id, kind: text(headers, "x-shopify-topic"), sent: None })
            }
            Signature::Hmac(plain) => self.plain(plain, headers, body),
        }
    }

    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
    fn standard_webhooks(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<Signed, Refusal> {
        let id = required(headers, "webhook-id")?;
        let timestamp = required(headers, "webhook-timestamp")?;
        let sent = self.recent(timestamp, now)?;
        let signatures = required(headers, "webhook-signature")?
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .map(decode_base64)
            .collect::<Vec<_>>();
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        self.any_matches::<Hmac<Sha256>>(&signatures, &signed)?;
        Ok(Signed { id: Some(id.to_owned()), kind: None, sent: Some(sent) })
    }

    /// <https://docs.stripe.com/webhooks#verify-manually>
    fn stripe(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Signed, Refusal> {
        let header = required(headers, "stripe-signature")?;
        let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
        let timestamp = parts().find(|(name, _)| *name == "t").map_or("", |(_, value)| value);
        let sent = self.recent(timestamp, now)?;
        let signatures = parts()
            .filter(|(name, _)| *name == "v1")
            .map(|(_, value)| decode_hex(value))
            .collect::<Vec<_>>();
        self.any_matches::<Hmac<Sha256>>(&signatures, &[timestamp.as_bytes(), b".", body])?;
        Ok(Signed { id: None, kind: None, sent: Some(sent) })
    }

    fn plain(
        &self,
        plain: &PlainHmac,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Signed, Refusal> {
        let written =
            required(headers, &plain.header)?.strip_prefix(&plain.prefix).unwrap_or_default();
        let signature = match plain.encoding {
            Encoding::Hex => decode_hex(written),
            Encoding::Base64 => decode_base64(written),
        };
        match plain.algorithm {
            Algorithm::Sha1 => self.matches::<Hmac<Sha1>>(&signature, &[body])?,
            Algorithm::Sha256 => self.matches::<Hmac<Sha256>>(&signature, &[body])?,
            Algorithm::Sha512 => self.matches::<Hmac<Sha512>>(&signature, &[body])?,
        }
        Ok(Signed::default())
    }

    fn matches<M: Mac + hmac::digest::KeyInit>(
        &self,
        signature: &[u8],
        signed: &[&[u8]],
    ) -> Result<(), Refusal> {
        self.any_matches::<M>(std::slice::from_ref(&signature), signed)
    }

    /// Any signature by any key: both lists are short, and hold more than one only in a rotation.
    fn any_matches<M: Mac + hmac::digest::KeyInit>(
        &self,
        signatures: &[impl AsRef<[u8]>],
        signed: &[&[u8]],
    ) -> Result<(), Refusal> {
        for key in &self.keys {
            let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { continue };
            signed.iter().for_each(|part| mac.update(part));
            let expected = mac.finalize().into_bytes();
            let equal =
                |given: &[u8]| bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], given));
            if signatures.iter().any(|given| equal(given.as_ref())) {
                return Ok(());
            }
        }
        Err(Refusal("The signature does not match the body. Sign the very bytes that are sent, with the secret of this source.".into()))
    }

    fn recent(&self, timestamp: &str, now: i64) -> Result<i64, Refusal> {
        let sent: i64 = timestamp.parse().map_err(|_| {
            Refusal(format!(
                "The signed timestamp `{}` is not a number of seconds since 1970.",
                clip(timestamp)
            ))
        })?;
        let apart = now.saturating_sub(sent).saturating_abs();
        if apart > self.tolerance {
            return Err(Refusal(format!(
                "The signed timestamp lies {apart} s from this clock; {} s are tolerated. Check both clocks, or send the event again.",
                self.tolerance
            )));
        }
        Ok(sent)
    }
}

/// The bytes of a secret. Standard Webhooks writes them in base64, 24 to 64 of them.
fn key(secret: &Secret, standard: bool) -> Result<Vec<u8>, Fault> {
    let text = secret.reveal();
    if !standard {
        return match text.is_empty() {
            true => Err(Fault::config("secret", "The secret is empty: anyone could sign with it.")),
            false => Ok(text.as_bytes().to_vec()),
        };
    }
    let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).map_err(|_| {
        Fault::config("secret", "The Standard Webhooks secret is not `whsec_` followed by base64.")
    })?;
    match bytes.len() {
        24..=64 => Ok(bytes),
        length => Err(Fault::config(
            "secret",
            format!(
                "The Standard Webhooks secret has {length} bytes; 24 to 64 are allowed. Make one with: echo whsec_$(openssl rand -base64 24)"
            ),
        )),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn required<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refusal> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.is_empty())
        .ok_or_else(|| {
            Refusal(format!("The header `{name}` is missing: this source takes signed calls only."))
        })
}

/// Nothing decodes to nothing, and nothing never matches.
fn decode_hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap_or_default()
}

fn decode_base64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

fn clip(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert_eq!(
            (signed.id.as_deref(), signed.kind.as_deref()),
            (Some("72d3162e"), Some("push"))
        );
        assert!(github.verify(&call, b"Hello, World", NOW).is_err());

        let bytes = hex::decode("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
            .unwrap();
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
}
