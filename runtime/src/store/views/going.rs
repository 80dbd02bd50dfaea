//! Documents about how it goes: now, lately, and what is wrong with it. Their fields are the API's.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::utc as rfc3339;

/// What is held: a paused topic, key or consumer, or a key parked behind its dead message.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// topic, key or consumer.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The dead message that parked the key.
    pub message_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
}

/// How it went.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Messages that may be sent; counted to 10001, as the next three.
    pub ready: i32,
    /// Messages that were sent and wait for receipts.
    pub waiting: i32,
    /// Dead messages.
    pub dead: i32,
    /// Transactions in doubt.
    pub in_doubt: i32,
    /// Age of the oldest message that may be sent and is not, in seconds.
    pub oldest_s: Option<f64>,
    /// Rows inserted a second.
    pub inserted_per_s: f64,
    /// Messages sent a second.
    pub sent_per_s: f64,
    /// Receipts a second.
    pub received_per_s: f64,
}

/// A running process.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When its lease ends, in seconds; negative: it has ended.
    pub lease_s: f64,
    /// Its shards.
    pub shards: Vec<i32>,
    /// Messages that it has sent.
    pub sent_total: i64,
    /// A second, lately.
    pub sent_per_s: f64,
    /// Rows inserted a second, as it sees it.
    pub inserted_per_s: f64,
    /// Receipts a second, lately.
    pub received_per_s: f64,
    /// What keeps it from sending.
    pub trouble: Option<String>,
}

/// What a broker has lost.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// The stream.
    pub stream: String,
    /// What was noticed.
    pub reason: String,
    /// When.
    #[serde(with = "rfc3339")]
    pub noticed_at: OffsetDateTime,
    /// Messages that are sent again.
    pub requeued: i64,
    /// Shards that are not done with it.
    pub shards_left: i64,
}

/// An endpoint that is disabled, fails, or was not told of something within its schedule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TroubledEndpoint {
    /// Its name.
    pub name: String,
    /// enabled or disabled.
    pub state: String,
    /// Why it is disabled.
    pub reason: Option<String>,
    /// Since the first failure that no success has followed.
    #[serde(with = "rfc3339::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// Messages that were given up in the last seven days, counted to 1001.
    pub given_up: i64,
}

/// How it goes.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Messages that may be sent; counted to 10001, as all of these.
    pub ready: i64,
    /// Messages whose time has not come.
    pub delayed: i64,
    /// Messages that transactions hold.
    pub prepared: i64,
    /// Messages that were sent and wait for receipts.
    pub waiting: i64,
    /// Dead messages.
    pub dead: i64,
    /// Transactions in doubt.
    pub in_doubt: i64,
    /// Age of the oldest message that may be sent and is not, in seconds.
    pub oldest_unsent_s: Option<f64>,
    /// All shards.
    pub shards: i64,
    /// Those that nobody owns.
    pub shards_without_owner: i64,
    /// Processes with a lease, and those whose lease ended lately.
    pub instances: Vec<Instance>,
    /// What brokers have lost, newest first.
    pub losses: Vec<Lost>,
    /// What is held, newest first.
    pub holds: Vec<Hold>,
    /// Endpoints that are not told as they should be, by name; at most 20.
    #[serde(default)]
    pub endpoints: Vec<TroubledEndpoint>,
}
