//! Whether programs get the copies of dead messages that `recovery.dead_stream` promises them.

use super::broker::{Facts, HERE, Stream, missing};
use super::contract::{NS_PER_S, copies, judge as contract};
use super::finding::Finding;
use super::overlap::unasked;
use crate::broker::survey::{Found, StreamFacts};
use crate::store::survey::Books;

/// What follows.
pub fn judge(facts: &Facts, stream: &Stream, books: &[Books]) -> Vec<Finding> {
    let whole = format!("stream {}", stream.name);
    let findings = match &stream.found {
        Found::Denied => Vec::new(),
        Found::Unknown(why) => {
            let meaning = format!("could not be looked at: {why}");
            vec![HERE.problem("dead_stream", "", &meaning, "see to what it says: dead letters are copied to it")]
        }
        Found::Missing => [missing(stream, books)].into_iter().chain(unasked(stream)).collect(),
        Found::There(there) => {
            let mut findings = contract(stream, &there.config);
            findings.extend(kept(facts, stream, there));
            findings.extend(copies(there, "dead letters are not copied"));
            if findings.is_empty() {
                findings.push(HERE.fine("dead_stream", "", &format!("{} dead letters", there.state.messages)));
            }
            findings
        }
    };
    findings.into_iter().map(|f| f.within(&whole)).collect()
}

fn kept(facts: &Facts, stream: &Stream, there: &StreamFacts) -> Vec<Finding> {
    let (c, name, mut findings) = (&there.config, &stream.name, Vec::new());
    if c.num_replicas == 1 && facts.server.cluster.is_some() {
        let meaning = "one server of the cluster keeps it: while that is down, dead letters are not copied";
        findings.push(HERE.warning("replicas", "", meaning, &format!("nats stream edit {name} --replicas 3")));
    }
    if c.storage != "file" {
        let meaning = "it is in memory: a restart of its server loses dead letters, and they are not copied again";
        findings.push(HERE.warning("storage", "", meaning, "make it anew with --storage file"));
    }
    let (has_s, wanted_s) = (c.max_age / NS_PER_S, i64::try_from(stream.wanted.max_age_s).unwrap_or(i64::MAX));
    if c.max_age > 0 && has_s < wanted_s {
        let meaning = format!(
            "it keeps dead letters for {has_s} s, where avouch run would have made it for {wanted_s}: a program that is away for \
             longer never sees them, and they are not copied again"
        );
        let remedy = format!("nats stream edit {name} --max-age {wanted_s}s");
        findings.push(HERE.warning("max_age", "", &meaning, &remedy));
    }
    findings
}
