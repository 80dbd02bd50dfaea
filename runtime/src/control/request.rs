//! What a request must look like, and what it means. Pure.

use data_encoding::BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::answer::Fault;
use crate::store::control::{NewMessage, NewTx};

/// An id and a reason fit many times.
pub const BYTES_MAX: usize = 64 << 10;
/// The default `max_payload` of a server, so that a raised one does not raise what one statement inserts.
pub const PREPARE_BYTES_MAX: usize = 1 << 20;
/// Messages of one request.
pub const MESSAGES_MAX: usize = 256;

/// Reads a body of at most so many bytes.
pub fn parse<T: DeserializeOwned>(body: &[u8], bytes_max: usize) -> Result<T, Fault> {
    if body.len() > bytes_max {
        return Err(Fault::invalid(format!("a request of {} bytes: at most {bytes_max}", body.len())));
    }
    serde_json::from_slice(body)
        .map_err(|e| Fault::invalid(format!("the request is no JSON object of this endpoint: {e}")))
}

/// `tx.prepare`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepare {
    id: Option<Uuid>,
    checker: String,
    check_after_ms: u64,
    #[serde(rename = "ref")]
    reference: Option<String>,
    #[serde(default)]
    messages: Vec<Message>,
}

/// One of its messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    topic: String,
    key: Option<String>,
    /// Kept as it was written, byte for byte; `null` is a payload too.
    #[serde(default, deserialize_with = "present")]
    payload: Option<Box<RawValue>>,
    payload_base64: Option<String>,
    headers: Option<Box<RawValue>>,
    release_on: Option<String>,
    not_before: Option<String>,
    dedup_key: Option<String>,
}

/// `tx.commit` and `tx.rollback`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// The transaction.
    pub id: Uuid,
    /// Why.
    pub reason: Option<String>,
}

/// `tx.status` and `message.get`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Of what is looked at.
    pub id: Uuid,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl Prepare {
    /// The transaction, with an id of ours unless it has one, and its messages.
    pub fn read(self) -> Result<(NewTx, Vec<NewMessage>), Fault> {
        if self.messages.len() > MESSAGES_MAX {
            return Err(Fault::invalid(format!("{} messages: at most {MESSAGES_MAX}", self.messages.len())));
        }
        let tx = NewTx {
            id: self.id.unwrap_or_else(Uuid::now_v7),
            checker: self.checker,
            check_after_ms: i64::try_from(self.check_after_ms)
                .map_err(|_| Fault::invalid("check_after_ms is out of range".into()))?,
            reference: self.reference,
        };
        let messages = self.messages.into_iter().enumerate().map(|(place, message)| message.read(place));
        Ok((tx, messages.collect::<Result<_, _>>()?))
    }
}

impl Message {
    fn read(self, place: usize) -> Result<NewMessage, Fault> {
        let wrong = |what: String| Fault::invalid(format!("messages[{place}].{what}"));
        if self.payload.is_some() == self.payload_base64.is_some() {
            return Err(Fault::rule(
                "payload_exactly_one",
                format!("messages[{place}]: both or neither of payload and payload_base64: give exactly one of them"),
            ));
        }
        let bytes = self.payload_base64.map(|text| BASE64.decode(text.as_bytes()));
        let bytes =
            bytes.transpose().map_err(|e| wrong(format!("payload_base64: {e}; write padded standard base64")))?;
        let at = self.not_before.map(|text| OffsetDateTime::parse(&text, &Rfc3339));
        let at = at.transpose().map_err(|e| wrong(format!("not_before: {e}; write 2026-01-31T12:00:00Z")))?;
        Ok(NewMessage {
            topic: self.topic,
            key: self.key,
            payload: self.payload.map(|raw| raw.get().to_owned()),
            payload_bytes: bytes,
            headers: self.headers.map(|raw| raw.get().to_owned()),
            not_before: at,
            release_on: self.release_on,
            dedup_key: self.dedup_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Code;
    use super::*;

    fn read(body: &str) -> Result<(NewTx, Vec<NewMessage>), Fault> {
        parse::<Prepare>(body.as_bytes(), PREPARE_BYTES_MAX)?.read()
    }

    fn with(message: &str) -> Result<NewMessage, Fault> {
        let body = format!(r#"{{"checker":"c","check_after_ms":1,"messages":[{message}]}}"#);
        read(&body).map(|(_, mut messages)| messages.remove(0))
    }

    #[test]
    fn json_payload_is_kept_as_it_was_written() {
        for payload in [r#"{"b": 1,  "a": 12345678901234567890.10}"#, "null", "\"text\"", "[]"] {
            let message = with(&format!(r#"{{"topic":"t","payload": {payload} }}"#)).expect("is valid");
            assert_eq!(message.payload.as_deref(), Some(payload));
        }
        let message = with(r#"{"topic":"t","payload_base64":"AP8="}"#).expect("is valid");
        assert_eq!((message.payload, message.payload_bytes), (None, Some(vec![0, 255])));
    }

    #[test]
    fn payload_is_given_exactly_once_and_can_be_read() {
        let code = |message: &str| with(message).expect_err("must be refused").code;
        assert_eq!(code(r#"{"topic":"t"}"#), Code::Refused);
        assert_eq!(code(r#"{"topic":"t","payload":1,"payload_base64":"AA=="}"#), Code::Refused);
        assert_eq!(code(r#"{"topic":"t","payload_base64":"?"}"#), Code::Invalid);
        assert_eq!(code(r#"{"topic":"t","payload":1,"not_before":"tomorrow"}"#), Code::Invalid);
        assert_eq!(code(r#"{"topic":"t","payload":1,"state":"sent"}"#), Code::Invalid);
    }

    #[test]
    fn request_that_is_too_large_is_invalid() {
        let body = vec![b' '; BYTES_MAX + 1];
        assert_eq!(parse::<Look>(&body, BYTES_MAX).expect_err("is too large").code, Code::Invalid);
    }
}
