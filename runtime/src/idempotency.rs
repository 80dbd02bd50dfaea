//! May a consumer act on a message, and what follows from what it says about it? From what is recorded, what is asked and what
//! time it is follows what it is told and what is recorded next. Pure.
//!
//! For records outside Postgres. Those in its table are decided by `avouch.inbox_begin` and its kin, beside the transactions of
//! consumers; here are the same rules, line by line.

#[cfg(test)]
mod properties;
mod talk;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::talk::{Begin, Begun, Claim, Decision, Finish, Finished, Word};

/// What follows a lease that ended without a word.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// The next one that asks runs it again: right where an effect may be repeated, or is fenced by the token.
    #[default]
    Rerun,
    /// Nobody does, until a person has looked: right where an effect must not be repeated.
    Park,
}

/// What holds for one consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a token holds.
    pub lease_ms: i64,
    /// What follows a lease that ended without a word.
    pub takeover: Takeover,
    /// Most attempts.
    pub attempts_max: i32,
    /// The first pause after a failure; it doubles.
    pub retry_first_ms: i64,
    /// The longest pause.
    pub retry_max_ms: i64,
}

/// How it stands with a piece of work.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Somebody holds a token.
    Running,
    /// It failed, and is tried again.
    Waiting,
    /// It is done.
    Done,
    /// It failed for good.
    Rejected,
    /// Whether it was done is not known: a person decides.
    Parked,
}

/// What is recorded under a key.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Record {
    /// How it stands.
    pub state: State,
    /// Tells this from what was recorded before; where the record is kept knows it.
    #[serde(skip)]
    pub revision: i64,
    /// How often it was begun.
    #[serde(default)]
    pub attempts: i32,
    /// Of the latest attempt; none: the revision that began it.
    pub token: Option<i64>,
    /// Running: the end of the lease; waiting: when to try again. In milliseconds since 1970, like all times here.
    pub until_ms: Option<i64>,
    /// The message that it was begun with.
    pub message: Option<Uuid>,
    /// Of that message.
    pub fingerprint: Option<String>,
    /// Of that message.
    pub version: Option<i64>,
    /// What the consumer gave.
    pub result: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it changed last.
    #[serde(default)]
    pub changed_at_ms: i64,
}

/// What is told, and what is recorded first, if anything is: told is only what is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<T> {
    /// What is told.
    pub told: T,
    /// What is recorded instead of what was there.
    pub becomes: Option<Record>,
}

/// A pause doubles so often; it has reached any limit by then.
const DOUBLINGS_MAX: i32 = 40;

/// As `avouch.inbox_begin`.
pub fn begin(seen: Option<&Record>, asked: &Begin, policy: &Policy, now_ms: i64) -> Step<Begun> {
    let told = |told: Begun| Step { told, becomes: None };
    let Some(record) = seen else {
        return if asked.is_judged { told(Begun::of(Decision::Ask)) } else { run(None, asked, policy, now_ms) };
    };
    let versions = asked.version.zip(record.version);
    let (is_newer, is_older) = (versions.is_some_and(|(a, r)| a > r), versions.is_some_and(|(a, r)| a < r));
    let fingerprints = asked.fingerprint.as_ref().zip(record.fingerprint.as_ref());
    let left_ms = record.until_ms.map_or(0, |until| until - now_ms);
    let is_judged = asked.is_judged;
    match record.state {
        _ if !is_judged && !is_newer && !is_older && fingerprints.is_some_and(|(a, r)| a != r) => {
            told(Begun { reason: Some(conflict(record, asked)), ..Begun::of(Decision::Conflict) })
        }
        State::Running | State::Waiting if left_ms > 0 || is_older && !is_judged => {
            told(Begun { retry_after_ms: Some(left_ms.max(1)), ..Begun::of(Decision::Busy) })
        }
        State::Done if is_judged => {
            let (result, seen) = (record.result.clone(), Some(record.clone()));
            told(Begun { result, seen, ..Begun::of(Decision::Ask) })
        }
        State::Done if is_older => {
            let versions = versions.map(|(a, r)| format!("version {a} is older than {r}, which is done"));
            told(Begun { reason: versions, ..Begun::of(Decision::Skip) })
        }
        State::Done if !is_newer => told(Begun { result: record.result.clone(), ..Begun::of(Decision::Done) }),
        State::Rejected | State::Parked if !is_newer => {
            told(Begun { reason: record.reason.clone(), ..Begun::of(Decision::Reject) })
        }
        State::Running if policy.takeover == Takeover::Park => {
            let attempts = record.attempts;
            let why =
                format!("the lease of attempt {attempts} ended without a word: whether it had its effect is not known");
            give_up(record, State::Parked, why, now_ms)
        }
        _ if !is_newer && record.attempts >= policy.attempts_max => {
            give_up(record, State::Rejected, format!("{} attempts ended without a word", record.attempts), now_ms)
        }
        _ if is_judged => told(Begun { seen: Some(record.clone()), ..Begun::of(Decision::Ask) }),
        _ => run(Some(record), asked, policy, now_ms),
    }
}

/// As `avouch.inbox_claim`.
pub fn claim(seen: Option<&Record>, claim: &Claim, policy: &Policy, now_ms: i64) -> Step<Begun> {
    if seen.map(|record| record.revision) == claim.expected {
        run(seen, &claim.begin, policy, now_ms)
    } else {
        Step { told: Begun::of(Decision::Miss), becomes: None }
    }
}

/// As `avouch.inbox_complete`, `avouch.inbox_renew` and `avouch.inbox_fail`.
pub fn finish(seen: Option<&Record>, said: &Finish, policy: &Policy, now_ms: i64) -> Step<Finished> {
    let told = |told: Finished| Step { told, becomes: None };
    let Some(record) = seen.filter(|record| record.token == Some(said.token)) else {
        return told(Finished::Fenced);
    };
    let next = |told: Finished, state: State, until_ms: Option<i64>, reason: Option<String>| Step {
        told,
        becomes: Some(Record { state, until_ms, reason, changed_at_ms: now_ms, ..record.clone() }),
    };
    match (said.word, record.state) {
        (Word::Complete, State::Running) => {
            let step = next(Finished::Done, State::Done, None, None);
            Step { becomes: step.becomes.map(|r| Record { result: said.text.clone(), ..r }), ..step }
        }
        (Word::Renew, State::Running) => {
            let lease_ms = policy.lease_ms;
            next(Finished::Running { lease_ms }, State::Running, Some(now_ms + lease_ms), record.reason.clone())
        }
        (Word::Fail, State::Running) => {
            let why = said.text.as_deref().unwrap_or_default();
            let reason = if said.permanent { why.to_owned() } else { format!("attempt {}: {why}", record.attempts) };
            if said.permanent || record.attempts >= policy.attempts_max {
                return next(Finished::Rejected, State::Rejected, None, Some(reason));
            }
            let retry_after_ms = said.pause_ms.unwrap_or_else(|| pause_ms(record.attempts, policy));
            let until_ms = Some(now_ms + retry_after_ms);
            next(Finished::Waiting { retry_after_ms }, State::Waiting, until_ms, Some(reason))
        }
        // Its first answer may have been lost.
        (Word::Complete, State::Done) => told(Finished::Done),
        (Word::Fail, State::Rejected) => told(Finished::Rejected),
        (Word::Fail, State::Waiting) => {
            let retry_after_ms = record.until_ms.map_or(0, |until| (until - now_ms).max(0));
            told(Finished::Waiting { retry_after_ms })
        }
        (Word::Complete, State::Waiting | State::Rejected | State::Parked)
        | (Word::Renew, State::Waiting | State::Done | State::Rejected | State::Parked)
        | (Word::Fail, State::Done | State::Parked) => told(Finished::Fenced),
    }
}

fn run(seen: Option<&Record>, asked: &Begin, policy: &Policy, now_ms: i64) -> Step<Begun> {
    let attempts = seen.map_or(1, |record| {
        let is_newer = asked.version.zip(record.version).is_some_and(|(a, r)| a > r);
        if record.state == State::Done || is_newer { 1 } else { record.attempts.saturating_add(1) }
    });
    let becomes = Record {
        state: State::Running,
        revision: 0,
        attempts,
        token: None,
        until_ms: Some(now_ms + policy.lease_ms),
        message: Some(asked.message),
        fingerprint: asked.fingerprint.clone(),
        version: asked.version,
        result: None,
        reason: None,
        changed_at_ms: now_ms,
    };
    let told = Begun { attempt: Some(attempts), lease_ms: Some(policy.lease_ms), ..Begun::of(Decision::Run) };
    Step { told, becomes: Some(becomes) }
}

fn give_up(record: &Record, state: State, why: String, now_ms: i64) -> Step<Begun> {
    let reason = Some(why);
    let told = Begun { reason: reason.clone(), ..Begun::of(Decision::Reject) };
    Step { told, becomes: Some(Record { state, until_ms: None, reason, changed_at_ms: now_ms, ..record.clone() }) }
}

fn pause_ms(attempts: i32, policy: &Policy) -> i64 {
    let doubled = policy.retry_first_ms.saturating_mul(1 << (attempts - 1).clamp(0, DOUBLINGS_MAX));
    doubled.min(policy.retry_max_ms)
}

fn conflict(record: &Record, asked: &Begin) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let message = record.message.map(|id| id.to_string()).unwrap_or_default();
    let (then, now) = (text(&record.fingerprint), text(&asked.fingerprint));
    format!("key {} was recorded for message {message} with fingerprint {then}, and this one has {now}", asked.key)
}

impl State {
    const ALL: [Self; 5] = [Self::Running, Self::Waiting, Self::Done, Self::Rejected, Self::Parked];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Rejected => "rejected",
            Self::Parked => "parked",
        }
    }

    /// The one that is written so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
