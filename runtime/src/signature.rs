//! How receivers know that what they get is ours and whole: the headers and signatures of Standard Webhooks. Pure.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;

use data_encoding::BASE64;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// The header with the message's id, the same for each try.
pub const ID: &str = "webhook-id";
/// The header with the time of the try, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, one for each key.
pub const SIGNATURE: &str = "webhook-signature";

/// What a secret that both sides know begins with.
const SHARED: &str = "whsec_";
/// What a private key begins with.
const PRIVATE: &str = "whsk_";
/// What the public key of a private one begins with.
const PUBLIC: &str = "whpk_";
/// The specification's bounds of a shared secret.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// A private key of Ed25519; libraries append its public key.
const SEED_BYTES: usize = 32;

/// What one party signs with.
pub enum Key {
    /// HMAC-SHA256, `v1`: who can check can sign.
    Shared(hmac::Key),
    /// Ed25519, `v1a`: who has the public key can check, and not sign.
    Pair(Box<Ed25519KeyPair>),
}

/// A text that is no key. It is not repeated: it may nearly be one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a signing secret is whsec_ and 24 to 64 bytes in base64, or whsk_ and an Ed25519 key in base64: {0}")]
pub struct NoKey(&'static str);

/// Which sort of key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// See [`Key::Shared`].
    Shared,
    /// See [`Key::Pair`].
    Pair,
}

impl Key {
    /// Reads `whsec_…` or `whsk_…`.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let (encoded, is_pair) = match (text.strip_prefix(SHARED), text.strip_prefix(PRIVATE)) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Err(NoKey("it begins otherwise")),
        };
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| NoKey("what follows is no base64"))?;
        if is_pair {
            return pair(&bytes).map(|pair| Self::Pair(Box::new(pair)));
        }
        if !SHARED_BYTES.contains(&bytes.len()) {
            return Err(NoKey("it is too short or too long"));
        }
        Ok(Self::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A new one, as text.
    pub fn make(sort: Sort) -> Result<String, NoKey> {
        let mut bytes = [0u8; SEED_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoKey("the system gives no random bytes"))?;
        match sort {
            Sort::Shared => Ok(format!("{SHARED}{}", BASE64.encode(&bytes))),
            Sort::Pair => {
                let pair = pair(&bytes)?;
                let whole = [&bytes[..], pair.public_key().as_ref()].concat();
                Ok(format!("{PRIVATE}{}", BASE64.encode(&whole)))
            }
        }
    }

    /// What receivers check with, if that may be known to anybody: `whpk_…`.
    pub fn public(&self) -> Option<String> {
        match self {
            Self::Shared(_) => None,
            Self::Pair(pair) => Some(format!("{PUBLIC}{}", BASE64.encode(pair.public_key().as_ref()))),
        }
    }

    fn sign(&self, content: &[u8]) -> String {
        match self {
            Self::Shared(key) => format!("v1,{}", BASE64.encode(hmac::sign(key, content).as_ref())),
            Self::Pair(pair) => format!("v1a,{}", BASE64.encode(pair.sign(content).as_ref())),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared(not shown)",
            Self::Pair(_) => "Pair(not shown)",
        })
    }
}

fn pair(bytes: &[u8]) -> Result<Ed25519KeyPair, NoKey> {
    let no_key = |_| NoKey("its two halves do not belong together, or it has another length");
    match bytes.split_at_checked(SEED_BYTES) {
        Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed).map_err(no_key),
        Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(no_key),
        None => Err(NoKey("it is too short")),
    }
}

/// The value of [`SIGNATURE`]: one signature for each key, with spaces between them.
pub fn sign(keys: &[Key], id: &str, at_s: i64, body: &[u8]) -> String {
    let content = [format!("{id}.{at_s}.").as_bytes(), body].concat();
    keys.iter().map(|key| key.sign(&content)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn signature_is_that_of_the_specification() {
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("is valid");
        let signed = sign(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_key_signs_and_a_public_key_checks() {
        let texts = [Key::make(Sort::Shared).expect("is made"), Key::make(Sort::Pair).expect("is made")];
        let keys = texts.each_ref().map(|text| Key::parse(text).expect("is valid"));
        assert_ne!(texts[0], Key::make(Sort::Shared).expect("is made"));
        let public = keys[1].public().expect("it has one");
        let signed = sign(&keys, "id", 1, b"body");
        let (shared, pair) = signed.split_once(' ').expect("two");
        assert!(shared.starts_with("v1,") && keys[0].public().is_none());
        let public = BASE64.decode(public.trim_start_matches(PUBLIC).as_bytes()).expect("is base64");
        let signature = BASE64.decode(pair.trim_start_matches("v1a,").as_bytes()).expect("is base64");
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
        assert!(key.verify(b"id.1.body", &signature).is_ok() && key.verify(b"id.2.body", &signature).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let short = format!("whsec_{}", BASE64.encode(b"hunter2"));
        let torn = format!("whsk_{}", BASE64.encode(&[7; 64]));
        for text in ["", "hunter2hunter2hunter2hunter2", "whsec_%%%", &short, "whsk_AAAA", &torn] {
            let error = Key::parse(text).map(drop).expect_err(text).to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
