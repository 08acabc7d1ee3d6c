//! Who says that it is the application: signatures over the raw bytes of the body, or a password.

mod verifier;

use engine::options::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

pub use verifier::{Refusal, Signed, Verifier};

/// How the application signs its calls. A signed call proves who sent it; without a signature anyone
/// who can reach the address can make events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// No signature: only behind a gateway that checks the caller.
    None,
    /// Standard Webhooks 1.0.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`). The secret is
    /// `whsec_` and base64 (`v1,…`), or the public key, `whpk_` and base64 (`v1a,…`); a list holds the
    /// old and the new one during a rotation.
    StandardWebhooks(Secrets),
    /// Stripe (`Stripe-Signature: t=…,v1=…`). The secret is used as it is written, `whsec_` included.
    Stripe(Secrets),
    /// GitHub (`X-Hub-Signature-256: sha256=…`).
    Github(Secrets),
    /// Shopify (`X-Shopify-Hmac-Sha256`).
    Shopify(Secrets),
    /// WooCommerce (`X-WC-Webhook-Signature`). Its first call, which only tries the address, is
    /// answered and makes no event. It brings no id that stays the same when it calls again.
    Woocommerce(Secrets),
    /// HubSpot, version 3 (`X-HubSpot-Signature-v3`). Its calls are lists: see `items`.
    Hubspot(HubSpot),
    /// Intuit, for QuickBooks (`intuit-signature`): the verifier token.
    Intuit(Secrets),
    /// Slack (`X-Slack-Signature: v0=…`): the signing secret. Its first call, which asks for a
    /// challenge, is answered.
    Slack(Secrets),
    /// A plain HMAC of the body in a header.
    Hmac(PlainHmac),
    /// No signature, but a name and a password in each call (`Authorization: Basic …`): only over TLS.
    Basic(Basic),
    /// No signature, but a token in each call (`Authorization: Bearer …`): only over TLS.
    Bearer(Secrets),
}

/// Where a kind of call has the application's own id of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnId {
    /// In a header of the platform's.
    Header,
    /// In this field of the body.
    Body(&'static str),
}

impl Signature {
    /// Where calls have the id of their event, the same when they are sent again; nowhere in some.
    pub fn own_id(&self) -> Option<OwnId> {
        match self {
            Self::StandardWebhooks(_) | Self::Github(_) | Self::Shopify(_) => Some(OwnId::Header),
            Self::Stripe(_) => Some(OwnId::Body("id")),
            Self::Slack(_) => Some(OwnId::Body("event_id")),
            _ => None,
        }
    }

    /// The secrets; empty if there is none to know.
    fn secrets(&self) -> &[Secret] {
        match self {
            Self::None => &[],
            Self::StandardWebhooks(secrets)
            | Self::Stripe(secrets)
            | Self::Github(secrets)
            | Self::Shopify(secrets)
            | Self::Woocommerce(secrets)
            | Self::Intuit(secrets)
            | Self::Slack(secrets)
            | Self::Bearer(secrets) => secrets.all(),
            Self::Hubspot(hubspot) => hubspot.secret.all(),
            Self::Hmac(plain) => plain.secret.all(),
            Self::Basic(basic) => basic.password.all(),
        }
    }
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

/// What HubSpot signs with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct HubSpot {
    /// The secret of the app (`Client secret`), or several during a rotation.
    pub secret: Secrets,
    /// The address that HubSpot calls, as it is written there, for example
    /// `https://hooks.example.com/hubspot`: it is signed too.
    pub url: String,
}

/// A name and a password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Basic {
    /// The name.
    pub user: String,
    /// The password, or several during a rotation.
    pub password: Secrets,
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

#[cfg(test)]
mod tests;
