//! Verifying calls. Comparisons take constant time and check the length first.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Fault;
use engine::options::{Period, Secret};
use hmac::{Hmac, Mac};
use ring::signature::{ED25519, UnparsedPublicKey};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::{Algorithm, Encoding, PlainHmac, Signature};

/// What HubSpot decodes in the address before it signs it; the rest stays as it is written.
const DECODED: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];

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
    keys: Vec<Key>,
    tolerance: i64,
}

/// What a signature is verified with.
enum Key {
    /// What both sides know.
    Shared(Vec<u8>),
    /// The public half of an ed25519 key.
    Public(UnparsedPublicKey<Vec<u8>>),
}

impl Verifier {
    /// A verifier for one scheme; `tolerance` is how far a signed timestamp may lie from now, in
    /// both directions.
    ///
    /// # Errors
    /// A `Config` fault when a secret cannot be one.
    pub fn new(scheme: &Signature, tolerance: Period) -> Result<Self, Fault> {
        let secrets = scheme.secrets();
        if secrets.is_empty() && !matches!(scheme, Signature::None) {
            return Err(Fault::config(
                "secret",
                "The list of secrets is empty: nothing could be verified.",
            ));
        }
        let read = match scheme {
            Signature::StandardWebhooks(_) => standard_key,
            _ => plain_key,
        };
        let keys = secrets.iter().map(read).collect::<Result<_, _>>()?;
        let tolerance = i64::try_from(tolerance.0.as_secs()).unwrap_or(i64::MAX);
        Ok(Self { scheme: scheme.clone(), keys, tolerance })
    }

    /// Whether a call only tries the address, unsigned, as WooCommerce's first one does
    /// (`webhook_id=…`).
    pub fn is_trial(&self, body: &[u8]) -> bool {
        let number = body.strip_prefix(b"webhook_id=");
        let is_number = |rest: &[u8]| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit);
        matches!(self.scheme, Signature::Woocommerce(_)) && number.is_some_and(is_number)
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
            Signature::Github(_) => self.github(headers, body),
            Signature::Shopify(_) => self.shopify(headers, body),
            Signature::Woocommerce(_) => {
                self.base64_of_body(headers, "x-wc-webhook-signature", body)?;
                Ok(Signed { kind: text(headers, "x-wc-webhook-topic"), ..Signed::default() })
            }
            Signature::Hubspot(hubspot) => self.hubspot(&hubspot.url, headers, body, now),
            Signature::Intuit(_) => {
                self.base64_of_body(headers, "intuit-signature", body)?;
                Ok(Signed::default())
            }
            Signature::Slack(_) => self.slack(headers, body, now),
            Signature::Hmac(plain) => self.plain(plain, headers, body),
            Signature::Basic(basic) => self.basic(&basic.user, headers),
            Signature::Bearer(_) => self.authorization(headers, "Bearer", str::as_bytes),
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
        let sent = self.recent(timestamp, seconds(timestamp)?, now)?;
        let list = required(headers, "webhook-signature")?;
        let of = |version: &'static str| -> Vec<_> {
            let signatures = list.split(' ').filter_map(|one| one.strip_prefix(version));
            signatures.map(decode_base64).collect()
        };
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        if !self.any_public_matches(&of("v1a,"), &signed) {
            self.any_matches::<Hmac<Sha256>>(&of("v1,"), &signed)?;
        }
        Ok(Signed { id: Some(id.to_owned()), kind: None, sent: Some(sent) })
    }

    /// <https://docs.stripe.com/webhooks#verify-manually>
    fn stripe(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Signed, Refusal> {
        let header = required(headers, "stripe-signature")?;
        let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
        let timestamp = parts().find(|(name, _)| *name == "t").map_or("", |(_, value)| value);
        let sent = self.recent(timestamp, seconds(timestamp)?, now)?;
        let signatures = parts()
            .filter(|(name, _)| *name == "v1")
            .map(|(_, value)| decode_hex(value))
            .collect::<Vec<_>>();
        self.any_matches::<Hmac<Sha256>>(&signatures, &[timestamp.as_bytes(), b".", body])?;
        Ok(Signed { id: None, kind: None, sent: Some(sent) })
    }

    /// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
    fn github(&self, headers: &HeaderMap, body: &[u8]) -> Result<Signed, Refusal> {
        let hex = required(headers, "x-hub-signature-256")?.strip_prefix("sha256=");
        self.matches::<Hmac<Sha256>>(&decode_hex(hex.unwrap_or_default()), &[body])?;
        let (id, kind) = (text(headers, "x-github-delivery"), text(headers, "x-github-event"));
        Ok(Signed { id, kind, sent: None })
    }

    /// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https>
    fn shopify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Signed, Refusal> {
        self.base64_of_body(headers, "x-shopify-hmac-sha256", body)?;
        let kind = text(headers, "x-shopify-topic");
        // What happened has one id for all that is told of it: an order that is created and paid at once
        // is told twice, by two topics.
        let happened = text(headers, "x-shopify-event-id").map(|id| match &kind {
            Some(topic) => format!("{topic}/{id}"),
            None => id,
        });
        let id = happened.or_else(|| text(headers, "x-shopify-webhook-id"));
        Ok(Signed { id, kind, sent: None })
    }

    /// <https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation>:
    /// method, address, body and time (in milliseconds), one after the other.
    fn hubspot(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: i64,
    ) -> Result<Signed, Refusal> {
        let signature = decode_base64(required(headers, "x-hubspot-signature-v3")?);
        let timestamp = required(headers, "x-hubspot-request-timestamp")?;
        let sent = self.recent(timestamp, seconds(timestamp)? / 1_000, now)?;
        let address = DECODED.iter().fold(url.to_owned(), |url, (from, to)| url.replace(from, to));
        let signed = [b"POST", address.as_bytes(), body, timestamp.as_bytes()];
        self.matches::<Hmac<Sha256>>(&signature, &signed)?;
        Ok(Signed { id: None, kind: None, sent: Some(sent) })
    }

    /// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
    fn slack(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Signed, Refusal> {
        let hex = required(headers, "x-slack-signature")?.strip_prefix("v0=").unwrap_or_default();
        let timestamp = required(headers, "x-slack-request-timestamp")?;
        let sent = self.recent(timestamp, seconds(timestamp)?, now)?;
        let signed = [b"v0:", timestamp.as_bytes(), b":", body];
        self.matches::<Hmac<Sha256>>(&decode_hex(hex), &signed)?;
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

    /// RFC 7617.
    fn basic(&self, user: &str, headers: &HeaderMap) -> Result<Signed, Refusal> {
        let read = |given: &str| {
            let both = decode_base64(given);
            both.strip_prefix(format!("{user}:").as_bytes()).unwrap_or_default().to_vec()
        };
        self.authorization(headers, "Basic", read)
    }

    /// A password or a token in the call itself.
    fn authorization<'h, T: AsRef<[u8]>>(
        &self,
        headers: &'h HeaderMap,
        kind: &str,
        read: impl Fn(&'h str) -> T,
    ) -> Result<Signed, Refusal> {
        let given = required(headers, AUTHORIZATION.as_str())?.split_once(' ');
        let given = given.filter(|(word, _)| word.eq_ignore_ascii_case(kind));
        let given = given.map(|(_, rest)| read(rest.trim()));
        let matches = |key: &Key| match (key, &given) {
            (Key::Shared(key), Some(given)) => bool::from(key[..].ct_eq(given.as_ref())),
            _ => false,
        };
        match self.keys.iter().any(matches) {
            true => Ok(Signed::default()),
            false => Err(Refusal(format!(
                "The header `Authorization` does not hold what this source expects (`{kind} …`)."
            ))),
        }
    }

    /// HMAC-SHA256 of the body in base64.
    fn base64_of_body(
        &self,
        headers: &HeaderMap,
        header: &str,
        body: &[u8],
    ) -> Result<(), Refusal> {
        self.matches::<Hmac<Sha256>>(&decode_base64(required(headers, header)?), &[body])
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
            let Key::Shared(key) = key else { continue };
            let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { continue };
            signed.iter().for_each(|part| mac.update(part));
            let expected = mac.finalize().into_bytes();
            let equal = |given: &[u8]| bool::from(expected[..].ct_eq(given));
            if signatures.iter().any(|given| equal(given.as_ref())) {
                return Ok(());
            }
        }
        Err(Refusal("The signature does not match the body. Sign the very bytes that are sent, with the secret of this source.".into()))
    }

    /// The same with public keys.
    fn any_public_matches(&self, signatures: &[Vec<u8>], signed: &[&[u8]]) -> bool {
        if signatures.is_empty() {
            return false;
        }
        let signed = signed.concat();
        self.keys.iter().any(|key| match key {
            Key::Public(key) => signatures.iter().any(|one| key.verify(&signed, one).is_ok()),
            Key::Shared(_) => false,
        })
    }

    /// `sent`, if it is near enough to `now`, both in seconds since the Unix epoch.
    fn recent(&self, timestamp: &str, sent: i64, now: i64) -> Result<i64, Refusal> {
        let apart = now.saturating_sub(sent).saturating_abs();
        if apart > self.tolerance {
            return Err(Refusal(format!(
                "The signed timestamp {} lies {apart} s from this clock; {} s are tolerated. Check both clocks, or send the event again.",
                clip(timestamp),
                self.tolerance
            )));
        }
        Ok(sent)
    }
}

fn seconds(timestamp: &str) -> Result<i64, Refusal> {
    timestamp.parse().map_err(|_| {
        Refusal(format!("The signed timestamp `{}` is no time since 1970.", clip(timestamp)))
    })
}

fn plain_key(secret: &Secret) -> Result<Key, Fault> {
    match secret.reveal() {
        "" => Err(Fault::config("secret", "The secret is empty: anyone could sign with it.")),
        text => Ok(Key::Shared(text.as_bytes().to_vec())),
    }
}

/// Standard Webhooks writes secrets in base64, 24 to 64 bytes of them, and public keys too.
fn standard_key(secret: &Secret) -> Result<Key, Fault> {
    let text = secret.reveal();
    let base64 = |text: &str| {
        STANDARD.decode(text).map_err(|_| {
            Fault::config(
                "secret",
                "The Standard Webhooks secret is not `whsec_` (or `whpk_`) followed by base64.",
            )
        })
    };
    if let Some(public) = text.strip_prefix("whpk_") {
        return match base64(public)? {
            key if key.len() == 32 => Ok(Key::Public(UnparsedPublicKey::new(&ED25519, key))),
            key => Err(Fault::config(
                "secret",
                format!("The public key has {} bytes; ed25519's have 32.", key.len()),
            )),
        };
    }
    let bytes = base64(text.strip_prefix("whsec_").unwrap_or(text))?;
    match bytes.len() {
        24..=64 => Ok(Key::Shared(bytes)),
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
