//! What an answer of the broker means for a message, and how long to wait before the next try. Pure.

#[cfg(test)]
mod properties;

use std::time::Duration;

/// What JetStream answered to one publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, or held already under the same id (`duplicate`).
    Stored {
        /// The stream's name.
        stream: String,
        /// Its sequence in that stream.
        stream_seq: u64,
        /// True when the broker claims that it had the id before.
        duplicate: bool,
    },
    /// The same id is being stored right now: ask again in a moment.
    InProcess,
    /// Nothing listens on the subject, or JetStream cannot take it now. Never the message's fault.
    Unavailable(String),
    /// This message can never be stored as it is.
    Refused(String),
}

/// Why a message is dead, as a class: there are few, whatever the reasons say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its topic is not configured, and `strict_topics` is on.
    UnknownTopic,
    /// It is larger than the broker takes.
    TooLarge,
    /// Its headers or its subject cannot be sent.
    Malformed,
    /// Its consumer has rejected it, or a plugin has for it.
    Rejected,
    /// Nobody knows whether its consumer has done it.
    Parked,
    /// Its consumer has terminated it.
    Terminated,
    /// It was delivered as often as it may be.
    DeliveredTooOften,
    /// It was settled without a receipt as often as it may be.
    Unreceipted,
}

impl Death {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownTopic => "unknown_topic",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
            Self::Terminated => "terminated",
            Self::DeliveredTooOften => "delivered_too_often",
            Self::Unreceipted => "unreceipted",
        }
    }
}

/// JetStream's error codes that are the message's own fault (nats-server `server/errors.json`).
/// Everything that is not known to be permanent is retried.
const MESSAGE_TOO_LARGE: u64 = 10054;
const HEADER_TOO_LARGE: u64 = 10097;
const DUPLICATE_IN_PROCESS: u64 = 10158;

/// Reads a PubAck, `{"stream":…,"seq":…,"duplicate":…}` or `{"error":{"code":…,"err_code":…,"description":…}}`.
pub fn read_answer(no_responders: bool, payload: &[u8]) -> Answer {
    #[derive(serde::Deserialize)]
    struct PubAck {
        #[serde(default)]
        stream: String,
        #[serde(default)]
        seq: u64,
        #[serde(default)]
        duplicate: bool,
        error: Option<Failure>,
    }
    #[derive(serde::Deserialize)]
    struct Failure {
        #[serde(default)]
        code: u64,
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    if no_responders {
        return Answer::Unavailable(
            "no stream takes its subject; create the stream, or let avouch: [stream.NAME] manage = \"create\"".into(),
        );
    }
    match serde_json::from_slice::<PubAck>(payload) {
        Ok(PubAck { error: Some(e), .. }) => match e.err_code {
            DUPLICATE_IN_PROCESS => Answer::InProcess,
            MESSAGE_TOO_LARGE | HEADER_TOO_LARGE => Answer::Refused(format!(
                "the stream refuses it: {} (error {}); send a reference instead, or raise max_msg_size and resend it",
                e.description, e.err_code
            )),
            other => Answer::Unavailable(format!("{} (code {}, error {other})", e.description, e.code)),
        },
        Ok(ack) if !ack.stream.is_empty() && ack.seq > 0 => {
            Answer::Stored { stream: ack.stream, stream_seq: ack.seq, duplicate: ack.duplicate }
        }
        Ok(_) => Answer::Unavailable("the answer names no stream: is a service listening on the subject?".into()),
        Err(e) => Answer::Unavailable(format!("the answer is no PubAck: {e}; is a service listening on the subject?")),
    }
}

/// Doubles from `first` to `max` with each failure, and forgets with each success.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// A backoff that starts at `first` and never exceeds `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        let first = first.min(max);
        Self { first, max, next: first }
    }

    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        wait
    }

    /// Starts over after a success.
    pub fn succeeded(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_permanent_refusals_are_the_messages_fault() {
        let error = |code: u64, err_code: u64| {
            let json = format!(
                r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"x"}},"stream":"A","seq":0}}"#
            );
            read_answer(false, json.as_bytes())
        };
        assert!(matches!(error(400, 10054), Answer::Refused(_)));
        assert!(matches!(error(400, 10097), Answer::Refused(_)));
        assert_eq!(error(409, 10158), Answer::InProcess);
        for (code, err_code) in [(503, 10008), (503, 10077), (500, 10077), (400, 10060), (400, 10071), (503, 0)] {
            assert!(matches!(error(code, err_code), Answer::Unavailable(_)), "{err_code}");
        }
        assert!(matches!(read_answer(true, b""), Answer::Unavailable(_)));
        assert!(matches!(read_answer(false, b"hello"), Answer::Unavailable(_)));
        assert!(matches!(read_answer(false, b"{}"), Answer::Unavailable(_)));
    }

    #[test]
    fn puback_is_read_with_and_without_duplicate() {
        let stored = |duplicate| Answer::Stored { stream: "A".into(), stream_seq: 7, duplicate };
        assert_eq!(read_answer(false, br#"{"stream":"A","seq":7}"#), stored(false));
        assert_eq!(read_answer(false, br#"{"stream":"A","seq":7,"duplicate":true}"#), stored(true));
    }

    #[test]
    fn backoff_doubles_to_its_bound_and_starts_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        assert_eq!(
            [backoff.failed(), backoff.failed(), backoff.failed(), backoff.failed()],
            [ms(100), ms(200), ms(350), ms(350)]
        );
        backoff.succeeded();
        assert_eq!(backoff.failed(), ms(100));
    }
}
