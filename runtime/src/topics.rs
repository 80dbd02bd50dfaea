//! Where a topic goes and how it behaves: its stream, its subject, its rate, what a dead message does to its key. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// What a dead message does to the later messages of its key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum OnDead {
    /// They wait until an operator resends or discards the dead one. The default: order is worth more than speed.
    #[default]
    Park,
    /// They go on without it.
    Skip,
}

/// `[topic."orders.created"]`: what one topic does differently.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The stream to send to, a name of `[stream.NAME]`; the default stream if absent.
    pub stream: Option<String>,
    /// What a dead message does to the later messages of its key.
    pub on_dead: OnDead,
    /// At most so many messages a second to the broker, in each runtime process.
    pub rate_per_s: Option<u32>,
    /// Before a message that a transaction held is sent again to a consumer, the transaction's checker is asked: a rollback
    /// discards it.
    pub recheck_before_resend: bool,
}

/// A row's way through the relay: the main feed, or one of its own for a topic with a rate or a stream of its own.
/// Feeds are read with cursors of their own, so that a slow one never holds up the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// The only topic of this feed; `None` is the main feed: every topic that has no feed.
    pub topic: Option<String>,
    /// Index into [`Topics::streams`].
    pub stream: usize,
    /// Messages a second, if limited.
    pub rate_per_s: Option<u32>,
}

/// A stream that topics go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The stream's name.
    pub stream: String,
    /// What stands before the topic in the subject, with its dot: `msg.`.
    pub prefix: String,
}

/// All that the configuration says of topics.
#[derive(Clone, Debug)]
pub struct Topics {
    strict: bool,
    topics: BTreeMap<String, Config>,
    feeds: Vec<Feed>,
    streams: Vec<Target>,
}

/// A topic names a stream that the configuration does not have.
#[derive(Debug, thiserror::Error)]
#[error("topic {topic:?} goes to stream {stream:?}, which is not configured: add [stream.{stream}]")]
pub struct UnknownStream {
    topic: String,
    stream: String,
}

impl Topics {
    /// `streams` starts with the default stream.
    pub fn new(topics: BTreeMap<String, Config>, streams: Vec<Target>, strict: bool) -> Result<Self, UnknownStream> {
        let main = Feed { topic: None, stream: 0, rate_per_s: None };
        let mut feeds = vec![main];
        for (topic, config) in &topics {
            let stream = match &config.stream {
                None => 0,
                Some(name) => streams
                    .iter()
                    .position(|s| &s.stream == name)
                    .ok_or_else(|| UnknownStream { topic: topic.clone(), stream: name.clone() })?,
            };
            if stream != 0 || config.rate_per_s.is_some() {
                feeds.push(Feed { topic: Some(topic.clone()), stream, rate_per_s: config.rate_per_s });
            }
        }
        Ok(Self { strict, topics, feeds, streams })
    }

    /// The feeds; the first is the main one.
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// The streams; the first is the default one.
    pub fn streams(&self) -> &[Target] {
        &self.streams
    }

    /// What the main feed leaves out: topics with a feed of their own, and paused ones.
    pub fn not_in_main(&self, paused: &BTreeSet<String>) -> Vec<String> {
        let own = self.feeds.iter().filter_map(|f| f.topic.clone());
        own.chain(paused.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The subject that a message of this feed goes to.
    pub fn subject(&self, feed: usize, topic: &str) -> String {
        format!("{}{topic}", self.streams[self.feeds[feed].stream].prefix)
    }

    /// The name of this feed's stream.
    pub fn stream(&self, feed: usize) -> &str {
        &self.streams[self.feeds[feed].stream].stream
    }

    /// What a dead message of this topic does to its key.
    pub fn on_dead(&self, topic: &str) -> OnDead {
        self.topics.get(topic).map_or(OnDead::default(), |t| t.on_dead)
    }

    /// Why a message of this topic must not be sent, if `strict_topics` is on and the topic unknown.
    pub fn refusal(&self, topic: &str) -> Option<String> {
        (self.strict && !self.topics.contains_key(topic)).then(|| {
            format!(
                "topic {topic:?} is not configured and strict_topics is on: add [topic.\"{topic}\"], then resend it"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Vec<Target> {
        ["A", "B"].map(|s| Target { stream: s.into(), prefix: format!("{}.", s.to_lowercase()) }).to_vec()
    }

    #[test]
    fn topic_with_a_rate_or_a_stream_has_its_own_feed() {
        let topics = BTreeMap::from([
            ("plain".to_owned(), Config::default()),
            ("slow".to_owned(), Config { rate_per_s: Some(5), ..Config::default() }),
            ("other".to_owned(), Config { stream: Some("B".into()), ..Config::default() }),
        ]);
        let topics = Topics::new(topics, targets(), false).expect("streams are known");
        assert_eq!(
            topics.feeds().iter().map(|f| f.topic.as_deref()).collect::<Vec<_>>(),
            [None, Some("other"), Some("slow")]
        );
        assert_eq!(topics.subject(0, "plain"), "a.plain");
        assert_eq!(topics.subject(1, "other"), "b.other");
        let paused = BTreeSet::from(["plain".to_owned()]);
        assert_eq!(topics.not_in_main(&paused), ["other", "plain", "slow"]);
    }

    #[test]
    fn topic_to_a_stream_that_is_not_configured_is_named() {
        let topics = BTreeMap::from([("t".to_owned(), Config { stream: Some("C".into()), ..Config::default() })]);
        let error = Topics::new(topics, targets(), false).expect_err("C is unknown").to_string();
        assert!(error.contains("[stream.C]"), "{error}");
    }

    #[test]
    fn strict_topics_refuse_what_is_not_configured() {
        let topics = BTreeMap::from([("known".to_owned(), Config::default())]);
        let topics = Topics::new(topics, targets(), true).expect("no streams named");
        assert_eq!(topics.refusal("known"), None);
        assert!(topics.refusal("unknown").is_some_and(|r| r.contains("[topic.\"unknown\"]")));
    }
}
