//! What Avouch's own tables say about runtimes, what is held, and consumers that the file does not know.

use super::database::ago;
use super::finding::{Area, Finding};
use crate::config::Config;
use crate::consumers::matches;
use crate::schema::Difference;
use crate::store::survey::{Books, Consumer, Hold, Instance};

const HERE: Area = Area::Postgres;
/// Who paused something for a deployment has forgotten it.
const HELD_S_MAX: f64 = 86_400.0;
/// Counts stop above it.
const COUNTED_MAX: i64 = 10_000;

/// What follows from the tables.
pub fn judge(config: &Config, books: &Books) -> Vec<Finding> {
    let mut findings = runtimes(books);
    findings.extend(books.holds.iter().filter(|h| h.seconds > HELD_S_MAX).map(hold));
    findings.extend(waiting_for_people(books));
    findings.extend(books.consumers.iter().filter_map(|c| forgotten(config, c)));
    findings.extend(topics(config, books));
    findings
}

/// What follows from how the schema differs from a fresh install.
pub fn schema(difference: &Difference) -> Finding {
    let fatal = difference.fatal();
    let remedy = "run avouch schema install; avouch schema check shows all of it";
    let some = |lines: &[&str]| {
        let more = if lines.len() > 3 { format!(" and {} more", lines.len() - 3) } else { String::new() };
        format!("{}{more}", lines.iter().take(3).copied().collect::<Vec<_>>().join("; "))
    };
    let missing: Vec<&str> = difference.missing.iter().map(String::as_str).collect();
    let unexpected: Vec<&str> = difference.unexpected.iter().map(String::as_str).collect();
    if !fatal.is_empty() {
        HERE.problem("schema", "schema avouch", &format!("it lacks {}: avouch run refuses it", some(&fatal)), remedy)
    } else if !missing.is_empty() {
        HERE.warning("schema", "schema avouch", &format!("it lacks {}", some(&missing)), remedy)
    } else if !unexpected.is_empty() {
        let meaning = format!("it has what no install makes: {}", some(&unexpected));
        HERE.note("schema", "schema avouch", &meaning, "remove it if it is not yours: avouch schema check")
    } else {
        HERE.fine("schema", "schema avouch", "as a fresh install")
    }
}

fn runtimes(books: &Books) -> Vec<Finding> {
    let (alive, gone): (Vec<&Instance>, Vec<&Instance>) = books.instances.iter().partition(|i| i.lease_s > 0.0);
    let mut findings = Vec::new();
    if alive.is_empty() {
        let meaning = "none has a lease: nothing is relayed";
        findings.push(HERE.warning(
            "runtimes",
            "runtimes",
            meaning,
            "start avouch run, and look at its log if it runs",
        ));
    } else if books.shards_without_owner > 0 {
        let meaning =
            format!("{} of {} shards have no owner: their messages wait", books.shards_without_owner, books.shards);
        let remedy = "wait for shards.lease_ms; if it stays so, look at the logs of the runtimes";
        findings.push(HERE.warning("shards", "shards", &meaning, remedy));
    } else {
        let meaning = format!("{} of them own all of {} shards", alive.len(), books.shards);
        findings.push(HERE.fine("runtimes", "runtimes", &meaning));
    }
    for instance in gone.iter().filter(|i| i.shards > 0) {
        let object = format!("runtime {}", instance.name);
        let meaning =
            format!("its lease ended {} ago, and {} shards are still its own", ago(-instance.lease_s), instance.shards);
        findings.push(HERE.warning("lease", &object, &meaning, "start avouch run: a living one takes them over"));
    }
    for (instance, trouble) in alive.iter().filter_map(|i| Some((i, i.trouble.as_ref()?))) {
        let object = format!("runtime {}", instance.name);
        findings.push(HERE.warning("trouble", &object, trouble, "what it says; avouch status shows when it is over"));
    }
    findings
}

fn hold(hold: &Hold) -> Finding {
    let object = format!("{} {}", hold.kind, hold.name);
    let why = hold.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let since = ago(hold.seconds);
    match hold.message_id {
        Some(id) => {
            let meaning = format!("parked for {since} behind dead message {id}{why}");
            let remedy = format!("avouch resend {id}, or avouch discard {id}");
            HERE.warning("held", &object, &meaning, &remedy)
        }
        None => {
            let meaning = format!("paused for {since}{why}: its messages wait");
            HERE.warning("held", &object, &meaning, &format!("avouch resume {object}"))
        }
    }
}

fn waiting_for_people(books: &Books) -> Vec<Finding> {
    let count = |n: i64| if n > COUNTED_MAX { format!("more than {COUNTED_MAX}") } else { n.to_string() };
    let mut findings = Vec::new();
    if books.dead > 0 {
        let meaning = format!("{} can never be sent, or are given up", count(books.dead));
        findings.push(HERE.warning(
            "dead",
            "dead messages",
            &meaning,
            "avouch dead --groups, then avouch resend or discard",
        ));
    }
    if books.in_doubt > 0 {
        let meaning = format!("a person must decide {}", count(books.in_doubt));
        findings.push(HERE.warning(
            "in_doubt",
            "transactions",
            &meaning,
            "avouch tx list, then avouch tx commit, rollback or recheck",
        ));
    }
    findings
}

/// A consumer that is waited for though the file does not have it.
fn forgotten(config: &Config, consumer: &Consumer) -> Option<Finding> {
    let is_configured = config.consumer.get(&consumer.name).is_some_and(|c| !c.topics.is_empty());
    if is_configured || !consumer.is_required {
        return None;
    }
    let name = &consumer.name;
    let meaning =
        "messages wait for it, and this file gives it no topics: nobody makes its durable again if that is lost";
    let remedy = format!("put [consumer.{name}] back, or avouch consumer remove {name}");
    Some(HERE.warning("forgotten_consumer", &format!("consumer {name}"), meaning, &remedy))
}

/// Topics of the newest messages that nobody configured, or takes.
fn topics(config: &Config, books: &Books) -> Vec<Finding> {
    if config.strict_topics {
        let unknown = books.topics.iter().filter(|topic| !config.topic.contains_key(*topic));
        let buried = |topic: &String| {
            let meaning = "strict_topics is on and it is not configured: its messages are buried";
            HERE.warning(
                "unknown_topic",
                &format!("topic {topic}"),
                meaning,
                &format!("add [topic.\"{topic}\"], then avouch resend"),
            )
        };
        return unknown.map(buried).collect();
    }
    let patterns: Vec<&String> = config.consumer.values().filter(|c| c.required).flat_map(|c| &c.topics).collect();
    if patterns.is_empty() {
        return Vec::new();
    }
    let is_unwanted =
        |topic: &&String| !patterns.iter().any(|p| matches(p, topic)) && !config.topic.contains_key(*topic);
    let unwanted = |topic: &String| {
        let meaning = "messages were inserted, and no required consumer takes it: they end as sent";
        let remedy = "correct the topic in its producer, or add it to the topics of a consumer";
        HERE.note("unwanted_topic", &format!("topic {topic}"), meaning, remedy)
    };
    books.topics.iter().filter(is_unwanted).map(unwanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;

    fn healthy() -> Books {
        let instance = Instance { name: "a".into(), lease_s: 4.0, shards: 8, trouble: None };
        Books { shards: 8, instances: vec![instance], topics: vec!["orders.created".into()], ..Books::default() }
    }

    fn found(file: &str, change: impl FnOnce(&mut Books)) -> Vec<(&'static str, Severity)> {
        let mut books = healthy();
        change(&mut books);
        let config = Config::parse(file).expect("is valid");
        let findings = judge(&config, &books).into_iter().filter(|f| f.severity != Severity::Ok);
        findings.map(|f| (f.check, f.severity)).collect()
    }

    #[test]
    fn each_oddity_is_told_alone() {
        let day =
            |seconds: f64, message_id| Hold { kind: "key".into(), name: "1".into(), message_id, reason: None, seconds };
        assert_eq!(found("", |_| {}), []);
        assert_eq!(found("", |b| b.instances.clear()), [("runtimes", Severity::Warning)]);
        assert_eq!(found("", |b| b.shards_without_owner = 1), [("shards", Severity::Warning)]);
        assert_eq!(found("", |b| b.instances[0].trouble = Some("x".into())), [("trouble", Severity::Warning)]);
        let gone = Instance { name: "b".into(), lease_s: -9.0, shards: 2, trouble: None };
        assert_eq!(found("", |b| b.instances.push(gone)), [("lease", Severity::Warning)]);
        assert_eq!(found("", |b| b.holds.push(day(80_000.0, None))), []);
        assert_eq!(found("", |b| b.holds.push(day(90_000.0, None))), [("held", Severity::Warning)]);
        assert_eq!(found("", |b| b.dead = 1), [("dead", Severity::Warning)]);
        assert_eq!(found("", |b| b.in_doubt = 1), [("in_doubt", Severity::Warning)]);
    }

    #[test]
    fn parked_key_names_the_message_it_waits_behind() {
        let id = uuid::Uuid::now_v7();
        let parked = Hold { kind: "key".into(), name: "1".into(), message_id: Some(id), reason: None, seconds: 1e6 };
        let remedy = hold(&parked).remedy.expect("it has one");
        assert!(remedy.contains(&format!("avouch discard {id}")), "{remedy}");
    }

    #[test]
    fn consumers_and_topics_are_compared_with_the_file() {
        let consumer = |is_required| Consumer { name: "billing".into(), stream: None, is_required, has_started: true };
        let forgotten = [("forgotten_consumer", Severity::Warning)];
        assert_eq!(found("", |b| b.consumers.push(consumer(true))), forgotten);
        assert_eq!(found("[consumer.billing]", |b| b.consumers.push(consumer(true))), forgotten);
        assert_eq!(found("", |b| b.consumers.push(consumer(false))), []);
        let file = "[consumer.billing]\ntopics = [\"orders.>\"]";
        assert_eq!(found(file, |b| b.consumers.push(consumer(true))), []);
        assert_eq!(found(file, |b| b.topics.push("order.created".into())), [("unwanted_topic", Severity::Note)]);
        let strict = "strict_topics = true\n[topic.other]";
        assert_eq!(found(strict, |_| {}), [("unknown_topic", Severity::Warning)]);
    }

    #[test]
    fn schema_is_as_bad_as_what_it_lacks() {
        let of = |missing: &[&str], unexpected: &[&str]| {
            let list = |lines: &[&str]| lines.iter().map(|&l| l.to_owned()).collect();
            schema(&Difference { missing: list(missing), unexpected: list(unexpected) }).severity
        };
        assert_eq!(of(&[], &[]), Severity::Ok);
        assert_eq!(of(&[], &["index x"]), Severity::Note);
        assert_eq!(of(&["index x"], &[]), Severity::Warning);
        assert_eq!(of(&["trigger outbox.admit A"], &["x"]), Severity::Problem);
    }
}
