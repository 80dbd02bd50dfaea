//! What NATS is asked to judge how well it serves: it looks, and changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::context::Context;
use async_nats::{Client, Event, HeaderMap};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::login::{options, servers};
use super::permissions::{Body, Direction, NAMES, Need, violated};
use super::streams::covers;
use super::{Config, Error, remedy_of};
use crate::store::full_text;

/// A connection to ask.
pub struct Survey {
    client: Client,
    jetstream: Context,
    api: String,
    inbox: String,
    limit: Duration,
    complaints: watch::Receiver<Vec<String>>,
    /// Subjects on which it may not ask.
    denied: BTreeSet<String>,
    /// Whether no answer can come.
    is_deaf: bool,
}

/// The server that answered, as it presents itself.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its cluster, if it is in one.
    pub cluster: Option<String>,
    /// Whether it offers JetStream.
    pub has_jetstream: bool,
    /// The largest message that it takes.
    pub max_payload: usize,
}

/// What came of one question.
#[derive(Clone, Debug)]
pub enum Found<T> {
    /// It is there.
    There(T),
    /// There is none.
    Missing,
    /// The login may not ask, which is told among its permissions.
    Denied,
    /// Nobody did say.
    Unknown(String),
}

/// What the account may use and uses.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Account {
    /// Bytes on disk.
    #[serde(default)]
    pub storage: u64,
    /// Streams.
    #[serde(default)]
    pub streams: i64,
    /// Consumers.
    #[serde(default)]
    pub consumers: i64,
    /// How much of it may be used; -1: no limit.
    #[serde(default)]
    pub limits: Limits,
}

/// Limits of an account.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Limits {
    /// Bytes on disk.
    #[serde(default)]
    pub max_storage: i64,
    /// Streams.
    #[serde(default)]
    pub max_streams: i64,
    /// Consumers.
    #[serde(default)]
    pub max_consumers: i64,
}

/// A stream.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamFacts {
    /// How it is configured.
    pub config: StreamConfig,
    /// What it holds.
    pub state: StreamState,
    /// Its incarnation.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// The server's clock.
    #[serde(default, rename = "ts", with = "time::serde::rfc3339::option")]
    pub now: Option<OffsetDateTime>,
    /// Who keeps it.
    #[serde(default)]
    pub cluster: Option<Peers>,
}

/// How a stream is configured; times in nanoseconds, -1: no limit.
#[derive(Clone, Debug, Deserialize)]
pub struct StreamConfig {
    /// What it takes.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// limits, interest or workqueue.
    pub retention: String,
    /// old or new.
    pub discard: String,
    /// file or memory.
    pub storage: String,
    /// Copies.
    pub num_replicas: usize,
    /// Messages.
    pub max_msgs: i64,
    /// Messages of one subject.
    #[serde(default)]
    pub max_msgs_per_subject: i64,
    /// Bytes.
    pub max_bytes: i64,
    /// How long it keeps them; 0: for good.
    pub max_age: i64,
    /// The largest message.
    #[serde(default)]
    pub max_msg_size: i64,
    /// How long ids are remembered.
    #[serde(default)]
    pub duplicate_window: i64,
    /// Whether it acknowledges nothing.
    #[serde(default)]
    pub no_ack: bool,
    /// Whether it takes nothing any more.
    #[serde(default)]
    pub sealed: bool,
    /// Whether it only follows another one.
    #[serde(default)]
    pub mirror: Option<Value>,
    /// `async`: it acknowledges before it writes at all.
    #[serde(default)]
    pub persist_mode: Option<String>,
}

/// What a stream holds.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Who keeps a stream.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Peers {
    /// Who leads it now.
    #[serde(default)]
    pub leader: Option<String>,
    /// Who follows.
    #[serde(default)]
    pub replicas: Vec<Peer>,
}

/// A server that follows.
#[derive(Clone, Debug, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Whether it has everything.
    #[serde(default)]
    pub current: bool,
    /// Whether it is gone.
    #[serde(default)]
    pub offline: bool,
}

/// A durable consumer.
#[derive(Clone, Debug, Deserialize)]
pub struct DurableFacts {
    /// How it is configured.
    pub config: DurableConfig,
    /// Messages that wait to be delivered.
    #[serde(default)]
    pub num_pending: u64,
    /// Deliveries that wait to be acknowledged.
    #[serde(default)]
    pub num_ack_pending: i64,
    /// Whether somebody holds it back.
    #[serde(default)]
    pub paused: bool,
}

/// How a durable consumer is configured.
#[derive(Clone, Debug, Deserialize)]
pub struct DurableConfig {
    /// The only thing that it takes.
    #[serde(default)]
    pub filter_subject: Option<String>,
    /// Or several.
    #[serde(default)]
    pub filter_subjects: Vec<String>,
    /// explicit, all or none.
    pub ack_policy: String,
    /// Deliveries that may wait at a time; -1: no limit.
    #[serde(default)]
    pub max_ack_pending: i64,
}

impl StreamConfig {
    /// True if it takes all that these subjects stand for, which end in `>`.
    pub fn takes(&self, wanted: &str) -> bool {
        self.subjects.iter().any(|subject| covers(subject, wanted))
    }
}

impl Survey {
    /// Connects to one of the servers, once. Each question may take `limit`.
    pub async fn open(config: &Config, limit: Duration) -> Result<Self, Error> {
        let url = config.url.reveal().map_err(|e| Error::Fatal(e.to_string()))?;
        let (servers, login) = servers(&url)?;
        let (heard, complaints) = watch::channel(Vec::new());
        let options = options(config, login, "avouch doctor")?.event_callback(move |event| {
            if let Event::ServerError(e) = event {
                heard.send_modify(|all: &mut Vec<String>| all.push(e.to_string()));
            }
            std::future::ready(())
        });
        let all = limit * u32::try_from(servers.len()).unwrap_or(1).saturating_add(1);
        let connected = tokio::time::timeout(all, options.connect(servers)).await;
        let client = connected
            .map_err(|_| Error::Retry(format!("no answer within {} ms", all.as_millis())))?
            .map_err(|e| Error::Retry(with_remedy(full_text(&e))))?;
        let mut jetstream = match &config.domain {
            Some(domain) => async_nats::jetstream::with_domain(client.clone(), domain),
            None => async_nats::jetstream::new(client.clone()),
        };
        jetstream.set_timeout(limit);
        let api = config.domain.as_ref().map_or_else(|| "$JS.API".to_owned(), |d| format!("$JS.{d}.API"));
        let inbox = config.inbox_prefix.clone().unwrap_or_else(|| "_INBOX".into());
        Ok(Self { client, jetstream, api, inbox, limit, complaints, denied: BTreeSet::new(), is_deaf: false })
    }

    /// The server that answered.
    pub fn server(&self) -> Server {
        let info = self.client.server_info();
        Server {
            name: info.server_name.clone(),
            version: info.version.clone(),
            cluster: info.cluster.clone(),
            has_jetstream: info.jetstream,
            max_payload: info.max_payload,
        }
    }

    /// What subjects of JetStream's API begin with.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// What answers' subjects begin with.
    pub fn inbox(&self) -> &str {
        &self.inbox
    }

    /// Which of these the login may not. What it may not ask is not asked afterwards.
    pub async fn denied(&mut self, needs: Vec<Need>) -> Result<Vec<Need>, Error> {
        let mut denied = Vec::new();
        for some in needs.chunks(COMPLAINTS_MAX) {
            let violations = self.violations(some).await?;
            let is_denied = |n: &&Need| violations.contains(&(n.direction, n.probe.subject.clone()));
            denied.extend(some.iter().filter(is_denied).cloned());
        }
        let is_of_answers = |n: &Need| n.direction == Direction::Subscribe && n.subject.starts_with(&self.inbox);
        self.is_deaf = denied.iter().any(is_of_answers);
        self.denied.extend(denied.iter().map(|n| n.probe.subject.clone()));
        Ok(denied)
    }

    /// A stream.
    pub async fn stream(&self, name: &str) -> Found<StreamFacts> {
        self.ask(format!("STREAM.INFO.{name}"), json!({})).await
    }

    /// A durable consumer.
    pub async fn durable(&self, stream: &str, name: &str) -> Found<DurableFacts> {
        self.ask(format!("CONSUMER.INFO.{stream}.{name}"), json!({})).await
    }

    /// The account.
    pub async fn account(&self) -> Found<Account> {
        self.ask("INFO".into(), json!({})).await
    }

    /// Which streams take messages on this subject.
    pub async fn takers(&self, subject: &str) -> Found<Vec<String>> {
        #[derive(Deserialize)]
        struct Names {
            streams: Option<Vec<String>>,
        }
        match self.ask::<Names>(NAMES.into(), json!({ "subject": subject })).await {
            Found::There(names) => Found::There(names.streams.unwrap_or_default()),
            Found::Missing => Found::Missing,
            Found::Denied => Found::Denied,
            Found::Unknown(why) => Found::Unknown(why),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, subject: String, body: Value) -> Found<T> {
        let whole = format!("{}.{subject}", self.api);
        if self.is_deaf || self.denied.contains(&whole) {
            return Found::Denied;
        }
        let answer: Value = match self.jetstream.request(subject, &body).await {
            Ok(answer) => answer,
            Err(e) => return Found::Unknown(format!("{whole}: {}", full_text(&e))),
        };
        match answer.get("error") {
            Some(error) if error["code"] == 404 => Found::Missing,
            Some(error) => Found::Unknown(format!("{whole}: {}", error["description"].as_str().unwrap_or("an error"))),
            None => serde_json::from_value(answer)
                .map_or_else(|e| Found::Unknown(format!("{whole}: {e}")), |found| Found::There(found)),
        }
    }

    /// Tries all of these, and returns where the server said no.
    async fn violations(&mut self, needs: &[Need]) -> Result<Vec<(Direction, String)>, Error> {
        let gone = |e: &dyn std::error::Error| Error::Retry(full_text(e));
        let before = self.complaints.borrow().len();
        let mut subscriptions = Vec::new();
        for Need { direction, probe, .. } in needs {
            match direction {
                Direction::Subscribe => {
                    subscriptions.push(self.client.subscribe(probe.subject.clone()).await.map_err(|e| gone(&e))?);
                }
                Direction::Publish => {
                    let headers = headers(probe.body);
                    let body = probe.body.text().into();
                    let sent = self.client.publish_with_headers(probe.subject.clone(), headers, body).await;
                    sent.map_err(|e| gone(&e))?;
                }
            }
        }
        // Nobody may subscribe to what is no subject: the complaint about that comes behind all others.
        subscriptions.push(self.client.subscribe(NO_SUBJECT).await.map_err(|e| gone(&e))?);
        let is_last =
            |text: &String| text.to_ascii_lowercase().contains("invalid subject") || text.contains(NO_SUBJECT);
        let is_complete = |all: &Vec<String>| all.iter().skip(before).any(is_last);
        let heard = tokio::time::timeout(self.limit, self.complaints.wait_for(is_complete)).await;
        let all = heard.ok().and_then(Result::ok).map(|all| all.clone());
        let Some(all) = all else {
            return Err(Error::Retry(format!("the server did not answer within {} ms", self.limit.as_millis())));
        };
        Ok(all.iter().skip(before).filter_map(|text| violated(text)).collect())
    }
}

/// The client forgets complaints beyond 128 that nobody has read.
const COMPLAINTS_MAX: usize = 100;
const NO_SUBJECT: &str = "avouch.>.doctor";

fn headers(body: Body) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if body == Body::ForNobody {
        headers.insert(async_nats::header::NATS_EXPECTED_STREAM, "avouch-doctor");
    }
    headers
}

fn with_remedy(text: String) -> String {
    let remedy = remedy_of(&text);
    text + remedy
}
