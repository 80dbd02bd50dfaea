//! Whether a durable consumer is there, takes what it should, and goes on.

use super::broker::{HERE, Stream};
use super::finding::Finding;
use crate::broker::Durable as Wanted;
use crate::broker::survey::{DurableFacts, Found};
use crate::store::survey::Books;

/// A consumer of the configuration, and what is there.
pub struct Durable {
    pub wanted: Wanted,
    /// How long its messages may be sent again by themselves.
    pub resent_ms: u64,
    pub found: Found<DurableFacts>,
}

/// What follows.
pub fn judge(stream: &Stream, durable: &Durable, books: &[Books]) -> Vec<Finding> {
    let name = &durable.wanted.name;
    let object = format!("consumer {name} of stream {}", stream.name);
    match &durable.found {
        Found::Denied => Vec::new(),
        Found::Missing => vec![missing(&object, name, books)],
        Found::Unknown(why) => {
            let meaning = format!("could not be looked at: {why}");
            vec![HERE.problem(
                "durable",
                &object,
                &meaning,
                "see to what it says: the runtime follows the consumer there",
            )]
        }
        Found::There(there) => {
            let mut findings = of(stream, durable, there, books);
            if findings.is_empty() {
                let meaning =
                    format!("{} to be delivered, {} to be acknowledged", there.num_pending, there.num_ack_pending);
                findings.push(HERE.fine("durable", "", &meaning));
            }
            findings.into_iter().map(|f| f.within(&object)).collect()
        }
    }
}

fn missing(object: &str, name: &str, books: &[Books]) -> Finding {
    if books.iter().any(|b| b.consumers.iter().any(|c| c.name == name && c.has_started)) {
        let meaning = "its durable was there, and is not any more: it gets nothing";
        let remedy =
            "start avouch run, which makes it again at the first message that waits for it; find out who deleted it";
        return HERE.problem("durable", object, meaning, remedy);
    }
    HERE.note("durable", object, "its durable is not there yet", "avouch run makes it")
}

fn of(stream: &Stream, durable: &Durable, there: &DurableFacts, books: &[Books]) -> Vec<Finding> {
    let (c, name, mut findings) = (&there.config, &durable.wanted.name, Vec::new());
    let again = format!("avouch run corrects it; or nats consumer rm {} {name}, and it is made anew", stream.name);
    if c.ack_policy != "explicit" {
        let meaning = format!("its ack policy is {}: acknowledgements of single messages are not told", c.ack_policy);
        findings.push(HERE.problem("ack_policy", "", &meaning, &again));
    }
    let wanted = filters(stream, durable);
    let have: Vec<&String> = c.filter_subject.iter().filter(|s| !s.is_empty()).chain(&c.filter_subjects).collect();
    let lacking: Vec<&str> = wanted.iter().filter(|w| !have.contains(w)).map(String::as_str).collect();
    if !lacking.is_empty() && !have.is_empty() {
        let meaning = format!("it does not take {}: those messages never come to it", lacking.join(", "));
        findings.push(HERE.problem("filters", "", &meaning, &again));
    } else if have.len() != wanted.len() {
        let meaning = "it takes other subjects than the file says";
        findings.push(HERE.warning("filters", "", meaning, &again));
    }
    if c.max_ack_pending > 0 && there.num_ack_pending >= c.max_ack_pending {
        let meaning = format!(
            "{} deliveries wait to be acknowledged, as many as may: it gets nothing more",
            there.num_ack_pending
        );
        let remedy = "see why its processes do not acknowledge; or raise consumer.NAME.max_ack_pending";
        findings.push(HERE.warning("ack_pending", "", &meaning, remedy));
    }
    let is_held = books.iter().flat_map(|b| &b.holds).any(|h| h.kind == "consumer" && h.name == *name);
    if there.paused && !is_held {
        let meaning = "it is paused, and not by avouch pause: it gets nothing";
        findings.push(HERE.warning("paused", "", meaning, &format!("nats consumer resume {} {name}", stream.name)));
    }
    findings
}

fn filters(stream: &Stream, durable: &Durable) -> Vec<String> {
    let prefix = &stream.wanted.subject_prefix;
    let mut filters: Vec<String> = durable.wanted.topics.iter().map(|topic| format!("{prefix}.{topic}")).collect();
    filters.push(format!("{}.{}.>", stream.wanted.redo_prefix(), durable.wanted.name));
    filters
}
