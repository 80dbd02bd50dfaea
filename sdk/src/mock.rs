//! A host for tests, and what a host would ask about. Only on native targets.
//!
//! What a [`Host`] was not given answers [`RuleError::Denied`], as the real one does for what was not granted. It has none
//! of the real one's limits of time, rows and bytes, and does not read the manifest.

mod asked;
mod told;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use serde_json::Value;

pub use self::asked::{
    MessageBuilder, TransactionBuilder, message, response, seen, seen_before, transaction,
    transaction_without_reference,
};
pub use self::told::{AnswerBuilder, DeliveryBuilder, answered, delivery};
use crate::{Context, Level, Request, Response, RuleError};

type Query = dyn Fn(&[Option<String>]) -> Result<Vec<Value>, RuleError>;
type Exchange = dyn Fn(&Request) -> Result<Response, RuleError>;
type Reply = dyn Fn(&str, &[u8]) -> Result<Vec<u8>, RuleError>;

/// 2026-01-01 00:00 UTC: what the clock shows unless [`Host::now_ms`] says otherwise.
const NOW_MS: u64 = 1_767_225_600_000;

/// A host that answers as a test wants it to.
///
/// ```
/// use avouch_sdk::mock::{self, Host};
/// use avouch_sdk::{Level, RuleError};
/// use serde_json::json;
///
/// let host = Host::new()
///     .sql("orders", "order_status", |params| match params {
///         [Some(id)] if id == "7" => Ok(vec![json!({"status": "placed"})]),
///         _ => Ok(vec![]),
///     })
///     .http("payments", |request| match request.path.as_str() {
///         "/payments/7" => Ok(mock::response(200, json!({"status": "settled"}))),
///         _ => Err(RuleError::transient("no connection")),
///     })
///     .nats("stock", |_subject, payload| Ok(payload.to_vec()))
///     .kv("stock", "apples", "3")
///     .config("region", "eu");
///
/// let cx = host.context();
/// assert!(cx.sql("orders").row("order_status", &[&7])?.is_some());
/// assert!(cx.http("payments").get("/payments/7")?.is_success());
/// assert_eq!(cx.nats("stock").request("stock.echo", b"hi")?, b"hi");
/// assert_eq!(cx.nats("stock").kv_get("apples")?.as_deref(), Some(b"3".as_slice()));
/// assert_eq!(cx.config("region").as_deref(), Some("eu"));
/// assert!(matches!(cx.sql("other").rows("any", &[]), Err(RuleError::Denied(_))));
///
/// cx.info("seven is placed");
/// assert_eq!(host.logs()[0].level, Level::Info);
/// assert_eq!(host.logs()[0].text, "seven is placed");
/// # Ok::<(), RuleError>(())
/// ```
#[derive(Clone)]
pub struct Host {
    queries: HashMap<(String, String), Rc<Query>>,
    origins: HashMap<String, Rc<Exchange>>,
    services: HashMap<String, Rc<Reply>>,
    buckets: HashMap<String, HashMap<String, Vec<u8>>>,
    settings: HashMap<String, String>,
    now_ms: u64,
    logs: Rc<RefCell<Vec<LogLine>>>,
}

/// A line that a rule logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

impl Host {
    /// A host that grants nothing.
    pub fn new() -> Self {
        Self {
            queries: HashMap::new(),
            origins: HashMap::new(),
            services: HashMap::new(),
            buckets: HashMap::new(),
            settings: HashMap::new(),
            now_ms: NOW_MS,
            logs: Rc::default(),
        }
    }

    /// Grants a statement: `query` is given its parameters and returns its rows, each a JSON object by column name.
    pub fn sql(
        mut self,
        binding: &str,
        statement: &str,
        query: impl Fn(&[Option<String>]) -> Result<Vec<Value>, RuleError> + 'static,
    ) -> Self {
        self.queries.insert((binding.to_owned(), statement.to_owned()), Rc::new(query));
        self
    }

    /// Grants an HTTP origin.
    pub fn http(mut self, binding: &str, send: impl Fn(&Request) -> Result<Response, RuleError> + 'static) -> Self {
        self.origins.insert(binding.to_owned(), Rc::new(send));
        self
    }

    /// Grants requests to services: `reply` is given the subject and the payload.
    pub fn nats(mut self, binding: &str, reply: impl Fn(&str, &[u8]) -> Result<Vec<u8>, RuleError> + 'static) -> Self {
        self.services.insert(binding.to_owned(), Rc::new(reply));
        self
    }

    /// Grants a key-value bucket, and puts a value into it.
    pub fn kv(mut self, binding: &str, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.buckets.entry(binding.to_owned()).or_default().insert(key.to_owned(), value.into());
        self
    }

    /// Gives a setting.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets the clock: milliseconds since 1970-01-01 00:00 UTC. It stands still.
    pub fn now_ms(mut self, now_ms: u64) -> Self {
        self.now_ms = now_ms;
        self
    }

    /// What the rule under test is given.
    pub fn context(&self) -> Context {
        Context::new(self.clone())
    }

    /// What has been logged by every context of this host, oldest first.
    pub fn logs(&self) -> Vec<LogLine> {
        self.logs.borrow().clone()
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("queries", &self.queries.keys())
            .field("origins", &self.origins.keys())
            .field("services", &self.services.keys())
            .field("buckets", &self.buckets.keys())
            .field("settings", &self.settings)
            .field("now_ms", &self.now_ms)
            .finish_non_exhaustive()
    }
}

/// What the real host imports into a guest, with the same signatures.
impl Host {
    pub(crate) fn sql_query(
        &self,
        binding: &str,
        statement: &str,
        params: &[Option<String>],
    ) -> Result<Vec<String>, RuleError> {
        let query = self
            .queries
            .get(&(binding.to_owned(), statement.to_owned()))
            .ok_or_else(|| denied(&format!("statement {statement} of sql.{binding}")))?;
        Ok(query(params)?.iter().map(Value::to_string).collect())
    }

    pub(crate) fn http_send(&self, binding: &str, request: &Request) -> Result<Response, RuleError> {
        let send = self.origins.get(binding).ok_or_else(|| denied(&format!("http.{binding}")))?;
        send(request)
    }

    pub(crate) fn nats_request(&self, binding: &str, subject: &str, payload: &[u8]) -> Result<Vec<u8>, RuleError> {
        let reply = self.services.get(binding).ok_or_else(|| denied(&format!("{subject} of nats.{binding}")))?;
        reply(subject, payload)
    }

    pub(crate) fn nats_kv_get(&self, binding: &str, key: &str) -> Result<Option<Vec<u8>>, RuleError> {
        let bucket = self.buckets.get(binding).ok_or_else(|| denied(&format!("the bucket of nats.{binding}")))?;
        Ok(bucket.get(key).cloned())
    }

    pub(crate) fn config_get(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }

    pub(crate) fn log_write(&self, level: Level, text: &str) {
        self.logs.borrow_mut().push(LogLine { level, text: text.to_owned() });
    }

    pub(crate) fn clock_now_ms(&self) -> u64 {
        self.now_ms
    }
}

fn denied(what: &str) -> RuleError {
    RuleError::Denied(format!("{what} is not granted: give it to mock::Host"))
}
