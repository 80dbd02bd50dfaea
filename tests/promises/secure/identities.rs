//! Who servers and clients are: certificates of a private authority, and what a NATS operator hands out.

use data_encoding::BASE64URL_NOPAD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::schema::File;

/// A private authority; its file is what clients trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
    file: File,
}

pub struct Certificate {
    pub pem: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        // Two of one name would be taken for one with a broken signature.
        let (mut params, key) = params(&format!("authority {}", Uuid::now_v7()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("the parameters are complete").pem();
        let file = File::new("ca.pem", &pem);
        Authority { issuer: Issuer::new(params, key), pem, file }
    }

    /// For a host's name or address, or for a role.
    pub fn certificate(&self, name: &str) -> Certificate {
        let (mut params, key) = params(name);
        let names = CertificateParams::new([name.to_owned()]).expect("it is a name or an address");
        params.subject_alt_names = names.subject_alt_names;
        let pem = params.signed_by(&key, &self.issuer).expect("the parameters are complete").pem();
        Certificate { pem, key: key.serialize_pem() }
    }

    pub fn path(&self) -> &str {
        self.file.path()
    }
}

fn params(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params, KeyPair::generate().expect("the system gives random numbers"))
}

pub fn seed(pair: &nkeys::KeyPair) -> String {
    pair.seed().expect("a new pair has one")
}

pub fn account_claims(storage: i64) -> Value {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": storage, "disk_storage": storage, "streams": -1, "consumer": -1
    });
    json!({ "type": "account", "version": 2, "limits": limits })
}

/// The file that operators hand to users.
pub fn credentials(user: &nkeys::KeyPair, account: &nkeys::KeyPair) -> String {
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {} });
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(user, account, claims),
        seed(user)
    )
}

pub fn jwt(subject: &nkeys::KeyPair, issuer: &nkeys::KeyPair, nats: Value) -> String {
    let subject = subject.public_key();
    let claims = json!({
        "jti": subject, "iat": 0, "iss": issuer.public_key(), "name": subject, "sub": subject, "nats": nats
    });
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(claims));
    let signature = issuer.sign(text.as_bytes()).expect("a new pair can sign");
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}
