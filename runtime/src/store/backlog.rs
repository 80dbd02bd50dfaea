//! How much waits, and for how long.

use std::time::Duration;

use super::{Error, Store};

/// How many messages of one state and topic there are, of those that were looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Backlog {
    /// What they wait for.
    pub state: State,
    /// Their topic, or for receipts the consumer that they wait for.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Since the oldest has been so.
    pub oldest: Duration,
}

/// What messages wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// To be sent.
    Ready,
    /// For their time.
    Delayed,
    /// For their transaction.
    Prepared,
    /// For receipts.
    Awaiting,
    /// For a person.
    Dead,
    /// For the receipt of one consumer: the name is its.
    Receipt,
}

impl State {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Prepared => "prepared",
            Self::Awaiting => "awaiting",
            Self::Dead => "dead",
            Self::Receipt => "receipt",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let all = [Self::Ready, Self::Delayed, Self::Prepared, Self::Awaiting, Self::Dead, Self::Receipt];
        all.into_iter().find(|state| state.name() == name)
    }
}

/// How many transactions have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transactions {
    /// Nobody has decided them.
    pub prepared: u32,
    /// A person must.
    pub in_doubt: u32,
}

impl Store {
    /// What waits, by what it waits for and its name: the oldest `rows_max` of each state are looked at. Not on the connection that
    /// renews the lease.
    pub async fn backlog(&self, rows_max: i64) -> Result<(Vec<Backlog>, Transactions), Error> {
        let rows = self.recoveries.query(include_str!("backlog.sql"), &[&rows_max]).await?;
        let (mut all, mut transactions) = (Vec::new(), Transactions::default());
        for row in &rows {
            let (state, count) = (row.get::<_, &str>(0), u32::try_from(row.get::<_, i64>(2)).unwrap_or(u32::MAX));
            match (state, State::of(state)) {
                (_, Some(state)) => {
                    let oldest = Duration::try_from_secs_f64(row.get(3)).unwrap_or_default();
                    all.push(Backlog { state, name: row.get(1), count, oldest });
                }
                ("tx_prepared", None) => transactions.prepared = count,
                ("tx_in_doubt", None) => transactions.in_doubt = count,
                (other, None) => return Err(Error::Fatal(format!("a backlog of {other}"))),
            }
        }
        Ok((all, transactions))
    }
}
