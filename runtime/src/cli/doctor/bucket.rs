//! Whether the bucket of what consumers did, `[inbox] store = "kv"`, keeps it for long enough, and is there when they ask.

use super::broker::{Facts, HERE};
use super::contract::{NS_PER_S, copies};
use super::finding::Finding;
use crate::broker::streams::Manage;
use crate::broker::survey::{Found, StreamConfig, StreamFacts};
use crate::config::Config;

/// What follows.
pub fn judge(config: &Config, facts: &Facts, found: &Found<StreamFacts>) -> Vec<Finding> {
    let whole = format!("bucket {}", config.inbox.kv.bucket);
    let findings = match found {
        Found::Denied => Vec::new(),
        Found::Unknown(why) => {
            let meaning = format!("could not be looked at: {why}");
            vec![HERE.problem(
                "bucket",
                "",
                &meaning,
                "see to what it says: consumers that ask are not answered without it",
            )]
        }
        Found::Missing => vec![missing(config)],
        Found::There(there) => {
            let mut findings = refused(config, &there.config);
            findings.extend(durability(facts, there, &config.inbox.kv.bucket));
            findings.extend(copies(there, "consumers that ask are not answered"));
            if findings.is_empty() {
                findings.push(HERE.fine("bucket", "", &format!("{} records", there.state.messages)));
            }
            findings
        }
    };
    findings.into_iter().map(|f| f.within(&whole)).collect()
}

fn missing(config: &Config) -> Finding {
    let kv = &config.inbox.kv;
    match kv.manage {
        Manage::Create => HERE.note("bucket", "", "it is not there yet", "avouch run makes it when a consumer asks"),
        Manage::Verify => {
            let meaning = "it is not there, and inbox.kv.manage = \"verify\" leaves it to you: consumers that ask are not answered";
            let ttl = match config.inbox.keep_hours {
                0 => String::new(),
                hours => format!(" --ttl {hours}h"),
            };
            HERE.problem(
                "bucket",
                "",
                meaning,
                &format!("make it: nats kv add {} --replicas {}{ttl}", kv.bucket, kv.replicas),
            )
        }
    }
}

/// For what the runtime refuses it, in its words.
fn refused(config: &Config, c: &StreamConfig) -> Vec<Finding> {
    let (bucket, hours) = (&config.inbox.kv.bucket, config.inbox.keep_hours);
    let edit = |what: &str| format!("nats stream edit KV_{bucket} {what}");
    let mut findings = Vec::new();
    let keep_ns = i64::try_from(hours).unwrap_or(i64::MAX).saturating_mul(3600 * NS_PER_S);
    if c.max_age > 0 && (hours == 0 || c.max_age < keep_ns) {
        let (demanded, remedy) = match hours {
            0 => ("for good".to_owned(), edit("--max-age 0s")),
            hours => (format!("for {hours} h"), edit(&format!("--max-age {hours}h"))),
        };
        let meaning = format!(
            "it forgets records after {} s, and inbox.keep_hours keeps them {demanded}: the runtime refuses it, and consumers that ask \
             are not answered",
            c.max_age / NS_PER_S
        );
        findings.push(HERE.problem("bucket_ttl", "", &meaning, &remedy));
    }
    let rename = "name a bucket of its own in inbox.kv.bucket";
    for (is_wrong, what, remedy) in [
        (c.max_msgs_per_subject < 1, "it is a stream and no bucket", rename.to_owned()),
        (c.mirror.is_some(), "it is a mirror", "name the bucket itself in inbox.kv.bucket".to_owned()),
        (c.no_ack, "it acknowledges nothing", rename.to_owned()),
        (
            c.discard != "new" && (c.max_bytes > 0 || c.max_msgs > 0),
            "it forgets old records when it is full",
            edit("--discard new"),
        ),
    ] {
        if is_wrong {
            let meaning = format!("{what}: the runtime refuses it, and consumers that ask are not answered");
            findings.push(HERE.problem("bucket", "", &meaning, &remedy));
        }
    }
    findings
}

fn durability(facts: &Facts, there: &StreamFacts, bucket: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if there.config.num_replicas == 1 && facts.server.cluster.is_some() {
        let meaning = "one server of the cluster keeps it: while that is down, consumers that ask are not answered; if it is lost, what was \
                       done is done again";
        let remedy = format!("nats stream edit KV_{bucket} --replicas 3, and inbox.kv.replicas = 3 in the file");
        findings.push(HERE.warning("replicas", "", meaning, &remedy));
    }
    if there.config.storage != "file" {
        let meaning = "it is in memory: a restart of its server forgets what was done, and it is done again";
        findings.push(HERE.warning(
            "storage",
            "",
            meaning,
            "make it anew with --storage file, and inbox.kv.memory = false",
        ));
    }
    findings
}
