//! The capability `nats`: requests on subjects, and reads of one bucket, that the operator named.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::{RequestError, RequestErrorKind};
use async_nats::jetstream::kv::Store;
use async_nats::{Client, Request};
use tokio::sync::{Mutex, OnceCell};

use super::Error;
use super::v1::RuleError;
use crate::broker;

/// `[binding.nats.NAME]`: subjects and a bucket that plugins may be granted.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Subjects that may be asked, with `*` and `>` as in NATS, but not as the first token.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// The bucket that may be read.
    pub bucket: Option<String>,
    /// Servers and login; default: those of `[nats]`.
    pub server: Option<broker::Config>,
}

/// One binding, connected at its first use.
pub struct Service {
    name: String,
    config: Config,
    server: broker::Config,
    connected: Mutex<Option<Arc<Connected>>>,
}

/// A connection, and the bucket as it was found.
struct Connected {
    client: Client,
    bucket: OnceCell<Store>,
}

/// NATS ends a connection, which is everybody's, over a line of more than 4096 bytes.
const SUBJECT_BYTES_MAX: usize = 1_000;

impl Service {
    /// Reads the settings; `server` is used unless the binding has its own.
    pub fn new(name: &str, config: &Config, server: &broker::Config) -> Result<Self, Error> {
        let wrong = |what: &str| Err(Error::Fatal(format!("binding.nats.{name}.{what}")));
        for subject in &config.subjects {
            let tokens: Vec<&str> = subject.split('.').collect();
            let is_whole = tokens.iter().enumerate().all(|(at, token)| match *token {
                ">" => at + 1 == tokens.len(),
                "*" => true,
                token => is_token(token),
            });
            if !is_whole {
                return wrong(&format!(
                    "subjects: {subject:?} is no subject: tokens with dots between them, > at the end"
                ));
            }
            if matches!(tokens[0], "*" | ">") || tokens[0].starts_with(['$', '_']) {
                return wrong(&format!(
                    "subjects: {subject} would reach what is not a service of yours: name its first token"
                ));
            }
        }
        let server = config.server.clone().unwrap_or_else(|| server.clone());
        Ok(Self { name: name.to_owned(), config: config.clone(), server, connected: Mutex::default() })
    }

    /// One request, one reply.
    pub async fn request(&self, subject: String, payload: Vec<u8>, left: Duration) -> Result<Vec<u8>, RuleError> {
        let is_plain = subject.split('.').all(|token| is_token(token) && token != "*" && token != ">");
        if !is_plain || !self.config.subjects.iter().any(|allowed| matches(allowed, &subject)) {
            return Err(RuleError::Denied(format!(
                "subject {subject:?} is not among binding.nats.{}.subjects",
                self.name
            )));
        }
        self.fits("subject", &subject)?;
        let work = async {
            let connected = self.connected().await?;
            // With an inbox of its own: the client's common one remembers each request that is never answered.
            let inbox = connected.client.new_inbox();
            let request = Request::new().payload(payload.into()).inbox(inbox).timeout(None);
            match connected.client.send_request(subject, request).await {
                Ok(reply) => Ok(reply.payload.to_vec()),
                Err(e) => Err(self.failed(&e, &connected).await),
            }
        };
        tokio::time::timeout(left, work).await.map_err(|_| self.late())?
    }

    /// The latest value of a key.
    pub async fn kv_get(&self, key: String, left: Duration) -> Result<Option<Vec<u8>>, RuleError> {
        let Some(name) = &self.config.bucket else {
            return Err(RuleError::Denied(format!("binding.nats.{} has no bucket", self.name)));
        };
        self.fits("key", &key)?;
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '/' | '_' | '=');
        if !key.split('.').all(|token| !token.is_empty() && token.chars().all(is_key)) {
            let why = format!("key {key:?}: tokens of letters, digits, -, /, _ and = with dots between them");
            return Err(RuleError::Permanent(format!("binding nats:{}: {why}", self.name)));
        }
        let work = async {
            let connected = self.connected().await?;
            let bucket = connected.bucket.get_or_try_init(async || {
                let jetstream = async_nats::jetstream::new(connected.client.clone());
                jetstream.get_key_value(name).await
            });
            let bucket = match bucket.await {
                Ok(bucket) => bucket,
                Err(e) => return Err(self.away(self.transient(&e), &connected).await),
            };
            match bucket.get(key).await {
                Ok(value) => Ok(value.map(|bytes| bytes.to_vec())),
                Err(e) => Err(self.away(self.transient(&e), &connected).await),
            }
        };
        tokio::time::timeout(left, work).await.map_err(|_| self.late())?
    }

    fn fits(&self, what: &str, text: &str) -> Result<(), RuleError> {
        if text.len() <= SUBJECT_BYTES_MAX {
            return Ok(());
        }
        let why = format!("a {what} of {} bytes: at most {SUBJECT_BYTES_MAX}", text.len());
        Err(RuleError::Permanent(format!("binding nats:{}: {why}", self.name)))
    }

    async fn connected(&self) -> Result<Arc<Connected>, RuleError> {
        let mut kept = self.connected.lock().await;
        if let Some(connected) = &*kept {
            return Ok(Arc::clone(connected));
        }
        let client = broker::plain(&self.server, "avouch plugin").await.map_err(|e| self.transient(&e))?;
        let connected = Arc::new(Connected { client, bucket: OnceCell::new() });
        Ok(Arc::clone(kept.insert(connected)))
    }

    async fn failed(&self, e: &RequestError, connected: &Arc<Connected>) -> RuleError {
        match e.kind() {
            RequestErrorKind::NoResponders => {
                RuleError::Transient(format!("binding nats:{}: nobody answers to this subject", self.name))
            }
            RequestErrorKind::TimedOut => self.late(),
            RequestErrorKind::MaxPayloadExceeded => {
                RuleError::Permanent(format!("binding nats:{}: more than the server's max_payload", self.name))
            }
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => self.away(self.transient(e), connected).await,
        }
    }

    /// A client whose task broke never comes back: the next call makes another one.
    async fn away(&self, error: RuleError, connected: &Arc<Connected>) -> RuleError {
        if connected.client.flush().await.is_err() {
            self.connected.lock().await.take_if(|kept| Arc::ptr_eq(kept, connected));
        }
        error
    }

    fn transient(&self, e: &dyn std::error::Error) -> RuleError {
        // The library's text may name servers, which the guest does not see.
        tracing::debug!(binding = self.name, error = %crate::store::full_text(e), "a NATS request of a plugin failed");
        RuleError::Transient(format!("binding nats:{} cannot be asked now", self.name))
    }

    fn late(&self) -> RuleError {
        RuleError::Transient(format!("binding nats:{} did not answer within the call's time", self.name))
    }
}

fn is_token(token: &str) -> bool {
    !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// NATS's own rule: `*` is one token, `>` is one or more at the end.
fn matches(allowed: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in allowed.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_match_by_tokens() {
        assert!(matches("stock.>", "stock.get.42") && matches("stock.*", "stock.get"));
        assert!(!matches("stock.>", "stock") && !matches("stock.*", "stock.get.42") && !matches("stock", "stocks"));
    }

    #[test]
    fn binding_names_the_first_token_of_what_it_allows() {
        let service = |subject: &str| {
            let config = Config { subjects: vec![subject.to_owned()], bucket: None, server: None };
            Service::new("test", &config, &broker::Config::default())
        };
        let subjects =
            [">", "*", "*.get", ">.get", "$JS.API.>", "$SYS.>", "_INBOX.>", "", "a..b", "a.>.b", "a b", "a\r\nPUB b"];
        for subject in subjects {
            assert!(service(subject).is_err(), "{subject:?}");
        }
        for subject in ["stock", "stock.>", "stock.*.get"] {
            assert!(service(subject).is_ok(), "{subject}");
        }
    }
}
