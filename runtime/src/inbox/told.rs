//! What consumers are told, as JSON.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::idempotency::{Begun, Decision, Finished};

/// The answer to a question; a key that cannot be told is left out.
pub struct Told {
    /// What makes two messages the same.
    pub key: Option<String>,
    /// What is told about it.
    pub begun: Begun,
}

/// Also of what holders of tokens said.
#[derive(Serialize)]
struct Answer<'a> {
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Outcome<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// What came over NATS is JSON; what was written with SQL may be any text.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Outcome<'a> {
    fn of(text: &'a str) -> Self {
        serde_json::from_str(text).map_or(Self::Text(text), Self::Json)
    }
}

const STALE: &str = "the token is stale: another attempt has begun, or the record has ended";

impl Answer<'_> {
    fn of(decision: &'static str) -> Self {
        Self {
            decision,
            key: None,
            token: None,
            attempt: None,
            lease_ms: None,
            retry_after_ms: None,
            result: None,
            reason: None,
        }
    }
}

impl Told {
    /// About this key.
    pub fn of(key: String, begun: Begun) -> Self {
        Self { key: Some(key), begun }
    }

    /// Why it can neither be run nor is done, and when to ask again.
    pub fn busy(retry_after_ms: u32, reason: impl Into<String>) -> Self {
        let (retry_after_ms, reason) = (Some(retry_after_ms.into()), Some(reason.into()));
        Self { key: None, begun: Begun { retry_after_ms, reason, ..Begun::of(Decision::Busy) } }
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let begun = &self.begun;
        let answer = Answer {
            key: self.key.as_deref(),
            token: begun.token,
            attempt: begun.attempt,
            lease_ms: begun.lease_ms,
            retry_after_ms: begun.retry_after_ms,
            result: begun.result.as_deref().map(Outcome::of),
            reason: begun.reason.as_deref(),
            ..Answer::of(begun.decision.name())
        };
        answer.serialize(serializer)
    }
}

impl Serialize for Finished {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answer = match *self {
            Self::Done => Answer::of("done"),
            Self::Running { lease_ms } => Answer { lease_ms: Some(lease_ms), ..Answer::of("run") },
            Self::Waiting { retry_after_ms } => Answer { retry_after_ms: Some(retry_after_ms), ..Answer::of("busy") },
            Self::Rejected => Answer::of("reject"),
            Self::Fenced => Answer { reason: Some(STALE), ..Answer::of("fenced") },
        };
        answer.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_told_as_it_was_given() {
        let told = |result: &str| {
            let begun = Begun { result: Some(result.into()), ..Begun::of(Decision::Done) };
            serde_json::to_string(&Told::of("k".into(), begun)).expect("it is JSON")
        };
        assert_eq!(told(r#"{"a": [1.50]}"#), r#"{"decision":"done","key":"k","result":{"a": [1.50]}}"#);
        assert_eq!(told("not JSON"), r#"{"decision":"done","key":"k","result":"not JSON"}"#);
        let busy = serde_json::to_string(&Told::busy(5, "later")).expect("it is JSON");
        assert_eq!(busy, r#"{"decision":"busy","retry_after_ms":5,"reason":"later"}"#);
    }
}
