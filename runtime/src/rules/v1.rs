//! `avouch:rules@1`: the contract as Rust types, and what a plugin's imports do.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::StoreLimits;
use wasmtime::component::Linker;

use super::limits::{Config, Meter, store_limits};
use super::manifest::Kind;
use super::{Error, Powers};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../sdk/wit",
        world: "check-back-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

/// The other worlds, with the types and the imports of the first.
mod idempotency_bindings {
    wasmtime::component::bindgen!({
        path: "../sdk/wit",
        world: "idempotency-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "avouch:rules/types": super::bindings::avouch::rules::types,
            "avouch:rules/sql": super::bindings::avouch::rules::sql,
            "avouch:rules/http": super::bindings::avouch::rules::http,
            "avouch:rules/nats": super::bindings::avouch::rules::nats,
            "avouch:rules/config": super::bindings::avouch::rules::config,
            "avouch:rules/log": super::bindings::avouch::rules::log,
            "avouch:rules/clock": super::bindings::avouch::rules::clock,
        },
    });
}

mod notification_bindings {
    wasmtime::component::bindgen!({
        path: "../sdk/wit",
        world: "notification-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "avouch:rules/types": super::bindings::avouch::rules::types,
            "avouch:rules/sql": super::bindings::avouch::rules::sql,
            "avouch:rules/http": super::bindings::avouch::rules::http,
            "avouch:rules/nats": super::bindings::avouch::rules::nats,
            "avouch:rules/config": super::bindings::avouch::rules::config,
            "avouch:rules/log": super::bindings::avouch::rules::log,
            "avouch:rules/clock": super::bindings::avouch::rules::clock,
        },
    });
}

pub use self::bindings::avouch::rules::types::{
    Decision, Identity, Message, RuleError, Seen, SeenRecord, Status, Transaction, Verdict,
};
use self::bindings::avouch::rules::{clock, config, http, log, nats, sql, types};
pub use self::bindings::{CheckBackPlugin, CheckBackPluginPre};
pub use self::idempotency_bindings::{IdempotencyPlugin, IdempotencyPluginPre};
pub use self::notification_bindings::exports::avouch::rules::notification::{
    Delivery, Outcome, Response as NotificationResponse, ShapedRequest,
};
pub use self::notification_bindings::{NotificationPlugin, NotificationPluginPre};

/// What a store knows of the plugin and of the call that it runs.
pub struct State {
    pub powers: Arc<Powers>,
    pub limits: StoreLimits,
    pub meter: Meter,
    pub log: Vec<Line>,
    log_bytes: usize,
    settings: Arc<Config>,
}

/// One line of a plugin's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: tracing::Level,
    /// What it says, without control characters.
    pub text: String,
}

impl State {
    pub fn new(powers: Arc<Powers>, settings: Arc<Config>, now: Instant) -> Self {
        let (limits, meter) = (store_limits(&settings), Meter::new(&settings, now));
        Self { powers, limits, meter, log: Vec::new(), log_bytes: 0, settings }
    }

    /// The next call begins.
    pub fn begin(&mut self, now: Instant) {
        self.meter = Meter::new(&self.settings, now);
        self.log.clear();
        self.log_bytes = 0;
    }

    /// One tick of computing.
    pub fn tick(&mut self) -> wasmtime::Result<()> {
        Ok(self.meter.tick(&self.settings)?)
    }

    fn import(&mut self, bytes: usize) -> wasmtime::Result<()> {
        Ok(self.meter.import(&self.settings, bytes)?)
    }

    fn granted<T>(&mut self, result: Result<T, RuleError>, size: impl Fn(&T) -> usize) -> Result<T, RuleError> {
        let value = result?;
        match self.meter.answer(&self.settings, size(&value)) {
            Ok(()) => Ok(value),
            Err(e) => Err(RuleError::Permanent(e.to_string())),
        }
    }

    fn left(&self) -> Duration {
        self.meter.left(Instant::now())
    }
}

/// Links what was granted, and what needs no grant. The rest is missing: such a plugin cannot be made.
pub fn link(linker: &mut Linker<State>, powers: &Powers) -> Result<(), Error> {
    type Data = wasmtime::component::HasSelf<State>;
    let fatal = |e: wasmtime::Error| Error::Fatal(format!("linking a plugin: {e:#}"));
    types::add_to_linker::<_, Data>(linker, |s| s).map_err(fatal)?;
    config::add_to_linker::<_, Data>(linker, |s| s).map_err(fatal)?;
    log::add_to_linker::<_, Data>(linker, |s| s).map_err(fatal)?;
    clock::add_to_linker::<_, Data>(linker, |s| s).map_err(fatal)?;
    if powers.has(Kind::Sql) {
        sql::add_to_linker::<_, Data>(linker, |s| s).map_err(fatal)?;
    }
    if powers.has(Kind::Http) {
        http::add_to_linker::<_, Data>(linker, |s| s).map_err(fatal)?;
    }
    if powers.has(Kind::Nats) {
        nats::add_to_linker::<_, Data>(linker, |s| s).map_err(fatal)?;
    }
    Ok(())
}

impl types::Host for State {}

impl sql::Host for State {
    async fn query(
        &mut self,
        binding: String,
        statement: String,
        params: Vec<Option<String>>,
    ) -> wasmtime::Result<Result<Vec<String>, RuleError>> {
        self.import(statement.len() + params.iter().flatten().map(String::len).sum::<usize>())?;
        let powers = Arc::clone(&self.powers);
        let rows = powers.query(&binding, &statement, &params, &self.settings, self.left()).await;
        Ok(self.granted(rows, |rows| rows.iter().map(String::len).sum()))
    }
}

impl http::Host for State {
    async fn send(
        &mut self,
        binding: String,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, RuleError>> {
        self.import(request.method.len() + request.path.len() + bytes(&request.headers) + request.body.len())?;
        let powers = Arc::clone(&self.powers);
        let http::Request { method, path, headers, body } = request;
        let request = super::http::Request { method, path, headers, body };
        let response = powers.send(&binding, request, self.settings.bytes_in_max, self.left()).await;
        let response = self.granted(response, |r| bytes(&r.headers) + r.body.len());
        Ok(response.map(|r| http::Response { status: r.status, headers: r.headers, body: r.body }))
    }
}

fn bytes(headers: &[(String, String)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

impl nats::Host for State {
    async fn request(
        &mut self,
        binding: String,
        subject: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, RuleError>> {
        self.import(subject.len() + payload.len())?;
        let powers = Arc::clone(&self.powers);
        let reply = powers.request(&binding, subject, payload, self.left()).await;
        Ok(self.granted(reply, Vec::len))
    }

    async fn kv_get(&mut self, binding: String, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, RuleError>> {
        self.import(key.len())?;
        let powers = Arc::clone(&self.powers);
        let value = powers.kv_get(&binding, key, self.left()).await;
        Ok(self.granted(value, |v| v.as_ref().map_or(0, Vec::len)))
    }
}

impl config::Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.import(key.len())?;
        Ok(self.powers.setting(&key).map(str::to_owned))
    }
}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        self.import(0)?;
        let level = match level {
            log::Level::Debug => tracing::Level::DEBUG,
            log::Level::Info => tracing::Level::INFO,
            log::Level::Warn => tracing::Level::WARN,
            log::Level::Error => tracing::Level::ERROR,
        };
        if self.log_bytes >= self.settings.log_bytes_max {
            return Ok(());
        }
        let room = self.settings.log_bytes_max - self.log_bytes;
        let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.log_bytes = self.log_bytes.saturating_add(text.len());
        if text.len() > room {
            text.truncate((0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
            text.push_str(" … (rules.log_bytes_max is reached)");
        }
        self.log.push(Line { level, text });
        Ok(())
    }
}

impl clock::Host for State {
    async fn now_ms(&mut self) -> wasmtime::Result<u64> {
        self.import(0)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
