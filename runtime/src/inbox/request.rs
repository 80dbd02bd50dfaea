//! What consumers send, and what it means. Pure.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::answer::Fault;
use crate::idempotency::{Begin, Finish, Word};

/// Keys that plugins make, and ids.
const KEY_BYTES_MAX: usize = 512;
/// Reasons are shown to people.
const REASON_CHARS_MAX: usize = 1000;
/// A month: a message that waits for longer is retired.
const PAUSE_MS_MAX: u64 = 30 * 24 * 3600 * 1000;
/// 128 bits tell any two payloads apart.
const FINGERPRINT_BYTES: usize = 16;

/// May this consumer act on the message that it sends, headers and all?
pub fn begin(consumer: &str, id: Option<&str>, payload: &[u8]) -> Result<Begin, Fault> {
    let id = id.ok_or_else(|| {
        Fault::invalid("there is no header Avouch-Id: send the message as it was received, headers and all".into())
    })?;
    let message: Uuid = id.parse().map_err(|_| Fault::invalid(format!("Avouch-Id {id:?} is no UUID")))?;
    let digest = Sha256::digest(payload);
    let fingerprint = digest.get(..FINGERPRINT_BYTES).map(|bytes| BASE64URL_NOPAD.encode(bytes));
    Ok(Begin {
        consumer: consumer.to_owned(),
        key: message.to_string(),
        fingerprint,
        version: None,
        message,
        is_judged: false,
    })
}

/// A receipt by message.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// Whose it is.
    pub consumer: String,
    /// The message.
    pub message: Uuid,
    /// The same as text.
    pub id: String,
    /// Why it will never be done; none: it is done.
    pub dead: Option<String>,
}

impl Confirm {
    /// This consumer is done with this message, or never will be.
    pub fn new(consumer: &str, message: Uuid, dead: Option<String>) -> Self {
        Self { consumer: consumer.to_owned(), message, id: message.to_string(), dead }
    }
}

/// It is done: the message as it was received, or its id.
pub fn confirm(consumer: &str, id: Option<&str>, body: &[u8]) -> Result<Confirm, Fault> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Look {
        id: Uuid,
    }
    let message = match id {
        Some(id) => id.parse().map_err(|_| Fault::invalid(format!("Avouch-Id {id:?} is no UUID")))?,
        None => parse::<Look>(body)?.id,
    };
    Ok(Confirm::new(consumer, message, None))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
    key: String,
    token: i64,
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Renew {
    key: String,
    token: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    key: String,
    token: i64,
    reason: String,
    #[serde(default)]
    permanent: bool,
    retry_after_ms: Option<u64>,
}

/// It is done.
pub fn complete(consumer: &str, body: &[u8], result_bytes_max: usize) -> Result<Finish, Fault> {
    let Complete { key, token, result } = parse(body)?;
    let text = result.map(|raw| raw.get().to_owned());
    let bytes = text.as_ref().map_or(0, String::len);
    if bytes > result_bytes_max {
        return Err(Fault::invalid(format!(
            "a result of {bytes} bytes: at most inbox.result_bytes_max = {result_bytes_max}; keep it in a store of yours and give its key"
        )));
    }
    finish(Word::Complete, consumer, key, token, text)
}

/// It takes longer.
pub fn renew(consumer: &str, body: &[u8]) -> Result<Finish, Fault> {
    let Renew { key, token } = parse(body)?;
    finish(Word::Renew, consumer, key, token, None)
}

/// It failed.
pub fn fail(consumer: &str, body: &[u8]) -> Result<Finish, Fault> {
    let Fail { key, token, reason, permanent, retry_after_ms } = parse(body)?;
    if retry_after_ms.is_some_and(|ms| ms > PAUSE_MS_MAX) {
        return Err(Fault::invalid(format!("retry_after_ms: at most {PAUSE_MS_MAX}, a month")));
    }
    // Postgres's text holds everything but NUL.
    let reason = reason.chars().filter(|c| *c != '\0').take(REASON_CHARS_MAX).collect();
    let finish = finish(Word::Fail, consumer, key, token, Some(reason))?;
    Ok(Finish { permanent, pause_ms: retry_after_ms.and_then(|ms| i64::try_from(ms).ok()), ..finish })
}

fn finish(word: Word, consumer: &str, key: String, token: i64, text: Option<String>) -> Result<Finish, Fault> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains('\0') {
        return Err(Fault::invalid(format!("key: from 1 to {KEY_BYTES_MAX} bytes, as begin returned it")));
    }
    Ok(Finish { word, consumer: consumer.to_owned(), key, token, text, permanent: false, pause_ms: None })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body)
        .map_err(|e| Fault::invalid(format!("the request is no JSON object of this endpoint: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_without_its_id_is_refused_with_the_remedy() {
        for id in [None, Some(""), Some("42")] {
            assert!(begin("billing", id, b"").is_err(), "{id:?}");
        }
        let id = Uuid::now_v7().to_string();
        let asked = begin("billing", Some(&id.to_uppercase()), b"x").expect("an id in any case");
        assert_eq!(asked.key, id);
    }

    #[test]
    fn payloads_have_fingerprints() {
        let id = Uuid::now_v7().to_string();
        let of = |payload: &[u8]| begin("billing", Some(&id), payload).expect("it has an id").fingerprint;
        assert_eq!(of(b"a"), of(b"a"));
        assert_ne!(of(b"a"), of(b"b"));
    }

    #[test]
    fn garbage_is_refused() {
        for body in
            ["", "{}", "[]", r#"{"key":"","token":1}"#, r#"{"key":"k","token":"1"}"#, r#"{"key":"k","token":1,"x":1}"#]
        {
            assert!(complete("c", body.as_bytes(), 10).is_err(), "{body}");
            assert!(renew("c", body.as_bytes()).is_err(), "{body}");
            assert!(fail("c", body.as_bytes()).is_err(), "{body}");
        }
        assert!(complete("c", br#"{"key":"k","token":1,"result":"12345678901"}"#, 10).is_err());
        assert!(fail("c", br#"{"key":"k","token":1,"reason":"x","retry_after_ms":99999999999999}"#).is_err());
    }

    #[test]
    fn words_are_read() {
        let done = complete("c", br#"{"key":"k","token":7,"result":{"a":1}}"#, 100).expect("it is valid");
        assert_eq!((done.word, done.token, done.text.as_deref()), (Word::Complete, 7, Some("{\"a\":1}")));
        let failed = fail("c", br#"{"key":"k","token":7,"reason":"no\u0000t","permanent":true}"#).expect("it is valid");
        assert_eq!((failed.permanent, failed.text.as_deref()), (true, Some("not")));
    }
}
