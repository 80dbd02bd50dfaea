//! The balance: what three witnesses say of the same messages, compared. Pure.

use std::collections::{HashMap, HashSet};
use std::fmt;

use uuid::Uuid;

use crate::facts::{Ledger, Seen, Stored, Transactions};

/// How many ids of one kind of fault are shown.
const IDS_SHOWN: usize = 5;

/// Whether everything agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evenness {
    /// Nothing lost, invented, altered or reordered, and nothing left waiting.
    Even,
    /// See the faults.
    Uneven,
}

/// One kind of fault and the messages that have it.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// In one or two words.
    pub name: &'static str,
    /// In one sentence.
    pub meaning: &'static str,
    /// Ids, or places in the stream.
    pub ids: Vec<String>,
}

/// The balance.
#[derive(Debug, Default)]
pub struct Balance {
    transactions: Transactions,
    judged: (i64, i64),
    committed: usize,
    in_stream: usize,
    published: usize,
    doubled_same_msg_id: usize,
    doubled_otherwise: usize,
    consumed: usize,
    seen_twice: u64,
    redelivered: u64,
    states: HashMap<Box<str>, usize>,
    faults: Vec<Fault>,
}

/// Compares the database, the stream in its order, and the consumer.
pub fn balance(ledger: &Ledger, stream: &[Stored], seen: &Seen) -> Balance {
    let mut balance = Balance {
        transactions: ledger.transactions,
        judged: ledger.judged,
        committed: ledger.committed.len(),
        in_stream: stream.len(),
        seen_twice: seen.duplicates,
        redelivered: seen.redelivered,
        ..Balance::default()
    };
    for state in ledger.outbox.values() {
        *balance.states.entry(state.clone()).or_default() += 1;
    }
    let published: HashSet<Uuid> = stream.iter().filter_map(|s| Some(s.ours.as_ref()?.id)).collect();
    balance.published = published.len();
    balance.consumed = seen.acked.iter().filter(|id| ledger.committed.contains_key(id)).count();
    balance.count_doubles(stream);
    balance.faults = faults(ledger, stream, &published, seen);
    balance
}

impl Balance {
    /// Even if there is no fault at all.
    pub fn evenness(&self) -> Evenness {
        if self.faults.iter().all(|f| f.ids.is_empty()) { Evenness::Even } else { Evenness::Uneven }
    }

    /// Duplicates are legal: at least once is the promise. With the same `Nats-Msg-Id` the broker should have caught them.
    fn count_doubles(&mut self, stream: &[Stored]) {
        let (mut ids, mut msg_ids) = (HashSet::new(), HashSet::new());
        for stored in stream {
            let Some(ours) = &stored.ours else { continue };
            let is_new_msg_id = msg_ids.insert(&stored.msg_id);
            if !ids.insert(ours.id) {
                if is_new_msg_id { self.doubled_otherwise += 1 } else { self.doubled_same_msg_id += 1 }
            }
        }
    }

    fn state(&self, name: &str) -> usize {
        self.states.get(name).copied().unwrap_or(0)
    }
}

fn faults(ledger: &Ledger, stream: &[Stored], published: &HashSet<Uuid>, seen: &Seen) -> Vec<Fault> {
    let unpublished = |id: &&Uuid| !published.contains(*id);
    let state = |id: &Uuid| ledger.outbox.get(id).map(AsRef::as_ref);
    let waits = |id: &&Uuid| state(id) == Some("ready");
    let committed = || ledger.committed.keys();
    let held_back = |id: &Uuid| matches!(state(id), Some("prepared" | "cancelled"));
    let only_outbox = || ledger.outbox.keys().filter(|id| !ledger.committed.contains_key(id) && !held_back(id));
    vec![
        fault("lost", "committed, but not in the stream", committed().filter(unpublished).filter(|id| !waits(id))),
        fault("invented", "in the stream, but never committed", invented(ledger, stream)),
        fault("out of order", "in the stream after a later one of their key", out_of_order(stream)),
        fault("altered", "in the stream with another key, step or topic than committed", altered(ledger, stream)),
        fault("not sent", "committed, and still waiting in the outbox", committed().filter(unpublished).filter(waits)),
        fault("not consumed", "in the stream, but never acknowledged", published.difference(&seen.acked)),
        fault("consumed late", "by the consumer after a later one of their key", &seen.out_of_order),
        fault("gone", "committed, but not in the outbox", committed().filter(|id| state(id).is_none())),
        fault("unknown", "in the outbox, but not in the shop", only_outbox()),
    ]
}

fn fault(name: &'static str, meaning: &'static str, ids: impl IntoIterator<Item = impl fmt::Display>) -> Fault {
    let mut ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    ids.sort();
    Fault { name, meaning, ids }
}

fn invented<'a>(ledger: &'a Ledger, stream: &'a [Stored]) -> impl Iterator<Item = String> + 'a {
    stream.iter().filter_map(|stored| match &stored.ours {
        Some(ours) if ledger.committed.contains_key(&ours.id) => None,
        Some(ours) => Some(ours.id.to_string()),
        None => Some(format!("a stranger at stream sequence {}", stored.sequence)),
    })
}

fn altered<'a>(ledger: &'a Ledger, stream: &'a [Stored]) -> impl Iterator<Item = Uuid> + 'a {
    let ours = stream.iter().filter_map(|stored| stored.ours.as_ref());
    ours.filter_map(|o| {
        let c = ledger.committed.get(&o.id)?;
        (c.key != o.key || c.step != o.step || c.topic != o.topic).then_some(o.id)
    })
}

/// Only the first occurrence of each message counts: a duplicate may come at any time.
fn out_of_order(stream: &[Stored]) -> Vec<Uuid> {
    let (mut known, mut last_step) = (HashSet::new(), HashMap::new());
    let first = stream.iter().filter_map(|stored| stored.ours.as_ref()).filter(|ours| known.insert(ours.id));
    first
        .filter_map(|ours| {
            let last = last_step.entry(&ours.key).or_insert(0);
            let is_late = ours.step <= *last;
            *last = ours.step.max(*last);
            is_late.then_some(ours.id)
        })
        .collect()
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.transactions;
        writeln!(
            f,
            "  transactions  {} begun: {} committed, {} rolled back, {} vanished with the killed service",
            t.begun,
            t.committed,
            t.rolled_back,
            t.unfinished()
        )?;
        writeln!(f, "  shop          {} messages committed", self.committed)?;
        writeln!(
            f,
            "  outbox        {} sent, {} waiting, {} dead, {} cancelled (payments declined or abandoned)",
            self.state("sent") + self.state("consumed"),
            self.state("ready"),
            self.state("dead"),
            self.state("cancelled")
        )?;
        writeln!(
            f,
            "  check-back    the plugin committed {} and rolled back {} half messages whose producer was killed; {} undecided",
            self.judged.0,
            self.judged.1,
            self.state("prepared")
        )?;
        writeln!(
            f,
            "  stream        {} published; {} duplicates with the same Nats-Msg-Id, {} otherwise ({} entries)",
            self.published, self.doubled_same_msg_id, self.doubled_otherwise, self.in_stream
        )?;
        writeln!(
            f,
            "  consumer      {} consumed; {} duplicates, {} redelivered on purpose (naks and forgotten acks)\n",
            self.consumed, self.seen_twice, self.redelivered
        )?;
        for fault in self.faults.iter().take(3).chain(self.faults.iter().skip(3).filter(|f| !f.ids.is_empty())) {
            writeln!(f, "  {:<13} {} {}", fault.name, fault.ids.len(), fault.meaning)?;
            for id in fault.ids.iter().take(IDS_SHOWN) {
                writeln!(f, "                  {id}")?;
            }
        }
        match self.evenness() {
            Evenness::Even => {
                write!(f, "\n  The books balance: every committed message was published and consumed, in order.")
            }
            Evenness::Uneven => {
                write!(f, "\n  The books do NOT balance. The first {IDS_SHOWN} ids of each fault are above.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
