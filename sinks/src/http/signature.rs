//! Signing requests by [Standard Webhooks](https://www.standardwebhooks.com) 1.0.0.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::options::Secret;
use hmac::{Hmac, Mac};
use ring::signature::Ed25519KeyPair;
use sha2::Sha256;

/// What signs.
pub(super) enum Signer {
    /// HMAC-SHA256 with a shared secret, `v1`.
    Shared(Hmac<Sha256>),
    /// ed25519 with our private key, `v1a`.
    Private(Box<Ed25519KeyPair>),
}

impl Signer {
    /// Reads `whsec_` and base64 of 24 to 64 bytes, or `whsk_` and base64 of an ed25519 key: its
    /// 32-byte seed, with or without the public key after it.
    pub(super) fn read(secret: &Secret) -> Result<Self, &'static str> {
        if let Some(text) = secret.reveal().strip_prefix("whsk_") {
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| "It is not base64.")?;
            let pair = match bytes.split_at_checked(32) {
                Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
                Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
                None => return Err("It is shorter than an ed25519 key."),
            };
            return pair
                .map(|pair| Self::Private(Box::new(pair)))
                .map_err(|_| "It is not an ed25519 key.");
        }
        let text = secret.reveal();
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| "It is not base64.")?;
        if !(24..=64).contains(&bytes.len()) {
            return Err("It holds fewer than 24 or more than 64 bytes.");
        }
        Hmac::new_from_slice(&bytes).map(Self::Shared).map_err(|_| "It is not a key.")
    }

    /// The signature of `id.timestamp.body`, over the bytes as they are sent.
    fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        match self {
            Self::Shared(hmac) => {
                let mut hmac = hmac.clone();
                for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                    hmac.update(part);
                }
                format!("v1,{}", BASE64_STANDARD.encode(hmac.finalize().into_bytes()))
            }
            Self::Private(pair) => {
                let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
                format!("v1a,{}", BASE64_STANDARD.encode(pair.sign(&signed)))
            }
        }
    }
}

/// The `webhook-signature` header: one signature for each secret, separated by spaces.
pub(super) fn header(signers: &[Signer], id: &str, timestamp: &str, body: &[u8]) -> String {
    let all: Vec<String> = signers.iter().map(|one| one.sign(id, timestamp, body)).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_of_the_specifications_example() {
        // https://github.com/standard-webhooks/standard-webhooks, the reference libraries' tests.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signer = Signer::read(&secret).ok().unwrap();
        let (id, timestamp) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        assert_eq!(
            header(&[signer], id, timestamp, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn several_secrets_sign_side_by_side_and_bytes_need_not_be_text() {
        let shared = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let private = Secret::new(format!("whsk_{}", BASE64_STANDARD.encode([7; 32])));
        let signers = [&shared, &private].map(|secret| Signer::read(secret).ok().unwrap());
        let header = header(&signers, "id", "1", &[0xff, 0x00]);
        let (v1, v1a) = header.split_once(' ').unwrap();
        assert!(v1.starts_with("v1,"));
        let signature = BASE64_STANDARD.decode(v1a.strip_prefix("v1a,").unwrap()).unwrap();
        let Signer::Private(pair) = &signers[1] else { unreachable!() };
        let public = ring::signature::KeyPair::public_key(&**pair);
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
        key.verify(b"id.1.\xff\x00", &signature).unwrap();
    }

    #[test]
    fn secrets_that_cannot_sign_are_refused() {
        for text in ["whsec_short", "whsec_AAAA", "whsk_AAAA", "not base64!", "whsk_"] {
            assert!(Signer::read(&Secret::new(text)).is_err(), "{text}");
        }
        let wrong = [&[7; 32][..], &[9; 32]].concat();
        let wrong = Secret::new(format!("whsk_{}", BASE64_STANDARD.encode(wrong)));
        assert!(Signer::read(&wrong).is_err());
    }
}
