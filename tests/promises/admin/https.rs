//! HTTPS without a proxy: nothing of a login goes out unencrypted.

use std::sync::Arc;

use reqwest::{Client, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Served, json_of, send};
use crate::cli::avouch;
use crate::ground::Ground;
use crate::schema::File;
use crate::secure::identities::Authority;

/// A client that trusts this authority alone.
pub fn trusting(authority: &Authority) -> Client {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("it is PEM"))
        .expect("it is an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = builder.expect("the provider has them").with_root_certificates(roots).with_no_client_auth();
    let builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).tls_backend_preconfigured(tls);
    builder.build().expect("a client can be made")
}

#[tokio::test]
async fn https_is_served_with_the_configured_certificate_and_cookies_keep_to_it() {
    let authority = Authority::new();
    let certificate = authority.certificate("127.0.0.1");
    let (file, key) = (File::new("server.pem", &certificate.pem), File::new("server.key", &certificate.key));
    let served =
        Served::with(&format!("[admin.tls]\ncertificate = \"{}\"\nkey = \"{}\"", file.path(), key.path())).await;
    let (token, http, at) =
        (served.token("ann", "view").await, trusting(&authority), format!("https://{}", served.address));
    let login = http.post(format!("{at}/login")).header("origin", &at).body(format!("token={token}"));
    let response = send(login.header("content-type", "application/x-www-form-urlencoded")).await;
    assert_eq!(response.status(), 303);
    let set = response.headers()["set-cookie"].to_str().expect("it is text").to_owned();
    assert!(set.starts_with("__Host-avouch_session=") && set.contains("; Secure"), "{set}");
    let cookie = set.split(';').next().expect("it has a value").to_owned();
    let me = json_of(send(http.get(format!("{at}/v1/me")).header("cookie", cookie)).await).await;
    assert_eq!(me["who"], "ann");
    let foreign = http.post(format!("{at}/login")).header("origin", at.replace("https", "http")).body("token=x");
    let foreign = foreign.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(send(foreign).await.status(), 403, "a page that came unencrypted may be anybody's");
    let mut plain = TcpStream::connect(served.address).await.expect("the port is open");
    plain.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it is open");
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP/"), "nothing is told unencrypted");
}

#[tokio::test]
async fn certificate_without_its_key_ends_the_start_with_its_name() {
    let (authority, ground) = (Authority::new(), Ground::new().await);
    let (one, other) = (authority.certificate("127.0.0.1"), authority.certificate("127.0.0.1"));
    let (file, key) = (File::new("server.pem", &one.pem), File::new("server.key", &other.key));
    for (certificate, key) in [(file.path(), key.path()), ("/no/such/file", key.path()), (file.path(), file.path())] {
        let tls = format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\n[admin.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n"
        );
        let config = File::new("avouch.toml", &ground.config(&tls));
        avouch(&["run", "--config", config.path()], &[]).await.fails_with(1).says("admin.tls");
    }
}
