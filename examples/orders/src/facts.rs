//! What the witnesses say: the shop's database, the stream, the consumers, the carrier. Pure data.

use std::collections::{HashMap, HashSet};

use async_nats::HeaderMap;
use uuid::Uuid;

use crate::carrier::Booked;

/// The database's word.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Messages of committed business transactions, by id, as the shop's own table has them.
    pub committed: HashMap<Uuid, Committed>,
    /// The outbox: each row's state, by id.
    pub outbox: HashMap<Uuid, Box<str>>,
    /// How the transactions went.
    pub transactions: Transactions,
    /// Half messages that the plugin decided about, because their producer was dead: committed, rolled back.
    pub judged: (i64, i64),
}

/// A message that must be published.
#[derive(Debug)]
pub struct Committed {
    /// Orders messages among each other.
    pub key: Box<str>,
    /// Its place within the key, from 1.
    pub step: i32,
    /// Its topic.
    pub topic: Box<str>,
}

/// Transactions of the order service. Those that are none of the last two vanished with a killed process, or are open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transactions {
    /// All.
    pub begun: i64,
    /// Those that left a row.
    pub committed: i64,
    /// Those that were rolled back on purpose.
    pub rolled_back: i64,
}

impl Transactions {
    /// Neither committed nor rolled back on purpose.
    pub fn unfinished(&self) -> i64 {
        (self.begun - self.committed - self.rolled_back).max(0)
    }
}

/// One message as it was read from the stream.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place in the stream.
    pub sequence: u64,
    /// `Nats-Msg-Id`, which the broker's own deduplication goes by.
    pub msg_id: Box<str>,
    /// What Avouch's headers and the payload say; none if somebody else published it.
    pub ours: Option<Ours>,
}

/// A message of the order service.
#[derive(Clone, Debug)]
pub struct Ours {
    /// `Avouch-Id`.
    pub id: Uuid,
    /// `Avouch-Key`.
    pub key: Box<str>,
    /// `Avouch-Topic`.
    pub topic: Box<str>,
    /// From the payload.
    pub step: i32,
}

impl Stored {
    /// Reads a message; one that is not the order service's is kept as a stranger.
    pub fn read(sequence: u64, headers: Option<&HeaderMap>, payload: &[u8]) -> Self {
        let header = |name: &str| headers.and_then(|h| h.get(name)).map(|value| value.as_str());
        let ours = || {
            let body: serde_json::Value = serde_json::from_slice(payload).ok()?;
            Some(Ours {
                id: header("Avouch-Id")?.parse().ok()?,
                key: header("Avouch-Key")?.into(),
                topic: header("Avouch-Topic")?.into(),
                step: body["step"].as_i64()?.try_into().ok()?,
            })
        };
        Self { sequence, msg_id: header("Nats-Msg-Id").unwrap_or_default().into(), ours: ours() }
    }

    /// True if the runtime sent it once more to a consumer whose receipt it missed: `<id>:<generation>`.
    pub fn is_sent_again(&self) -> bool {
        self.msg_id.contains(':')
    }
}

/// The consumer's word.
#[derive(Debug, Default)]
pub struct Seen {
    /// Where each message was first seen in the stream.
    pub first: HashMap<Uuid, u64>,
    /// Messages that were acknowledged.
    pub acked: HashSet<Uuid>,
    /// The same message at another place of the stream.
    pub duplicates: u64,
    /// Deliveries of the same place of the stream, after a nak or a forgotten ack.
    pub redelivered: u64,
    /// Messages that came after a later one of their key.
    pub out_of_order: Vec<Uuid>,
    last_step: HashMap<Box<str>, i32>,
}

impl Seen {
    /// Takes down a first delivery.
    pub fn note(&mut self, stored: &Stored) {
        let Some(ours) = &stored.ours else { return };
        if self.first.contains_key(&ours.id) {
            self.duplicates += 1;
            return;
        }
        self.first.insert(ours.id, stored.sequence);
        let last = self.last_step.entry(ours.key.clone()).or_insert(0);
        if ours.step <= *last {
            self.out_of_order.push(ours.id);
        }
        *last = ours.step.max(*last);
    }

    /// Takes down an acknowledgement.
    pub fn note_ack(&mut self, stored: &Stored) {
        if let Some(ours) = &stored.ours {
            self.acked.insert(ours.id);
        }
    }
}

/// What the invoicing service did.
#[derive(Debug, Default)]
pub struct Invoiced {
    /// Invoices by order.
    pub invoices: HashMap<Box<str>, i64>,
    /// Deliveries of what was invoiced before.
    pub again: i64,
}

/// What became of messages outside of the stream.
#[derive(Debug, Default)]
pub struct Effects {
    /// Those in a transaction with `avouch.inbox_once`.
    pub invoiced: Invoiced,
    /// Those at the carrier, with a token.
    pub booked: Booked,
    /// The gate's word on the latter: by order, the token of the attempt that was completed.
    pub done: HashMap<Box<str>, i64>,
    /// How often the process of each was killed: invoices, parcels.
    pub kills: (u32, u32),
    /// Messages that were published again on purpose.
    pub repeated: usize,
}
