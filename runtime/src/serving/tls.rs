//! HTTPS without a proxy.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tokio_rustls::TlsAcceptor;

/// `[admin.tls]`, `[notify.tls]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file: the server's certificate, then those that lead to its authority. Read at start.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

impl Tls {
    /// Reads both files; `table` is the name of the settings.
    pub fn acceptor(&self, table: &str) -> Result<TlsAcceptor, String> {
        let (file, key_file) = (self.certificate.display(), self.key.display());
        let unreadable = |e: rustls::pki_types::pem::Error| format!("{table}.certificate {file}: {e}");
        let chain = CertificateDer::pem_file_iter(&self.certificate).map_err(unreadable)?;
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|e| format!("{table}.key {key_file}: {e}"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| e.to_string())?.with_no_client_auth();
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|e| format!("{table}: {file} and {key_file} are not usable together: {e}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
