//! Transactions in doubt: which are due, and what their checkers said.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Store};

/// A checker with undecided transactions.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its name.
    pub checker: String,
    /// In how many ms its first transaction is due.
    pub due_in_ms: u64,
}

/// A transaction that this instance may ask about until `until`.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its id.
    pub id: Uuid,
    /// Who is to be asked.
    pub checker: String,
    /// The business reference.
    pub reference: Option<String>,
    /// Since it was prepared.
    pub age_ms: u64,
    /// Since its checker was asked first, or an operator had it asked anew.
    pub checking_ms: u64,
    /// How often it was asked about, this time included.
    pub checks: u32,
    /// How many answers were unknown.
    pub unknowns: u32,
    /// How many messages it holds.
    pub messages: u32,
    /// The claim, as the answer must quote it.
    pub until: OffsetDateTime,
    /// The plugin version that has answered, by its digest; none: nobody has.
    pub checked_by: Option<String>,
}

/// A message that a transaction holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its transaction.
    pub tx_id: Uuid,
    /// Its id.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Its payload, unless it is too large.
    pub payload: Option<Vec<u8>>,
    /// The size of its payload.
    pub bytes: u64,
    /// Its headers, as JSON.
    pub headers: Option<String>,
    /// When it was inserted.
    pub created_at_ms: u64,
    /// How often it was deliberately sent again.
    pub generation: u32,
}

/// An answer that does not decide.
#[derive(Clone, Debug)]
pub struct Postponed {
    /// The transaction.
    pub id: Uuid,
    /// The claim.
    pub until: OffsetDateTime,
    /// When to ask again.
    pub wait_ms: i64,
    /// 1 if it was unknown, else 0.
    pub unknown: i32,
    /// What was said.
    pub said: String,
    /// Which version of its plugin said it.
    pub digest: Option<String>,
}

/// A transaction that a person must decide.
#[derive(Clone, Debug)]
pub struct Parked {
    /// The transaction.
    pub id: Uuid,
    /// The claim.
    pub until: OffsetDateTime,
    /// Why.
    pub reason: String,
    /// Which version of its plugin was asked last.
    pub digest: Option<String>,
}

/// A verdict that settles a transaction.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The transaction.
    pub id: Uuid,
    /// Why.
    pub reason: Option<String>,
    /// Which version of its plugin decided.
    pub digest: Option<String>,
}

/// A transaction that a person must decide.
#[derive(Clone, Debug)]
pub struct Doubt {
    /// Its id.
    pub id: Uuid,
    /// Its checker.
    pub checker: String,
    /// The business reference.
    pub reference: Option<String>,
    /// Why.
    pub reason: String,
}

impl Store {
    /// The checkers that have something to do, now or later.
    pub async fn due_checkers(&self) -> Result<Vec<Due>, Error> {
        let rows = self.claims.query(include_str!("due_checkers.sql"), &[]).await?;
        Ok(rows.iter().map(|r| Due { checker: r.get(0), due_in_ms: natural(r.get(1)) }).collect())
    }

    /// Claims due transactions, at most so many of each checker, for `lease_ms`.
    pub async fn claim_checks(&self, asks: &[(String, usize)], lease_ms: u64) -> Result<Vec<Claim>, Error> {
        let checkers: Vec<&str> = asks.iter().map(|(name, _)| name.as_str()).collect();
        let rows: Vec<i32> = asks.iter().map(|(_, rows)| i32::try_from(*rows).unwrap_or(i32::MAX)).collect();
        let lease_ms = i64::try_from(lease_ms).unwrap_or(i64::MAX);
        let rows = self.claims.query(include_str!("claim_checks.sql"), &[&checkers, &rows, &lease_ms]).await?;
        let claim = |r: &tokio_postgres::Row| Claim {
            id: r.get(0),
            checker: r.get(1),
            reference: r.get(2),
            age_ms: natural(r.get(3)),
            checking_ms: natural(r.get(4)),
            checks: small(r.get(5)),
            unknowns: small(r.get(6)),
            messages: small(r.get(7)),
            until: r.get(8),
            checked_by: None,
        };
        Ok(rows.iter().map(claim).collect())
    }

    /// The first messages of each transaction, in the order of their insert.
    pub async fn held_messages(&self, ids: &[Uuid], rows_max: usize, bytes_max: usize) -> Result<Vec<Held>, Error> {
        let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let (rows_max, bytes_max) = (int(rows_max), int(bytes_max));
        let rows = self.claims.query(include_str!("held_messages.sql"), &[&ids, &rows_max, &bytes_max]).await?;
        let held = |r: &tokio_postgres::Row| Held {
            tx_id: r.get(0),
            id: r.get(1),
            topic: r.get(2),
            key: r.get(3),
            payload: r.get::<_, Option<String>>(4).map(String::into_bytes).or_else(|| r.get(5)),
            bytes: natural(i64::from(r.get::<_, Option<i32>>(6).unwrap_or(0))),
            headers: r.get(7),
            created_at_ms: natural(r.get(8)),
            generation: small(r.get(9)),
        };
        Ok(rows.iter().map(held).collect())
    }

    /// prepared → committed or rolled_back, and their messages with them. Returns those that were still undecided.
    pub async fn settle(&self, outcome: &str, decided: &[Decided]) -> Result<Vec<Uuid>, Error> {
        let ids: Vec<Uuid> = decided.iter().map(|d| d.id).collect();
        let reasons: Vec<Option<&str>> = decided.iter().map(|d| d.reason.as_deref()).collect();
        let digests: Vec<Option<&str>> = decided.iter().map(|d| d.digest.as_deref()).collect();
        let rows = self.verdicts.query(include_str!("settle.sql"), &[&ids, &outcome, &reasons, &digests]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// prepared → prepared, later. Returns how many were still this instance's to postpone.
    pub async fn postpone(&self, answers: &[Postponed]) -> Result<u64, Error> {
        let ids: Vec<Uuid> = answers.iter().map(|a| a.id).collect();
        let claims: Vec<OffsetDateTime> = answers.iter().map(|a| a.until).collect();
        let waits: Vec<i64> = answers.iter().map(|a| a.wait_ms).collect();
        let unknowns: Vec<i32> = answers.iter().map(|a| a.unknown).collect();
        let said: Vec<&str> = answers.iter().map(|a| a.said.as_str()).collect();
        let digests: Vec<Option<&str>> = answers.iter().map(|a| a.digest.as_deref()).collect();
        let sql = include_str!("postpone.sql");
        self.verdicts.execute(sql, &[&ids, &claims, &waits, &unknowns, &said, &digests]).await
    }

    /// prepared → in_doubt. Returns those that were still this instance's to park.
    pub async fn park(&self, parked: &[Parked]) -> Result<Vec<Uuid>, Error> {
        let ids: Vec<Uuid> = parked.iter().map(|p| p.id).collect();
        let claims: Vec<OffsetDateTime> = parked.iter().map(|p| p.until).collect();
        let reasons: Vec<&str> = parked.iter().map(|p| p.reason.as_str()).collect();
        let digests: Vec<Option<&str>> = parked.iter().map(|p| p.digest.as_deref()).collect();
        let rows = self.verdicts.query(include_str!("park.sql"), &[&ids, &claims, &reasons, &digests]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Transactions in doubt of which nobody was told, at most `rows`: the caller tells.
    pub async fn untold(&self, rows: i64) -> Result<Vec<Doubt>, Error> {
        let rows = self.claims.query(include_str!("untold.sql"), &[&rows]).await?;
        let doubt = |r: &tokio_postgres::Row| Doubt {
            id: r.get(0),
            checker: r.get(1),
            reference: r.get(2),
            reason: r.get::<_, Option<String>>(3).unwrap_or_default(),
        };
        Ok(rows.iter().map(doubt).collect())
    }
}

fn natural(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn small(n: i32) -> u32 {
    u32::try_from(n).unwrap_or(0)
}
