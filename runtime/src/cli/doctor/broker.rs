//! Whether the NATS servers, the account and its streams serve the configured installation well.

use super::durables;
use super::finding::{Area, Finding};
use super::overlap::{others, unasked};
use super::{bucket, contract, dead};
use crate::broker::permissions::{Direction, Need};
use crate::broker::streams::{Config as Wanted, Manage};
use crate::broker::survey::{Account, Found, Server, StreamFacts};
use crate::config::Config;
use crate::store::survey::Books;

pub const HERE: Area = Area::Nats;
/// The oldest release with the JetStream API that the runtime speaks.
const VERSION_MIN: (u32, u32) = (2, 11);

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
    /// The bucket of what consumers did, if it is used.
    pub bucket: Option<Found<StreamFacts>>,
    /// The stream of dead letters, if there is to be one.
    pub dead: Option<Stream>,
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
    findings.extend(facts.bucket.iter().flat_map(|found| bucket::judge(config, facts, found)));
    findings.extend(facts.dead.iter().flat_map(|stream| dead::judge(facts, stream, books)));
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
            let mut findings = contract::judge(stream, &there.config);
            findings.extend(unasked(stream));
            findings.extend(contract::window(config, stream, &there.config));
            findings.extend(contract::durability(facts, there));
            findings.extend(contract::room(facts, there));
            findings.extend(contract::identity(stream, there, books));
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

pub fn missing(stream: &Stream, books: &[Books]) -> Finding {
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
