//! What a run has left behind, as plain data: all that the checker sees.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A message's own, in its payload: no two messages of a run have the same.
pub type Number = u64;

/// What its producer knows of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// Its commit returned, or what was decided says so.
    Must,
    /// The connection was lost around the commit.
    May,
    /// Rolled back, refused, or held for the other outcome.
    Never,
}

/// When a message may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// At once, in the order of its key.
    Immediate,
    /// Later: it holds no place in the order.
    Delayed,
    /// When its transaction is settled: likewise.
    Held,
}

/// One message of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Written {
    pub number: Number,
    pub topic: String,
    pub key: String,
    /// Among the messages of its key, whose producer takes turns with nobody.
    pub position: u64,
    /// Of the payload.
    pub sha256: String,
    pub place: Place,
    pub fate: Fate,
}

/// A transaction in doubt with a message for each outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deed {
    pub tx: Uuid,
    /// Released by a commit.
    pub commit: Number,
    /// Released by a rollback.
    pub rollback: Number,
    /// Whether preparing it returned: exactly one of the two is released then, otherwise at most one.
    pub is_certain: bool,
}

/// A topic of the load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    /// Within which the order of keys holds.
    pub feed: String,
    /// Who must have it.
    pub consumers: Vec<String>,
}

/// One message as a stream held it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// Which dump: there are several only if the broker was made to forget.
    pub dump: u32,
    /// When its stream was made, as its server tells.
    pub incarnation_us: i64,
    pub sequence: i64,
    /// Without the prefix.
    pub topic: String,
    pub key: String,
    pub id: Uuid,
    /// None: the payload tells none.
    pub number: Option<Number>,
    pub sha256: String,
}

/// The states of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Prepared,
    Ready,
    Sent,
    Consumed,
    Cancelled,
    Dead,
    Discarded,
}

impl State {
    /// Of the outbox's word.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "prepared" => Self::Prepared,
            "ready" => Self::Ready,
            "sent" => Self::Sent,
            "consumed" => Self::Consumed,
            "cancelled" => Self::Cancelled,
            "dead" => Self::Dead,
            "discarded" => Self::Discarded,
            _ => return None,
        })
    }
}

/// A row of the outbox at the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub id: Uuid,
    pub number: Option<Number>,
    pub state: State,
    /// Where it says that it is: the stream's incarnation and the sequence.
    pub at: Option<(i64, i64)>,
}

/// One change of a row's state, in the order of the row's changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Move {
    pub id: Uuid,
    /// None: it was inserted.
    pub from: Option<State>,
    /// None: it was deleted.
    pub to: Option<State>,
}

/// What a consumer did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Effect {
    pub who: String,
    pub number: Number,
    pub step: Step,
}

/// Which part of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The effect of who has no token.
    Done,
    /// The effect of a holder of this token.
    Ran(i64),
    /// The gate has taken its word that it is done.
    Recorded(i64),
}

/// How an owner was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Witness {
    /// By asking again and again: what a crash of the database took back was seen as well.
    Poll,
    /// By the rig's trigger: no change is missed.
    Trigger,
}

/// Who was seen to own a shard, in the order of each witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    pub by: Witness,
    pub shard: i32,
    pub epoch: i64,
    pub owner: Option<Uuid>,
}

/// What a runtime used at a moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    pub pid: u32,
    /// Since it was started.
    pub age_ms: u64,
    pub rss_kib: u64,
    pub descriptors: u64,
}

/// How the end was reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ending {
    /// After everything was healed; none: it was not within the limit.
    pub drained_ms: Option<u64>,
    pub drain_max_ms: u64,
    /// What was left, if it was not.
    pub left: String,
    /// Rows a state, as the database counts them.
    pub counts: Vec<(State, u64)>,
    /// Transactions that are prepared or in doubt.
    pub undecided: Vec<Uuid>,
    /// Sessions that were idle in a transaction when all was quiet.
    pub idle_in_transaction: Vec<String>,
    /// Runtimes that ended without being told to, and what they said.
    pub ended_by_themselves: Vec<String>,
    /// How often the broker was made to forget.
    pub forgotten: u32,
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    pub topics: Vec<Topic>,
    /// Whose effects commit with their record: exactly once.
    pub once: String,
    /// Whose effects carry tokens.
    pub gate: String,
    pub written: Vec<Written>,
    pub deeds: Vec<Deed>,
    pub stream: Vec<Stored>,
    pub rows: Vec<Row>,
    pub moves: Vec<Move>,
    pub effects: Vec<Effect>,
    pub owners: Vec<Owned>,
    pub samples: Vec<Sample>,
    pub ending: Ending,
}
