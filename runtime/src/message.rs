//! A message as the relay carries it, and what it looks like on the wire: subject, id and headers.

#[cfg(test)]
mod properties;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use async_nats::HeaderMap;
use async_nats::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// One outbox row that is ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Hash bucket of the key.
    pub shard: u16,
    /// Place in the order of its key.
    pub seq: i64,
    /// The row's UUIDv7: never reused.
    pub id: Uuid,
    /// How many times the message was deliberately sent again; 0 for the first time.
    pub generation: u32,
    /// When the row was inserted, by the database's clock.
    pub created_at: OffsetDateTime,
    /// Dot-separated tokens of `[A-Za-z0-9_-]`, as the constraint `topic_tokens` guarantees.
    pub topic: Box<str>,
    /// Messages of one key are sent one after another.
    pub key: Option<Box<str>>,
    /// The payload.
    pub payload: Payload,
    /// The row's own headers as a JSON object of strings.
    pub headers: Option<Box<str>>,
}

/// A payload, or how much of it is still in the database.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Its bytes, unchanged.
    Here(Bytes),
    /// It is large and was left behind.
    Behind {
        /// Its length.
        bytes: usize,
    },
}

/// The longest header block a row can have is 16 KiB (`headers_size`); names and values are checked by the schema too.
#[derive(Debug, thiserror::Error)]
#[error("header {name:?} cannot be sent: {why}")]
pub struct BadHeader {
    name: String,
    why: String,
}

/// What a percent-encoded key leaves readable: the unreserved characters of RFC 3986.
const KEY_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A key as headers hold it.
pub fn encoded_key(key: &str) -> String {
    utf8_percent_encode(key, KEY_ENCODED).to_string()
}

/// What outside parties are told a payload is: what its producer says, else what it looks like. It can stand in a header.
pub fn content_type<'a>(headers: &'a BTreeMap<String, String>, payload: &[u8]) -> &'a str {
    let is_visible = |value: &str| value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let said = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    match said {
        Some((_, said)) if is_visible(said) => said,
        _ if serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok() => "application/json",
        _ if std::str::from_utf8(payload).is_ok() => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

const NATS_MSG_ID: HeaderName = async_nats::header::NATS_MESSAGE_ID;
const AVOUCH_ID: HeaderName = HeaderName::from_static("Avouch-Id");
const AVOUCH_TOPIC: HeaderName = HeaderName::from_static("Avouch-Topic");
const AVOUCH_KEY: HeaderName = HeaderName::from_static("Avouch-Key");
const AVOUCH_GENERATION: HeaderName = HeaderName::from_static("Avouch-Generation");
const AVOUCH_DEAD_CONSUMER: HeaderName = HeaderName::from_static("Avouch-Dead-Consumer");
const AVOUCH_DEAD_REASON: HeaderName = HeaderName::from_static("Avouch-Dead-Reason");
const AVOUCH_CREATED_AT: HeaderName = HeaderName::from_static("Avouch-Created-At");

impl Message {
    /// What this message holds in memory, in bytes: its payload and headers, and a flat rate for the rest.
    pub fn weight(&self) -> usize {
        let payload = match &self.payload {
            Payload::Here(bytes) => bytes.len(),
            Payload::Behind { .. } => 0,
        };
        256 + payload + self.headers.as_ref().map_or(0, |h| h.len())
    }

    /// The broker's deduplication id: `<id>`, and `<id>:<generation>` from generation 1.
    pub fn msg_id(&self) -> String {
        let mut id = self.id.to_string();
        if self.generation > 0 {
            write!(id, ":{}", self.generation).expect("writing to a String cannot fail");
        }
        id
    }

    /// The row's own headers; none if they cannot be read.
    pub fn own_headers(&self) -> Vec<(String, String)> {
        let parsed = self.headers.as_deref().and_then(|json| serde_json::from_str::<BTreeMap<_, _>>(json).ok());
        parsed.into_iter().flatten().collect()
    }

    /// The headers of its dead letter: the message's, and for whom it is dead, and why.
    pub fn dead_headers(&self, consumer: &str, reason: &str) -> Result<HeaderMap, BadHeader> {
        let mut map = self.wire_headers()?;
        let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        map.insert(NATS_MSG_ID, trusted(&format!("dead:{}:{consumer}", self.msg_id())));
        map.insert(AVOUCH_DEAD_CONSUMER, trusted(consumer));
        map.insert(AVOUCH_DEAD_REASON, trusted(&reason));
        Ok(map)
    }

    /// The NATS headers: the row's own first, so that none of them can replace one of ours.
    pub fn wire_headers(&self) -> Result<HeaderMap, BadHeader> {
        let mut map = HeaderMap::new();
        if let Some(own) = &self.headers {
            add_own_headers(&mut map, own)?;
        }
        let id = self.id.to_string();
        if self.generation == 0 {
            map.insert(NATS_MSG_ID, trusted(&id));
        } else {
            map.insert(NATS_MSG_ID, trusted(&self.msg_id()));
        }
        map.insert(AVOUCH_ID, trusted(&id));
        map.insert(AVOUCH_TOPIC, trusted(&self.topic));
        if let Some(key) = &self.key {
            map.insert(AVOUCH_KEY, trusted(&encoded_key(key)));
        }
        map.insert(AVOUCH_GENERATION, HeaderValue::from(self.generation));
        let created = self.created_at.format(&Rfc3339).unwrap_or_default();
        map.insert(AVOUCH_CREATED_AT, trusted(&created));
        Ok(map)
    }
}

/// A header value of our own making, which holds no control character.
fn trusted(value: &str) -> HeaderValue {
    value.parse().expect("ids, topics, encoded keys and times hold no CR or LF")
}

fn add_own_headers(map: &mut HeaderMap, json: &str) -> Result<(), BadHeader> {
    let bad = |name: &str, why: String| BadHeader { name: name.to_owned(), why };
    let own: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|e| bad("(all)", e.to_string()))?;
    for (name, value) in own {
        let text = value.as_str().ok_or_else(|| bad(&name, "its value is not a string".into()))?;
        let wire_name: HeaderName = name.parse().map_err(|e| bad(&name, format!("{e}")))?;
        let wire_value: HeaderValue = text.parse().map_err(|e| bad(&name, format!("{e}")))?;
        map.insert(wire_name, wire_value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            shard: 0,
            seq: 1,
            id: Uuid::nil(),
            generation: 0,
            created_at: OffsetDateTime::UNIX_EPOCH,
            topic: "orders.created".into(),
            key: Some("ключ 42\r\n".into()),
            payload: Payload::Here(Bytes::from_static(b"{}")),
            headers: None,
        }
    }

    #[test]
    fn generation_zero_is_the_bare_id_and_later_ones_are_numbered() {
        let mut m = message();
        assert_eq!(m.msg_id(), Uuid::nil().to_string());
        m.generation = 2;
        assert_eq!(m.msg_id(), format!("{}:2", Uuid::nil()));
        let map = m.wire_headers().expect("no headers of its own");
        assert_eq!(map.get("Nats-Msg-Id").map(|v| v.as_str().to_owned()), Some(m.msg_id()));
    }

    #[test]
    fn key_of_any_bytes_is_percent_encoded() {
        let map = message().wire_headers().expect("no headers of its own");
        assert_eq!(map.get("Avouch-Key").map(|v| v.as_str()), Some("%D0%BA%D0%BB%D1%8E%D1%87%2042%0D%0A"));
    }

    #[test]
    fn own_headers_travel_and_cannot_replace_ours() {
        let mut m = message();
        m.headers = Some(r#"{"traceparent":"00-1","Nats-Msg-Id":"forged"}"#.into());
        let map = m.wire_headers().expect("valid");
        assert_eq!(map.get("traceparent").map(|v| v.as_str()), Some("00-1"));
        assert_eq!(map.get("Nats-Msg-Id").map(|v| v.as_str().to_owned()), Some(m.msg_id()));
    }

    #[test]
    fn header_with_a_line_break_is_an_error_not_a_panic() {
        let mut m = message();
        m.headers = Some(r#"{"a":"x\r\nb: y"}"#.into());
        assert!(m.wire_headers().is_err());
    }
}
