//! A plugin's word on a try: what is sent, and what the answer means. Its faults decide nothing, and use up no try.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::attempt::Job;
use super::schedule::Outcome;
use crate::outside::Answer;
use crate::rules::{self, Delivery, Fault, NotificationResponse, Plugin, Rules};
use crate::store::LogLine;
use crate::store::notify::Notice;

/// Lines of one call that are kept.
const LINES_MAX: usize = 20;

/// Who is asked, about which try.
pub struct Shaper<'a> {
    rules: &'a Rules,
    plugin: Arc<Plugin>,
    delivery: Delivery,
    endpoint_url: &'a Url,
    /// What it logged.
    pub lines: Vec<LogLine>,
}

/// What is sent.
pub struct Shaped {
    /// Where to: the endpoint's URL, or below it.
    pub url: Url,
    /// Names and values.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl<'a> Shaper<'a> {
    /// Asks the plugin of this name; without one, says so.
    pub fn new(
        rules: &'a Rules,
        name: &str,
        (job, endpoint_url): (&Job, &'a Url),
        payload_bytes_max: usize,
    ) -> Result<Self, Outcome> {
        let plugin = rules.plugin(name).ok_or_else(|| outcome_of(name, &Fault::Missing))?;
        let delivery = Delivery {
            endpoint: job.party.endpoint.name.clone(),
            tenant: job.party.endpoint.tenant.clone(),
            attempt: u32::try_from(job.due.attempts).unwrap_or(0),
            message: message(&job.notice, payload_bytes_max),
        };
        Ok(Self { rules, plugin, delivery, endpoint_url, lines: Vec::new() })
    }

    /// The digest of its version.
    pub fn digest(&self) -> String {
        self.plugin.digest().to_string()
    }

    /// What is sent.
    pub async fn shape(&mut self) -> Result<Shaped, Outcome> {
        let answer = self.rules.shape(&self.plugin, &self.delivery).await;
        self.keep(&answer.log);
        let broken = |why: &str| Err(self.fault(&Fault::Broken(why.to_owned())));
        let shaped = match answer.verdict {
            Ok(shaped) => shaped,
            Err(fault) => return Err(self.fault(&fault)),
        };
        let Some(Ok(url)) = shaped.url(self.endpoint_url.as_str()).map(|url| url.parse()) else {
            return broken("its path leads elsewhere");
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &shaped.headers {
            match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                (Ok(name), Ok(value)) => drop(headers.append(name, value)),
                _ => return broken("a header that cannot be sent"),
            }
        }
        Ok(Shaped { url, headers, body: shaped.body.into() })
    }

    /// What the answer means.
    pub async fn read(&mut self, answer: &Answer) -> Outcome {
        let Answer { status, headers, body, is_cut } = answer.clone();
        let response = NotificationResponse { status, headers, body, body_is_cut: is_cut };
        let answer = self.rules.read(&self.plugin, &self.delivery, &response).await;
        self.keep(&answer.log);
        match answer.verdict {
            Ok(rules::Outcome::Delivered) => Outcome::Delivered,
            Ok(rules::Outcome::Retry(after_ms)) => {
                let after = after_ms.map(|ms| Duration::from_millis(ms.into()));
                Outcome::Retry(format!("it answers {status}, and its plugin says: not yet"), after)
            }
            Ok(rules::Outcome::GiveUp(why)) => Outcome::GivenUp(format!("its plugin says never: {why}")),
            Err(fault) => self.fault(&fault),
        }
    }

    fn fault(&self, fault: &Fault) -> Outcome {
        outcome_of(self.plugin.name(), fault)
    }

    fn keep(&mut self, log: &[rules::Line]) {
        for line in log.iter().take(LINES_MAX) {
            self.lines.push(LogLine {
                plugin: self.plugin.name().to_owned(),
                digest: Some(self.plugin.digest()),
                tx_id: None,
                level: level(line.level),
                line: line.text.clone(),
            });
        }
    }
}

fn outcome_of(plugin: &str, fault: &Fault) -> Outcome {
    match fault {
        Fault::Permanent(why) => Outcome::GivenUp(format!("its plugin {plugin} cannot tell it: {why}")),
        Fault::Missing | Fault::Broken(_) | Fault::Transient(_) => {
            Outcome::Postponed(format!("its plugin {plugin} gives no answer: {fault}"))
        }
    }
}

fn level(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG | tracing::Level::TRACE => "debug",
    }
}

fn message(notice: &Notice, payload_bytes_max: usize) -> rules::Message {
    let payload = &notice.payload;
    let created_ms = notice.created_at.unix_timestamp_nanos() / 1_000_000;
    rules::Message {
        id: notice.id.to_string(),
        topic: notice.topic.clone(),
        key: notice.key.clone(),
        payload_bytes: u64::try_from(payload.len()).unwrap_or(u64::MAX),
        payload: if payload.len() <= payload_bytes_max { payload.to_vec() } else { Vec::new() },
        headers: notice.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        created_at_ms: u64::try_from(created_ms).unwrap_or(0),
        generation: 0,
    }
}
