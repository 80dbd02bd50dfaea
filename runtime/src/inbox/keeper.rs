//! Where it is recorded what consumers did: in the table of the database, or in a bucket of the broker. Answers do not tell which.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::lane::Keyed;
use crate::answer::{Code, Fault};
use crate::broker::Records;
use crate::broker::records::Clock;
use crate::idempotency::{self, Begin, Begun, Claim, Decision, Finish, Finished, Policy, Record, Step};
use crate::store::{Error, Store};

/// The two places.
#[derive(Clone)]
pub enum Keeper {
    /// `avouch.inbox`, which decides by itself: a batch is one statement.
    Table(Arc<Store>),
    /// A bucket: the requests of a batch are under way together.
    Bucket(Arc<Records>, Arc<BTreeMap<String, Policy>>),
}

/// What is asked, many at a time.
pub trait Asked: Keyed + Sync + Sized {
    /// What is told.
    type Answer: Send;
    /// One answer each, in order; none if somebody holds one of the records.
    fn in_table(
        store: &Store,
        batch: &[&Self],
    ) -> impl Future<Output = Result<Option<Vec<Self::Answer>>, Error>> + Send;
    /// What follows from what is recorded.
    fn decide(&self, seen: Option<&Record>, policy: &Policy, now_ms: i64) -> Step<Self::Answer>;
    /// The answer to a change that has this revision.
    fn recorded(answer: Self::Answer, revision: i64) -> Self::Answer;
}

impl Asked for Begin {
    type Answer = Begun;

    async fn in_table(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Begun>>, Error> {
        store.inbox_begin(batch).await
    }

    fn decide(&self, seen: Option<&Record>, policy: &Policy, now_ms: i64) -> Step<Begun> {
        idempotency::begin(seen, self, policy, now_ms)
    }

    fn recorded(begun: Begun, revision: i64) -> Begun {
        let token = (begun.decision == Decision::Run).then_some(revision);
        Begun { token, ..begun }
    }
}

impl Asked for Claim {
    type Answer = Begun;

    async fn in_table(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Begun>>, Error> {
        store.inbox_claim(batch).await
    }

    fn decide(&self, seen: Option<&Record>, policy: &Policy, now_ms: i64) -> Step<Begun> {
        idempotency::claim(seen, self, policy, now_ms)
    }

    fn recorded(begun: Begun, revision: i64) -> Begun {
        Begin::recorded(begun, revision)
    }
}

impl Asked for Finish {
    type Answer = Finished;

    async fn in_table(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Finished>>, Error> {
        store.inbox_finish(batch).await
    }

    fn decide(&self, seen: Option<&Record>, policy: &Policy, now_ms: i64) -> Step<Finished> {
        idempotency::finish(seen, self, policy, now_ms)
    }

    fn recorded(finished: Finished, _: i64) -> Finished {
        finished
    }
}

impl Keeper {
    /// Looks whether it can be used, so that the log tells before the first consumer asks.
    pub async fn open(&self) {
        if let Self::Bucket(records, _) = self
            && let Err(e) = records.clock().await
        {
            tracing::warn!(error = %e, "consumers that ask are not answered until their records can be kept");
        }
    }

    /// One answer each; none where somebody else is changing the record.
    pub async fn each<T: Asked>(&self, batch: &[T]) -> Vec<Result<Option<T::Answer>, Fault>> {
        match self {
            Self::Table(store) => each_in_table(store, batch).await,
            Self::Bucket(records, policies) => match records.clock().await {
                Ok(clock) => join_all(batch.iter().map(|asked| in_bucket(records, clock, policies, asked))).await,
                Err(e) => all_failed(batch, &e.into()),
            },
        }
    }
}

async fn in_bucket<T: Asked>(
    records: &Records,
    clock: Clock,
    policies: &BTreeMap<String, Policy>,
    asked: &T,
) -> Result<Option<T::Answer>, Fault> {
    let (consumer, key) = asked.place();
    let none = || Fault::new(Code::NotFound, format!("there is no consumer {consumer:?}"));
    let policy = policies.get(consumer).ok_or_else(none)?;
    let told = records.change((consumer, key), clock, |seen, now_ms| asked.decide(seen, policy, now_ms)).await?;
    Ok(told.map(|(answer, revision)| match revision {
        Some(revision) => T::recorded(answer, revision),
        None => answer,
    }))
}

/// Those of a batch in which somebody held a record are asked one by one: only its own waits.
async fn each_in_table<T: Asked>(store: &Store, batch: &[T]) -> Vec<Result<Option<T::Answer>, Fault>> {
    let all: Vec<&T> = batch.iter().collect();
    match T::in_table(store, &all).await {
        Ok(Some(found)) if found.len() == batch.len() => found.into_iter().map(|answer| Ok(Some(answer))).collect(),
        Ok(_) => {
            let mut answers = Vec::with_capacity(batch.len());
            for one in batch {
                let found = T::in_table(store, &[one]).await;
                answers.push(found.map(|f| f.and_then(|mut a| a.pop())).map_err(Fault::from));
            }
            answers
        }
        Err(e) => all_failed(batch, &e.into()),
    }
}

fn all_failed<T: Asked>(batch: &[T], fault: &Fault) -> Vec<Result<Option<T::Answer>, Fault>> {
    batch.iter().map(|_| Err(fault.clone())).collect()
}
