//! What receivers ask: what became of a message, what there is for a number of theirs, and whether their list is ours.
//!
//! A service of its own on a port of its own, so that nothing of the operators' API can be reached there. Who asks is known by an
//! endpoint's token and sees what that endpoint is told, nothing else. Answers are signed with what signs its messages.

mod door;
mod held;
mod messages;
mod question;
mod routes;
mod span;
mod turns;
mod windows;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::door::Door;
pub use self::routes::openapi;
use crate::serving::{self, Served, Tls};
use crate::signature::Key;
use crate::store::Store;

/// What of `[notify]` is about receivers that ask.
#[derive(Clone, Debug)]
pub struct Settings {
    /// HTTPS without a proxy.
    pub tls: Option<Tls>,
    /// Questions of one endpoint a second.
    pub asks_per_s: u32,
    /// How long it is known what was told.
    pub keep_hours: u32,
}

/// What signs for the endpoints of the configuration, by their names, or why nothing does.
pub type Keys = BTreeMap<String, Result<Vec<Key>, String>>;

/// The service; it answers once it runs.
pub struct Receivers {
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    door: Door,
}

/// Takes the port.
pub fn listen(at: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(at).map_err(|e| format!("notify.listen = {at}: {e}: choose a free address of this machine"))
}

impl Receivers {
    /// The service on this port, of what this database knows.
    pub fn new(settings: &Settings, listener: TcpListener, store: Arc<Store>, keys: Keys) -> Result<Self, String> {
        let unusable = |e: std::io::Error| format!("the port of notify.listen cannot be used: {e}");
        listener.set_nonblocking(true).map_err(unusable)?;
        let acceptor = settings.tls.as_ref().map(|tls| tls.acceptor("notify.tls")).transpose()?;
        for (endpoint, why) in keys.iter().filter_map(|(name, keys)| Some((name, keys.as_ref().err()?))) {
            tracing::warn!(endpoint, why, "nothing signs answers to an endpoint: it is not answered");
        }
        Ok(Self { listener, acceptor, door: Door::new(settings, store, keys) })
    }

    /// Serves until `stop`, then takes at most `grace` for the questions in flight.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let Self { listener, acceptor, door } = self;
        let router = routes::router(door);
        serving::run(Served { listener, acceptor, router, said: "receivers are answered" }, stop, grace).await;
    }
}
