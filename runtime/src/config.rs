//! The configuration: one strict TOML file, then `AVOUCH_…` variables, then flags. Read and validated once, at boot.

mod checks;
#[cfg(test)]
mod properties;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;

use crate::{
    admin, alarm, broker, checkback, control, doorbell, exporter, inbox, killpoint, logs, notify, receipts, recovery,
    relay, rules, shards, store, topics, upkeep,
};

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Databases with an outbox, by name.
    pub source: BTreeMap<String, store::Config>,
    /// The broker.
    pub nats: broker::Config,
    /// Streams, by name. Without any: `AVOUCH`, with subjects `msg.>`.
    pub stream: BTreeMap<String, broker::streams::Config>,
    /// The stream of topics that name none; needed when several streams are configured.
    pub default_stream: Option<String>,
    /// What single topics do differently.
    pub topic: BTreeMap<String, topics::Config>,
    /// Bury messages of topics that are not configured.
    pub strict_topics: bool,
    /// The relay.
    pub relay: relay::Config,
    /// The doorbell.
    pub doorbell: doorbell::Config,
    /// Shard ownership.
    pub shards: shards::Config,
    /// Retention.
    pub upkeep: upkeep::Config,
    /// Limits of plugin calls.
    pub rules: rules::limits::Config,
    /// What plugins may be granted.
    pub binding: rules::Bindings,
    /// Asking checkers about transactions in doubt.
    pub checkback: checkback::Config,
    /// What single checkers do differently.
    pub checker: BTreeMap<String, checkback::CheckerConfig>,
    /// Producers that come over NATS.
    pub control: control::Config,
    /// Where alarms go, beside the log.
    pub alarm: Vec<alarm::Config>,
    /// Consumers that ask before they act.
    pub inbox: inbox::Config,
    /// What single consumers do.
    pub consumer: BTreeMap<String, inbox::ConsumerConfig>,
    /// Following messages until their consumers are done.
    pub receipts: receipts::Config,
    /// Sending again what a consumer missed.
    pub recovery: recovery::Config,
    /// Telling outside parties by HTTP.
    pub notify: notify::Config,
    /// Outside parties, by name.
    pub endpoint: BTreeMap<String, notify::EndpointConfig>,
    /// The HTTP API and the console.
    pub admin: admin::Config,
    /// Metrics.
    pub metrics: exporter::Config,
    /// Logging.
    pub log: logs::Config,
    /// This process's name in `avouch status`; default: host name and process id.
    pub instance_name: Option<String>,
    /// How long a stopping runtime waits for what is in flight.
    pub grace_ms: u64,
}

/// Ten seconds: half of what container platforms grant by default is left for the rest.
impl Default for Config {
    fn default() -> Self {
        Self {
            source: BTreeMap::new(),
            nats: broker::Config::default(),
            stream: BTreeMap::new(),
            default_stream: None,
            topic: BTreeMap::new(),
            strict_topics: false,
            relay: relay::Config::default(),
            doorbell: doorbell::Config::default(),
            shards: shards::Config::default(),
            upkeep: upkeep::Config::default(),
            rules: rules::limits::Config::default(),
            binding: rules::Bindings::default(),
            checkback: checkback::Config::default(),
            checker: BTreeMap::new(),
            control: control::Config::default(),
            alarm: Vec::new(),
            inbox: inbox::Config::default(),
            consumer: BTreeMap::new(),
            receipts: receipts::Config::default(),
            recovery: recovery::Config::default(),
            notify: notify::Config::default(),
            endpoint: BTreeMap::new(),
            admin: admin::Config::default(),
            metrics: exporter::Config::default(),
            log: logs::Config::default(),
            instance_name: None,
            grace_ms: 10_000,
        }
    }
}

/// A batch is recorded within milliseconds. After the reader's death the next one waits for so long.
const NOTIFIER_ACK_WAIT_MS: u64 = 5_000;
/// Two batches: one is recorded while the next one arrives.
const NOTIFIER_ACK_PENDING_MAX: u32 = 512;
/// The stream that is used when none is configured.
pub const DEFAULT_STREAM: &str = "AVOUCH";
/// Variables that begin with `AVOUCH_` and configure something else: where the file is, and the servers of `avouch dev`.
const NOT_SETTINGS: &[&str] = &["config", "postgres_bin", "nats_server"];

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key or a value that the configuration does not have.
    #[error("{0}")]
    Invalid(String),
    /// The file is not there.
    #[error("configuration file {0} cannot be read: {1}; name it with --config, or set AVOUCH_CONFIG")]
    NoFile(String, std::io::Error),
}

impl Config {
    /// Reads the file, if one is named, and the environment: `AVOUCH_SOURCE__MAIN__URL` overrides `source.main.url`.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|e| Error::NoFile(path.display().to_string(), e))?;
            figment = figment.merge(Toml::string(&text));
        }
        let variables = Env::prefixed("AVOUCH_")
            .ignore(NOT_SETTINGS)
            .filter(|name| {
                !is_of_kubernetes(name.as_str()) && !is_of_an_alarm(name.as_str()) && !is_of_a_test(name.as_str())
            })
            .split("__");
        Self::from_figment(figment.merge(variables), file)
    }

    /// Reads a text alone, without the environment.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::from_figment(Figment::from(Toml::string(text)), None)
    }

    fn from_figment(figment: Figment, file: Option<&Path>) -> Result<Self, Error> {
        let place = file.map_or_else(|| "the configuration".to_owned(), |f| f.display().to_string());
        let mut config: Self = figment.extract().map_err(|errors| {
            let texts: Vec<String> = errors.into_iter().map(|e| explain(&e, &place)).collect();
            Error::Invalid(texts.join("\n"))
        })?;
        config.add_notifier();
        let wrong = checks::wrong(&config);
        if !wrong.is_empty() {
            return Err(Error::Invalid(wrong.join("\n")));
        }
        Ok(config)
    }

    /// What brings messages that outside parties are told is a consumer as any other.
    fn add_notifier(&mut self) {
        if self.notify.is_on() && !self.consumer.contains_key(notify::CONSUMER) {
            let notifier = inbox::ConsumerConfig {
                topics: self.notify.topics.clone(),
                stream: self.notify.stream.clone(),
                ack_wait_ms: NOTIFIER_ACK_WAIT_MS,
                max_ack_pending: NOTIFIER_ACK_PENDING_MAX,
                ..inbox::ConsumerConfig::default()
            };
            self.consumer.insert(notify::CONSUMER.to_owned(), notifier);
        }
    }

    /// The streams with the default one first.
    pub fn streams(&self) -> Vec<(String, broker::streams::Config)> {
        if self.stream.is_empty() {
            return vec![(DEFAULT_STREAM.to_owned(), broker::streams::Config::default())];
        }
        let default = self.default_stream.clone().or_else(|| self.stream.keys().next().cloned());
        let mut streams: Vec<_> = self.stream.iter().map(|(n, c)| (n.clone(), c.clone())).collect();
        streams.sort_by_key(|(name, _)| Some(name) != default.as_ref());
        streams
    }

    /// The consumers that have a durable in this stream.
    pub fn consumers_of(&self, stream: &str) -> Vec<String> {
        let default = self.streams()[0].0.clone();
        let has = |c: &inbox::ConsumerConfig| !c.topics.is_empty() && c.stream.as_ref().unwrap_or(&default) == stream;
        self.consumer.iter().filter(|(_, c)| has(c)).map(|(name, _)| name.clone()).collect()
    }

    /// The stream for dead letters: as configured, or kept for as long as the others keep messages.
    pub fn dead_stream(&self) -> Option<(String, broker::streams::Config)> {
        let name = self.recovery.dead_stream.clone()?;
        let subject_prefix = self.recovery.dead_prefix.clone();
        Some((name, broker::streams::Config { subject_prefix, ..broker::streams::Config::default() }))
    }

    /// The durable consumers, by name.
    pub fn durables(&self) -> BTreeMap<String, receipts::Wanted> {
        let with_topics = self.consumer.iter().filter(|(_, c)| !c.topics.is_empty());
        with_topics.map(|(name, c)| (name.clone(), wanted(name, c))).collect()
    }

    /// Whether producers reach this database over NATS.
    pub fn is_served(&self, source: &str) -> bool {
        self.control.enabled && self.control.source.as_ref().is_none_or(|name| name == source)
    }

    /// The stream that is read for outside parties, if they are told.
    pub fn fed(&self) -> Option<String> {
        let notifier = self.consumer.get(notify::CONSUMER).filter(|_| self.notify.is_on())?;
        Some(notifier.stream.clone().unwrap_or_else(|| self.streams()[0].0.clone()))
    }

    /// Whether this database knows what outside parties are told.
    pub fn notifies(&self, source: &str) -> bool {
        self.notify.is_on() && self.control.source.as_ref().is_none_or(|name| name == source)
    }

    /// Whether the API and the console show this database.
    pub fn is_shown(&self, source: &str) -> bool {
        self.admin.source.as_ref().is_none_or(|name| name == source)
    }

    /// What the relay needs to know of topics.
    pub fn topics(&self) -> Result<topics::Topics, Error> {
        let targets = self
            .streams()
            .into_iter()
            .map(|(stream, c)| topics::Target { stream, prefix: format!("{}.", c.subject_prefix) });
        topics::Topics::new(self.topic.clone(), targets.collect(), self.strict_topics)
            .map_err(|e| Error::Invalid(e.to_string()))
    }
}

fn wanted(name: &str, consumer: &inbox::ConsumerConfig) -> receipts::Wanted {
    let durable = broker::Durable {
        name: name.to_owned(),
        topics: consumer.topics.clone(),
        ack_wait: Duration::from_millis(consumer.ack_wait_ms),
        max_deliver: consumer.max_deliver,
        backoff: consumer.backoff_ms.iter().copied().map(Duration::from_millis).collect(),
        max_ack_pending: consumer.max_ack_pending,
        reports_acks: consumer.required && consumer.receipt == inbox::Receipt::Ack,
    };
    receipts::Wanted { durable, starts_new: consumer.start == inbox::Start::New }
}

/// A Kubernetes service called `avouch` makes variables like AVOUCH_SERVICE_HOST and AVOUCH_PORT_80_TCP in every pod.
fn is_of_kubernetes(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "port" || name.starts_with("port_") || name.starts_with("service_")
}

/// The command of an alarm may run `avouch` itself.
fn is_of_an_alarm(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("alarm_") && !name.starts_with("alarm__")
}

/// Where a debug build is to die.
fn is_of_a_test(name: &str) -> bool {
    cfg!(debug_assertions) && name.eq_ignore_ascii_case(killpoint::VARIABLE)
}

/// One fault: where it stands, what it is.
fn explain(error: &figment::Error, place: &str) -> String {
    let from_env = error.metadata.as_ref().is_some_and(|m| m.name.contains("environment"));
    let place = if from_env { "an AVOUCH_ variable" } else { place };
    let path = error.path.join(".");
    // The library's own text quotes the value, which may be a secret.
    let what = match &error.kind {
        Kind::InvalidType(actual, expected) => format!("{} was given, expected {expected}", type_of(actual)),
        Kind::InvalidValue(actual, expected) => {
            format!("{} of this value cannot be used, expected {expected}", type_of(actual))
        }
        kind => kind.to_string(),
    };
    if path.is_empty() { format!("{place}: {what}") } else { format!("{place}, {path}: {what}") }
}

fn type_of(value: &Actual) -> &'static str {
    match value {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Config::parse(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn empty_configuration_has_the_documented_defaults() {
        let config = Config::parse("").expect("is valid");
        assert_eq!(config.streams()[0].0, "AVOUCH");
        assert_eq!(config.streams()[0].1.subject_prefix, "msg");
    }

    #[test]
    fn unknown_keys_are_refused_at_every_level() {
        assert!(refused("strict_topic = true").contains("strict_topic"));
        assert!(refused("[relay]\nrows = 3").contains("rows"));
        assert!(refused("[source.main]\nurl = \"x\"\nuser = \"y\"").contains("user"));
        assert!(refused("[topic.\"a.b\"]\nrate = 1").contains("rate"));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = refused("grace_ms = 1\n[relay]\nrows_max = 1\nkey_rows_max = 1");
        assert!(text.contains("rows_max") && text.contains("key_rows_max"), "{text}");
    }

    #[test]
    fn variables_of_kubernetes_are_no_settings() {
        assert!(is_of_kubernetes("SERVICE_HOST") && is_of_kubernetes("port_4222_tcp") && is_of_kubernetes("PORT"));
        assert!(!is_of_kubernetes("source__main__url") && !is_of_kubernetes("grace_ms"));
    }

    #[test]
    fn alarm_has_exactly_one_sink_a_name_of_its_own_and_known_kinds() {
        for text in ["", "webhook = { url = \"https://x\" }\ncommand = [\"page\"]", "command = []"] {
            assert!(refused(&format!("[[alarm]]\n{text}")).contains("alarm number 1"), "{text}");
        }
        assert!(refused("[[alarm]]\ncommand = [\"page\"]\nkinds = [\"doubt\"]").contains("in_doubt"));
        assert!(refused("[[alarm]]\ncommand = [\"page\"]\nkinds = [\"test\"]").contains("in_doubt"));
        assert!(refused("[[alarm]]\nsmtp = { server = \"x\" }").contains("from"));
        let two = "[[alarm]]\ncommand = [\"page\"]\n[[alarm]]\ncommand = [\"log\"]\n";
        assert!(refused(two).contains("give it a name"));
        assert_eq!(Config::parse(&format!("{two}name = \"log\"")).expect("is valid").alarm[1].name(), "log");
    }

    #[test]
    fn records_in_a_bucket_fit_into_messages_and_its_name_is_one_token() {
        let large = "[inbox]\nresult_bytes_max = 1_000_000\n";
        assert!(Config::parse(large).is_ok());
        assert!(refused(&format!("{large}store = \"kv\"")).contains("262144"));
        assert!(refused("[inbox.kv]\nbucket = \"a.b\"\nreplicas = 0").contains("inbox.kv.bucket"));
    }

    #[test]
    fn several_streams_need_a_default_and_prefixes_of_their_own() {
        assert!(
            refused("[stream.A]\nsubject_prefix = \"a\"\n[stream.B]\nsubject_prefix = \"b\"")
                .contains("default_stream")
        );
        assert!(refused("default_stream = \"A\"\n[stream.A]\n[stream.B]").contains("overlap"));
        let config =
            Config::parse("default_stream = \"B\"\n[stream.A]\nsubject_prefix = \"a\"\n[stream.B]").expect("is valid");
        assert_eq!(config.streams()[0].0, "B");
    }
}
