//! Everything Avouch asks of NATS. The only code that knows its client.

pub mod durables;
pub mod events;
mod feed;
mod login;
pub mod permissions;
pub mod records;
pub mod service;
pub mod streams;
pub mod survey;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event, Server, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::sync::watch;
use uuid::Uuid;

pub use self::durables::{Durable, Progress};
pub use self::events::{AckEvent, Events, Fate};
pub use self::feed::{Fed, Feed, Told};
use self::login::{options, servers};
pub use self::records::Records;
pub use self::service::{Request, Service};
pub use self::streams::Stream;
use crate::killpoint::{self, Point};
use crate::lifecycle::{Answer, Death, read_answer};
use crate::message::Message;
use crate::secret::Secret;

/// `[nats]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One or more servers, separated by commas: `nats://host:4222`, `tls://host:4222`.
    pub url: Secret,
    /// Credentials file of an operator-mode account.
    pub creds_file: Option<PathBuf>,
    /// An nkey seed.
    pub nkey: Option<Secret>,
    /// A token.
    pub token: Option<Secret>,
    /// A user's name, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// TLS to the servers.
    pub tls: Tls,
    /// Where answers arrive, if the account may not subscribe to `_INBOX.>`.
    pub inbox_prefix: Option<String>,
    /// JetStream domain, for a stream behind a leaf node.
    pub domain: Option<String>,
    /// How long one JetStream API request may take.
    pub request_timeout_ms: u64,
    /// How often the connection is tested; two silent tests end it.
    pub ping_interval_ms: u64,
}

/// `[nats.tls]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Refuse a server that does not offer TLS. `tls://` in the URL asks for it too.
    pub required: bool,
    /// Speak TLS before the server's greeting, as `handshake_first` servers want.
    pub first: bool,
    /// PEM file of authorities; default: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's key.
    pub key_file: Option<PathBuf>,
}

/// A local server; a stuck one is given up after three tests of two seconds.
impl Default for Config {
    fn default() -> Self {
        Self {
            url: Secret::new("nats://127.0.0.1:4222"),
            creds_file: None,
            nkey: None,
            token: None,
            user: None,
            password: None,
            tls: Tls::default(),
            inbox_prefix: None,
            domain: None,
            request_timeout_ms: 5_000,
            ping_interval_ms: 2_000,
        }
    }
}

/// What went wrong, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker cannot do it now: try again later.
    #[error("{0}")]
    Retry(String),
    /// Trying again will not help: a person must act.
    #[error("{0}")]
    Fatal(String),
}

/// Why a publish was not even tried.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// This message can never be sent as it is.
    #[error("{1}")]
    Permanent(Death, String),
    /// The connection is gone.
    #[error("{0}")]
    Broker(String),
}

/// A broker's answer and the publish it belongs to.
#[derive(Debug, PartialEq)]
pub struct Reply {
    /// The message's place.
    pub seq: i64,
    /// The generation that was sent.
    pub generation: u32,
    /// The message: another one may have got its place since, after a failover.
    pub id: Uuid,
    /// What the broker said.
    pub answer: Answer,
}

/// Commands that may wait in the client while the connection is gone: more than can ever be in flight.
const CLIENT_CAPACITY: usize = 65_536;

/// A connection for publishing. It comes back by itself when it is lost.
pub struct Broker {
    client: Client,
    inbox: String,
    connected: watch::Receiver<bool>,
    jetstream: async_nats::jetstream::Context,
    domain: Option<String>,
}

/// What the broker answers to publishes.
pub struct Replies {
    inbox: String,
    messages: Subscriber,
}

/// A client with these settings and nothing else: for services and plugins.
pub async fn plain(config: &Config, name: &str) -> Result<Client, Error> {
    let url = config.url.reveal().map_err(|e| Error::Fatal(e.to_string()))?;
    let (servers, login) = servers(&url)?;
    let client = options(config, login, name)?.retry_on_initial_connect().connect(servers).await;
    client.map_err(|e| Error::Fatal(format!("cannot use the NATS settings: {}", crate::store::full_text(&e))))
}

impl Broker {
    /// Connects, now or as soon as a server answers. Wrong settings fail at once.
    pub async fn connect(config: &Config, name: &str) -> Result<(Self, Replies), Error> {
        let (events, connected) = watch::channel(false);
        let url = config.url.reveal().map_err(|e| Error::Fatal(e.to_string()))?;
        let (servers, login) = servers(&url)?;
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let options = options(config, login, name)?.retry_on_initial_connect();
        let options = options.event_callback(move |event| {
            let (events, tries) = (events.clone(), Arc::clone(&tries));
            async move {
                match event {
                    Event::Connected => {
                        tries.store(0, Ordering::Relaxed);
                        events.send_replace(true);
                    }
                    Event::Disconnected | Event::Closed => {
                        events.send_replace(false);
                    }
                    Event::SlowConsumer(_) => tracing::warn!("answers of the broker came faster than they were read"),
                    Event::ServerError(e) => tracing::warn!(error = %e, "the NATS server reports an error"),
                    Event::ClientError(e) => tracing::debug!(error = %e, "cannot reach NATS"),
                    Event::LameDuckMode => tracing::info!("the NATS server is about to stop"),
                    Event::Draining => {}
                }
            }
        });
        let client = options
            .reconnect_to_server_callback(move |servers, _| {
                // Once, not with every try. The second knows why the first failed, which the event does not say.
                if counted.fetch_add(1, Ordering::Relaxed) == 1 {
                    tracing::warn!(error = why_unreachable(&servers), "cannot reach NATS; trying again");
                }
                std::future::ready(None)
            })
            .connect(servers)
            .await
            .map_err(|e| Error::Fatal(format!("cannot use the NATS settings: {}", crate::store::full_text(&e))))?;
        let inbox = client.new_inbox();
        let messages = client
            .subscribe(format!("{inbox}.>"))
            .await
            .map_err(|e| Error::Fatal(format!("cannot subscribe to {inbox}.>: {e}")))?;
        let mut jetstream = match &config.domain {
            Some(domain) => async_nats::jetstream::with_domain(client.clone(), domain),
            None => async_nats::jetstream::new(client.clone()),
        };
        jetstream.set_timeout(Duration::from_millis(config.request_timeout_ms));
        let replies = Replies { inbox: inbox.clone(), messages };
        Ok((Self { client, inbox, connected, jetstream, domain: config.domain.clone() }, replies))
    }

    /// True while there is a connection, with every change.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// A stream of this broker, with a subject space for what is sent again to each of these consumers.
    pub fn stream(&self, name: &str, config: &streams::Config, consumers: Vec<String>) -> Stream {
        Stream::new(name, config, consumers, self.jetstream.clone())
    }

    /// What the broker tells of acknowledgements, kept in a stream of this name and size.
    pub fn events(&self, name: &str, bytes_max: u64) -> Events {
        Events::new((name, bytes_max), self.jetstream.clone())
    }

    /// The bucket of what consumers did; a record is kept for so many hours after its last change, or for good if that is 0.
    pub fn records(&self, config: &records::Config, keep_hours: u64) -> Records {
        Records::new(config, keep_hours, self.domain.as_deref(), self.jetstream.clone())
    }

    /// Answers requests to these subjects, together with every other instance that does.
    pub async fn serve(&self, name: &str, description: &str, subjects: &[String]) -> Result<Service, Error> {
        Service::start(&self.client, name, description, subjects).await
    }

    /// The reason if a payload of so many bytes can never be sent.
    pub fn refuses(&self, bytes: usize) -> Option<String> {
        (bytes > self.client.max_payload()).then(|| self.too_large(bytes))
    }

    fn too_large(&self, bytes: usize) -> String {
        format!(
            "{bytes} bytes of payload and its headers are over the server's max_payload of {}: \
             send a reference instead, or raise max_payload and resend it",
            self.client.max_payload()
        )
    }

    /// Hands a message to the connection. Its PubAck, or a refusal, comes by [`Replies::next`]; or nothing comes.
    pub async fn publish(&self, subject: &str, message: &Message, payload: Bytes) -> Result<(), Refusal> {
        // The client would keep it and send it as soon as it is connected again, before anybody has seen what the broker still has.
        if self.client.connection_state() != State::Connected {
            return Err(Refusal::Broker("not connected to NATS".into()));
        }
        let bytes = payload.len();
        let headers = message.wire_headers().map_err(|e| Refusal::Permanent(Death::Malformed, e.to_string()))?;
        let reply = format!("{}.{}.{}.{}", self.inbox, message.seq, message.generation, message.id.simple());
        let sent = self.client.publish_with_reply_and_headers(subject.to_owned(), reply, headers, payload).await;
        sent.map_err(|e| match e.kind() {
            async_nats::PublishErrorKind::MaxPayloadExceeded => {
                Refusal::Permanent(Death::TooLarge, self.too_large(bytes))
            }
            async_nats::PublishErrorKind::InvalidSubject => Refusal::Permanent(
                Death::Malformed,
                format!("subject {subject} is invalid: correct the stream's subject_prefix"),
            ),
            _ => Refusal::Broker(crate::store::full_text(&e)),
        })?;
        killpoint::reached_after(Point::BytesSent, self.client.flush()).await;
        Ok(())
    }
}

impl Replies {
    /// The next answers: waits for one and takes what else has arrived, at most `max`. Losing the future loses nothing.
    pub async fn next(&mut self, max: usize) -> Vec<Reply> {
        let mut replies = Vec::new();
        let Some(first) = self.messages.next().await else {
            // The connection is closed for good, which only dropping the client does.
            return std::future::pending().await;
        };
        replies.extend(read_reply(&self.inbox, &first));
        while replies.len() < max {
            match self.messages.next().now_or_never() {
                Some(Some(message)) => replies.extend(read_reply(&self.inbox, &message)),
                _ => break,
            }
        }
        replies
    }
}

fn read_reply(inbox: &str, message: &async_nats::Message) -> Option<Reply> {
    let rest = message.subject.as_str().strip_prefix(inbox)?.strip_prefix('.')?;
    let mut parts = rest.split('.');
    let (seq, generation, id) = (parts.next()?, parts.next()?, parts.next()?);
    let no_responders = message.status == Some(async_nats::StatusCode::NO_RESPONDERS);
    let payload: &Bytes = &message.payload;
    Some(Reply {
        seq: seq.parse().ok()?,
        generation: generation.parse().ok()?,
        id: id.parse().ok()?,
        answer: read_answer(no_responders, payload),
    })
}

/// Why the last try with each server failed, and what to change.
fn why_unreachable(servers: &[Server]) -> String {
    let why = |s: &Server| s.last_error.as_ref().map(|error| format!("{}: {error}", s.addr.as_url_str()));
    let text = servers.iter().filter_map(why).collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        return "no address is found for the name in nats.url".into();
    }
    let remedy = remedy_of(&text);
    text + remedy
}

/// What to change when a server cannot be reached because of this.
fn remedy_of(text: &str) -> &'static str {
    if text.contains("authorization violation") || text.contains("failed signing nonce") {
        ": correct creds_file, nkey, token, or user and password in [nats]"
    } else if text.contains("invalid peer certificate") {
        ": write the host as the certificate does, and give its authority as ca_file in [nats.tls]"
    } else {
        ""
    }
}
