//! Alarms: what a person must act upon, told once, in the log and to the sinks. A dead sink holds up nobody.

mod books;
pub mod command;
pub mod mail;
mod sink;
pub mod webhook;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::Notify;
use uuid::Uuid;

use self::books::Books;
pub use self::sink::Sink;
use crate::meters::Scope;

/// `[[alarm]]`: a sink. Exactly one of `webhook`, `command` and `smtp` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What it is called; needed when two of a sort are configured.
    pub name: Option<String>,
    /// What it takes; none: everything.
    pub kinds: Vec<Kind>,
    /// A POST of JSON.
    pub webhook: Option<webhook::Config>,
    /// A program and its arguments: the alarm comes as JSON on its standard input.
    pub command: Option<Vec<String>>,
    /// A mail.
    pub smtp: Option<mail::Config>,
    /// Equal alarms within this time are counted and sent once.
    pub repeat_ms: u64,
    /// How long one try may take.
    pub timeout_ms: u64,
}

/// A person needs minutes to act; a mail server, up to ten seconds to answer.
impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            kinds: Vec::new(),
            webhook: None,
            command: None,
            smtp: None,
            repeat_ms: 300_000,
            timeout_ms: 10_000,
        }
    }
}

impl Config {
    /// Its own name, else what it is.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.sort())
    }

    /// What it is; the first one if several are given, which is a fault.
    pub fn sort(&self) -> &'static str {
        match (&self.webhook, &self.command) {
            (Some(_), _) => "webhook",
            (None, Some(_)) => "command",
            (None, None) => "smtp",
        }
    }

    /// What is wrong with them; secrets are not looked at.
    pub fn faults(configs: &[Self]) -> Vec<String> {
        let mut faults = Vec::new();
        for (place, config) in configs.iter().enumerate() {
            let name = format!("alarm {}", config.name.clone().unwrap_or_else(|| format!("number {}", place + 1)));
            let given = [config.webhook.is_some(), config.command.is_some(), config.smtp.is_some()];
            if given.iter().filter(|is| **is).count() != 1 {
                faults.push(format!("{name}: give exactly one of webhook, command and smtp"));
            }
            if config.command.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty)) {
                faults.push(format!("{name}: command: name a program, then its arguments"));
            }
            if config.timeout_ms == 0 || config.repeat_ms == 0 {
                faults.push(format!("{name}: timeout_ms, repeat_ms: at least 1"));
            }
            if configs[..place].iter().any(|other| other.name() == config.name()) {
                faults.push(format!("{name}: another one is called {} too: give it a name of its own", config.name()));
            }
        }
        faults
    }

    fn takes(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A transaction that a person must decide. Its subject is the checker.
    InDoubt,
    /// A checker that gives no verdicts.
    CheckerBroken,
    /// A deployed plugin that cannot be used.
    PluginRefused,
    /// A plugin that gives one message two identities.
    PluginUndetermined,
    /// A message that can never be sent as it is. Its subject is the topic.
    Dead,
    /// A broker that does not have what it had acknowledged. Its subject is the stream.
    BrokerLost,
    /// A stream that holds what the database does not know. Its subject is the stream.
    DatabaseBehind,
    /// Something that keeps old row versions from being removed. Its subject is the session, prepared transaction or slot.
    SnapshotHeld,
    /// Messages that an endpoint was not told within its schedule. Its subject is the endpoint.
    GivenUp,
    /// An endpoint that is told nothing: it wants nothing any more, or cannot be told. Its subject is the endpoint.
    EndpointDisabled,
    /// Nothing: `avouch alarm test`.
    #[serde(skip_deserializing)]
    Test,
}

impl Kind {
    /// Those that loops raise.
    const ALL: [Self; 10] = [
        Self::InDoubt,
        Self::CheckerBroken,
        Self::PluginRefused,
        Self::PluginUndetermined,
        Self::Dead,
        Self::BrokerLost,
        Self::DatabaseBehind,
        Self::SnapshotHeld,
        Self::GivenUp,
        Self::EndpointDisabled,
    ];

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::InDoubt => "in_doubt",
            Self::CheckerBroken => "checker_broken",
            Self::PluginRefused => "plugin_refused",
            Self::PluginUndetermined => "plugin_undetermined",
            Self::Dead => "dead",
            Self::BrokerLost => "broker_lost",
            Self::DatabaseBehind => "database_behind",
            Self::SnapshotHeld => "snapshot_held",
            Self::GivenUp => "given_up",
            Self::EndpointDisabled => "endpoint_disabled",
            Self::Test => "test",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::InDoubt => "a transaction is in doubt: a person must decide it",
            Self::CheckerBroken => "a checker is broken: its transactions stay undecided until it is mended",
            Self::PluginRefused => "a deployed plugin cannot be used: the version before goes on",
            Self::PluginUndetermined => {
                "a plugin gives one message two identities: its consumers would do things twice"
            }
            Self::Dead => "a message is dead: it can never be sent as it is",
            Self::BrokerLost => "the broker has lost what it had acknowledged: what was not consumed is sent again",
            Self::DatabaseBehind => "the stream holds messages that this database does not know",
            Self::SnapshotHeld => "old row versions cannot be removed: tables grow and looks take longer until it ends",
            Self::GivenUp => "an outside party was not told within its schedule, and is not tried any more",
            Self::EndpointDisabled => "an outside party is told nothing any more: what comes for it waits",
            Self::Test => "a test: nothing happened",
        }
    }

    /// What to type, once the cause is known.
    fn remedy(self, source: &str, subject: &str, id: &str) -> String {
        let avouch = if source == "main" { "avouch".to_owned() } else { format!("avouch --source {source}") };
        match self {
            Self::InDoubt => format!("{avouch} tx commit {id}, or rollback or recheck; all: {avouch} tx list"),
            Self::CheckerBroken | Self::PluginRefused | Self::PluginUndetermined => {
                format!("{avouch} plugin rollback {subject}, or plugin deploy; what is deployed: {avouch} plugin list")
            }
            Self::Dead => format!("{avouch} resend {id}, or discard; all: {avouch} dead"),
            Self::BrokerLost => {
                format!("none for the messages, {avouch} status tells how far it is; look after the broker")
            }
            Self::DatabaseBehind => format!(
                "if the database was restored: its consumers have done what it does not know, compare; if others publish there: \
                 [stream.{subject}] shared = true"
            ),
            Self::SnapshotHeld => match subject.strip_prefix("session ") {
                Some(pid) => format!("end its transaction, or select pg_terminate_backend({pid})"),
                None => "end it: the cause says how".to_owned(),
            },
            Self::GivenUp => format!(
                "{avouch} endpoint ping {subject}, and once it answers {avouch} endpoint resend {subject} --since 1d; \
                 all: {avouch} endpoint deliveries {subject} --state given_up"
            ),
            Self::EndpointDisabled => {
                format!(
                    "mend the cause, or ask its owner; then {avouch} endpoint enable {subject}, or {avouch} endpoint remove {subject}"
                )
            }
            Self::Test => "none is needed".to_owned(),
        }
    }
}

/// What a loop has seen.
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// The checker, plugin or topic.
    pub subject: &'a str,
    /// The id of the transaction or message, the digest of the plugin; empty if there is none.
    pub id: String,
    /// What the producer calls its transaction.
    pub reference: Option<&'a str>,
    /// The trace of the message, for the log.
    pub trace_id: Option<String>,
    /// The cause.
    pub why: &'a str,
}

/// One alarm, as sinks get it. Equal ones have the same kind, source and subject.
#[derive(Clone, Debug, Serialize)]
pub struct Alarm {
    /// What happened.
    pub kind: Kind,
    /// The same in words.
    pub what: &'static str,
    /// The cause, of the last one.
    pub why: String,
    /// The database.
    pub source: String,
    /// The checker, plugin or topic.
    pub subject: String,
    /// An example: the last one's id.
    pub id: String,
    /// What the last one's producer calls its transaction.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// What to type.
    pub remedy: String,
    /// When the first of those that it stands for was seen.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// When the last one was.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// How many equal ones it stands for.
    pub count: u64,
    /// The process that saw it.
    pub instance: String,
}

impl Alarm {
    fn new(event: &Event<'_>, source: &str, instance: &str) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            kind: event.kind,
            what: event.kind.what(),
            why: event.why.to_owned(),
            subject: event.subject.to_owned(),
            id: event.id.clone(),
            reference: event.reference.map(str::to_owned),
            remedy: event.kind.remedy(source, event.subject, &event.id),
            since: now,
            at: now,
            count: 1,
            source: source.to_owned(),
            instance: instance.to_owned(),
        }
    }

    /// What `avouch alarm test` sends.
    pub fn test(instance: &str) -> Self {
        let event = Event {
            kind: Kind::Test,
            subject: "alarm",
            id: String::new(),
            reference: None,
            trace_id: None,
            why: "avouch alarm test",
        };
        Self::new(&event, "main", instance)
    }
}

/// Why an alarm did not arrive, by what its sink does next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Try again soon.
    #[error("{0}")]
    Retry(String),
    /// Trying again will not help.
    #[error("{0}")]
    Refused(String),
    /// The settings cannot be used.
    #[error("{0}")]
    Fatal(String),
}

/// Different alarms that a sink remembers; more are dropped, and counted.
const SUBJECTS_MAX: usize = 256;

/// Where loops raise alarms. Cheap to clone; raising never waits.
#[derive(Clone)]
pub struct Alarms {
    source: Arc<str>,
    instance: Arc<str>,
    ports: Arc<[Arc<Port>]>,
    scope: Option<Scope>,
}

/// Between the loops and a sink.
struct Port {
    config: Config,
    books: Mutex<Books>,
    rung: Notify,
}

impl Port {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the settings. Returns where to raise alarms, and the sinks to run.
pub fn sinks(configs: &[Config], instance: &str) -> Result<(Alarms, Vec<Sink>), Error> {
    let sinks: Vec<Sink> = configs.iter().map(Sink::new).collect::<Result<_, _>>()?;
    let ports = sinks.iter().map(Sink::port).collect();
    Ok((Alarms { source: "".into(), instance: instance.into(), ports, scope: None }, sinks))
}

impl Alarms {
    /// This message is dead.
    pub fn dead(&self, topic: &str, id: Uuid, trace_id: Option<String>, why: &str) {
        self.raise(&Event { kind: Kind::Dead, subject: topic, id: id.to_string(), reference: None, trace_id, why });
    }

    /// For the loops of this database.
    pub fn of(&self, scope: &Scope) -> Self {
        // A rate is known from the first one on only if there was none before.
        Kind::ALL.iter().for_each(|kind| count(scope, *kind, 0));
        Self { source: scope.source().into(), scope: Some(scope.clone()), ..self.clone() }
    }

    /// Logs it, and leaves it to every sink that takes its kind.
    pub fn raise(&self, event: &Event<'_>) {
        let alarm = Alarm::new(event, &self.source, &self.instance);
        let Alarm { kind, what, why, source, subject, id, reference, remedy, .. } = &alarm;
        if let Some(scope) = &self.scope {
            count(scope, *kind, 1);
        }
        let trace_id = event.trace_id.as_deref();
        tracing::error!(alarm = kind.name(), source, subject, id, reference, trace_id, why, remedy, "{what}");
        for port in self.ports.iter().filter(|port| port.config.takes(*kind)) {
            if port.books().take(alarm.clone(), Instant::now()) == Some(1) {
                tracing::warn!(
                    sink = port.config.name(),
                    "more different alarms than a sink remembers: some are only in this log"
                );
            }
            port.rung.notify_one();
        }
    }
}

fn count(scope: &Scope, kind: Kind, count: u64) {
    scope.counter("avouch_alarms_total", &[("kind", kind.name())]).increment(count);
}
