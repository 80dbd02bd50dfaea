//! Telling outside parties by HTTP, until they answer or the schedule ends: signed, and never one at the expense of another.
//!
//! Two loops. One records what a durable consumer brings, and acknowledges it: from then on rows keep the promise, so that waits of
//! hours hold nothing back in the broker. The other tells what is due. An endpoint is told by the instance that owns its shard; two
//! of them for a moment tell twice, under one `webhook-id`.

mod attempt;
mod deliver;
mod record;
pub mod roster;
pub mod schedule;
mod shape;
mod slots;
mod waiting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

pub use self::attempt::Desk;
pub use self::deliver::{Deliver, Parts};
pub use self::record::Record;
pub use self::roster::Roster;
use self::schedule::Schedule;
use crate::address::Allowed;
use crate::consumers::is_pattern;
use crate::endpoints::{self, Described, Settings, Terms};
use crate::outside::Outside;
use crate::secret::Secret;
use crate::serving::Tls;
use crate::signature::{Key, NoKey};

/// `[notify]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What outside parties may be told of, as in subjects: `payments.>`. Without any, nobody is told.
    pub topics: Vec<String>,
    /// The stream of these topics; the default one if absent.
    pub stream: Option<String>,
    /// How often to look what is due.
    pub every_ms: u64,
    /// Tries under way at a time, of all endpoints together.
    pub in_flight_max: usize,
    /// So much of an answer's body is read.
    pub answer_bytes_max: usize,
    /// A receiver may ask for no longer pause than this.
    pub retry_after_max_s: u32,
    /// How long it is known what was told, in hours: receivers may ask so long, and what waits for longer is given up.
    pub keep_hours: u32,
    /// Private networks, addresses and host names that endpoints may lead to.
    pub allow: Vec<String>,
    /// Whether endpoints may be told by plain HTTP.
    pub allow_http: bool,
    /// Where receivers ask what they were told; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// HTTPS for them without a proxy.
    pub tls: Option<Tls>,
    /// Whether they may be answered without TLS off loopback: a proxy that has it is in front.
    pub listen_plain: bool,
    /// Questions of one endpoint a second.
    pub asks_per_s: u32,
}

/// A fifth of a second is soon for a call around the world; 256 tries at a time are as many sockets. A month of what was told, as
/// settlements are disputed. Fifty questions a second page through a day of a million messages in some minutes.
impl Default for Config {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            stream: None,
            every_ms: 200,
            in_flight_max: 256,
            answer_bytes_max: 64 << 10,
            retry_after_max_s: 86_400,
            keep_hours: 720,
            allow: Vec::new(),
            allow_http: false,
            listen: None,
            tls: None,
            listen_plain: false,
            asks_per_s: 50,
        }
    }
}

/// The durable consumer that brings what is to be told.
pub const CONSUMER: &str = "notify";

impl Config {
    /// Whether anybody is told.
    pub fn is_on(&self) -> bool {
        !self.topics.is_empty()
    }

    /// What endpoints may be.
    pub fn terms(&self) -> Result<Terms, String> {
        let allowed = Allowed::parse(&self.allow).map_err(|e| format!("notify.allow: {e}"))?;
        Ok(Terms { topics: self.topics.clone(), allowed, allow_http: self.allow_http })
    }

    /// The client for endpoints.
    pub fn outside(&self) -> Result<Outside, String> {
        let Terms { allowed, allow_http, .. } = self.terms()?;
        Outside::new(allowed, allow_http)
    }

    /// When an endpoint's tries are repeated.
    fn schedule(&self, settings: &Settings) -> Schedule {
        Schedule {
            pauses_s: settings.schedule_s.clone(),
            jitter_percent: settings.jitter_percent,
            retry_after_max: Duration::from_secs(self.retry_after_max_s.into()),
        }
    }

    /// What is wrong with these, and with these endpoints; secrets are not looked at.
    pub fn faults(&self, endpoints: &BTreeMap<String, EndpointConfig>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_fine: bool, text: &str| {
            if !is_fine {
                faults.push(text.to_owned());
            }
        };
        check(self.topics.iter().all(|t| is_pattern(t)), "notify.topics: tokens as in topics, *, and > at the end");
        check(self.every_ms > 0, "notify.every_ms: at least 1");
        check((1..=10_000).contains(&self.in_flight_max), "notify.in_flight_max: from 1 to 10000");
        check(self.answer_bytes_max <= 16 << 20, "notify.answer_bytes_max: at most 16777216");
        check((1..=87_600).contains(&self.keep_hours), "notify.keep_hours: from 1 to 87600");
        let is_covered = self.tls.is_some() || self.listen_plain;
        check(
            is_covered || self.listen.is_none_or(|listen| listen.ip().is_loopback()),
            "notify.listen is not on loopback, and tokens and payloads would go out unencrypted: set [notify.tls], or listen_plain = \
             true behind a proxy that has TLS",
        );
        check((1..=10_000).contains(&self.asks_per_s), "notify.asks_per_s: from 1 to 10000");
        let terms = self.terms();
        if let Err(e) = &terms {
            check(false, e);
        }
        let terms = terms.unwrap_or_default();
        for (name, endpoint) in endpoints {
            let wrong = endpoint.faults(name, &terms);
            faults.extend(wrong.into_iter().map(|fault| format!("endpoint.{name}: {fault}")));
        }
        faults
    }
}

/// `[endpoint.NAME]`: an outside party.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointConfig {
    /// `https://host/path`.
    pub url: String,
    /// What it is told, as in subjects; within `notify.topics`.
    pub topics: Vec<String>,
    /// Headers that messages must have, with these values: `{ merchant = "17" }`.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// A label, for whoever looks.
    #[serde(default)]
    pub tenant: String,
    /// What signs, newest first: `whsec_…` or `whsk_…`. Two while one replaces the other.
    pub secrets: Vec<Secret>,
    /// Headers that are added, such as `authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Pauses between tries, in seconds: after the first, after the second, …. As many tries as pauses, and one.
    #[serde(default = "endpoints::schedule_s")]
    pub schedule_s: Vec<u32>,
    /// Each pause is longer by at most so many hundredths.
    #[serde(default = "endpoints::jitter_percent")]
    pub jitter_percent: u8,
    /// How long a try may take.
    #[serde(default = "endpoints::timeout_ms")]
    pub timeout_ms: u32,
    /// Tries a second; none: no limit.
    #[serde(default)]
    pub rate_per_s: Option<u32>,
    /// Tries under way at a time.
    #[serde(default = "endpoints::in_flight_max")]
    pub in_flight_max: u16,
    /// Whether messages of one key are told one after the other.
    #[serde(default)]
    pub ordered: bool,
    /// The plugin that shapes requests and reads answers.
    #[serde(default)]
    pub plugin: Option<String>,
}

impl EndpointConfig {
    fn faults(&self, name: &str, terms: &Terms) -> Vec<String> {
        let mut faults = terms.faults(&self.described(name));
        if self.secrets.is_empty() {
            let example = Key::make(crate::signature::Sort::Shared).unwrap_or_default();
            faults.push(format!("secrets: at least one; here is a fresh one: {example}"));
        }
        faults
    }

    /// How it is told.
    fn settings(&self) -> Settings {
        Settings {
            schedule_s: self.schedule_s.clone(),
            jitter_percent: self.jitter_percent,
            timeout_ms: self.timeout_ms,
            rate_per_s: self.rate_per_s,
            in_flight_max: self.in_flight_max,
            plugin: self.plugin.clone(),
        }
    }

    /// What signs, without a name, and headers. An error does not hold them.
    pub fn reveal(&self) -> Result<Vec<(Option<String>, String)>, String> {
        let mut secrets = Vec::new();
        for secret in &self.secrets {
            secrets.push((None, secret.reveal().map_err(|e| e.to_string())?));
        }
        for (name, value) in &self.headers {
            secrets.push((Some(name.clone()), value.reveal().map_err(|e| e.to_string())?));
        }
        Ok(secrets)
    }

    /// What signs, newest first.
    pub fn keys(&self) -> Result<Vec<Key>, String> {
        let texts: Result<Vec<String>, _> = self.secrets.iter().map(Secret::reveal).collect();
        let texts = texts.map_err(|e| e.to_string())?;
        texts.iter().map(|text| Key::parse(text)).collect::<Result<_, NoKey>>().map_err(|e| e.to_string())
    }

    /// What it says, without secrets.
    pub fn described(&self, name: &str) -> Described {
        Described {
            name: name.to_owned(),
            tenant: self.tenant.clone(),
            url: self.url.clone(),
            topics: self.topics.clone(),
            filter: self.filter.clone(),
            is_ordered: self.ordered,
            settings: self.settings(),
        }
    }
}
