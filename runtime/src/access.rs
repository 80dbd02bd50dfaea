//! Who may do what at the HTTP API and the console: roles, and the secrets that stand for people and programs.

use std::fmt::Write as _;

use rustls::crypto::ring::default_provider;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

/// What somebody may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything.
    View,
    /// Resend, discard, replay, pause, resume, decide.
    Operate,
    /// Deploy plugins, remove consumers, give and take tokens.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::View, Self::Operate, Self::Admin];

    /// As configuration, database and API write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// The SHA-256 of a secret: all that is stored of it. The secret is random, so that nothing slower is needed, and finding its hash by
/// an index tells nothing that helps to guess it.
pub type Hash = [u8; 32];

/// What a token begins with, so that scanners of repositories and logs know one.
const TOKEN_PREFIX: &str = "avouch_";
/// 43 of 62 characters are 256 bits.
const SECRET_CHARS: usize = 43;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The greatest multiple of 62 that a byte can be below: what is not is drawn again, or some characters would be likelier.
const FAIR: u8 = 248;

/// A new token.
pub fn new_token() -> String {
    format!("{TOKEN_PREFIX}{}", new_secret())
}

/// 256 random bits, as letters and digits.
pub fn new_secret() -> String {
    let random = default_provider().secure_random;
    let mut secret = String::with_capacity(SECRET_CHARS);
    while secret.len() < SECRET_CHARS {
        let mut bytes = [0; 64];
        random.fill(&mut bytes).expect("the system gives random bytes once it is up");
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        secret.extend(fair.take(SECRET_CHARS - secret.len()).map(|byte| char::from(ALPHABET[usize::from(byte % 62)])));
    }
    secret
}

/// The hash of what has the form of a token; none of anything else, so that it is not looked up.
pub fn hash_token(text: &str) -> Option<Hash> {
    text.strip_prefix(TOKEN_PREFIX).and_then(hash_secret).map(|_| hash(text))
}

/// The token of an `Authorization` header.
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The hash of what has the form of [`new_secret`].
pub fn hash_secret(text: &str) -> Option<Hash> {
    let is_one = text.len() == SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_one.then(|| hash(text))
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_role_may_do_what_those_before_it_may() {
        assert!(Role::View < Role::Operate && Role::Operate < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::of(role.name()), Some(role));
        }
        assert_eq!(Role::of("Admin"), None);
    }

    #[test]
    fn tokens_are_random_and_only_their_form_is_hashed() {
        let tokens: BTreeSet<String> = (0..200).map(|_| new_token()).collect();
        assert_eq!(tokens.len(), 200);
        let used: BTreeSet<char> = tokens.iter().flat_map(|token| token[TOKEN_PREFIX.len()..].chars()).collect();
        assert_eq!(used.len(), ALPHABET.len(), "8600 characters show each of the 62");
        let token = tokens.first().expect("there are some");
        assert!(hash_token(token).is_some());
        for other in ["", "avouch_", &token[1..], &format!("{token}x"), &token.replace('_', "-"), "avouch_ä"] {
            assert_eq!(hash_token(other), None, "{other}");
        }
    }
}
