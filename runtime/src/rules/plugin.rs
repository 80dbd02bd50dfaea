//! One version of a plugin: its file, and calls of it within the limits.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, UpdateDeadline};

use super::calls::Call;
use super::engine::hex;
use super::exports::Exports;
use super::limits::Config;
use super::manifest::{Grant, Manifest, SECTION};
use super::v1::{Line, RuleError, State, link};
use super::{Error, Fault, Powers};
use crate::meters::Names;

/// A plugin's file, looked at but not run.
#[derive(Clone, Debug)]
pub struct File {
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of the bytes, in hexadecimal.
    pub digest: String,
    /// The file as it was given: a core module with a component type, or a component.
    pub bytes: Arc<[u8]>,
}

/// What an operator allows one plugin.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// The bindings that it may use.
    pub bindings: BTreeSet<Grant>,
    /// Its settings, where they differ from the manifest's.
    pub settings: BTreeMap<String, String>,
}

/// A compiled and linked version.
pub struct Plugin {
    name: String,
    digest: Arc<str>,
    powers: Arc<Powers>,
    engine: Engine,
    pub(super) exports: Exports,
    room: Semaphore,
    meters: Meters,
}

/// What is counted of its calls.
struct Meters {
    answered: Counter,
    transient: Counter,
    permanent: Counter,
    broken: Counter,
    seconds: Histogram,
    computing: Histogram,
    wait: Histogram,
}

impl Meters {
    fn of(plugin: String) -> Self {
        let outcome = |outcome: &'static str| metrics::counter!("avouch_plugin_calls_total", "plugin" => plugin.clone(), "outcome" => outcome);
        let seconds = |name: &'static str| metrics::histogram!(name, "plugin" => plugin.clone());
        Self {
            answered: outcome("answered"),
            transient: outcome("transient"),
            permanent: outcome("permanent"),
            broken: outcome("broken"),
            seconds: seconds("avouch_plugin_call_seconds"),
            computing: seconds("avouch_plugin_computing_seconds"),
            wait: seconds("avouch_plugin_wait_seconds"),
        }
    }
}

/// One exported rule: how its instances are made, and those that were called before.
pub struct Rule<P, I> {
    pre: P,
    warm: Mutex<Vec<Warm<I>>>,
}

/// An instance that has been called before.
struct Warm<I> {
    store: Store<State>,
    instance: I,
    calls: u32,
}

/// What lifting one call's arguments may allocate in the host: a `string` that a guest made up is refused before it is copied.
const HOSTCALL_BYTES_FACTOR: usize = 4;

impl File {
    /// Looks at the bytes: their size, what they are, and the manifest in them.
    pub fn read(bytes: Vec<u8>, bytes_max: usize) -> Result<Self, Error> {
        let refused = |why: String| Error::Refused(why);
        if bytes.len() > bytes_max {
            return Err(refused(format!(
                "the file has {} bytes: at most rules.file_bytes_max = {bytes_max}",
                bytes.len()
            )));
        }
        if Engine::detect_precompiled(&bytes).is_some() {
            return Err(refused(
                "the file is native code, not WebAssembly: give the .wasm that the compiler made".into(),
            ));
        }
        let text = manifest_of(&bytes).map_err(refused)?;
        let manifest = Manifest::parse(&text).map_err(|e| refused(e.to_string()))?;
        Ok(Self { manifest, digest: hex(&Sha256::digest(&bytes)), bytes: bytes.into() })
    }
}

fn manifest_of(bytes: &[u8]) -> Result<String, String> {
    use wasmparser::{Parser, Payload};
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| format!("the file is no WebAssembly: {e}"))? {
            Payload::CustomSection(section) if section.name() == SECTION => {
                let text =
                    std::str::from_utf8(section.data()).map_err(|e| format!("the manifest is not UTF-8: {e}"))?;
                return Ok(text.to_owned());
            }
            _ => {}
        }
    }
    Err(format!(
        "the file has no section {SECTION}: write avouch_sdk::manifest!(\"plugin.toml\"), or avouch plugin embed"
    ))
}

impl<P, I> Rule<P, I> {
    pub fn of(pre: P) -> Self {
        Self { pre, warm: Mutex::default() }
    }
}

impl Plugin {
    /// Links a compiled file with what it was granted.
    pub fn new(
        engine: &Engine,
        component: &Component,
        file: &File,
        powers: Powers,
        (config, names): (&Config, &Names),
    ) -> Result<Self, Error> {
        let name = &file.manifest.name;
        let mut linker = Linker::new(engine);
        link(&mut linker, &powers)?;
        let pre = linker.instantiate_pre(component).map_err(|e| {
            let first = format!("{e:#}");
            Error::Refused(format!(
                "{name} imports what it does not request in its manifest, or what there is none of: {first}"
            ))
        })?;
        let exports = Exports::of(engine, component, &pre, name)?;
        Ok(Self {
            name: name.clone(),
            digest: file.digest.as_str().into(),
            powers: Arc::new(powers),
            engine: engine.clone(),
            exports,
            room: Semaphore::new(config.concurrency_max),
            meters: Meters::of(names.label(name)),
        })
    }

    /// What transactions call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which version it is.
    pub fn digest(&self) -> Arc<str> {
        Arc::clone(&self.digest)
    }

    /// True if transactions may name it as their checker.
    pub fn answers_for_transactions(&self) -> bool {
        self.exports.check_back.is_some()
    }

    /// True if consumers may name it.
    pub fn recognises_repeated_work(&self) -> bool {
        self.exports.idempotency.is_some()
    }

    /// True if it shapes what outside parties are sent, and reads their answers.
    pub fn tells_outside_parties(&self) -> bool {
        self.exports.notification.is_some()
    }

    /// Its calls at a time.
    pub fn room(&self) -> &Semaphore {
        &self.room
    }

    /// Counts how long a call waited for its turn.
    pub fn waited(&self, time: Duration) {
        self.meters.wait.record(time);
    }

    /// Counts a call.
    pub fn count<T>(&self, verdict: &Result<T, Fault>, took: Duration) {
        let meters = &self.meters;
        match verdict {
            Ok(_) => meters.answered.increment(1),
            Err(Fault::Transient(_)) => meters.transient.increment(1),
            Err(Fault::Permanent(_)) => meters.permanent.increment(1),
            Err(Fault::Broken(_) | Fault::Missing) => meters.broken.increment(1),
        }
        meters.seconds.record(took);
    }

    /// One call, within the limits. A store is used again only after an answer.
    pub async fn run<C: Call>(
        &self,
        call: &C,
        config: &Arc<Config>,
        now: Instant,
    ) -> (Result<C::Answer, Fault>, Vec<Line>) {
        let Some(rule) = C::rule(self) else {
            return (Err(Fault::Broken(format!("the plugin has no rule {}", C::RULE))), Vec::new());
        };
        let limit = Duration::from_millis(config.deadline_ms);
        let kept = rule.warm.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (mut store, kept) = match kept {
            Some(Warm { mut store, instance, calls }) => {
                store.data_mut().begin(now);
                (store, Some((instance, calls)))
            }
            None => (self.store(config, now), None),
        };
        store.set_epoch_deadline(1);
        let called = async {
            let (instance, calls) = match kept {
                Some(kept) => kept,
                None => (C::instantiate(&rule.pre, &mut store).await?, 0),
            };
            let answer = call.call(&mut store, &instance).await?;
            Ok::<_, wasmtime::Error>((answer, instance, calls + 1))
        };
        let called = {
            let mut called = pin!(called);
            let mut computing = Duration::ZERO;
            // While it is polled it computes; between two polls it waits.
            let mut timed = poll_fn(|cx| {
                let began = Instant::now();
                let polled = called.as_mut().poll(cx);
                computing += began.elapsed();
                polled
            });
            // Most calls never wait: a tick of computing ends the first poll, and only what waits needs a timer.
            let ended = match poll_fn(|cx| Poll::Ready(Pin::new(&mut timed).poll(cx))).await {
                Poll::Ready(called) => Ok(called),
                Poll::Pending => tokio::time::timeout_at((now + limit).into(), timed).await,
            };
            self.meters.computing.record(computing);
            ended
        };
        let log = std::mem::take(&mut store.data_mut().log);
        let answer = match called {
            Err(_) => Err(Fault::Broken(format!("no answer within rules.deadline_ms = {}", config.deadline_ms))),
            Ok(Err(e)) => Err(Fault::Broken(explain(&e))),
            Ok(Ok((answer, instance, calls))) => {
                if calls < config.reuse_calls_max {
                    rule.warm.lock().unwrap_or_else(PoisonError::into_inner).push(Warm { store, instance, calls });
                }
                let faulted = |e| match e {
                    RuleError::Transient(why) => Fault::Transient(bounded(why)),
                    RuleError::Permanent(why) => Fault::Permanent(bounded(why)),
                    RuleError::Denied(why) => Fault::Broken(bounded(format!("denied: {why}"))),
                };
                answer.map_err(faulted).and_then(|answer| C::accepted(answer, config))
            }
        };
        (answer, log)
    }

    fn store(&self, config: &Arc<Config>, now: Instant) -> Store<State> {
        let mut store = Store::new(&self.engine, State::new(Arc::clone(&self.powers), Arc::clone(config), now));
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(config.bytes_out_max.saturating_mul(HOSTCALL_BYTES_FACTOR));
        store.epoch_deadline_callback(|mut store| {
            store.data_mut().tick()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }
}

/// Reasons are kept in a column and shown to people.
const REASON_BYTES_MAX: usize = 1000;

pub fn bounded(mut text: String) -> String {
    if text.len() > REASON_BYTES_MAX {
        text.truncate((0..=REASON_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    // Postgres's text holds everything but NUL.
    text.replace('\0', " ")
}

/// The reason without the guest's stack.
fn explain(e: &wasmtime::Error) -> String {
    bounded(match e.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => e.root_cause().to_string(),
    })
}
