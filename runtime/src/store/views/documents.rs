//! The documents: their fields are the API's.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::utc as rfc3339;

/// A message, without its payload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its id, a UUIDv7: `Avouch-Id`.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// prepared, ready, sent, consumed, cancelled, dead or discarded.
    pub state: String,
    /// How often it was deliberately sent again.
    pub generation: i32,
    /// When it was inserted.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// It is not sent before this.
    #[serde(with = "rfc3339::option")]
    pub not_before: Option<OffsetDateTime>,
    /// When a transaction or a delay let it go.
    #[serde(with = "rfc3339::option")]
    pub released_at: Option<OffsetDateTime>,
    /// When it was sent last.
    #[serde(with = "rfc3339::option")]
    pub sent_at: Option<OffsetDateTime>,
    /// The stream that holds it.
    pub stream: Option<String>,
    /// Its place there.
    pub sequence: Option<i64>,
    /// The transaction that holds or held it.
    pub tx_id: Option<Uuid>,
    /// Which outcome releases it: commit or rollback.
    pub release_on: Option<String>,
    /// Unique in its topic.
    pub dedup_key: Option<String>,
    /// Why it is dead, discarded or cancelled.
    pub reason: Option<String>,
    /// The hash bucket of its key.
    pub shard: i32,
    /// Size of its payload in bytes.
    pub bytes: i64,
    /// Its own headers.
    pub headers: Option<serde_json::Value>,
    /// What keeps it from being sent, if its topic or key is held.
    pub held: Option<String>,
    /// Required consumers that have not finished it.
    pub waits_for: Vec<Waiting>,
    /// Consumers that have.
    pub received: Vec<Received>,
}

/// A consumer that has not finished a message.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// Its name.
    pub consumer: String,
    /// sent; pending: to be sent to it again; dead: it will not be.
    pub state: String,
    /// Where it was sent to it.
    pub sequence: Option<i64>,
    /// How often it was sent again.
    pub tries: i32,
    /// Why it was sent again, or is dead.
    pub reason: Option<String>,
}

/// A receipt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// The consumer.
    pub consumer: String,
    /// When its receipt was written down.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
}

/// A payload, as far as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Payload {
    /// All of its size in bytes.
    pub bytes: i64,
    /// Its beginning, if it is text.
    pub text: Option<String>,
    /// Its beginning in base64, if it is not.
    pub base64: Option<String>,
    /// Not all of it is here.
    pub is_cut: bool,
}

/// Something that happened to a message or a transaction.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// message or transaction.
    pub subject: String,
    /// What: inserted, released, sent, received, consumed, dead, resent, ready, discarded, cancelled, missed, `sent_again`, `released_from` (a
    /// consumer that is not waited for any more); of a consumer's attempts `attempt_failed` and `attempt_lost`, of its record `inbox_running`
    /// and the like; of a transaction prepared, asked, `asked_before` (so many more answers), committed, `rolled_back`, `in_doubt`.
    pub what: String,
    /// The consumer that it is about.
    pub consumer: Option<String>,
    /// The person who did it.
    pub actor: Option<String>,
    /// What else is known: from, reason, why (in the person's words), stream, sequence, generation, tries, verdict, plugin, checks, next, by, attempts, until.
    pub detail: serde_json::Value,
}

/// A transaction.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// Its id.
    pub id: Uuid,
    /// The plugin that is asked.
    pub checker: String,
    /// The business reference.
    pub reference: Option<String>,
    /// prepared, committed, `rolled_back` or `in_doubt`.
    pub state: String,
    /// How many messages it holds or held.
    pub messages: i32,
    /// When its checker is asked next, if it is prepared.
    #[serde(with = "rfc3339")]
    pub check_at: OffsetDateTime,
    /// When it was prepared.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// How often its checker was asked.
    pub checks: i32,
    /// How many answers were unknown.
    pub unknowns: i32,
    /// The last answer that did not decide.
    pub verdict: Option<String>,
    /// The plugin version that answered last, by its digest.
    pub checked_by: Option<String>,
    /// When it was decided.
    #[serde(with = "rfc3339::option")]
    pub decided_at: Option<OffsetDateTime>,
    /// producer, checker or operator.
    pub decided_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// Dead messages that failed for the same reason.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FailureGroup {
    /// For whom they are dead; `-` for nobody: they were never sent.
    pub consumer: String,
    /// Their topic.
    pub topic: String,
    /// The reason without what differs from one to the other.
    pub failure: String,
    /// How many; of the newest thirty thousand dead messages.
    pub messages: i64,
    /// When the oldest was inserted.
    #[serde(with = "rfc3339")]
    pub since: OffsetDateTime,
    /// One of them.
    pub example: Uuid,
}

/// A consumer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Where its durable is.
    pub stream: Option<String>,
    /// Patterns of its topics.
    pub topics: Vec<String>,
    /// Messages wait for its receipt.
    pub is_required: bool,
    /// What counts as one: inbox or ack.
    pub receipt: String,
    /// It is paused.
    pub is_paused: bool,
    /// What it has not finished; counted to 10001.
    pub unfinished: i64,
    /// It may be more: what is unfinished was looked at in order until there was too much, of other consumers perhaps.
    #[serde(default)]
    pub is_least: bool,
    /// The age of the oldest of that, in seconds.
    pub oldest_s: Option<f64>,
    /// What is to be sent to it again; counted to 10001.
    pub pending: i64,
    /// What is dead for it; counted to 10001.
    pub dead: i64,
    /// How long a token of the gate holds, in ms.
    pub lease_ms: i32,
    /// How often a failing message is tried.
    pub attempts_max: i32,
}

impl Consumer {
    /// How many messages somebody must have seen who removes it: what it has not finished, and not nought where more may wait.
    pub fn to_confirm(&self) -> i64 {
        self.unfinished.max(self.is_least.into())
    }
}

/// A consumer's record of one piece of work.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InboxRecord {
    /// Whose.
    pub consumer: String,
    /// What makes it the same work: the message's id, or what a plugin derived.
    pub key: String,
    /// running, waiting, done, rejected or parked.
    pub state: String,
    /// How often somebody was told to run.
    pub attempts: i32,
    /// Until when the lease holds, or when to try again.
    #[serde(with = "rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// The version that a plugin told.
    pub version: Option<i64>,
    /// The message.
    pub message_id: Option<Uuid>,
    /// Why it is not done.
    pub reason: Option<String>,
    /// When it was begun.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it changed last.
    #[serde(with = "rfc3339")]
    pub changed_at: OffsetDateTime,
}

/// One version of a plugin that was deployed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// The number of the deployment.
    pub id: i64,
    /// The plugin.
    pub name: String,
    /// The SHA-256 of its file; none: nobody answers to this name since.
    pub digest: Option<String>,
    /// The team's own version.
    pub version: Option<String>,
    /// What it was granted.
    pub grants: serde_json::Value,
    /// When.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// By whom.
    pub actor: String,
    /// This is what answers now.
    pub is_current: bool,
    /// Size of its file in bytes.
    pub bytes: Option<i64>,
    /// Calls of this version in the last 24 hours.
    pub calls: i64,
    /// Of these: it said that it cannot tell.
    pub errors: i64,
    /// Of these: it trapped, ran into a limit, or gave no answer in time.
    pub faults: i64,
    /// How long a call took, in ms, without waiting for its turn.
    pub mean_ms: Option<f64>,
    /// How long the longest took, in ms.
    pub max_ms: Option<f64>,
}

/// A line that a plugin logged, or why it gave no answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginLine {
    /// Its number.
    pub id: i64,
    /// When.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub digest: Option<String>,
    /// The transaction that it was asked about.
    pub tx_id: Option<Uuid>,
    /// debug, info, warn, error; fault: it gave no answer.
    pub level: String,
    /// What it said.
    pub line: String,
}

/// Something that a person did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Audited {
    /// Its number.
    pub id: i64,
    /// When.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More of it.
    pub detail: Option<String>,
    /// Why, in the person's words.
    pub why: Option<String>,
}
