//! Which subjects the runtime uses, and which of them its login may not: each is tried with a request that can do nothing.
//!
//! A server looks at a login's permissions before anything else. What arrives is then refused for what it says: JSON that ends in
//! the middle, a stream that it expects and nobody has, a consumer that is not there.

use std::collections::BTreeSet;

use super::streams::{Config, Manage, Purge};

/// What a login needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is to be done there.
    pub direction: Direction,
    /// The subject to allow.
    pub subject: String,
    /// What does not work without it.
    pub for_what: String,
    /// What is tried.
    pub probe: Probe,
    /// Whether the runtime needs it, and not only who looks at it.
    pub is_vital: bool,
}

/// What is to be done on a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Publish, or ask.
    Publish,
    /// Subscribe.
    Subscribe,
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where.
    pub subject: String,
    /// What is published there.
    pub body: Body,
}

/// What can do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A request that only looks.
    Look,
    /// The beginning of a JSON object: refused as unreadable by whatever would act.
    Broken,
    /// Asks to purge in a way that contradicts itself, what no stream has, up to the first message.
    PurgeNothing,
    /// A message for a stream that nobody has: refused by every other.
    ForNobody,
}

/// What the configuration makes use of.
#[derive(Debug, Default)]
pub struct Uses {
    /// `$JS.API`, or that of a domain.
    pub api: String,
    /// Streams with their consumers.
    pub streams: Vec<(String, Config, Vec<String>)>,
    /// The durable that is read for outside parties, with its stream, if they are told.
    pub fed: Option<(String, String)>,
    /// The stream of acknowledgements, if anybody is waited for.
    pub events: Option<String>,
    /// The bucket of what consumers did, if it is used, and who makes it.
    pub bucket: Option<(String, Manage)>,
    /// The stream of dead letters, with its subject prefix.
    pub dead: Option<(String, String)>,
    /// What the subjects of producers and consumers that ask begin with, if they are served.
    pub control: Option<String>,
    /// Where answers arrive.
    pub inbox: String,
}

/// Where it is asked which streams take a subject.
pub(super) const NAMES: &str = "STREAM.NAMES";
/// A name that no consumer, topic or stream of anybody has.
const NOBODY: &str = "avouch-doctor";

impl Body {
    /// The bytes.
    pub fn text(self) -> &'static str {
        match self {
            Self::Look => "{}",
            Self::Broken => "{-",
            Self::PurgeNothing => r#"{"filter":"avouch-doctor.nothing","seq":1,"keep":1}"#,
            Self::ForNobody => "",
        }
    }
}

impl Uses {
    /// All that the runtime needs, and what only this survey asks.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = vec![
            self.subscribe(format!("{}.>", self.inbox), format!("{}.{NOBODY}", self.inbox), "no answer arrives"),
            Need { is_vital: false, ..self.api_need("INFO", "INFO", Body::Look, "the account's limits are not known") },
            Need {
                is_vital: false,
                ..self.api_need(NAMES, NAMES, Body::Look, "streams that take our subjects are not known")
            },
        ];
        for (name, config, consumers) in &self.streams {
            needs.extend(self.of_stream(name, config));
            if !consumers.is_empty() {
                needs.extend(self.of_durables(name, config, consumers));
            }
        }
        if let Some((stream, durable)) = &self.fed {
            needs.extend(self.of_reading(stream, durable, "outside parties are told nothing"));
        }
        needs.extend(self.events.iter().flat_map(|name| self.of_events(name)));
        needs.extend(self.bucket.iter().flat_map(|(name, manage)| self.of_bucket(name, *manage)));
        if let Some((name, prefix)) = &self.dead {
            needs.push(publish(format!("{prefix}.>"), format!("{prefix}.{NOBODY}"), "dead letters are not copied"));
            needs.extend(self.of_stream_itself(name, Manage::Create));
        }
        if let Some(prefix) = &self.control {
            let why = "producers, and consumers that ask, are not answered (or set control.enabled = false)";
            needs.push(self.subscribe(format!("{prefix}.v1.>"), format!("{prefix}.v1.{NOBODY}"), why));
            needs.push(self.subscribe("$SRV.>".into(), format!("$SRV.PING.{NOBODY}"), "the service is not found"));
        }
        let mut seen = BTreeSet::new();
        needs.retain(|n| seen.insert((n.direction == Direction::Publish, n.subject.clone(), n.probe.subject.clone())));
        needs
    }

    fn of_stream(&self, name: &str, config: &Config) -> Vec<Need> {
        let (prefix, nothing) = (&config.subject_prefix, "nothing is sent");
        let mut needs = vec![publish(format!("{prefix}.>"), format!("{prefix}.{NOBODY}"), nothing)];
        needs.extend(self.of_stream_itself(name, config.manage));
        let get = format!("STREAM.MSG.GET.{name}");
        needs.push(self.api_need(&get, &get, Body::Broken, "duplicates and losses cannot be told"));
        if config.purge == Purge::Pressure {
            let why = "a nearly full stream is not relieved (or set purge = \"never\")";
            let (list, purge) = (format!("CONSUMER.LIST.{name}"), format!("STREAM.PURGE.{name}"));
            needs.push(self.api_need(&list, &list, Body::Look, why));
            needs.push(self.api_need(&purge, &purge, Body::PurgeNothing, why));
        }
        needs
    }

    fn of_stream_itself(&self, name: &str, manage: Manage) -> Vec<Need> {
        let (info, create) = (format!("STREAM.INFO.{name}"), format!("STREAM.CREATE.{name}"));
        let mut needs = vec![self.api_need(&info, &info, Body::Look, "the stream is never opened, so nothing is sent")];
        if manage == Manage::Create {
            let why = "a missing stream is not made (or make it yourself, manage = \"verify\")";
            needs.push(self.api_need(&create, &create, Body::Broken, why));
        }
        needs
    }

    fn of_durables(&self, name: &str, config: &Config, consumers: &[String]) -> Vec<Need> {
        let redo = config.redo_prefix();
        let again = "what a consumer missed is not sent again";
        let mut needs = vec![publish(format!("{redo}.>"), format!("{redo}.{NOBODY}.{NOBODY}"), again)];
        let update = format!("STREAM.UPDATE.{name}");
        let why = "the stream does not get the subjects of what is sent again";
        needs.push(self.api_need(&update, &update, Body::Broken, why));
        let all = format!("CONSUMER.*.{name}.>");
        for consumer in consumers {
            let why = format!("the durable of {consumer} is neither made nor followed");
            needs.push(self.api_need(&all, &format!("CONSUMER.INFO.{name}.{consumer}"), Body::Look, &why));
            needs.push(self.api_need(&all, &format!("CONSUMER.CREATE.{name}.{consumer}"), Body::Broken, &why));
        }
        // Of a consumer that is not there: what is broken counts as empty in some versions, and would resume it.
        let why = "consumers cannot be paused";
        needs.push(self.api_need(&all, &format!("CONSUMER.PAUSE.{name}.{NOBODY}"), Body::Broken, why));
        needs
    }

    fn of_events(&self, name: &str) -> Vec<Need> {
        let why = "acknowledgements are not seen: nothing becomes consumed";
        let stream = format!("STREAM.*.{name}");
        let reader = format!("CONSUMER.*.{name}.>");
        let of_stream = [("INFO", Body::Look), ("CREATE", Body::Broken), ("UPDATE", Body::Broken)];
        let of_reader = [("INFO", Body::Look), ("CREATE", Body::Broken), ("DELETE", Body::Look)];
        let streams = of_stream.map(|(verb, body)| self.api_need(&stream, &format!("STREAM.{verb}.{name}"), body, why));
        let readers = of_reader
            .map(|(verb, body)| self.api_need(&reader, &format!("CONSUMER.{verb}.{name}.{NOBODY}"), body, why));
        streams.into_iter().chain(readers).chain(self.of_reading(name, ">", why)).collect()
    }

    /// Reading a durable, or any.
    fn of_reading(&self, stream: &str, durable: &str, why: &str) -> [Need; 2] {
        let (next, ack) = (format!("CONSUMER.MSG.NEXT.{stream}"), format!("$JS.ACK.{stream}"));
        let probed = if durable == ">" { NOBODY } else { durable };
        let acks = if durable == ">" { format!("{ack}.>") } else { format!("{ack}.{durable}.>") };
        // A request that can be read would get a message, and a place that can be read would acknowledge one.
        let next = self.api_need(&format!("{next}.{durable}"), &format!("{next}.{probed}"), Body::Broken, why);
        [next, publish(acks, format!("{ack}.{probed}.{NOBODY}"), why)]
    }

    fn of_bucket(&self, bucket: &str, manage: Manage) -> Vec<Need> {
        let why = "consumers that ask are not answered";
        let stream = format!("KV_{bucket}");
        let kv = if self.api == "$JS.API" { "$KV".to_owned() } else { format!("{}.$KV", self.api) };
        let get = format!("STREAM.MSG.GET.{stream}");
        let mut needs = self.of_stream_itself(&stream, manage);
        needs.push(publish(format!("{kv}.{bucket}.>"), format!("{kv}.{bucket}.{NOBODY}.{NOBODY}"), why));
        needs.push(self.api_need(&get, &get, Body::Broken, why));
        needs
    }

    fn api_need(&self, subject: &str, probe: &str, body: Body, for_what: &str) -> Need {
        let (subject, probe) = (format!("{}.{subject}", self.api), format!("{}.{probe}", self.api));
        Need { probe: Probe { subject: probe, body }, ..publish(subject, String::new(), for_what) }
    }

    fn subscribe(&self, subject: String, probe: String, for_what: &str) -> Need {
        Need { direction: Direction::Subscribe, ..publish(subject, probe, for_what) }
    }
}

/// A message.
fn publish(subject: String, probe: String, for_what: &str) -> Need {
    let probe = Probe { subject: probe, body: Body::ForNobody };
    Need { direction: Direction::Publish, subject, for_what: for_what.to_owned(), probe, is_vital: true }
}

/// The direction and subject of a server's complaint: `Permissions Violation for Publish to "msg.x"`.
pub(super) fn violated(complaint: &str) -> Option<(Direction, String)> {
    let lower = complaint.to_ascii_lowercase();
    let direction = match () {
        () if lower.contains("permissions violation for publish to") => Direction::Publish,
        () if lower.contains("permissions violation for subscription to") => Direction::Subscribe,
        () => return None,
    };
    complaint.split('"').nth(1).map(|subject| (direction, subject.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses() -> Uses {
        let consumers = vec!["billing".to_owned()];
        Uses {
            api: "$JS.API".into(),
            streams: vec![("AVOUCH".into(), Config::default(), consumers)],
            fed: Some(("AVOUCH".into(), "notify".into())),
            events: Some("AVOUCH_EVENTS".into()),
            bucket: Some(("avouch_inbox".into(), Manage::Create)),
            dead: Some(("AVOUCH_DEAD".into(), "dead".into())),
            control: Some("avouch".into()),
            inbox: "_INBOX".into(),
        }
    }

    #[test]
    fn complaints_of_the_server_are_read() {
        let publish = violated("nats: Permissions Violation for Publish to \"msg.a b\"");
        assert_eq!(publish, Some((Direction::Publish, "msg.a b".into())));
        let subscribe = violated("Permissions Violation for Subscription to \"avouch.v1.x\" using queue \"q\"");
        assert_eq!(subscribe, Some((Direction::Subscribe, "avouch.v1.x".into())));
        assert_eq!(violated("Invalid Subject"), None);
    }

    /// Whatever a server makes of it, it must not be taken for an empty request: that purges, or resumes.
    #[test]
    fn nothing_that_acts_is_asked_with_an_empty_request() {
        for need in uses().needs().iter().filter(|n| n.direction == Direction::Publish) {
            let Probe { subject, body } = &need.probe;
            let acts =
                ["CREATE", "UPDATE", "PAUSE", "PURGE", "MSG.GET", "MSG.NEXT"].iter().any(|verb| subject.contains(verb));
            assert!(!acts || matches!(body, Body::Broken | Body::PurgeNothing), "{subject} with {body:?}");
            let removes = subject.contains("DELETE") || subject.contains("PAUSE");
            assert!(!removes || subject.ends_with(NOBODY), "{subject} is of somebody");
            assert!(*body != Body::ForNobody || subject.contains(NOBODY), "{subject}: a topic that somebody may have");
        }
    }

    #[test]
    fn what_is_not_used_is_not_needed() {
        let config = Config { manage: Manage::Verify, purge: Purge::Never, ..Config::default() };
        let bare = Uses {
            api: "$JS.hub.API".into(),
            streams: vec![("AVOUCH".into(), config, Vec::new())],
            inbox: "_INBOX".into(),
            ..Uses::default()
        };
        let needs = bare.needs();
        let subjects: Vec<&str> = needs.iter().filter(|n| n.is_vital).map(|n| n.subject.as_str()).collect();
        let wanted = ["_INBOX.>", "msg.>", "$JS.hub.API.STREAM.INFO.AVOUCH", "$JS.hub.API.STREAM.MSG.GET.AVOUCH"];
        assert_eq!(subjects, wanted);
    }
}
