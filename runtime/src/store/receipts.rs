//! Receipts and what is done without them: what consumers have not finished, what is sent again, what is given up.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::Row;
use uuid::Uuid;

use super::{Error, Store};
use crate::consumers::{Consumer, Receipt, Tracked};
use crate::killpoint::{self, Point};
use crate::lifecycle::Death;

/// A part of a stream's incarnation: above `after`, up to `to`.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// The incarnation's number.
    pub stream: i32,
    /// The sequence before the first one.
    pub after: i64,
    /// The last one.
    pub to: i64,
}

/// A message that one consumer has not finished, and what is known of it.
#[derive(Clone, Debug)]
pub struct Awaited {
    /// The message.
    pub id: Uuid,
    /// Where it was sent, for the last time.
    pub stream_seq: i64,
    /// Since then.
    pub age: Duration,
    /// The state of the consumer's record of it, if there is one.
    pub record: Option<String>,
    /// Why that is so.
    pub why: Option<String>,
    /// `pending`, `sent` or `dead` if it was missed before and this is its first place; `again` if this is where it was sent again.
    pub recovery: Option<String>,
    /// How often it was sent again because of this consumer.
    pub tries: u32,
    /// Its topic.
    pub topic: String,
}

/// A message that one consumer missed.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The message.
    pub id: Uuid,
    /// By whom.
    pub consumer: i32,
    /// Why.
    pub reason: String,
    /// Whether sending it again counts against `generations_max`.
    pub counts: bool,
    /// Where it was missed.
    pub stream_seq: i64,
}

/// A message that one consumer will not finish.
#[derive(Clone, Debug)]
pub struct GivenUp {
    /// The message.
    pub id: Uuid,
    /// By whom.
    pub consumer: i32,
    /// Why, as a class.
    pub class: Death,
    /// Why.
    pub reason: String,
}

/// What has become dead.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The message.
    pub id: Uuid,
    /// For whom.
    pub consumer: String,
    /// Its topic.
    pub topic: String,
    /// Why, as a class.
    pub class: Death,
    /// Why.
    pub reason: String,
    /// The row's header of this name.
    pub traceparent: Option<String>,
}

/// A receipt by message, in its queue.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its number in the queue.
    pub number: i64,
    /// The message.
    pub id: Uuid,
    /// Whose it is.
    pub consumer: i32,
    /// Why it will never be done; none: it is done.
    pub dead: Option<String>,
    /// The message is known to be sent.
    pub is_known: bool,
    /// It has waited for that long enough.
    pub is_old: bool,
}

impl Store {
    /// Who must have which messages.
    pub async fn tracked(&self) -> Result<Tracked, Error> {
        let rows = self.control.query(include_str!("tracked.sql"), &[]).await?;
        let (as_of, installation) = rows.first().map_or(((0, 0), Uuid::nil()), |r| ((r.get(0), r.get(14)), r.get(13)));
        let consumers = rows.iter().filter(|r| r.get::<_, Option<i32>>(1).is_some()).map(consumer);
        Ok(Tracked::new(installation, as_of, consumers.collect()))
    }

    /// What a consumer has not finished in this stretch, first places or places where it was sent again, in their order.
    pub async fn look_awaited(
        &self,
        consumer: i32,
        at: Stretch,
        rows_max: i64,
        places: Places,
    ) -> Result<Vec<Awaited>, Error> {
        let sql = match places {
            Places::First => include_str!("look_awaited.sql"),
            Places::Again => include_str!("look_recovered.sql"),
        };
        let rows = self.receipts.query(sql, &[&consumer, &at.stream, &at.after, &at.to, &rows_max]).await?;
        Ok(rows.iter().map(awaited).collect())
    }

    /// Which messages these places are, by their numbers in `places`: `(stream, sequence, consumer)`.
    pub async fn places(&self, places: &[(i32, i64, i32)]) -> Result<Vec<(usize, Uuid)>, Error> {
        let streams: Vec<i32> = places.iter().map(|p| p.0).collect();
        let seqs: Vec<i64> = places.iter().map(|p| p.1).collect();
        let consumers: Vec<i32> = places.iter().map(|p| p.2).collect();
        let rows = self.receipts.query(include_str!("places.sql"), &[&streams, &seqs, &consumers]).await?;
        let number = |r: &Row| usize::try_from(r.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        Ok(rows.iter().map(|r| (number(r), r.get(1))).collect())
    }

    /// Receipts taken by this process.
    pub fn received_total(&self) -> i64 {
        self.received_total.load(Ordering::Relaxed)
    }

    /// These consumers have finished these messages: one statement a consumer. Returns of each how many it had not finished before.
    pub async fn receive(&self, receipts: &[(Uuid, i32)]) -> Result<Vec<(i32, u64)>, Error> {
        let mut all = Vec::new();
        let mut by_consumer: BTreeMap<i32, Vec<Uuid>> = BTreeMap::new();
        for (id, consumer) in receipts {
            by_consumer.entry(*consumer).or_default().push(*id);
        }
        for (consumer, ids) in by_consumer {
            let received = self.receipts.execute(include_str!("receive.sql"), &[&ids, &consumer]).await?;
            self.received_total.fetch_add(i64::try_from(received).unwrap_or(0), Ordering::Relaxed);
            killpoint::reached_by(Point::ReceiptRecorded, usize::try_from(received).unwrap_or(usize::MAX));
            all.push((consumer, received));
        }
        Ok(all)
    }

    /// sent → dead, where this is the state of the recovery, if there is one. Returns what is dead now and was not before.
    pub async fn give_up_on(&self, given_up: &[GivenUp], recovery: &str) -> Result<Vec<Dead>, Error> {
        let mut by_consumer: BTreeMap<i32, BTreeMap<Uuid, &GivenUp>> = BTreeMap::new();
        for one in given_up {
            by_consumer.entry(one.consumer).or_default().insert(one.id, one);
        }
        let mut all = Vec::new();
        for (consumer, messages) in by_consumer {
            let (ids, reasons): (Vec<Uuid>, Vec<&str>) = messages.iter().map(|(id, one)| (*id, &*one.reason)).unzip();
            let rows =
                self.receipts.query(include_str!("give_up_on.sql"), &[&ids, &consumer, &reasons, &recovery]).await?;
            let dead = |r: &Row| {
                let id = r.get(0);
                let class = messages.get(&id).map_or(Death::Rejected, |one| one.class);
                Dead { id, consumer: r.get(1), topic: r.get(2), class, reason: r.get(3), traceparent: r.get(4) }
            };
            all.extend(rows.iter().map(dead));
            killpoint::reached_by(Point::GivenUp, rows.len());
        }
        Ok(all)
    }

    /// These are to be sent again: one statement a consumer and reason. Returns how many were not so before: what the broker has
    /// lost, and the others.
    pub async fn send_again(&self, missed: &[Missed]) -> Result<(u64, u64), Error> {
        let (mut lost, mut others) = (0, 0);
        let mut alike: BTreeMap<(i32, &str, bool), BTreeMap<Uuid, i64>> = BTreeMap::new();
        for one in missed {
            alike.entry((one.consumer, &one.reason, one.counts)).or_default().insert(one.id, one.stream_seq);
        }
        for ((consumer, reason, counts), messages) in alike {
            let (ids, seqs): (Vec<Uuid>, Vec<i64>) = messages.into_iter().unzip();
            let sql = include_str!("send_again.sql");
            let touched = self.receipts.execute(sql, &[&ids, &consumer, &reason, &counts, &seqs]).await?;
            *(if counts { &mut others } else { &mut lost }) += touched;
        }
        Ok((lost, others))
    }

    /// Puts receipts by message into their queue: consumers, messages, and why they are dead. For each, whether its consumer is
    /// waited for; none if there is no such message.
    pub async fn confirm(&self, said: &[(&str, Uuid, Option<&str>)]) -> Result<Vec<Option<bool>>, Error> {
        let consumers: Vec<&str> = said.iter().map(|s| s.0).collect();
        let ids: Vec<Uuid> = said.iter().map(|s| s.1).collect();
        let dead: Vec<Option<&str>> = said.iter().map(|s| s.2).collect();
        let rows = self.finishes.query(include_str!("confirm.sql"), &[&consumers, &ids, &dead]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// The next receipts by message, after this number.
    pub async fn told_receipts(&self, rows_max: i64, after: i64) -> Result<Vec<Told>, Error> {
        let rows = self.receipts.query(include_str!("told_receipts.sql"), &[&rows_max, &after]).await?;
        let told = |r: &Row| Told {
            number: r.get(0),
            id: r.get(1),
            consumer: r.get(2),
            dead: r.get(3),
            is_known: r.get(4),
            is_old: r.get(5),
        };
        Ok(rows.iter().map(told).collect())
    }

    /// These receipts are applied.
    pub async fn forget_receipts(&self, numbers: &[i64]) -> Result<(), Error> {
        self.receipts.execute(include_str!("forget_receipts.sql"), &[&numbers]).await.map(drop)
    }

    /// The first sequence that a consumer has not finished.
    pub async fn lowest_awaited(&self, consumer: i32, stream: i32) -> Result<Option<i64>, Error> {
        let rows = self.receipts.query(include_str!("lowest_awaited.sql"), &[&consumer, &stream]).await?;
        Ok(rows.first().and_then(|r| r.get(0)))
    }

    /// A new consumer must have everything from here on.
    pub async fn start_consumer(&self, consumer: i32, first_seq: i64) -> Result<(), Error> {
        self.receipts.execute(include_str!("start_consumer.sql"), &[&consumer, &first_seq]).await.map(drop)
    }

    /// Nobody waits for this consumer in this stretch any more. Returns how many messages did, and how far that was looked for.
    pub async fn release_from(&self, consumer: i32, at: Stretch, rows_max: i64) -> Result<(i64, i64), Error> {
        let params: super::link::Params<'_> = &[&consumer, &at.stream, &at.after, &at.to, &rows_max];
        let rows = self.receipts.query(include_str!("release_from.sql"), params).await?;
        Ok(rows.first().map_or((0, at.to), |r| (r.get(0), r.get(1))))
    }

    /// Nothing waits for this consumer that must not.
    pub async fn released(&self, consumer: i32) -> Result<(), Error> {
        self.receipts.execute(include_str!("released.sql"), &[&consumer]).await.map(drop)
    }

    /// The first place in an incarnation where somebody waits for a consumer.
    pub async fn first_awaited(&self, stream: i32) -> Result<Option<i64>, Error> {
        let rows = self.receipts.query(include_str!("first_awaited.sql"), &[&stream]).await?;
        Ok(rows.first().and_then(|r| r.get(0)))
    }

    /// Former incarnations of a stream in which somebody still waits for a consumer.
    pub async fn former_streams(&self, name: &str, present: i32) -> Result<Vec<i32>, Error> {
        let rows = self.receipts.query(include_str!("former_streams.sql"), &[&name, &present]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Incarnations of streams in which somebody waits for a consumer.
    pub async fn awaited_streams(&self) -> Result<Vec<i32>, Error> {
        let rows = self.receipts.query(include_str!("awaited_streams.sql"), &[]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }
}

/// Which places of messages.
#[derive(Clone, Copy, Debug)]
pub enum Places {
    /// Where they were sent first.
    First,
    /// Where they were sent again, to one consumer.
    Again,
}

fn consumer(row: &Row) -> Consumer {
    let unsigned = |n: i32| u32::try_from(n).unwrap_or(0);
    Consumer {
        id: row.get(1),
        name: row.get(2),
        stream: row.get(3),
        topics: row.get(4),
        is_required: row.get(5),
        receipt: if row.get::<_, &str>(6) == "inbox" { Receipt::Inbox } else { Receipt::Ack },
        trust_settled: row.get(7),
        deadline: Duration::from_millis(unsigned(row.get(8)).into()),
        generations_max: unsigned(row.get(9)),
        start_seq: row.get(10),
        is_changing: row.get(11),
        is_paused: row.get(12),
    }
}

fn awaited(row: &Row) -> Awaited {
    Awaited {
        id: row.get(0),
        stream_seq: row.get(1),
        age: Duration::from_millis(u64::try_from(row.get::<_, Option<i64>>(2).unwrap_or(0)).unwrap_or(0)),
        record: row.get(3),
        why: row.get(4),
        recovery: row.get(5),
        tries: u32::try_from(row.get::<_, Option<i32>>(6).unwrap_or(0)).unwrap_or(0),
        topic: row.get(7),
    }
}
