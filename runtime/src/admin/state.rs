//! What all routes share.

use std::collections::BTreeSet;
use std::ops::{Deref, RangeInclusive};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::events::Feed;
use super::host::Site;
use super::oidc::Issuer;
use super::problem::Problem;
use super::tries::Tries;
use crate::broker::Stream;
use crate::endpoints::Terms;
use crate::rules::Rules;
use crate::store::{Store, access};

/// Requests that are carried out at a time; more are refused. Each needs the database, whose connection is one.
const REQUESTS_MAX: usize = 64;

/// Shared by all routes; a clone is the same.
#[derive(Clone)]
pub struct State(Arc<Shared>);

/// What stands behind [`State`].
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// What this server is called.
    pub site: Site,
    /// Where people are known, if anywhere.
    pub issuer: Option<Issuer>,
    /// The database that is shown.
    pub store: Arc<Store>,
    /// Cancelled when the process stops: streams of events end then.
    pub stop: CancellationToken,
    /// Room for requests.
    pub requests: Semaphore,
    /// What those who watch are told.
    pub feed: Feed,
    /// Logins with tokens.
    pub tokens_tried: Tries,
    /// Logins where people are known.
    pub issuer_tried: Tries,
    parts: OnceLock<Parts>,
}

/// What exists once the source runs.
pub struct Parts {
    /// Whether NATS is connected.
    pub connected: watch::Receiver<bool>,
    /// The versions of the schema that this runtime serves.
    pub versions: RangeInclusive<i32>,
    /// The engine for plugins.
    pub rules: Arc<Rules>,
    /// The largest plugin that is taken.
    pub file_bytes_max: usize,
    /// The streams, whose durables are deleted with their consumers.
    pub streams: Vec<Stream>,
    /// Consumers that a runtime would make again.
    pub configured: BTreeSet<String>,
    /// What endpoints may be; none: nobody is told.
    pub terms: Option<Terms>,
    /// Endpoints that stand in the configuration.
    pub endpoints: BTreeSet<String>,
}

impl Deref for State {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl State {
    /// Nothing is attached yet.
    pub fn new(config: Config, site: Site, issuer: Option<Issuer>, store: Arc<Store>) -> Self {
        Self(Arc::new(Shared {
            config,
            site,
            issuer,
            store,
            stop: CancellationToken::new(),
            requests: Semaphore::new(REQUESTS_MAX),
            feed: Feed::default(),
            tokens_tried: Tries::default(),
            issuer_tried: Tries::default(),
            parts: OnceLock::new(),
        }))
    }

    /// The source runs: from now on it may be ready.
    pub fn attach(&self, parts: Parts) {
        // A source is started once; a second time would bring the same.
        self.0.parts.get_or_init(|| parts);
    }

    /// What was attached.
    pub fn parts(&self) -> Option<&Parts> {
        self.0.parts.get()
    }

    /// What sessions must be to be let in.
    pub fn rules(&self) -> access::Rules {
        access::Rules { idle_s: self.config.session_idle_s, has_issuer: self.issuer.is_some() }
    }

    /// What was attached, or that it is not there yet.
    pub fn running(&self) -> Result<&Parts, Problem> {
        self.parts().ok_or_else(|| Problem::unavailable("the source is being started", "repeat it; /readyz tells when"))
    }
}
