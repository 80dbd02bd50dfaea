//! How a connection to Postgres is made: TLS, time limits, and never to a replica.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Deserialize;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Error;
use crate::secret::Secret;

/// How the server proves who it is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS without looking at the certificate: protects against listening, not against a forged server.
    Require,
    /// TLS with a certificate for the host's name, from a known authority.
    VerifyFull,
}

/// `[source.NAME.tls]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Default: `disable` on loopback and Unix sockets, else `verify-full`.
    pub mode: Option<TlsMode>,
    /// PEM file of authorities; default: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's key.
    pub key_file: Option<PathBuf>,
}

/// Where and how to connect, worked out once.
#[derive(Clone)]
pub struct Target {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    connect_timeout: Duration,
}

/// A fresh connection; somebody must poll the second part.
pub type Connected = (Client, Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

impl Target {
    /// Reads the URL and the TLS settings. Several hosts may stand in the URL: the writable one is used.
    pub fn new(url: &Secret, tls: &Tls, application: &str, connect_timeout: Duration) -> Result<Self, Error> {
        let text = url.reveal().map_err(|e| Error::Fatal(e.to_string()))?;
        let mut config: tokio_postgres::Config = text.parse().map_err(|_| {
            // The parser's own message may quote the password.
            Error::Fatal(
                "the Postgres url cannot be read: write postgres://user:password@host:5432/database; \
                 sslmode=verify-full, sslrootcert and their like are said in [source.NAME.tls]"
                    .into(),
            )
        })?;
        config
            .application_name(application)
            .connect_timeout(connect_timeout)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(20))
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        let local = config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        let mode = tls.mode.unwrap_or(if local { TlsMode::Disable } else { TlsMode::VerifyFull });
        config.ssl_mode(if mode == TlsMode::Disable { SslMode::Disable } else { SslMode::Require });
        let tls = MakeRustlsConnect::new(tls_config(tls, mode).map_err(Error::Fatal)?);
        Ok(Self { config, tls, connect_timeout })
    }

    /// Connects to the writable server within the time limit.
    pub async fn connect(&self) -> Result<Connected, Error> {
        self.connect_with(&self.config).await
    }

    /// Connects to any server of the URL, a replica too: to look, never to work.
    pub async fn connect_to_any(&self) -> Result<Connected, Error> {
        let mut config = self.config.clone();
        config.target_session_attrs(TargetSessionAttrs::Any);
        self.connect_with(&config).await
    }

    async fn connect_with(&self, config: &tokio_postgres::Config) -> Result<Connected, Error> {
        // The library's own limit is for each address of each host; this one is for all of them and the handshake.
        let limit = self.connect_timeout * 2 * u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(1);
        tokio::time::timeout(limit, config.connect(self.tls.clone()))
            .await
            .map_err(|_| Error::Retry(format!("connecting to Postgres took longer than {} ms", limit.as_millis())))?
            .map_err(|e| match Error::from(e) {
                Error::Retry(text) => Error::Retry(with_remedy(text)),
                other @ (Error::Fatal(_) | Error::Refused(_)) => other,
            })
    }
}

/// What to change when TLS fails. No reason to end: the server may get another certificate meanwhile.
fn with_remedy(text: String) -> String {
    let remedy = if text.contains("invalid peer certificate") {
        "write the host as the certificate does, and give its authority as ca_file in [source.NAME.tls]"
    } else if text.contains("server does not support TLS") {
        "set ssl = on in its postgresql.conf, or mode = \"disable\" in [source.NAME.tls]"
    } else {
        return text;
    };
    format!("{text}: {remedy}")
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

fn tls_config(tls: &Tls, mode: TlsMode) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = if mode == TlsMode::VerifyFull {
        builder.with_root_certificates(roots(tls)?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    match (&tls.cert_file, &tls.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = read_certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("key_file {}: {e}", key.display()))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| format!("cert_file {}: {e}", cert.display()))
        }
        _ => Err("cert_file and key_file belong together: give both or neither".into()),
    }
}

/// TLS with the system's authorities and no certificate of ours, for HTTP.
pub fn system_tls() -> Result<ClientConfig, String> {
    tls_config(&Tls::default(), TlsMode::VerifyFull)
}

fn roots(tls: &Tls) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if let Some(file) = &tls.ca_file {
        for certificate in read_certificates(file)? {
            store.add(certificate).map_err(|e| format!("ca_file {}: {e}", file.display()))?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(store)
}

fn read_certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let broken = |e: rustls::pki_types::pem::Error| format!("{}: {e}", file.display());
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(broken)?.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    if certificates.is_empty() {
        return Err(format!("{}: holds no PEM certificate", file.display()));
    }
    Ok(certificates)
}

/// `require`: the channel is encrypted, the peer is not proven. Signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_url_does_not_show_its_password() {
        let url = Secret::new("postgres://u:hunter2@[broken");
        let error =
            Target::new(&url, &Tls::default(), "test", Duration::from_secs(1)).err().expect("is broken").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn verification_asked_for_in_the_url_is_refused_with_the_place_for_it() {
        for option in ["sslmode=verify-full", "sslrootcert=/x.pem"] {
            let url = Secret::new(format!("postgres://db/x?{option}"));
            let error = Target::new(&url, &Tls::default(), "test", Duration::from_secs(1)).err();
            assert!(error.expect("would be ignored").to_string().contains("[source.NAME.tls]"), "{option}");
        }
    }

    #[test]
    fn only_a_loopback_address_makes_do_without_tls() {
        let mode = |url: &str| {
            let target = Target::new(&Secret::new(url), &Tls::default(), "test", Duration::from_secs(1));
            target.unwrap_or_else(|e| panic!("{url}: {e}")).config.get_ssl_mode()
        };
        for local in ["postgres://localhost/x", "postgres://[::1]/x", "host=/run/postgresql", "hostaddr=127.0.0.1"] {
            assert_eq!(mode(local), SslMode::Disable, "{local}");
        }
        for remote in [
            "postgres://db/x?sslmode=disable",
            "hostaddr=10.0.0.5",
            "host=localhost hostaddr=10.0.0.5",
            "host=localhost,db",
        ] {
            assert_eq!(mode(remote), SslMode::Require, "{remote}");
        }
    }

    #[test]
    fn certificate_without_its_key_is_refused() {
        let tls = Tls { cert_file: Some("/x".into()), ..Tls::default() };
        let error = Target::new(&Secret::new("postgres://localhost/x"), &tls, "test", Duration::from_secs(1)).err();
        assert!(error.expect("half a pair").to_string().contains("belong together"));
    }
}
