//! Whether a stream that is there keeps what it must: what it takes and drops, how long it remembers, its copies, how full it is, and
//! whether it is still the one that it was.

use super::broker::{Facts, HERE, Stream};
use super::finding::Finding;
use super::overlap::others;
use super::settings::horizon_ms;
use crate::broker::survey::{StreamConfig, StreamFacts};
use crate::config::Config;
use crate::store::survey::Books;

pub const NS_PER_S: i64 = 1_000_000_000;

/// What the runtime refuses to use, or could lose messages by.
pub fn judge(stream: &Stream, c: &StreamConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut subjects = vec![format!("{}.>", stream.wanted.subject_prefix)];
    subjects.extend(stream.durables.iter().map(|d| format!("{}.{}.>", stream.wanted.redo_prefix(), d.wanted.name)));
    for subject in subjects.iter().filter(|s| !c.takes(s)) {
        let others = others(stream).join(", ");
        let others = if others.is_empty() { String::new() } else { format!(", and {others} does") };
        let meaning = format!("it does not take {subject}{others}: what is sent there is not stored in it");
        let remedy = format!("nats stream edit {} --subjects '…,{subject}'", stream.name);
        findings.push(HERE.problem("subjects", "", &meaning, &remedy));
    }
    let edit = |what: &str| format!("nats stream edit {} {what}", stream.name);
    if c.retention != "limits" {
        let meaning =
            format!("its retention is {}: it forgets ids, and messages that no consumer waits for", c.retention);
        findings.push(HERE.problem(
            "retention",
            "",
            &meaning,
            "retention cannot be edited: make it anew, with --retention limits",
        ));
    }
    if c.discard != "new" && (c.max_bytes > 0 || c.max_msgs > 0) {
        let meaning = "it discards the oldest messages when it is full, consumed or not";
        findings.push(HERE.problem("discard", "", meaning, &edit("--discard new")));
    } else if c.discard != "new" {
        let meaning = "it would discard the oldest messages, consumed or not, as soon as somebody bounds it";
        findings.push(HERE.warning("discard", "", meaning, &edit("--discard new")));
    }
    for (is_wrong, what) in
        [(c.no_ack, "it acknowledges nothing"), (c.sealed, "it is sealed"), (c.mirror.is_some(), "it is a mirror")]
    {
        if is_wrong {
            let meaning = format!("{what}: no message is ever known to be stored in it");
            findings.push(HERE.problem("stream", "", &meaning, "name another stream in the file, or make it anew"));
        }
    }
    findings
}

/// How long it remembers ids and keeps messages.
pub fn window(config: &Config, stream: &Stream, c: &StreamConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let needed_s = i64::try_from(horizon_ms(config).div_ceil(1000)).unwrap_or(i64::MAX);
    let wanted_s = i64::try_from(stream.wanted.duplicate_window_s).unwrap_or(i64::MAX);
    let edit = |s: i64| format!("nats stream edit {} --dupe-window {s}s", stream.name);
    let has_s = c.duplicate_window / NS_PER_S;
    if has_s < needed_s {
        let meaning = format!(
            "it remembers ids for {has_s} s, and a publish whose answer was lost may be tried again after {needed_s} s: it would be \
             stored twice"
        );
        findings.push(HERE.warning("duplicate_window", "", &meaning, &edit(wanted_s.max(needed_s))));
    } else if has_s < wanted_s {
        let meaning = format!(
            "it remembers ids for {has_s} s, and the file says {wanted_s}: an existing stream is used as it is"
        );
        findings.push(HERE.note("duplicate_window", "", &meaning, &edit(wanted_s)));
    }
    let resent_s = stream.durables.iter().map(|d| d.resent_ms.div_ceil(1000)).max().unwrap_or(0);
    let (kept_s, resent_s) = (c.max_age / NS_PER_S, i64::try_from(resent_s).unwrap_or(i64::MAX));
    if kept_s > 0 && kept_s < resent_s {
        let meaning = format!(
            "it keeps messages for {kept_s} s, and its consumers' deadlines add up to {resent_s} s: they expire before"
        );
        let remedy = format!("nats stream edit {} --max-age {resent_s}s", stream.name);
        findings.push(HERE.warning("max_age", "", &meaning, &remedy));
    }
    findings
}

/// Who keeps it.
pub fn durability(facts: &Facts, there: &StreamFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if there.config.num_replicas == 1 && facts.server.cluster.is_some() {
        let meaning = "one server of the cluster keeps it: while that is down, nothing is sent";
        findings.push(HERE.warning(
            "replicas",
            "",
            meaning,
            "nats stream edit --replicas 3, and replicas = 3 in the file",
        ));
    }
    if there.config.storage != "file" {
        let meaning = "it is in memory: a restart of its server loses it, and all that is not consumed is sent again";
        findings.push(HERE.warning("storage", "", meaning, "make it anew with --storage file"));
    }
    if there.config.persist_mode.as_deref() == Some("async") {
        let meaning = "persist_mode is async: it acknowledges before it writes; what a crash loses is sent again";
        findings.push(HERE.note("persist_mode", "", meaning, "leave it, or make it anew without"));
    }
    findings.extend(copies(there, "nothing is sent"));
    findings
}

/// Whether its servers are there, and what does not go on without them.
pub fn copies(there: &StreamFacts, stops: &str) -> Vec<Finding> {
    let (Some(peers), mut findings) = (&there.cluster, Vec::new()) else { return Vec::new() };
    if peers.leader.as_deref().unwrap_or("").is_empty() {
        let meaning = format!("it has no leader: {stops} until most of its servers are back");
        findings.push(HERE.problem("leader", "", &meaning, "nats stream cluster, and the logs of its servers"));
    }
    for peer in peers.replicas.iter().filter(|p| p.offline || !p.current) {
        let meaning = format!(
            "server {} is {}: one more failure may stop it",
            peer.name,
            if peer.offline { "gone" } else { "behind" }
        );
        findings.push(HERE.warning("replica_behind", "", &meaning, "look at that server's log"));
    }
    findings
}

/// How full it is.
pub fn room(facts: &Facts, there: &StreamFacts) -> Vec<Finding> {
    let (c, state, mut findings) = (&there.config, &there.state, Vec::new());
    let share =
        |used: u64, max: i64| u64::try_from(max).ok().filter(|max| *max > 0).map(|max| used.saturating_mul(100) / max);
    let full = share(state.bytes, c.max_bytes).max(share(state.messages, c.max_msgs));
    let remedy =
        "see which consumer is behind (avouch consumer list), or raise max_bytes or max_messages of the stream";
    match full {
        Some(percent) if percent >= 95 => {
            let meaning = format!("{percent} % full: it refuses messages, and they wait in the outbox");
            findings.push(HERE.problem("full", "", &meaning, remedy));
        }
        Some(percent) if percent >= 80 => {
            let meaning = format!("{percent} % full of messages that some consumer has not settled");
            findings.push(HERE.warning("full", "", &meaning, remedy));
        }
        Some(_) => {}
        None => {
            let meaning = "it has no max_bytes: a full disk is its bound, and stops every stream of the server";
            findings.push(HERE.note(
                "unbounded",
                "",
                meaning,
                "nats stream edit --max-bytes, and max_bytes in the file",
            ));
        }
    }
    if c.max_msg_size > 0 && usize::try_from(c.max_msg_size).is_ok_and(|max| max < facts.server.max_payload) {
        let meaning = format!(
            "it takes messages of at most {} bytes, the server of {}: larger ones are dead",
            c.max_msg_size, facts.server.max_payload
        );
        findings.push(HERE.note(
            "max_msg_size",
            "",
            &meaning,
            "nats stream edit --max-msg-size=-1, unless that is meant",
        ));
    }
    findings
}

/// Whether it is the stream that the database knows.
pub fn identity(stream: &Stream, there: &StreamFacts, books: &[Books]) -> Option<Finding> {
    let created_us = i64::try_from(there.created.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    let known = books.iter().flat_map(|b| &b.streams).filter(|s| s.name == stream.name);
    let is_other = known.into_iter().any(|s| s.created_us != created_us);
    let meaning = "it was made anew since the runtime looked at it last: what it held is lost, and is sent again once a runtime sees it";
    let remedy = "find out who deleted it; start avouch run; avouch status shows the loss and what was sent again";
    is_other.then(|| HERE.warning("identity", "", meaning, remedy))
}
