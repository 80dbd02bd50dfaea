//! Whether the NATS servers, the account and its streams serve the configured installation well.

use super::durables;
use super::finding::{Area, Finding};
use super::overlap::{others, unasked};
use super::settings::horizon_ms;
use crate::broker::permissions::{Direction, Need};
use crate::broker::streams::{Config as Wanted, Manage};
use crate::broker::survey::{Account, Found, Server, StreamConfig, StreamFacts};
use crate::config::Config;
use crate::store::survey::Books;

pub const HERE: Area = Area::Nats;
/// The oldest release with the JetStream API that the runtime speaks.
const VERSION_MIN: (u32, u32) = (2, 11);
const NS_PER_S: i64 = 1_000_000_000;

/// A stream of the configuration, and what is there.
pub struct Stream {
    pub name: String,
    pub wanted: Wanted,
    /// Its consumers of the configuration, each with what is there.
    pub durables: Vec<durables::Durable>,
    pub found: Found<StreamFacts>,
    /// Streams that take its subjects; asked only where something is wrong.
    pub takers: Found<Vec<String>>,
}

/// What was asked of the broker.
pub struct Facts {
    pub server: Server,
    pub denied: Vec<Need>,
    pub account: Found<Account>,
    pub streams: Vec<Stream>,
    /// The stream of acknowledgements, if anybody is waited for.
    pub events: Option<(String, Found<StreamFacts>)>,
}

/// What follows. `books` are those of the databases that could be read.
pub fn judge(config: &Config, facts: &Facts, books: &[Books]) -> Vec<Finding> {
    let mut findings = server(&facts.server);
    if !facts.server.has_jetstream {
        return findings;
    }
    findings.extend(permissions(&facts.denied));
    findings.extend(account(&facts.account));
    for stream in &facts.streams {
        let whole = format!("stream {}", stream.name);
        let of_stream = stream_findings(config, facts, stream, books);
        findings.extend(of_stream.into_iter().map(|f| f.within(&whole)));
        if matches!(stream.found, Found::There(_)) {
            findings.extend(stream.durables.iter().flat_map(|d| durables::judge(stream, d, books)));
        }
    }
    findings.extend(facts.events.iter().filter_map(|(name, found)| events(name, found, books)));
    findings.push(sync(&facts.server));
    findings
}

fn server(s: &Server) -> Vec<Finding> {
    let object = format!("nats-server {}", s.version);
    let mut parts = s.version.split(['.', '-']).map(|p| p.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let mut findings = vec![if version < VERSION_MIN {
        let meaning = "Avouch needs 2.11 or newer: it pauses consumers and reads their events";
        HERE.problem("version", &object, meaning, "upgrade the servers, one after another")
    } else {
        let cluster = s.cluster.as_ref().map_or_else(|| "alone".to_owned(), |c| format!("in cluster {c}"));
        HERE.fine("version", &object, &format!("{} runs {cluster}, takes messages of {} bytes", s.name, s.max_payload))
    }];
    if !s.has_jetstream {
        let remedy = "add jetstream { store_dir: … } to its configuration, or connect to a server that has it";
        findings.push(HERE.problem("jetstream", &object, "JetStream is not enabled: nothing can be sent", remedy));
    }
    findings
}

fn permissions(denied: &[Need]) -> Vec<Finding> {
    let (vital, other): (Vec<&Need>, Vec<&Need>) = denied.iter().partition(|n| n.is_vital);
    let verb = |need: &Need| match need.direction {
        Direction::Publish => "publish to",
        Direction::Subscribe => "subscribe to",
    };
    let mut findings: Vec<Finding> = Vec::new();
    for need in &vital {
        let object = format!("{} {}", verb(need), need.subject);
        if findings.iter().any(|f| f.object == object) {
            continue;
        }
        let meaning = format!("the login may not (tried {}): {}", need.probe.subject, need.for_what);
        let remedy = format!("allow its user to {} {}: docs/permissions.md", verb(need), need.subject);
        findings.push(HERE.problem("permission", &object, &meaning, &remedy));
    }
    if vital.is_empty() {
        findings.push(HERE.fine(
            "permission",
            "permissions",
            "the login may do all that the configuration makes use of",
        ));
    }
    for need in other {
        let remedy = format!("allow avouch doctor to {} {}, if you want to know", verb(need), need.subject);
        findings.push(HERE.note(
            "permission_to_look",
            &format!("{} {}", verb(need), need.subject),
            &need.for_what,
            &remedy,
        ));
    }
    findings
}

fn account(found: &Found<Account>) -> Option<Finding> {
    let account = match found {
        Found::There(account) => account,
        // No account of its own, or more than it may say.
        Found::Missing | Found::Denied | Found::Unknown(_) => return None,
    };
    let near = |used: u64, max: i64| u64::try_from(max).is_ok_and(|max| max > 0 && used >= max / 5 * 4);
    let limits = &account.limits;
    let full = |used: i64, max: i64| max > 0 && used >= max;
    let remedy = "raise the account's limits, or remove what nobody needs";
    if near(account.storage, limits.max_storage) {
        let meaning = format!(
            "{} of {} bytes are used: a full account refuses every message",
            account.storage, limits.max_storage
        );
        Some(HERE.warning("account", "account", &meaning, remedy))
    } else if full(account.streams, limits.max_streams) || full(account.consumers, limits.max_consumers) {
        let meaning = format!(
            "{} of {} streams, {} of {} consumers: a lost one could not be made again",
            account.streams, limits.max_streams, account.consumers, limits.max_consumers
        );
        Some(HERE.note("account", "account", &meaning, remedy))
    } else {
        Some(HERE.fine(
            "account",
            "account",
            &format!("{} streams, {} consumers, {} MB", account.streams, account.consumers, account.storage >> 20),
        ))
    }
}

fn stream_findings(config: &Config, facts: &Facts, stream: &Stream, books: &[Books]) -> Vec<Finding> {
    match &stream.found {
        Found::Denied => Vec::new(),
        Found::Unknown(why) => {
            let remedy = "see to what it says: without it, the runtime cannot use the stream either";
            vec![HERE.problem("stream", "", &format!("could not be looked at: {why}"), remedy)]
        }
        Found::Missing => [missing(stream, books)].into_iter().chain(unasked(stream)).collect(),
        Found::There(there) => {
            let mut findings = contract(stream, &there.config);
            findings.extend(unasked(stream));
            findings.extend(window(config, stream, &there.config));
            findings.extend(durability(facts, there));
            findings.extend(room(facts, there));
            findings.extend(identity(stream, there, books));
            if findings.is_empty() {
                findings.push(HERE.fine(
                    "stream",
                    "",
                    &format!("{} messages, {} bytes", there.state.messages, there.state.bytes),
                ));
            }
            findings
        }
    }
}

fn missing(stream: &Stream, books: &[Books]) -> Finding {
    let others = others(stream);
    let subjects = format!("{}.>", stream.wanted.subject_prefix);
    if !others.is_empty() {
        let meaning =
            format!("it is not there, and {} takes its subjects {subjects}: it cannot be made", others.join(", "));
        return HERE.problem("stream", "", &meaning, "name that stream in the file, or take the subjects away from it");
    }
    let is_known = books.iter().any(|b| b.streams.iter().any(|s| s.name == stream.name));
    match stream.wanted.manage {
        Manage::Verify => {
            let remedy = format!("make it: nats stream add {} --subjects '{subjects}' --discard new", stream.name);
            HERE.problem("stream", "", "it is not there, and manage = \"verify\" leaves it to you", &remedy)
        }
        Manage::Create if is_known => {
            let meaning =
                "it was there, and is not any more: avouch run makes it anew, and sends what is not consumed again";
            HERE.problem("stream", "", meaning, "find out who deleted it; start avouch run, or look at its log")
        }
        Manage::Create => HERE.note("stream", "", "it is not there yet", "avouch run makes it"),
    }
}

/// What the runtime refuses to use, or could lose messages by.
fn contract(stream: &Stream, c: &StreamConfig) -> Vec<Finding> {
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
fn window(config: &Config, stream: &Stream, c: &StreamConfig) -> Vec<Finding> {
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

fn durability(facts: &Facts, there: &StreamFacts) -> Vec<Finding> {
    let (c, mut findings) = (&there.config, Vec::new());
    if c.num_replicas == 1 && facts.server.cluster.is_some() {
        let meaning = "one server of the cluster keeps it: while that is down, nothing is sent";
        findings.push(HERE.warning(
            "replicas",
            "",
            meaning,
            "nats stream edit --replicas 3, and replicas = 3 in the file",
        ));
    }
    if c.storage != "file" {
        let meaning = "it is in memory: a restart of its server loses it, and all that is not consumed is sent again";
        findings.push(HERE.warning("storage", "", meaning, "make it anew with --storage file"));
    }
    if c.persist_mode.as_deref() == Some("async") {
        let meaning = "persist_mode is async: it acknowledges before it writes; what a crash loses is sent again";
        findings.push(HERE.note("persist_mode", "", meaning, "leave it, or make it anew without"));
    }
    let Some(peers) = &there.cluster else { return findings };
    if peers.leader.as_deref().unwrap_or("").is_empty() {
        let meaning = "it has no leader: nothing is sent until most of its servers are back";
        findings.push(HERE.problem("leader", "", meaning, "nats stream cluster, and the logs of its servers"));
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

fn room(facts: &Facts, there: &StreamFacts) -> Vec<Finding> {
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
fn identity(stream: &Stream, there: &StreamFacts, books: &[Books]) -> Option<Finding> {
    let created_us = i64::try_from(there.created.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    let known = books.iter().flat_map(|b| &b.streams).filter(|s| s.name == stream.name);
    let is_other = known.into_iter().any(|s| s.created_us != created_us);
    let meaning = "it was made anew since the runtime looked at it last: what it held is lost, and is sent again once a runtime sees it";
    let remedy = "find out who deleted it; start avouch run; avouch status shows the loss and what was sent again";
    is_other.then(|| HERE.warning("identity", "", meaning, remedy))
}

fn events(name: &str, found: &Found<StreamFacts>, books: &[Books]) -> Option<Finding> {
    let object = format!("stream {name}");
    match found {
        Found::Denied => None,
        Found::There(there) if there.state.messages == 0 => {
            Some(HERE.fine("events", &object, "keeps what is acknowledged"))
        }
        Found::There(there) => {
            Some(HERE.fine("events", &object, &format!("keeps {} acknowledgements", there.state.messages)))
        }
        Found::Missing if books.iter().any(|b| b.consumers.iter().any(|c| c.has_started)) => {
            let meaning = "it is gone: acknowledgements since then are not seen, and their messages are sent again";
            Some(HERE.problem("events", &object, meaning, "start avouch run, which makes it; find out who deleted it"))
        }
        Found::Missing => Some(HERE.note("events", &object, "it is not there yet", "avouch run makes it")),
        Found::Unknown(why) => {
            let meaning = format!("could not be looked at: {why}");
            Some(HERE.problem("events", &object, &meaning, "see to what it says: acknowledgements are read from there"))
        }
    }
}

/// A login of an account cannot ask; see section "A broker that forgets" of docs/operating.md.
fn sync(s: &Server) -> Finding {
    let meaning = "how often it syncs its disk cannot be asked without a system account; by default every two minutes, so that a power \
                   failure takes messages back that were acknowledged. They are noticed and sent again";
    let remedy = "leave it; or set jetstream { sync_interval: always }, for a thirtieth of the throughput";
    HERE.note("sync_interval", &format!("nats-server {}", s.version), meaning, remedy)
}

#[cfg(test)]
mod tests;
