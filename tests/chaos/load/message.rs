//! One message: what it looks like in SQL, and its line in the ledger.

use sha2::{Digest, Sha256};

use crate::facts::{Fate, Number, Place, Written};
use crate::rng::Rng;

/// Now and then one that the runtime reads by itself: those above 8 KiB are.
const LARGE_BYTES: u64 = 12_000;
const TEXT: &[u8] = b"abcdefghijklmnopqrstuvwxyz {}[]:,\"0123456789";

/// A message that is about to be inserted.
#[derive(Debug, Clone)]
pub struct Message {
    pub written: Written,
    contents: Contents,
}

#[derive(Debug, Clone)]
enum Contents {
    Text(String),
    Bytes(Vec<u8>),
}

/// Its number, and what else there is to say.
pub struct Draft<'a> {
    pub number: Number,
    pub topic: &'a str,
    pub key: &'a str,
    pub position: u64,
    pub place: Place,
}

impl Message {
    /// With contents by chance: the number first, then text or bytes.
    pub fn new(draft: &Draft<'_>, rng: &mut Rng) -> Self {
        let length = if rng.chance(1) { LARGE_BYTES } else { rng.between(0, 300) };
        let mark = format!("n:{}:", draft.number);
        let contents = if draft.topic == super::topics::NOTED {
            let noise = (0..length).map(|_| u8::try_from(rng.below(256)).expect("is less than 256"));
            Contents::Bytes(mark.bytes().chain(noise).collect())
        } else {
            let noise = (0..length).map(|_| char::from(*rng.pick(TEXT)));
            Contents::Text(mark.chars().chain(noise).chain("ü\u{1F980}".chars()).collect())
        };
        let written = Written {
            number: draft.number,
            topic: draft.topic.to_owned(),
            key: draft.key.to_owned(),
            position: draft.position,
            sha256: sha256(contents.bytes()),
            place: draft.place,
            fate: Fate::May,
        };
        Self { written, contents }
    }

    /// The insert; `more` are further columns and their values.
    pub fn insert(&self, more: &[(&str, String)]) -> String {
        let Written { topic, key, .. } = &self.written;
        let (column, value) = match &self.contents {
            Contents::Text(text) => ("payload", format!("'{text}'")),
            Contents::Bytes(bytes) => ("payload_bytes", format!("'\\x{}'", hex(bytes))),
        };
        let columns: String = more.iter().map(|(name, _)| format!(", {name}")).collect();
        let values: String = more.iter().map(|(_, value)| format!(", {value}")).collect();
        format!(
            "insert into avouch.outbox (topic, key, {column}{columns}) values ('{topic}', '{key}', {value}{values})"
        )
    }
}

impl Contents {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The number in a payload, if it has one.
pub fn number(payload: &[u8]) -> Option<Number> {
    let rest = payload.strip_prefix(b"n:")?;
    let end = rest.iter().position(|b| *b == b':')?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// In hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_back_from_text_and_bytes() {
        let mut rng = Rng::part(1, 1);
        for topic in [super::super::topics::NOTED, super::super::topics::PLACED] {
            let draft = Draft { number: 4711, topic, key: "k", position: 1, place: Place::Immediate };
            let message = Message::new(&draft, &mut rng);
            assert_eq!(number(message.contents.bytes()), Some(4711));
            assert_eq!(message.written.sha256, sha256(message.contents.bytes()));
        }
        assert_eq!([number(b"n:12"), number(b"x:1:"), number(b"n:-1:")], [None; 3]);
    }
}
