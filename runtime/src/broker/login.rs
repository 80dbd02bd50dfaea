//! Where the servers are, who we are there, and how the connection behaves.

use std::path::Path;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use super::{CLIENT_CAPACITY, Config, Error};
use crate::secret::Secret;

/// A user and password, or a token, that stood in a URL.
pub enum Login {
    User(String, String),
    Token(String),
}

/// The servers without what is secret in their URLs: the client logs them.
pub fn servers(url: &str) -> Result<(Vec<ServerAddr>, Option<Login>), Error> {
    let unreadable =
        || Error::Fatal("nats.url cannot be read: write nats://host:4222, several with commas between".into());
    let mut login = None;
    let mut servers = Vec::new();
    for text in url.split(',').map(str::trim) {
        let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
        let (user_info, host) = rest.rsplit_once('@').map_or((None, rest), |(u, h)| (Some(u), h));
        if let Some(user_info) = user_info {
            let decode = |t: &str| percent_decode_str(t).decode_utf8().map(String::from).map_err(|_| unreadable());
            login = Some(match user_info.split_once(':') {
                Some((user, password)) => Login::User(decode(user)?, decode(password)?),
                None => Login::Token(decode(user_info)?),
            });
        }
        servers.push(format!("{scheme}://{host}").parse().map_err(|_| unreadable())?);
    }
    Ok((servers, login))
}

pub fn options(config: &Config, login: Option<Login>, name: &str) -> Result<ConnectOptions, Error> {
    let secret = |s: &Secret| s.reveal().map_err(|e| Error::Fatal(e.to_string()));
    let mut options = ConnectOptions::new()
        .name(name)
        .client_capacity(CLIENT_CAPACITY)
        .subscription_capacity(CLIENT_CAPACITY)
        .ping_interval(Duration::from_millis(config.ping_interval_ms))
        .connection_timeout(Duration::from_millis(config.request_timeout_ms))
        .request_timeout(Some(Duration::from_millis(config.request_timeout_ms)))
        .reconnect_delay_callback(|attempts| Duration::from_millis((50 << attempts.min(6)).min(2_000)))
        .require_tls(config.tls.required)
        // Topics are checked by the schema and prefixes by the configuration.
        .skip_subject_validation(true);
    options = match login {
        Some(Login::User(user, password)) => options.user_and_password(user, password),
        Some(Login::Token(token)) => options.token(token),
        None => options,
    };
    if config.tls.first {
        options = options.tls_first();
    }
    if let Some(file) = &config.tls.ca_file {
        look_at("tls.ca_file", file)?;
        options = options.add_root_certificates(file.clone());
    }
    match (&config.tls.cert_file, &config.tls.key_file) {
        (None, None) => {}
        (Some(cert), Some(key)) => {
            look_at("tls.cert_file", cert)?;
            look_at("tls.key_file", key)?;
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        _ => return Err(Error::Fatal("nats.tls: cert_file and key_file belong together: give both or neither".into())),
    }
    if let Some(file) = &config.creds_file {
        let text = std::fs::read_to_string(file)
            .map_err(|e| Error::Fatal(format!("nats.creds_file {}: {e}", file.display())))?;
        options =
            options.credentials(&text).map_err(|e| Error::Fatal(format!("nats.creds_file {}: {e}", file.display())))?;
    }
    if let Some(seed) = &config.nkey {
        options = options.nkey(secret(seed)?);
    }
    if let Some(token) = &config.token {
        options = options.token(secret(token)?);
    }
    match (&config.user, &config.password) {
        (None, None) => {}
        (Some(user), Some(password)) => options = options.user_and_password(user.clone(), secret(password)?),
        _ => return Err(Error::Fatal("nats: user and password belong together: give both or neither".into())),
    }
    if let Some(prefix) = &config.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    Ok(options)
}

/// The client itself opens these files only when it connects, and would try again for ever.
fn look_at(key: &str, file: &Path) -> Result<(), Error> {
    let opened = std::fs::File::open(file);
    opened.map(drop).map_err(|e| Error::Fatal(format!("nats.{key} {}: {e}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_a_url_does_not_stay_in_it() {
        let (servers, login) = servers("nats://user:hun%40ter2@a:4222, tls://b").expect("is valid");
        assert!(servers.iter().all(|s| !format!("{s:?}").contains("hun")));
        assert!(matches!(login, Some(Login::User(user, password)) if user == "user" && password == "hun@ter2"));
        assert!(matches!(super::servers("nats://t0ken@a").expect("is valid").1, Some(Login::Token(t)) if t == "t0ken"));
    }
}
