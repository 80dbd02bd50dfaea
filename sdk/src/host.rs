//! The host as the guest reaches it: the imports of the contract. Only on wasm32.

use std::panic;
use std::sync::Once;

use crate::bindings::avouch::rules::{clock, config, http, log, nats, sql};
use crate::{Context, Level, Request, Response, RuleError};

/// Stands for the runtime that this guest runs in.
pub(crate) struct Host;

impl Host {
    pub(crate) fn sql_query(
        &self,
        binding: &str,
        statement: &str,
        params: &[Option<String>],
    ) -> Result<Vec<String>, RuleError> {
        sql::query(binding, statement, params)
    }

    pub(crate) fn http_send(&self, binding: &str, request: &Request) -> Result<Response, RuleError> {
        http::send(binding, request)
    }

    pub(crate) fn nats_request(&self, binding: &str, subject: &str, payload: &[u8]) -> Result<Vec<u8>, RuleError> {
        nats::request(binding, subject, payload)
    }

    pub(crate) fn nats_kv_get(&self, binding: &str, key: &str) -> Result<Option<Vec<u8>>, RuleError> {
        nats::kv_get(binding, key)
    }

    pub(crate) fn config_get(&self, key: &str) -> Option<String> {
        config::get(key)
    }

    pub(crate) fn log_write(&self, level: Level, text: &str) {
        log::write(level, text);
    }

    pub(crate) fn clock_now_ms(&self) -> u64 {
        clock::now_ms()
    }
}

/// The first thing that every exported function does: from here on a panic tells the host's log why, before it traps.
pub fn enter() -> Context {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| panic::set_hook(Box::new(|panic| log::write(Level::Error, &panic.to_string()))));
    Context::new(Host)
}
