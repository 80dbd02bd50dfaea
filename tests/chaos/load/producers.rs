//! Producers: each has keys of its own, takes turns on them, and writes down what it did before and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::half;
use super::message::{Draft, Message};
use super::topics;
use super::transaction::{End, Session};
use crate::facts::{Fate, Number, Place};
use crate::ledger::Ledger;
use crate::rng::Rng;

const PRODUCERS: u64 = 6;
const KEYS: u64 = 5;
/// Three messages a transaction at most.
const ROWS_MAX: u64 = 3;
/// Messages of a transaction in the mean, over all kinds of them.
const ROWS_MEAN: u64 = 2;
const AGAIN: Duration = Duration::from_millis(50);

/// One of them.
pub struct Producer {
    pub rng: Rng,
    pub ledger: Ledger,
    numbers: Arc<AtomicU64>,
    keys: Vec<Key>,
    url: String,
    session: Option<Session>,
}

/// Its order is known for as long as its last commit is.
struct Key {
    name: String,
    turn: u64,
    position: u64,
}

/// How many messages a second there are to be, and until when.
pub struct Load {
    pub seed: u64,
    pub rate_per_s: u64,
    pub url: String,
    pub stop: CancellationToken,
}

/// All of them, until `stop`.
pub fn start(load: &Load, ledger: &Ledger) -> JoinSet<()> {
    let (mut tasks, numbers) = (JoinSet::new(), Arc::new(AtomicU64::new(1)));
    let pause = Duration::from_micros(1_000_000 * ROWS_MEAN * PRODUCERS / load.rate_per_s.max(1));
    for name in 0..PRODUCERS {
        let keys = (0..KEYS).map(|n| Key { name: format!("p{name}-{n}"), turn: 0, position: 0 }).collect();
        let producer = Producer {
            rng: Rng::part(load.seed, 100 + name),
            ledger: ledger.clone(),
            numbers: Arc::clone(&numbers),
            keys,
            url: load.url.clone(),
            session: None,
        };
        tasks.spawn(producer.work(pause, load.stop.clone()));
    }
    tasks
}

impl Producer {
    async fn work(mut self, pause: Duration, stop: CancellationToken) {
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            ticks.tick().await;
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let session = match self.session.take().filter(Session::is_usable) {
            Some(session) => session,
            None => match Session::open(&self.url).await {
                Some(session) => session,
                None => return sleep(AGAIN).await,
            },
        };
        match self.rng.below(100) {
            0..=59 => self.local(&session).await,
            60..=69 => self.delayed(&session).await,
            70..=79 => self.deduplicated(&session).await,
            _ => half::act(self, &session).await,
        }
        self.session = Some(session);
    }

    /// A local message table: some rows of one key, and their commit.
    async fn local(&mut self, session: &Session) {
        let topic = *self.rng.pick(&[topics::PLACED, topics::PLACED, topics::NOTED, topics::WELCOME]);
        let key = self.pick_key();
        let count = self.rng.between(1, ROWS_MAX);
        let messages: Vec<Message> = (0..count).map(|_| self.next(topic, key, Place::Immediate)).collect();
        let end = if self.rng.chance(7) { End::Rollback } else { End::Commit };
        let sql: Vec<String> = messages.iter().map(|m| m.insert(&[])).collect();
        let fate = self.write(session, &messages, &sql.join("; "), end).await;
        self.after(key, fate);
    }

    async fn delayed(&mut self, session: &Session) {
        let key = self.pick_key();
        let message = self.next(topics::LATER, key, Place::Delayed);
        let ms = self.rng.between(200, 3_000);
        let sql = message.insert(&[("not_before", format!("clock_timestamp() + interval '{ms} ms'"))]);
        self.write(session, &[message], &sql, End::Commit).await;
    }

    /// The second of a `dedup_key` is refused, and if it is not, that is what the checker finds.
    async fn deduplicated(&mut self, session: &Session) {
        let key = self.pick_key();
        let first = self.next(topics::PLACED, key, Place::Immediate);
        let dedup_key = ("dedup_key", format!("'d{}'", first.written.number));
        let sql = first.insert(std::slice::from_ref(&dedup_key));
        let fate = self.write(session, &[first], &sql, End::Commit).await;
        self.after(key, fate);
        if fate == Fate::Must && session.is_usable() {
            let second = self.next(topics::PLACED, key, Place::Immediate);
            self.ledger.intend(std::slice::from_ref(&second.written)).await;
            session.run(&second.insert(&[dedup_key]), End::Commit).await;
            self.ledger.know(&[(second.written.number, Fate::Never)]).await;
        }
    }

    /// Intended, tried, known.
    async fn write(&mut self, session: &Session, messages: &[Message], sql: &str, end: End) -> Fate {
        self.ledger.intend(&messages.iter().map(|m| m.written.clone()).collect::<Vec<_>>()).await;
        let fate = session.run(sql, end).await;
        let fates: Vec<(Number, Fate)> = messages.iter().map(|m| (m.written.number, fate)).collect();
        self.ledger.know(&fates).await;
        fate
    }

    pub fn pick_key(&mut self) -> usize {
        usize::try_from(self.rng.below(KEYS)).expect("is small")
    }

    /// A message that takes the next place of its key.
    pub fn next(&mut self, topic: &str, key: usize, place: Place) -> Message {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let key = &mut self.keys[key];
        key.position += 1;
        let name = format!("{}-{}", key.name, key.turn);
        let draft = Draft { number, topic, key: &name, position: key.position, place };
        Message::new(&draft, &mut self.rng)
    }

    /// A commit that may still happen would come after the next one of the key: nobody takes turns with it any more.
    fn after(&mut self, key: usize, fate: Fate) {
        if fate != Fate::Must {
            self.keys[key].turn += 1;
        }
    }

    /// A number that no other order has.
    pub fn order(&mut self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits as a slow business action does.
    pub async fn think(&mut self) {
        if self.rng.chance(10) {
            let until = Instant::now() + Duration::from_millis(self.rng.between(0, 1_500));
            tokio::time::sleep_until(until).await;
        }
    }
}
