//! The capability `nats`: requests on subjects, and reads of one bucket, that the operator named.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::kv::Store;
use tokio::sync::OnceCell;

use super::Error;
use super::v1::RuleError;
use crate::broker;

/// `[binding.nats.NAME]`: subjects and a bucket that plugins may be granted.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Subjects that may be asked; the last tokens may be `*` and `>`.
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
    client: OnceCell<Client>,
    bucket: OnceCell<Store>,
}

impl Service {
    /// Reads the settings; `server` is used unless the binding has its own.
    pub fn new(name: &str, config: &Config, server: &broker::Config) -> Result<Self, Error> {
        for subject in &config.subjects {
            if subject.starts_with('$')
                || subject.starts_with('_')
                || subject.split('.').next() == Some("*")
                || subject == ">"
            {
                return Err(Error::Fatal(format!(
                    "binding.nats.{name}.subjects: {subject} would reach what is not a service of yours: name its first token"
                )));
            }
        }
        let server = config.server.clone().unwrap_or_else(|| server.clone());
        Ok(Self {
            name: name.to_owned(),
            config: config.clone(),
            server,
            client: OnceCell::new(),
            bucket: OnceCell::new(),
        })
    }

    /// One request, one reply.
    pub async fn request(&self, subject: String, payload: Vec<u8>, left: Duration) -> Result<Vec<u8>, RuleError> {
        let is_plain = !subject.is_empty()
            && subject.split('.').all(|t| {
                !t.is_empty() && t != "*" && t != ">" && !t.contains(|c: char| c.is_whitespace() || c.is_control())
            });
        if !is_plain || !self.config.subjects.iter().any(|allowed| matches(allowed, &subject)) {
            return Err(RuleError::Denied(format!(
                "subject {subject:?} is not among binding.nats.{}.subjects",
                self.name
            )));
        }
        let work = async {
            let reply = self.client().await?.request(subject, payload.into()).await.map_err(|e| self.away(&e))?;
            Ok(reply.payload.to_vec())
        };
        tokio::time::timeout(left, work).await.map_err(|_| self.late())?
    }

    /// The latest value of a key.
    pub async fn kv_get(&self, key: String, left: Duration) -> Result<Option<Vec<u8>>, RuleError> {
        let Some(name) = &self.config.bucket else {
            return Err(RuleError::Denied(format!("binding.nats.{} has no bucket", self.name)));
        };
        let work = async {
            let bucket = self.bucket.get_or_try_init(async || {
                let jetstream = async_nats::jetstream::new(self.client().await?.clone());
                jetstream.get_key_value(name).await.map_err(|e| self.away(&e))
            });
            let value = bucket.await?.get(key).await.map_err(|e| self.away(&e))?;
            Ok(value.map(|bytes| bytes.to_vec()))
        };
        tokio::time::timeout(left, work).await.map_err(|_| self.late())?
    }

    async fn client(&self) -> Result<&Client, RuleError> {
        self.client
            .get_or_try_init(async || broker::plain(&self.server, "avouch plugin").await.map_err(|e| self.away(&e)))
            .await
    }

    fn away(&self, e: &dyn std::error::Error) -> RuleError {
        RuleError::Transient(format!("binding nats:{}: {e}", self.name))
    }

    fn late(&self) -> RuleError {
        RuleError::Transient(format!("binding nats:{} did not answer within the call's time", self.name))
    }
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
}
