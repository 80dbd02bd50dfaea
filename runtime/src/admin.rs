//! The HTTP API and the console: where they are served, and who is let in.
//!
//! Every route says in one place what it needs ([`guard::Access`]); what says nothing is not reachable. Everything else here is the
//! same for all of them: hosts, origins, limits, headers, errors.

mod api;
pub mod assets;
mod body;
mod bulk;
mod caller;
pub mod console;
mod consumers;
mod cookie;
mod counted;
mod deliveries;
mod dress;
mod endpoints;
mod events;
mod guard;
mod health;
mod host;
mod login;
mod messages;
pub mod oidc;
mod overview;
mod page;
mod plugins;
mod routes;
mod sessions;
mod sight;
mod state;
mod tokens;
mod transactions;
mod tries;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

pub use self::caller::{Administrator, Caller, Operator, Viewer};
pub use self::guard::Access;
use self::host::Site;
use self::oidc::Issuer;
pub use self::page::Pages;
pub use self::routes::{Route, openapi, routes};
pub use self::state::{Parts, State};
use crate::access::Role;
use crate::consumers::is_pattern;
pub use crate::problem::Problem;
use crate::serving::{Served, Tls};
use crate::store::Store;
use crate::{problem, serving};

/// `[admin]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the API and the console are served, such as `127.0.0.1:9180`; nowhere if absent.
    pub listen: Option<SocketAddr>,
    /// Who is let in.
    pub auth: Auth,
    /// What people's browsers call it, such as `https://avouch.example`: needed behind a proxy, and off loopback for OpenID Connect.
    pub public_url: Option<String>,
    /// The database that it shows; needed when several are configured.
    pub source: Option<String>,
    /// Who sees payloads; keys, headers and reasons are seen by all.
    pub payloads: Payloads,
    /// Patterns of topics whose payloads, and values of headers, are hidden from the role `view` whatever `payloads` says.
    pub payloads_hidden: Vec<String>,
    /// A session that nobody uses for so long has ended.
    pub session_idle_s: u32,
    /// A session ends after this, used or not.
    pub session_max_s: u32,
    /// HTTPS without a proxy.
    pub tls: Option<Tls>,
    /// People who are known elsewhere.
    pub oidc: Option<oidc::Config>,
}

/// Half an hour is a meeting, twelve hours a shift.
impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            auth: Auth::Tokens,
            public_url: None,
            source: None,
            payloads: Payloads::View,
            payloads_hidden: Vec::new(),
            session_idle_s: 1800,
            session_max_s: 43_200,
            tls: None,
            oidc: None,
        }
    }
}

/// Who is let in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Bearers of tokens, and people who are known elsewhere.
    Tokens,
    /// Whoever reaches it, as administrator: on loopback only.
    None,
}

/// Who sees payloads.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Payloads {
    /// Everybody who is let in.
    View,
    /// Operators and administrators.
    Operate,
    /// Administrators.
    Admin,
    /// Nobody.
    Nobody,
}

impl Payloads {
    /// Whether this role sees them.
    pub fn are_shown_to(self, role: Role) -> bool {
        match self {
            Self::View => true,
            Self::Operate => role >= Role::Operate,
            Self::Admin => role >= Role::Admin,
            Self::Nobody => false,
        }
    }
}

/// Where `avouch dev` serves it, if that is free.
pub const DEV_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9180);
/// A shorter idle time would end the sessions of people who read.
const IDLE_S_MIN: u32 = 60;

impl Config {
    /// What cannot be, and what to write instead.
    pub fn faults(&self) -> Vec<String> {
        let site = Site::new(self.public_url.as_deref(), self.tls.is_some());
        let mut faults = match self.auth {
            Auth::Tokens => Vec::new(),
            Auth::None => self.open_faults(site.as_ref().is_ok_and(Site::is_local)),
        };
        if !(IDLE_S_MIN..=self.session_max_s).contains(&self.session_idle_s) {
            faults.push(format!("admin.session_idle_s: from {IDLE_S_MIN} to session_max_s"));
        }
        let is_wrong = |pattern: &&String| !is_pattern(pattern);
        faults.extend(self.payloads_hidden.iter().filter(is_wrong).map(|pattern| {
            format!("admin.payloads_hidden: {pattern:?} is no pattern of topics: write orders.created, payments.* or payments.>")
        }));
        faults.extend(site.err());
        faults.extend(self.oidc.as_ref().and_then(|oidc| oidc.fault()));
        faults
    }

    /// Where everybody is an administrator, nobody may come from another machine, also not through a proxy on this one.
    fn open_faults(&self, is_local: bool) -> Vec<String> {
        let remedy = "set auth = \"tokens\"";
        let is_reached = self.listen.is_some_and(|listen| !listen.ip().is_loopback());
        let faults = [
            (is_reached, "lets in whoever reaches admin.listen, which is not on loopback: listen on 127.0.0.1, or"),
            (!is_local, "lets in whoever reaches admin.public_url, which is not on loopback: leave it out, or"),
            (
                self.oidc.is_some(),
                "asks nobody who they are, so that [admin.oidc] would mean nothing: leave it out, or",
            ),
        ];
        let those = faults.into_iter().filter(|(is_one, _)| *is_one);
        those.map(|(_, text)| format!("admin.auth = \"none\" {text} {remedy}")).collect()
    }
}

/// Why it cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not of this machine.
    #[error("admin.listen = {0}: {1}: choose a free address of this machine")]
    Listen(SocketAddr, std::io::Error),
    /// A setting that only this machine can judge: a file, a URL.
    #[error("{0}")]
    Settings(String),
}

/// Takes the port.
pub fn listen(at: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(at).map_err(|e| Error::Listen(at, e))
}

/// The service; it answers once it runs.
pub struct Admin {
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    state: State,
}

impl Admin {
    /// The service on this port. `store` is the database that it shows.
    pub fn new(config: &Config, listener: TcpListener, store: Arc<Store>) -> Result<Self, Error> {
        let unusable = |e: std::io::Error| Error::Settings(format!("the port of admin.listen cannot be used: {e}"));
        listener.set_nonblocking(true).map_err(unusable)?;
        let local = listener.local_addr().map_err(unusable)?;
        let site = Site::new(config.public_url.as_deref(), config.tls.is_some()).map_err(Error::Settings)?;
        let acceptor = config.tls.as_ref().map(|tls| tls.acceptor("admin.tls")).transpose().map_err(Error::Settings)?;
        let issuer = match &config.oidc {
            None => None,
            Some(oidc) => Some(Issuer::new(oidc, &site.address(local)).map_err(Error::Settings)?),
        };
        Ok(Self { listener, acceptor, state: State::new(config.clone(), site, issuer, store) })
    }

    /// Where [`State::attach`] hands in what exists only once the source runs; until then it is not ready.
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// Serves until `stop`, then takes at most `grace` for the requests in flight.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let Self { listener, acceptor, state } = self;
        let router = dress::dressed(routes::router(state.clone()), state.clone());
        let said = "the API and the console are served";
        // Streams of events would never end by themselves.
        let streams = async {
            stop.cancelled().await;
            state.stop.cancel();
        };
        tokio::join!(serving::run(Served { listener, acceptor, router, said }, stop.clone(), grace), streams);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_loopback_nobody_is_let_in_without_a_token() {
        let config = |listen: &str, auth| Config { listen: listen.parse().ok(), auth, ..Config::default() };
        for open in ["0.0.0.0:9180", "[::]:9180", "10.0.0.1:9180", "[::ffff:127.0.0.1]:9180"] {
            assert!(config(open, Auth::None).faults()[0].contains("loopback"), "{open}");
            assert!(config(open, Auth::Tokens).faults().is_empty(), "{open}");
        }
        for local in ["127.0.0.1:9180", "[::1]:9180"] {
            assert!(config(local, Auth::None).faults().is_empty(), "{local}");
        }
    }

    #[test]
    fn where_nobody_is_asked_no_proxy_and_no_issuer_is_configured() {
        let config = |more: &str| -> Config {
            toml::from_str(&format!("listen = \"127.0.0.1:9180\"\nauth = \"none\"\n{more}")).expect("is valid")
        };
        for (local, open) in [
            ("public_url = \"http://localhost:8080\"", "public_url = \"https://avouch.example\""),
            ("public_url = \"https://127.0.0.1\"", "public_url = \"http://10.1.2.3:9180\""),
            ("public_url = \"http://[::1]:9180\"", "public_url = \"https://localhost.example\""),
            ("", "[oidc]\nissuer = \"https://login.example\"\nclient_id = \"avouch\""),
        ] {
            assert!(config(local).faults().is_empty(), "{local}: {:?}", config(local).faults());
            let faults = config(open).faults();
            assert!(faults.len() == 1 && faults[0].contains("admin.auth = \"none\""), "{open}: {faults:?}");
            let with_tokens = Config { auth: Auth::Tokens, ..config(open) };
            assert!(with_tokens.faults().is_empty(), "{open}: {:?}", with_tokens.faults());
        }
    }

    #[test]
    fn what_is_no_pattern_hides_nothing_and_is_refused() {
        let config = |pattern: &str| Config { payloads_hidden: vec![pattern.to_owned()], ..Config::default() };
        for right in ["payments.>", "*.cards", "payments", ">"] {
            assert!(config(right).faults().is_empty(), "{right}");
        }
        for wrong in ["payments.", "payments.>.x", "", "pay ments"] {
            assert!(config(wrong).faults()[0].contains("payloads_hidden"), "{wrong}");
        }
    }
}
