//! Documents about outside parties and what they are told: their fields are the API's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::utc as rfc3339;
use crate::endpoints::Settings;

/// An outside party, without its secrets.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// A label.
    pub tenant: String,
    /// Where it is.
    pub url: String,
    /// What it is told, as in subjects.
    pub topics: Vec<String>,
    /// Headers that messages must have, with these values.
    pub filter: BTreeMap<String, String>,
    /// Whether messages of one key are told one after the other.
    pub ordered: bool,
    /// When and how it is told.
    #[serde(deserialize_with = "Settings::stored")]
    pub settings: Settings,
    /// file: it stands in the configuration; api: it was made here.
    pub origin: String,
    /// enabled or disabled.
    pub state: String,
    /// Why it is disabled.
    pub reason: Option<String>,
    /// Since the first failure that no success has followed.
    #[serde(with = "rfc3339::option")]
    pub failing_since: Option<OffsetDateTime>,
    /// When it was made.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was changed last.
    #[serde(with = "rfc3339")]
    pub changed_at: OffsetDateTime,
    /// Messages that it is to be told, counted to 10000.
    pub waiting: i64,
    /// Messages that it was not told within its schedule, counted to 10000.
    pub given_up: i64,
    /// When the next of them is tried.
    #[serde(with = "rfc3339::option")]
    pub next_at: Option<OffsetDateTime>,
}

/// One message for one endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The endpoint.
    pub endpoint: String,
    /// The message: its `webhook-id`.
    pub message_id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Size of its payload.
    pub bytes: i64,
    /// waiting, delivered or given_up.
    pub state: String,
    /// How often its schedule was begun; 0: a ping, which has none.
    pub round: i32,
    /// Tries of this round.
    pub attempts: i32,
    /// When it is tried next, if it waits.
    #[serde(with = "rfc3339::option")]
    pub next_at: Option<OffsetDateTime>,
    /// The last answer's status.
    pub status: Option<i32>,
    /// What was wrong with the last try.
    pub reason: Option<String>,
    /// When the message was inserted.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was known that it is to be told.
    #[serde(with = "rfc3339")]
    pub recorded_at: OffsetDateTime,
    /// When it was delivered or given up.
    #[serde(with = "rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

/// One try.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// The endpoint.
    pub endpoint: String,
    /// The message.
    pub message_id: Uuid,
    /// Of which round; 0: of a ping.
    pub round: i32,
    /// Which try of it, from 1 on.
    pub number: i32,
    /// When it began.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// How long it took.
    pub took_ms: i32,
    /// delivered, retry, given_up, disabled, or postponed: its plugin gave no answer.
    pub outcome: String,
    /// The answer's status; none: there was no answer.
    pub status: Option<i32>,
    /// What was wrong.
    pub reason: Option<String>,
    /// The beginning of the answer's body.
    pub excerpt: Option<String>,
    /// The digest of the plugin's version that shaped it.
    pub plugin: Option<String>,
}
