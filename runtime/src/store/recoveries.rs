//! What is sent again to one consumer, and the dead messages that programs are told of.

use tokio_postgres::Row;
use uuid::Uuid;

use super::rows::payload_of;
use super::{Error, Store};
use crate::message::{Message, Payload};

/// What is to be sent again, to one consumer alone.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// To whom.
    pub consumer: i32,
    /// Its name.
    pub name: String,
    /// The stream of its durable.
    pub stream: String,
    /// The message with its new generation; shard and seq mean nothing here.
    pub message: Message,
    /// The transaction that held it until it was committed, if one did.
    pub tx_id: Option<Uuid>,
}

/// What was sent again.
#[derive(Clone, Copy, Debug)]
pub struct SentAgain {
    /// The message.
    pub id: Uuid,
    /// To whom.
    pub consumer: i32,
    /// As which generation.
    pub generation: u32,
    /// The stream's incarnation.
    pub stream: i32,
    /// Its place there.
    pub stream_seq: i64,
}

/// A dead message that programs are to be told of.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// For whom it is dead; 0 for nobody: it was never sent.
    pub consumer: i32,
    /// The consumer's name.
    pub name: Option<String>,
    /// Why.
    pub reason: String,
    /// The message; shard and seq mean nothing here.
    pub message: Message,
}

impl Store {
    /// What is to be sent again, oldest first.
    pub async fn claim_recoveries(&self, rows_max: i64) -> Result<Vec<Recovery>, Error> {
        let rows = self.recoveries.query(include_str!("claim_recoveries.sql"), &[&rows_max]).await?;
        Ok(rows.iter().map(recovery).collect())
    }

    /// pending → sent.
    pub async fn sent_again(&self, sent: &[SentAgain]) -> Result<(), Error> {
        let ids: Vec<Uuid> = sent.iter().map(|s| s.id).collect();
        let consumers: Vec<i32> = sent.iter().map(|s| s.consumer).collect();
        let generations: Vec<i32> = sent.iter().map(|s| i32::try_from(s.generation).unwrap_or(i32::MAX)).collect();
        let streams: Vec<i32> = sent.iter().map(|s| s.stream).collect();
        let seqs: Vec<i64> = sent.iter().map(|s| s.stream_seq).collect();
        let sql = include_str!("sent_again.sql");
        self.recoveries.execute(sql, &[&ids, &consumers, &generations, &streams, &seqs]).await.map(drop)
    }

    /// sent → discarded: it never happened. Returns false if the race was lost.
    pub async fn discard_sent(&self, id: Uuid, reason: &str) -> Result<bool, Error> {
        Ok(self.recoveries.execute(include_str!("discard_sent.sql"), &[&id, &reason]).await? > 0)
    }

    /// These cannot be sent again now, and go behind the others: `(message, consumer)`.
    pub async fn later(&self, which: &[(Uuid, i32)]) -> Result<(), Error> {
        let (ids, consumers): (Vec<Uuid>, Vec<i32>) = which.iter().copied().unzip();
        self.recoveries.execute(include_str!("later.sql"), &[&ids, &consumers]).await.map(drop)
    }

    /// Dead messages that programs were not told of, oldest first: `tx_id` and the stream mean nothing here.
    pub async fn untold_dead(&self, rows_max: i64) -> Result<Vec<DeadLetter>, Error> {
        let rows = self.recoveries.query(include_str!("untold_dead.sql"), &[&rows_max]).await?;
        Ok(rows.iter().map(dead_letter).collect())
    }

    /// Programs were told of these: `(message, consumer)`.
    pub async fn told_dead(&self, told: &[(Uuid, i32)]) -> Result<(), Error> {
        let (ids, consumers): (Vec<Uuid>, Vec<i32>) = told.iter().copied().unzip();
        self.recoveries.execute(include_str!("told_dead.sql"), &[&ids, &consumers]).await.map(drop)
    }
}

fn recovery(row: &Row) -> Recovery {
    Recovery {
        consumer: row.get(1),
        name: row.get(2),
        stream: row.get(3),
        message: message(row, 4),
        tx_id: row.get(11),
    }
}

fn dead_letter(row: &Row) -> DeadLetter {
    DeadLetter { consumer: row.get(1), name: row.get(2), reason: row.get(3), message: message(row, 4) }
}

/// The id, and from this column on: generation, created_at, topic, key, both payloads, headers.
fn message(row: &Row, at: usize) -> Message {
    let payload = payload_of(row, at + 4).unwrap_or_default();
    Message {
        shard: 0,
        seq: 0,
        id: row.get(0),
        generation: u32::try_from(row.get::<_, i32>(at)).unwrap_or(0),
        created_at: row.get(at + 1),
        topic: row.get::<_, &str>(at + 2).into(),
        key: row.get::<_, Option<&str>>(at + 3).map(Into::into),
        payload: Payload::Here(bytes::Bytes::copy_from_slice(payload)),
        headers: row.get::<_, Option<&str>>(at + 6).map(Into::into),
    }
}
