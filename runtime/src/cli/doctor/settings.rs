//! Settings that are valid each, and contradict each other or promise less than they seem to.

use super::finding::{Area, Finding};
use crate::broker::streams::Config as StreamConfig;
use crate::config::Config;
use crate::consumers::{matches, overlap};
use crate::inbox::{ConsumerConfig, Receipt};

const HERE: Area = Area::Configuration;

/// What follows from the file alone.
pub fn judge(config: &Config) -> Vec<Finding> {
    let mut findings = whole(config);
    for (name, consumer) in &config.consumer {
        findings.extend(of_consumer(config, name, consumer));
    }
    findings.extend(config.streams().iter().flat_map(|(name, stream)| of_stream(config, name, stream)));
    findings.extend(config.topic.keys().filter_map(|topic| unwanted(config, topic)));
    if !findings.iter().any(|f| f.remedy.is_some()) {
        findings.push(HERE.fine("settings", "settings", "they agree with each other"));
    }
    findings
}

/// The longest that a publish whose answer got lost may wait for being sent again, while both servers can be reached: a runtime dies at
/// the end of a statement, another one takes over.
pub fn horizon_ms(config: &Config) -> u64 {
    let statement = config.source.values().map(|s| s.statement_timeout_ms).max().unwrap_or(0);
    let relay = &config.relay;
    relay.ack_timeout_ms + relay.retry_max_ms + config.shards.lease_ms + config.grace_ms + statement
}

/// How long a consumer's message may be sent again by itself.
pub fn resent_ms(consumer: &ConsumerConfig) -> u64 {
    u64::from(consumer.deadline_ms) * (u64::from(consumer.generations_max) + 1)
}

fn whole(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.source.is_empty() {
        let remedy = "set [source.main] url in the file, AVOUCH_SOURCE__MAIN__URL, or --database-url";
        findings.push(HERE.problem(
            "source",
            "source",
            "no database is configured: avouch run refuses to start",
            remedy,
        ));
    }
    if config.strict_topics && config.topic.is_empty() {
        let meaning = "strict_topics is on and no topic is configured: every message is buried";
        findings.push(HERE.problem(
            "strict_topics",
            "strict_topics",
            meaning,
            "add [topic.\"NAME\"], or set it to false",
        ));
    }
    if config.alarm.is_empty() {
        let meaning = "no [[alarm]] is configured: what a person must act upon is in the log alone";
        findings.push(HERE.note("alarm", "alarm", meaning, "add an [[alarm]] with a webhook, a command or smtp"));
    }
    if config.metrics.listen.is_none() {
        let meaning = "metrics.listen is not set: Prometheus finds nothing";
        findings.push(HERE.note("metrics", "metrics", meaning, "set metrics.listen = \"127.0.0.1:9187\""));
    }
    if config.upkeep.keep_hours == 0 {
        let meaning = "upkeep.keep_hours = 0: the outbox grows for ever";
        findings.push(HERE.note("keep_hours", "upkeep", meaning, "set it to the days that you look back, times 24"));
    }
    findings
}

fn of_consumer(config: &Config, name: &str, consumer: &ConsumerConfig) -> Vec<Finding> {
    let object = format!("consumer {name}");
    if consumer.topics.is_empty() {
        let meaning = "it has no topics: no durable is made for it, and no message waits for it";
        let remedy = "give it topics, unless it only says avouch.inbox_once or asks the gate";
        return vec![HERE.note("consumer_topics", &object, meaning, remedy)];
    }
    let mut findings = Vec::new();
    findings.extend(unreachable_topics(config, &object, consumer));
    if consumer.required {
        findings.extend(deadline(&object, consumer));
        findings.extend(retention(config, &object, consumer));
        findings.extend(memory(config, &object, consumer));
    }
    findings
}

/// Its patterns match no topic that may be sent.
fn unreachable_topics(config: &Config, object: &str, consumer: &ConsumerConfig) -> Option<Finding> {
    if !config.strict_topics || config.topic.is_empty() {
        return None;
    }
    let is_reached = |pattern: &String| config.topic.keys().any(|topic| matches(pattern, topic));
    let dead: Vec<&str> = consumer.topics.iter().filter(|p| !is_reached(p)).map(String::as_str).collect();
    let meaning = format!("strict_topics is on, and no configured topic is of {}: none can come", dead.join(", "));
    let remedy = "add [topic.\"NAME\"] for what it is to get, or correct its topics";
    (!dead.is_empty()).then(|| HERE.warning("consumer_topics", object, &meaning, remedy))
}

/// It is told that a message is missed while its consumer may well be at work on it.
fn deadline(object: &str, consumer: &ConsumerConfig) -> Option<Finding> {
    let (wait, name) = match consumer.backoff_ms.first() {
        Some(first) => (*first, "the first of backoff_ms"),
        None => (consumer.ack_wait_ms, "ack_wait_ms"),
    };
    let lease = u64::from(consumer.lease_ms);
    let (longest, name) =
        if consumer.receipt == Receipt::Inbox && lease > wait { (lease, "lease_ms") } else { (wait, name) };
    let deadline = u64::from(consumer.deadline_ms);
    let meaning = format!(
        "deadline_ms = {deadline} is below {name} = {longest}: a message that the broker lost is sent again while a consumer may still \
         be at work on it"
    );
    let remedy = format!("raise deadline_ms to {longest} at least");
    (deadline < longest).then(|| HERE.warning("deadline", object, &meaning, &remedy))
}

/// Its stream drops a message before all has been tried.
fn retention(config: &Config, object: &str, consumer: &ConsumerConfig) -> Option<Finding> {
    let (name, stream) = stream_of(config, consumer)?;
    let (kept_s, needed_s) = (stream.max_age_s, resent_ms(consumer).div_ceil(1000));
    let meaning = format!(
        "stream {name} keeps messages for {kept_s} s, and it may take {needed_s} s (deadline_ms for each of generations_max) until a \
         missed one is dead: it expires before"
    );
    let remedy = format!("raise stream.{name}.max_age_s to {needed_s} at least");
    (kept_s > 0 && kept_s < needed_s).then(|| HERE.warning("retention", object, &meaning, &remedy))
}

/// What it did is forgotten while the message may still come again.
fn memory(config: &Config, object: &str, consumer: &ConsumerConfig) -> Option<Finding> {
    let (name, stream) = stream_of(config, consumer)?;
    let kept_s = config.inbox.keep_hours.saturating_mul(3600);
    let needed_s = stream.max_age_s + resent_ms(consumer).div_ceil(1000);
    let meaning = format!(
        "what it did is forgotten after {} h, and a message that is sent again within deadline_ms and generations_max stays in stream \
         {name} for max_age_s more: it may be done twice",
        config.inbox.keep_hours
    );
    let remedy = format!("raise inbox.keep_hours to {} at least", needed_s.div_ceil(3600));
    (kept_s > 0 && kept_s < needed_s).then(|| HERE.warning("inbox_keep_hours", object, &meaning, &remedy))
}

fn stream_of(config: &Config, consumer: &ConsumerConfig) -> Option<(String, StreamConfig)> {
    let streams = config.streams();
    let name = consumer.stream.clone().unwrap_or_else(|| streams[0].0.clone());
    streams.into_iter().find(|(n, _)| *n == name)
}

fn of_stream(config: &Config, name: &str, stream: &StreamConfig) -> Option<Finding> {
    let (window_ms, needed_ms) = (stream.duplicate_window_s.saturating_mul(1000), horizon_ms(config));
    let meaning = format!(
        "duplicate_window_s = {} is shorter than what may pass before a publish whose answer was lost is tried again ({} s: \
         relay.ack_timeout_ms, retry_max_ms, shards.lease_ms, grace_ms, statement_timeout_ms): it would be stored twice",
        stream.duplicate_window_s,
        needed_ms.div_ceil(1000)
    );
    let remedy = format!("raise stream.{name}.duplicate_window_s to {} at least", needed_ms.div_ceil(1000));
    (window_ms < needed_ms).then(|| HERE.warning("duplicate_window", &format!("stream {name}"), &meaning, &remedy))
}

/// A topic that no consumer takes, where there are some.
fn unwanted(config: &Config, topic: &str) -> Option<Finding> {
    let mut patterns = config.consumer.values().filter(|c| c.required).flat_map(|c| &c.topics).peekable();
    patterns.peek()?;
    let is_wanted = patterns.any(|pattern| overlap(pattern, topic));
    let meaning =
        "no required consumer takes it: its messages end as sent, and what a broker loses of them is sent again unseen";
    let remedy = "add it to the topics of a consumer, if somebody must have it";
    (!is_wanted).then(|| HERE.note("unwanted_topic", &format!("topic {topic}"), meaning, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;

    const FINE: &str =
        "[source.main]\nurl = \"x\"\n[metrics]\nlisten = \"127.0.0.1:9187\"\n[[alarm]]\ncommand = [\"page\"]\n";

    fn found(text: &str) -> Vec<(&'static str, Severity)> {
        let config = Config::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        judge(&config).into_iter().map(|f| (f.check, f.severity)).collect()
    }

    fn beside_fine(text: &str) -> Vec<(&'static str, Severity)> {
        found(&format!("{text}\n{FINE}"))
    }

    #[test]
    fn defaults_agree_with_each_other() {
        assert_eq!(beside_fine(""), [("settings", Severity::Ok)]);
        let consumers =
            "[consumer.a]\ntopics = [\"x.>\"]\n[consumer.b]\ntopics = [\"y\"]\nreceipt = \"inbox\"\n[topic.y]\n";
        assert_eq!(beside_fine(consumers), [("settings", Severity::Ok)]);
    }

    #[test]
    fn what_is_not_told_to_anybody_is_noted() {
        let noted = found("[source.main]\nurl = \"x\"");
        assert_eq!(noted, [("alarm", Severity::Note), ("metrics", Severity::Note)]);
        assert_eq!(found("")[0], ("source", Severity::Problem));
    }

    #[test]
    fn each_contradiction_is_told_alone() {
        let cases = [
            ("strict_topics = true", ("strict_topics", Severity::Problem)),
            (
                "strict_topics = true\n[topic.a]\n[consumer.c]\ntopics = [\"a\", \"b\"]",
                ("consumer_topics", Severity::Warning),
            ),
            ("[consumer.c]\ntopics = [\"a\"]\nack_wait_ms = 61_000", ("deadline", Severity::Warning)),
            ("[consumer.c]\ntopics = [\"a\"]\nbackoff_ms = [61_000]", ("deadline", Severity::Warning)),
            ("[consumer.c]\ntopics = [\"a\"]\nreceipt = \"inbox\"\nlease_ms = 61_000", ("deadline", Severity::Warning)),
            (
                "[consumer.c]\ntopics = [\"a\"]\n[stream.AVOUCH]\nmax_age_s = 200\nduplicate_window_s = 200",
                ("retention", Severity::Warning),
            ),
            (
                "[consumer.c]\ntopics = [\"a\"]\ndeadline_ms = 360_000_000\n[inbox]\nkeep_hours = 401\n[stream.AVOUCH]\nmax_age_s = 1_440_000",
                ("inbox_keep_hours", Severity::Warning),
            ),
            ("[stream.AVOUCH]\nduplicate_window_s = 55", ("duplicate_window", Severity::Warning)),
            ("[consumer.c]\nlease_ms = 1000", ("consumer_topics", Severity::Note)),
            ("[consumer.c]\ntopics = [\"a\"]\n[topic.b]", ("unwanted_topic", Severity::Note)),
            ("[upkeep]\nkeep_hours = 0", ("keep_hours", Severity::Note)),
        ];
        for (text, told) in cases {
            assert_eq!(beside_fine(text), [told], "{text}");
        }
    }

    #[test]
    fn window_is_compared_with_what_the_relay_is_told() {
        assert!(beside_fine("[stream.AVOUCH]\nduplicate_window_s = 56").contains(&("settings", Severity::Ok)));
        let slow = "[relay]\nretry_max_ms = 600_000";
        assert!(beside_fine(slow).contains(&("duplicate_window", Severity::Warning)));
    }
}
