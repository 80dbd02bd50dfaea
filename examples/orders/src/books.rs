//! The balance: what the witnesses say of the same messages and orders, compared. Pure.

mod effects;

use std::collections::{HashMap, HashSet};
use std::fmt;

use uuid::Uuid;

use crate::facts::{Effects, Ledger, Seen, Stored, Transactions};

/// How many ids of one kind of fault are shown.
const IDS_SHOWN: usize = 5;
/// Faults that a reader wants to see are none.
const SHOWN_AT_ZERO: [&str; 4] = ["lost", "invented", "out of order", "doubled"];

/// Whether everything agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evenness {
    /// Nothing lost, invented, altered or reordered, nothing left waiting, and each effect exactly once.
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
    published: usize,
    doubled_same_msg_id: usize,
    doubled_otherwise: usize,
    consumed: usize,
    seen_twice: u64,
    redelivered: u64,
    sent_again: usize,
    states: HashMap<Box<str>, usize>,
    effects: Effects,
    faults: Vec<Fault>,
}

/// Compares the database, the stream in its order, the consumer that sees everything, and what the others did.
pub fn balance(ledger: &Ledger, stream: &[Stored], seen: &Seen, effects: Effects) -> Balance {
    let mut balance = Balance {
        transactions: ledger.transactions,
        judged: ledger.judged,
        committed: ledger.committed.len(),
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
    balance.sent_again = stream.iter().filter(|s| s.is_sent_again()).count();
    balance.faults = faults(ledger, stream, &published, seen);
    balance.faults.extend(effects::faults(ledger, &effects));
    balance.effects = effects;
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
    let is_in = |name: &'static str| move |id: &&Uuid| state(id) == Some(name);
    let waits = is_in("ready");
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
        fault("awaited", "sent, but without the receipts of all its consumers", committed().filter(is_in("sent"))),
        fault("dead", "given up", ledger.outbox.keys().filter(is_in("dead"))),
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
            "  outbox        {} consumed, {} awaited, {} waiting, {} dead, {} cancelled (payments declined or abandoned)",
            self.state("consumed"),
            self.state("sent"),
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
            "  stream        {} published; duplicates: {} with the same Nats-Msg-Id, {} with another: {} on purpose, {} for a missed receipt",
            self.published, self.doubled_same_msg_id, self.doubled_otherwise, self.effects.repeated, self.sent_again
        )?;
        writeln!(
            f,
            "  audit         {} acknowledged; {} duplicates seen, {} deliveries repeated (naks and forgotten acks)",
            self.consumed, self.seen_twice, self.redelivered
        )?;
        effects::write(&self.effects, f)?;
        writeln!(f)?;
        for fault in self.faults.iter().filter(|f| !f.ids.is_empty() || SHOWN_AT_ZERO.contains(&f.name)) {
            writeln!(f, "  {:<13} {} {}", fault.name, fault.ids.len(), fault.meaning)?;
            for id in fault.ids.iter().take(IDS_SHOWN) {
                writeln!(f, "                  {id}")?;
            }
        }
        match self.evenness() {
            Evenness::Even => {
                write!(
                    f,
                    "\n  The books balance: every committed message was published in order and consumed, each effect is there exactly once."
                )
            }
            Evenness::Uneven => {
                write!(f, "\n  The books do NOT balance. The first {IDS_SHOWN} ids of each fault are above.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
