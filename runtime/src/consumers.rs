//! Who must have a message: consumers, by patterns of topics, and what counts as their receipt. Pure.

#[cfg(test)]
mod properties;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

/// What counts as a receipt of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Its record in the inbox.
    Inbox,
    /// Its acknowledgement to the broker.
    Ack,
}

/// A consumer that messages are sent to, or were until a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its short name in the database.
    pub id: i32,
    /// Its name: that of its durable too.
    pub name: String,
    /// Where its durable is; none: it was removed.
    pub stream: Option<String>,
    /// What it takes, as in subjects: `orders.created`, `payments.*`, `stock.>`.
    pub topics: Vec<String>,
    /// Messages wait for its receipt.
    pub is_required: bool,
    /// What counts as one.
    pub receipt: Receipt,
    /// What the broker has settled counts, though nobody saw the acknowledgement.
    pub trust_settled: bool,
    /// A receipt is missed no sooner than this after the message was sent.
    pub deadline: Duration,
    /// How often a message is sent again because its receipt is missed.
    pub generations_max: u32,
    /// Nothing before it is required; none: it has not started.
    pub start_seq: Option<i64>,
    /// Who must have what was changed for it a moment ago.
    pub is_changing: bool,
    /// An operator holds it back.
    pub is_paused: bool,
}

/// All of them, as of one change.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    /// The number of that change.
    pub version: i32,
    /// The installation: a broker may serve several.
    pub installation: Uuid,
    /// The last loss of a broker that was noticed.
    pub losses: i32,
    /// In the order of their ids.
    pub consumers: Vec<Consumer>,
    known: HashMap<String, HashMap<Box<str>, Option<Arc<str>>>>,
}

/// Topics whose consumers are remembered; more are looked up each time anew.
const KNOWN_TOPICS_MAX: usize = 10_000;

impl Tracked {
    /// Of this installation, as of this change and this loss.
    pub fn new(installation: Uuid, (version, losses): (i32, i32), consumers: Vec<Consumer>) -> Self {
        Self { version, installation, losses, consumers, known: HashMap::new() }
    }

    /// Whose receipts a message of this topic waits for, as Postgres writes an `int[]`; none: nobody's.
    pub fn awaiting(&mut self, stream: &str, topic: &str) -> Option<Arc<str>> {
        if let Some(known) = self.known.get(stream).and_then(|topics| topics.get(topic)) {
            return known.clone();
        }
        let required = |c: &&Consumer| {
            c.is_required
                && c.stream.as_deref() == Some(stream)
                && c.topics.iter().any(|pattern| matches(pattern, topic))
        };
        let ids: Vec<String> = self.consumers.iter().filter(required).map(|c| c.id.to_string()).collect();
        let awaiting = (!ids.is_empty()).then(|| Arc::from(format!("{{{}}}", ids.join(","))));
        let topics = self.known.entry(stream.to_owned()).or_default();
        if topics.len() < KNOWN_TOPICS_MAX {
            topics.insert(topic.into(), awaiting.clone());
        }
        awaiting
    }
}

/// True if this topic is one of the pattern's: `*` stands for one token, `>` at the end for one or more.
pub fn matches(pattern: &str, topic: &str) -> bool {
    let (mut have, mut want) = (pattern.split('.'), topic.split('.'));
    loop {
        match (have.next(), want.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// True if a topic can be of both patterns.
pub fn overlap(a: &str, b: &str) -> bool {
    let (mut one, mut two) = (a.split('.'), b.split('.'));
    loop {
        match (one.next(), two.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(x), Some(y)) if x == y || x == "*" || y == "*" => {}
            _ => return false,
        }
    }
}

/// True if this can be a pattern: tokens as in topics, `*`, and `>` at the end.
pub fn is_pattern(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    let is_name = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let last = tokens.len() - 1;
    tokens.iter().enumerate().all(|(n, t)| is_name(t) || *t == "*" || (*t == ">" && n == last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(id: i32, topics: &[&str]) -> Consumer {
        Consumer {
            id,
            name: format!("c{id}"),
            stream: Some("A".into()),
            topics: topics.iter().map(ToString::to_string).collect(),
            is_required: true,
            receipt: Receipt::Ack,
            trust_settled: false,
            deadline: Duration::from_secs(60),
            generations_max: 3,
            start_seq: None,
            is_changing: false,
            is_paused: false,
        }
    }

    #[test]
    fn patterns_match_as_subjects_do() {
        for (pattern, topic) in [(">", "a"), (">", "a.b"), ("a.>", "a.b.c"), ("a.*", "a.b"), ("*.b", "a.b"), ("a", "a")]
        {
            assert!(matches(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [("a.>", "a"), ("a.*", "a.b.c"), ("a", "a.b"), ("a.b", "a"), ("*", "a.b")] {
            assert!(!matches(pattern, topic), "{pattern} {topic}");
        }
        assert!(overlap("a.*", "*.b") && overlap("a.>", "a.b.c") && !overlap("a.b", "a.c") && !overlap("a", "a.b"));
        assert!(is_pattern("orders.*.>") && !is_pattern("orders.>.x") && !is_pattern("a..b") && !is_pattern(""));
    }

    #[test]
    fn message_waits_for_the_required_consumers_of_its_topic_and_stream() {
        let optional = Consumer { is_required: false, ..consumer(3, &[">"]) };
        let elsewhere = Consumer { stream: Some("B".into()), ..consumer(4, &[">"]) };
        let mut tracked = Tracked::new(
            Uuid::nil(),
            (1, 0),
            vec![consumer(1, &["orders.>"]), consumer(2, &["orders.created"]), optional, elsewhere],
        );
        for _ in 0..2 {
            assert_eq!(tracked.awaiting("A", "orders.created").as_deref(), Some("{1,2}"));
            assert_eq!(tracked.awaiting("A", "orders.paid").as_deref(), Some("{1}"));
            assert_eq!(tracked.awaiting("A", "stock"), None);
        }
    }
}
