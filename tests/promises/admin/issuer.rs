//! An issuer of OpenID Connect of the test's own: signs what the test says, with a real key.

use std::sync::{Arc, Mutex, PoisonError};

use avouch_tests::web::{Asked, Web, reply};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

/// What Avouch is called there.
pub const CLIENT: &str = "avouch-console";
/// And proves it by.
pub const SECRET: &str = "s3cret:of%client";

/// Answers discovery, key set and token requests until it is dropped.
pub struct Issuer {
    web: Web,
    desk: Arc<Desk>,
}

struct Desk {
    key: EcdsaKeyPair,
    /// Signed instead of the published key, if set.
    forger: Mutex<Option<EcdsaKeyPair>>,
    claims: Mutex<Value>,
    challenge: Mutex<String>,
    algorithm: Mutex<&'static str>,
}

impl Issuer {
    pub async fn start() -> Self {
        let desk = Arc::new(Desk {
            key: new_key(),
            forger: Mutex::new(None),
            claims: Mutex::default(),
            challenge: Mutex::default(),
            algorithm: Mutex::new("ES256"),
        });
        let kept = Arc::clone(&desk);
        let web = Web::start(move |asked, socket| answer(Arc::clone(&kept), asked, socket)).await;
        Self { web, desk }
    }

    /// As tokens write it.
    pub fn url(&self) -> String {
        self.web.origin()
    }

    /// The next id token has these claims; the code belongs to this challenge.
    pub fn tells(&self, claims: Value, challenge: &str) {
        *lock(&self.desk.claims) = claims;
        *lock(&self.desk.challenge) = challenge.to_owned();
    }

    /// The next id tokens are signed by another key, which is not published.
    pub fn is_forged(&self) {
        *lock(&self.desk.forger) = Some(new_key());
    }

    /// The next id tokens say that they are signed like this.
    pub fn says_algorithm(&self, algorithm: &'static str) {
        *lock(&self.desk.algorithm) = algorithm;
    }

    /// How many codes were brought here.
    pub fn codes(&self) -> usize {
        self.web.asked().iter().filter(|asked| asked.path() == "/token").count()
    }
}

fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("there is randomness");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("it is a key")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(desk: Arc<Desk>, asked: Asked, socket: TcpStream) {
    let origin = format!("http://{}", asked.header("host").expect("a client names it"));
    let (status, body) = match asked.path() {
        "/.well-known/openid-configuration" => (200, desk.configuration(&origin)),
        "/jwks" => (200, desk.keys()),
        "/token" => desk.tokens(&asked),
        _ => (404, json!({})),
    };
    reply(socket, status, "content-type: application/json\r\n".into(), body.to_string().into_bytes()).await;
}

impl Desk {
    fn configuration(&self, origin: &str) -> Value {
        json!({
            "issuer": origin, "authorization_endpoint": format!("{origin}/authorize"), "token_endpoint": format!("{origin}/token"),
            "jwks_uri": format!("{origin}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        })
    }

    fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (BASE64URL_NOPAD.encode(&point[1..33]), BASE64URL_NOPAD.encode(&point[33..]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k1", "x": x, "y": y }] })
    }

    /// As RFC 6749 and RFC 7636 ask for.
    fn tokens(&self, asked: &Asked) -> (u16, Value) {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let field = |name: &str| {
            let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
            pairs.clone().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let verifier = field("code_verifier").unwrap_or_default();
        let is_bound = BASE64URL_NOPAD.encode(&Sha256::digest(verifier.as_bytes())) == *lock(&self.challenge);
        let basic = asked.header("authorization").and_then(|value| value.strip_prefix("Basic ")).unwrap_or_default();
        let is_client = BASE64.decode(basic.as_bytes()).is_ok_and(|b| b == b"avouch-console:s3cret%3Aof%25client");
        if !is_bound || !is_client || field("code").as_deref() != Some("the-code") {
            return (400, json!({ "error": "invalid_grant" }));
        }
        (200, json!({ "access_token": "a", "token_type": "Bearer", "id_token": self.id_token() }))
    }

    fn id_token(&self) -> String {
        let header = json!({ "alg": *lock(&self.algorithm), "typ": "JWT", "kid": "k1" }).to_string();
        let claims = lock(&self.claims).to_string();
        let signed =
            format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
        let forger = lock(&self.forger);
        let signature =
            forger.as_ref().unwrap_or(&self.key).sign(&SystemRandom::new(), signed.as_bytes()).expect("it signs");
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}
