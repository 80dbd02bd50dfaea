//! Consumers with a plugin: it says what makes two messages the same piece of work, and decides about what is recorded. A
//! fault of it never means "run" nor "done".

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::desk::{HELD, HELD_RETRY_MS};
use super::request::Confirm;
use super::told::Told;
use crate::alarm::{Alarms, Event, Kind};
use crate::answer::{Code, Fault};
use crate::broker::Request;
use crate::idempotency::{Begin, Begun, Claim, Decision, Record, State};
use crate::rules::{self, Identity, Message, Plugin, Rules, Seen, SeenRecord, Status};
use crate::trace::trace_id;

/// Somebody else changed the record while the plugin decided: it decides anew, so often.
const MISSES_MAX: usize = 3;
/// Then, and after a fault that may pass, the consumer asks again.
const RETRY_MS: u32 = 1_000;
/// One in so many messages is identified twice: a plugin that is not sure does things twice, or never.
const SAMPLE: u64 = 64;
/// As the contract has it.
const KEY_BYTES_MAX: usize = 512;
const FINGERPRINT_BYTES_MAX: usize = 128;

/// How a question comes back; none if somebody holds the record.
pub type Reply = oneshot::Sender<Result<Option<Begun>, Fault>>;

/// What a judge asks of the loop.
pub enum Question {
    /// What is recorded?
    Begin(Begin, Reply),
    /// Run it, if that is still so.
    Claim(Claim, Reply),
    /// This is a receipt, though it is recorded under another key, or not at all.
    Confirm(Confirm),
}

/// Judges messages with plugins.
pub struct Judge {
    rules: Arc<Rules>,
    payload_bytes_max: usize,
    questions: mpsc::Sender<Question>,
    alarms: Alarms,
    random: RandomState,
}

impl Judge {
    /// A judge that asks `questions`. Plugins see payloads of at most so many bytes.
    pub fn new(rules: Arc<Rules>, payload_bytes_max: usize, questions: mpsc::Sender<Question>, alarms: Alarms) -> Self {
        Self { rules, payload_bytes_max, questions, alarms, random: RandomState::new() }
    }

    /// What the consumer is told about the message that it sent.
    pub async fn judge(&self, consumer: &str, name: &str, begin: Begin, request: &Request) -> Result<Told, Fault> {
        let Some(plugin) = self.rules.plugin(name) else {
            let none = format!("plugin {name} of consumer {consumer} is not deployed: avouch plugin deploy");
            return Err(Fault::new(Code::Unavailable, none));
        };
        let message = self.message(&begin, request);
        let identity = match self.identity(&plugin, consumer, &message).await {
            Ok(identity) => identity,
            Err(fault) => return Ok(faulted(name, &message, &fault)),
        };
        let begin = Begin {
            key: identity.key.clone(),
            fingerprint: identity.fingerprint.clone(),
            version: identity.version.and_then(|v| i64::try_from(v).ok()),
            is_judged: true,
            ..begin
        };
        for _ in 0..MISSES_MAX {
            let Some(begun) = self.ask(|reply| Question::Begin(begin.clone(), reply)).await? else {
                return Ok(Told::busy(HELD_RETRY_MS, HELD));
            };
            if begun.decision != Decision::Ask {
                return Ok(Told::of(begin.key, begun));
            }
            let seen = Seen { identity: identity.clone(), record: begun.seen.as_ref().map(record) };
            let answer = self.rules.decide(&plugin, consumer, &message, &seen).await;
            tell(name, &message, &answer.log);
            let decision = match answer.verdict {
                Ok(decision) => decision,
                Err(fault) => return Ok(faulted(name, &message, &fault)),
            };
            let is_done = begun.seen.as_ref().is_some_and(|r| r.state == State::Done);
            let plain = |decision: Decision, reason: String| {
                let begun = Begun { reason: Some(reason), ..Begun::of(decision) };
                Ok(Told::of(begin.key.clone(), begun))
            };
            match decision {
                rules::Decision::Run => {
                    let expected = begun.seen.as_ref().map(|r| r.revision);
                    let claim = Claim { begin: begin.clone(), expected };
                    match self.ask(|reply| Question::Claim(claim, reply)).await? {
                        Some(begun) if begun.decision == Decision::Run => {
                            return Ok(Told::of(begin.key, begun));
                        }
                        _ => continue,
                    }
                }
                rules::Decision::Done if is_done => {
                    return Ok(Told::of(begin.key, Begun { decision: Decision::Done, ..begun }));
                }
                rules::Decision::Done => {
                    let fault = rules::Fault::Broken("it says done, and nothing is".into());
                    return Ok(faulted(name, &message, &fault));
                }
                rules::Decision::Defer(ms) => return Ok(Told::busy(ms, "deferred by the plugin")),
                rules::Decision::Skip(reason) => return plain(Decision::Skip, reason),
                rules::Decision::Reject(reason) => return plain(Decision::Reject, reason),
                rules::Decision::Conflict(reason) => return plain(Decision::Conflict, reason),
            }
        }
        Ok(Told::busy(RETRY_MS, "others change its record faster than the plugin decides"))
    }

    /// What the plugin says, twice for a sample: it must say the same.
    async fn identity(&self, plugin: &Plugin, consumer: &str, message: &Message) -> Result<Identity, rules::Fault> {
        let first = self.rules.identify(plugin, consumer, message).await;
        tell(plugin.name(), message, &first.log);
        let identity = checked(first.verdict?)?;
        if self.random.hash_one(&message.id).is_multiple_of(SAMPLE) {
            let second = checked(self.rules.identify(plugin, consumer, message).await.verdict?)?;
            let same =
                |a: &Identity, b: &Identity| (&a.key, &a.fingerprint, a.version) == (&b.key, &b.fingerprint, b.version);
            if !same(&identity, &second) {
                self.alarms.raise(&Event {
                    kind: Kind::PluginUndetermined,
                    subject: plugin.name(),
                    id: plugin.digest().to_string(),
                    reference: None,
                    trace_id: None,
                    why: &format!("message {} is {:?}, and a moment later {:?}", message.id, identity.key, second.key),
                });
                return Err(rules::Fault::Broken("it gave one message two identities".into()));
            }
        }
        Ok(identity)
    }

    /// What it was told is a receipt, if it is one: done, or dead with the reason.
    pub async fn confirm(&self, consumer: &str, message: Uuid, told: &Told) {
        let why = || told.begun.reason.clone().unwrap_or_else(|| "no reason given".into());
        let dead = match told.begun.decision {
            Decision::Done | Decision::Skip => None,
            Decision::Reject | Decision::Conflict => Some(why()),
            Decision::Run | Decision::Busy | Decision::Ask | Decision::Miss => return,
        };
        // Nobody listens while this instance stops: the message is asked about again, and told the same.
        if self.questions.send(Question::Confirm(Confirm::new(consumer, message, dead))).await.is_err() {
            tracing::debug!(consumer, %message, "a receipt was not kept: this instance stops");
        }
    }

    async fn ask(&self, question: impl FnOnce(Reply) -> Question) -> Result<Option<Begun>, Fault> {
        let stops = || Fault::new(Code::Unavailable, "this instance stops: repeat it".into());
        let (reply, answer) = oneshot::channel();
        self.questions.send(question(reply)).await.map_err(|_| stops())?;
        answer.await.map_err(|_| stops())?
    }

    /// The message as it was received, as its plugin sees it.
    fn message(&self, begin: &Begin, request: &Request) -> Message {
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let created = request.header("Avouch-Created-At").and_then(|t| OffsetDateTime::parse(t, &Rfc3339).ok());
        let created_ms = created.map_or(0, |at| at.unix_timestamp_nanos() / 1_000_000);
        let payload = request.payload();
        Message {
            id: begin.message.to_string(),
            topic: request.header("Avouch-Topic").unwrap_or_default().to_owned(),
            key: request.header("Avouch-Key").map(decode),
            payload_bytes: u64::try_from(payload.len()).unwrap_or(u64::MAX),
            payload: if payload.len() <= self.payload_bytes_max { payload.to_vec() } else { Vec::new() },
            headers: request.own_headers(),
            created_at_ms: u64::try_from(created_ms).unwrap_or(0),
            generation: request.header("Avouch-Generation").and_then(|g| g.parse().ok()).unwrap_or(0),
        }
    }
}

/// Within what the contract allows, and what the database keeps.
fn checked(identity: Identity) -> Result<Identity, rules::Fault> {
    let is_text = |text: &str, max: usize| text.len() <= max && !text.contains('\0');
    let broken = |why: &str| Err(rules::Fault::Broken(why.to_owned()));
    if identity.key.is_empty() || !is_text(&identity.key, KEY_BYTES_MAX) {
        return broken("its key must have from 1 to 512 bytes, and no NUL");
    }
    if identity.fingerprint.as_deref().is_some_and(|f| !is_text(f, FINGERPRINT_BYTES_MAX)) {
        return broken("its fingerprint must have at most 128 bytes, and no NUL");
    }
    if identity.version.is_some_and(|v| i64::try_from(v).is_err()) {
        return broken("its version is over 9223372036854775807");
    }
    Ok(identity)
}

fn record(record: &Record) -> SeenRecord {
    SeenRecord {
        status: if record.state == State::Done { Status::Completed } else { Status::Failed },
        message_id: record.message.unwrap_or(Uuid::nil()).to_string(),
        fingerprint: record.fingerprint.clone(),
        version: record.version.and_then(|v| u64::try_from(v).ok()),
        changed_at_ms: u64::try_from(record.changed_at_ms).unwrap_or(0),
        attempts: u32::try_from(record.attempts).unwrap_or(0),
    }
}

/// What cannot be judged is neither run nor done: it waits, or is rejected where the plugin says that waiting is in vain.
fn faulted(plugin: &str, message: &Message, fault: &rules::Fault) -> Told {
    let (id, trace_id) = (&message.id, trace_id(&message.headers));
    tracing::warn!(plugin, message = id, trace_id, fault = %fault, "a message cannot be judged");
    match fault {
        rules::Fault::Permanent(why) => {
            Told { key: None, begun: Begun { reason: Some(why.clone()), ..Begun::of(Decision::Reject) } }
        }
        other => Told::busy(RETRY_MS, format!("its plugin {plugin} cannot judge it: {other}")),
    }
}

/// What a plugin logged, in the runtime's log.
fn tell(plugin: &str, message: &Message, log: &[rules::Line]) {
    for line in log {
        let (id, trace_id) = (&message.id, trace_id(&message.headers));
        tracing::info!(target: "avouch_plugin", plugin, message = id, trace_id, level = %line.level, "{}", line.text);
    }
}
