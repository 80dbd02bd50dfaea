//! Plugins: what they may do, and asking them. The only code that knows wasmtime. Answers are the plugin's word; faults
//! never decide anything.

mod calls;
mod engine;
mod exports;
pub mod http;
pub mod limits;
pub mod manifest;
pub mod nats;
mod notification;
mod plugin;
mod powers;
pub mod sql;
pub mod usage;
mod v1;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use self::calls::{Call, Check, Decide, Identify, Read, Shape};
pub use self::engine::{COMPILE_COMMAND, compile_stdin};
pub use self::notification::{RESPONSE_BODY_BYTES_MAX, RESPONSE_HEADERS_BYTES_MAX};
pub use self::plugin::{File, Grants, Plugin};
pub use self::powers::Powers;
pub use self::v1::{
    Decision, Delivery, Identity, Line, Message, NotificationResponse, Outcome, RuleError, Seen, SeenRecord,
    ShapedRequest, Status, Transaction, Verdict,
};
use crate::broker;
use crate::meters::Names;

/// `[binding]`: what operators name for plugins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bindings {
    /// Databases.
    pub sql: BTreeMap<String, sql::Config>,
    /// HTTP origins.
    pub http: BTreeMap<String, http::Config>,
    /// NATS subjects and buckets.
    pub nats: BTreeMap<String, nats::Config>,
}

/// What went wrong with a plugin, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may work later.
    #[error("{0}")]
    Retry(String),
    /// This file, or what it asks for, cannot be used: its author or the operator must act.
    #[error("{0}")]
    Refused(String),
    /// This process cannot use plugins as it is configured.
    #[error("{0}")]
    Fatal(String),
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No plugin of this name is deployed.
    #[error("no plugin of this name is deployed: avouch plugin deploy")]
    Missing,
    /// It trapped, ran into a limit, gave no answer in time, or asked for what it was not granted.
    #[error("{0}")]
    Broken(String),
    /// It says that trying again may help.
    #[error("{0}")]
    Transient(String),
    /// It says that trying again will not help.
    #[error("{0}")]
    Permanent(String),
}

impl Fault {
    /// Its kind, in one word.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Broken(_) => "broken",
            Self::Transient(_) => "transient",
            Self::Permanent(_) => "permanent",
        }
    }
}

/// What came of one call.
#[derive(Debug)]
pub struct Answer<T = Verdict> {
    /// The plugin's word, or why there is none.
    pub verdict: Result<T, Fault>,
    /// Which version was asked; none if there is none.
    pub digest: Option<Arc<str>>,
    /// What it logged.
    pub log: Vec<Line>,
    /// How long it took, without waiting for its turn.
    pub took: Duration,
}

impl Answer {
    /// What was said of a transaction, in one word.
    pub fn said(&self) -> &'static str {
        match &self.verdict {
            Ok(Verdict::Commit) => "commit",
            Ok(Verdict::Rollback(_)) => "rollback",
            Ok(Verdict::InProgress(_)) => "in_progress",
            Ok(Verdict::Unknown(_)) => "unknown",
            Err(fault) => fault.class(),
        }
    }
}

/// All plugins of this process, and the engine that they run in.
pub struct Rules {
    config: Arc<limits::Config>,
    host: engine::Host,
    powers: powers::Sources,
    plugins: RwLock<HashMap<String, Arc<Plugin>>>,
    calls: Semaphore,
    names: Names,
    usage: usage::Usage,
}

impl Rules {
    /// An engine without plugins, the first `labels_max` of which are told by name where they are counted. `avouch` is this program's
    /// file: compiling runs in a child of it.
    pub fn new(
        (config, labels_max): (&limits::Config, usize),
        bindings: &Bindings,
        server: &broker::Config,
        avouch: PathBuf,
    ) -> Result<Self, Error> {
        Ok(Self {
            host: engine::Host::new(config, avouch)?,
            powers: powers::Sources::new(bindings, server, &Names::new(labels_max, []))?,
            names: Names::new(labels_max, []),
            plugins: RwLock::default(),
            calls: Semaphore::new(config.calls_max),
            usage: usage::Usage::default(),
            config: Arc::new(config.clone()),
        })
    }

    /// Compiles and links a plugin, without using it yet. Grants beyond what it requests are ignored.
    pub async fn load(&self, file: &File, grants: &plugin::Grants) -> Result<Plugin, Error> {
        let powers = self.powers.grant(&file.manifest, grants)?;
        let component = self.host.compile(&file.bytes).await?;
        Plugin::new(&self.host.engine, &component, file, powers, (&self.config, &self.names))
    }

    /// Looks at the plugin's statements where they will run: each must be one query, and call nothing that has effects.
    pub async fn vet(&self, file: &File) -> Result<(), Error> {
        self.powers.vet(&file.manifest).await
    }

    /// From now on, calls go to this version; those that run go on with the one they began with.
    pub fn install(&self, plugin: Plugin) {
        let mut plugins = self.plugins.write().unwrap_or_else(PoisonError::into_inner);
        plugins.insert(plugin.name().to_owned(), Arc::new(plugin));
    }

    /// From now on, nobody answers to this name.
    pub fn remove(&self, name: &str) {
        self.plugins.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The version that answers to this name.
    pub fn plugin(&self, name: &str) -> Option<Arc<Plugin>> {
        self.plugins.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// What was called since somebody wrote it down.
    pub fn usage(&self) -> &usage::Usage {
        &self.usage
    }

    /// Asks the plugin that the transaction names.
    pub async fn check(&self, tx: &Transaction) -> Answer {
        match self.plugin(&tx.checker) {
            Some(plugin) => self.ask(&plugin, tx).await,
            None => unasked(Fault::Missing),
        }
    }

    /// Asks the plugin that the transaction names, or nobody if `off` comes before its turn.
    pub async fn check_unless(&self, tx: &Transaction, off: &CancellationToken) -> Option<Answer> {
        let Some(plugin) = self.plugin(&tx.checker) else {
            return Some(unasked(Fault::Missing));
        };
        let asked = Instant::now();
        let turn = off.run_until_cancelled(turn(plugin.room(), &self.calls)).await?;
        plugin.waited(asked.elapsed());
        Some(self.run_now(&plugin, &Check(tx), turn).await)
    }

    /// Asks this plugin.
    pub fn ask(&self, plugin: &Plugin, tx: &Transaction) -> impl Future<Output = Answer> + Send {
        self.run(plugin, Check(tx))
    }

    /// What makes this message the same piece of work as another, for this consumer.
    pub async fn identify(&self, plugin: &Plugin, consumer: &str, message: &Message) -> Answer<Identity> {
        self.run(plugin, Identify(consumer, message)).await
    }

    /// What this consumer does with the message, given what is recorded.
    pub async fn decide(&self, plugin: &Plugin, consumer: &str, message: &Message, seen: &Seen) -> Answer<Decision> {
        self.run(plugin, Decide(consumer, message, seen)).await
    }

    /// What is sent to an outside party. It is within the contract's bounds; where it leads, `ShapedRequest::url` tells.
    pub async fn shape(&self, plugin: &Plugin, delivery: &Delivery) -> Answer<ShapedRequest> {
        self.run(plugin, Shape(delivery)).await
    }

    /// What the outside party's answer means. The plugin is shown what the contract's bounds let through.
    pub async fn read(&self, plugin: &Plugin, delivery: &Delivery, response: &NotificationResponse) -> Answer<Outcome> {
        self.run(plugin, Read(delivery, &notification::shown(response))).await
    }

    async fn run<C: Call>(&self, plugin: &Plugin, call: C) -> Answer<C::Answer> {
        let asked = Instant::now();
        let turn = turn(plugin.room(), &self.calls).await;
        plugin.waited(asked.elapsed());
        self.run_now(plugin, &call, turn).await
    }

    async fn run_now<C: Call>(&self, plugin: &Plugin, call: &C, turn: Option<Turn<'_>>) -> Answer<C::Answer> {
        let Some(_turn) = turn else {
            return unasked(Fault::Transient("the runtime stops".into()));
        };
        let _ticking = self.host.ticking();
        let began = Instant::now();
        let (verdict, log) = plugin.run(call, &self.config, began).await;
        let took = began.elapsed();
        plugin.count(&verdict, took);
        self.usage.count(plugin.name(), plugin.digest(), &verdict, took);
        Answer { verdict, digest: Some(plugin.digest()), log, took }
    }
}

/// A call's place among those of its plugin, and one among all.
type Turn<'a> = [SemaphorePermit<'a>; 2];

/// Free places are taken without queueing.
async fn turn<'a>(own: &'a Semaphore, all: &'a Semaphore) -> Option<Turn<'a>> {
    let own = match own.try_acquire() {
        Ok(permit) => permit,
        Err(_) => own.acquire().await.ok()?,
    };
    let all = match all.try_acquire() {
        Ok(permit) => permit,
        Err(_) => all.acquire().await.ok()?,
    };
    Some([own, all])
}

fn unasked<T>(why: Fault) -> Answer<T> {
    Answer { verdict: Err(why), digest: None, log: Vec::new(), took: Duration::ZERO }
}
