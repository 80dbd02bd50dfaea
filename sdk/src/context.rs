//! What a rule may do beside thinking: ask what was granted, read its settings, log, tell the time.

use std::fmt::Display;

pub use crate::bindings::avouch::rules::log::Level;
use crate::http::Http;
use crate::nats::Nats;
use crate::sql::Sql;

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::host::Host;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::mock::Host;

/// The host, as a rule is given it. A *binding* is the operator's name for a server or service; where that is and how
/// one signs in there, the plugin never learns. What was not granted answers [`RuleError::Denied`](crate::RuleError::Denied).
pub struct Context {
    host: Host,
}

impl Context {
    pub(crate) fn new(host: Host) -> Self {
        Self { host }
    }

    /// The database of `binding`: its declared statements, read-only.
    pub fn sql<'a>(&'a self, binding: &'a str) -> Sql<'a> {
        Sql::new(&self.host, binding)
    }

    /// The HTTP origin of `binding`.
    pub fn http<'a>(&'a self, binding: &'a str) -> Http<'a> {
        Http::new(&self.host, binding)
    }

    /// The subjects and the key-value bucket of `binding`.
    pub fn nats<'a>(&'a self, binding: &'a str) -> Nats<'a> {
        Nats::new(&self.host, binding)
    }

    /// A setting: the operator's value, or the manifest's default; `None` if neither is there.
    pub fn config(&self, key: &str) -> Option<String> {
        self.host.config_get(key)
    }

    /// Milliseconds since 1970-01-01 00:00 UTC, by the runtime's clock.
    pub fn now_ms(&self) -> u64 {
        self.host.clock_now_ms()
    }

    /// Logs what helps to find a fault in the rule.
    pub fn debug(&self, text: impl Display) {
        self.log(Level::Debug, text);
    }

    /// Logs what happened.
    pub fn info(&self, text: impl Display) {
        self.log(Level::Info, text);
    }

    /// Logs what is odd, though it was dealt with.
    pub fn warn(&self, text: impl Display) {
        self.log(Level::Warn, text);
    }

    /// Logs what a person must see to.
    pub fn error(&self, text: impl Display) {
        self.log(Level::Error, text);
    }

    fn log(&self, level: Level, text: impl Display) {
        self.host.log_write(level, &text.to_string());
    }
}
