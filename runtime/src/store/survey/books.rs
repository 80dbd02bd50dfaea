//! What Avouch's own tables say, as `books.sql` asks.

use serde::Deserialize;
use uuid::Uuid;

/// What the tables say.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Books {
    /// All of them.
    pub shards: i64,
    /// Those that nobody works on.
    pub shards_without_owner: i64,
    /// Runtimes, those included that are gone.
    pub instances: Vec<Instance>,
    /// What is held, oldest first, a few of them.
    pub holds: Vec<Hold>,
    /// Dead messages, up to 10001.
    pub dead: i64,
    /// Transactions that a person must decide, up to 10001.
    pub in_doubt: i64,
    /// Who is to be asked about transactions.
    pub checkers: Vec<Checker>,
    /// Consumers that were ever configured.
    pub consumers: Vec<Consumer>,
    /// Topics of the newest messages.
    pub topics: Vec<String>,
    /// Streams as they were known last.
    pub streams: Vec<Known>,
    /// Outside parties that are not told all that they should be, a few of them.
    pub endpoints: Vec<Endpoint>,
    /// Plugins that enabled endpoints name which were made over the API.
    pub shapers: Vec<Shaper>,
}

/// A runtime.
#[derive(Clone, Debug, Deserialize)]
pub struct Instance {
    /// As it calls itself.
    pub name: String,
    /// Until its lease ends; negative: it has ended.
    pub lease_s: f64,
    /// How many shards are its own.
    pub shards: i64,
    /// What keeps it from sending.
    pub trouble: Option<String>,
}

/// A paused topic, key or consumer, or a parked key.
#[derive(Clone, Debug, Deserialize)]
pub struct Hold {
    /// topic, key, consumer.
    pub kind: String,
    /// Of what.
    pub name: String,
    /// The dead message that it waits behind.
    pub message_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
    /// For how long, in seconds.
    pub seconds: f64,
}

/// A checker with undecided transactions.
#[derive(Clone, Debug, Deserialize)]
pub struct Checker {
    /// Its name.
    pub name: String,
    /// How many.
    pub transactions: i64,
}

/// A consumer that the database knows.
#[derive(Clone, Debug, Deserialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Where its durable is.
    pub stream: Option<String>,
    /// Whether messages wait for it.
    pub is_required: bool,
    /// Whether its durable was made once.
    pub has_started: bool,
}

/// A stream that messages went to.
#[derive(Clone, Debug, Deserialize)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// When its present incarnation was created, in microseconds since 1970.
    pub created_us: i64,
}

/// An outside party.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// Whether it is told.
    pub is_enabled: bool,
    /// Why it is not.
    pub reason: Option<String>,
    /// Since the first failure that no success has followed, in seconds.
    pub failing_s: Option<f64>,
    /// What it was not told within the last week, up to 1001.
    pub given_up: i64,
}

/// A plugin that shapes what outside parties are told.
#[derive(Clone, Debug, Deserialize)]
pub struct Shaper {
    /// Its name.
    pub plugin: String,
    /// How many name it.
    pub endpoints: i64,
    /// One of them.
    pub endpoint: String,
}
