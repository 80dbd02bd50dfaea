//! What consumers ask and say, and what they are told.

use uuid::Uuid;

use super::Record;

/// May this consumer act on this key?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Who asks.
    pub consumer: String,
    /// What makes two messages the same.
    pub key: String,
    /// Of what is to be done.
    pub fingerprint: Option<String>,
    /// Of the thing that the message is about.
    pub version: Option<i64>,
    /// The message that it asks about.
    pub message: Uuid,
    /// A plugin compares with what is recorded: the decision may be `ask`.
    pub is_judged: bool,
}

/// Runs what a plugin has judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is to be run.
    pub begin: Begin,
    /// The revision that was seen; none: nothing was recorded.
    pub expected: Option<i64>,
}

/// What who asks does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Act.
    Run,
    /// It was done.
    Done,
    /// Something newer was done.
    Skip,
    /// Ask again later.
    Busy,
    /// It failed for good, or is parked.
    Reject,
    /// The same key, another fingerprint.
    Conflict,
    /// A plugin judges what is recorded.
    Ask,
    /// Of a claim: the record is not what was expected.
    Miss,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// What it does next.
    pub decision: Decision,
    /// With `run`: what it must show.
    pub token: Option<i64>,
    /// With `run`: which attempt this is.
    pub attempt: Option<i32>,
    /// With `run`: how long the token holds.
    pub lease_ms: Option<i64>,
    /// With `busy`: when to ask again.
    pub retry_after_ms: Option<i64>,
    /// With `done`: what came of it.
    pub result: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// With `ask`: what is recorded, if anything is.
    pub seen: Option<Record>,
}

/// What the holder of a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// What became of it.
    pub word: Word,
    /// Who says it.
    pub consumer: String,
    /// Of which key.
    pub key: String,
    /// Its token.
    pub token: i64,
    /// Its result, or why it failed.
    pub text: Option<String>,
    /// It failed for good.
    pub permanent: bool,
    /// When to try again.
    pub pause_ms: Option<i64>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It is done.
    Complete,
    /// It takes longer.
    Renew,
    /// It failed.
    Fail,
}

/// What came of what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is done.
    Done,
    /// It runs on.
    Running {
        /// The lease that begins now.
        lease_ms: i64,
    },
    /// It is tried again.
    Waiting {
        /// The pause that begins now.
        retry_after_ms: i64,
    },
    /// It has failed for good.
    Rejected,
    /// The token is stale.
    Fenced,
}

impl Begun {
    /// This decision and nothing else. The token of a `run` is given by where it is recorded.
    pub fn of(decision: Decision) -> Self {
        Self {
            decision,
            token: None,
            attempt: None,
            lease_ms: None,
            retry_after_ms: None,
            result: None,
            reason: None,
            seen: None,
        }
    }
}

impl Decision {
    const ALL: [Self; 8] =
        [Self::Run, Self::Done, Self::Skip, Self::Busy, Self::Reject, Self::Conflict, Self::Ask, Self::Miss];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Done => "done",
            Self::Skip => "skip",
            Self::Busy => "busy",
            Self::Reject => "reject",
            Self::Conflict => "conflict",
            Self::Ask => "ask",
            Self::Miss => "miss",
        }
    }

    /// The one that is written so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.name() == name)
    }
}

impl Word {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Renew => "renew",
            Self::Fail => "fail",
        }
    }
}
