//! The doorbell: LISTEN on a connection of its own, and the advisory lock K by which an idle relay tells inserting
//! transactions that it sleeps. Nothing depends on it but speed.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::Counter;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_postgres::{AsyncMessage, Client, Statement};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::meters::{Connections, Open, Scope};
use crate::store::connect::{Connected, Target};
use crate::store::{Error, full_text};

/// Whether the relay is woken by NOTIFY.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// LISTEN, and sleep while there is nothing to do.
    #[default]
    On,
    /// Poll only: for databases where no direct connection is to be had.
    Off,
}

/// `[doorbell]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `on` or `off`.
    pub mode: Mode,
    /// How often the listening connection is tested. A frozen runtime loses it after three of these.
    pub heartbeat_ms: u64,
}

/// A frozen runtime costs its database one NOTIFY an insert for at most 15 seconds.
impl Default for Config {
    fn default() -> Self {
        Self { mode: Mode::On, heartbeat_ms: 5_000 }
    }
}

/// What was heard since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rung {
    /// Rows came.
    pub rows: bool,
    /// Everything should be looked at again: a row went back to its old place, or nobody listened for a while.
    pub rescan: bool,
    /// Something was held or let go.
    pub holds: bool,
}

/// The answer to the wish to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// K is held: from now on, inserts ring.
    Granted,
    /// A transaction that did not ring has not ended: look again soon.
    Refused,
    /// Nothing is heard now: poll.
    Deaf,
}

/// The relay's side of the doorbell.
pub struct Doorbell {
    bell: Arc<Bell>,
    commands: mpsc::Sender<Command>,
}

#[derive(Default)]
struct Bell {
    rings: Rings,
    deployments: watch::Sender<u64>,
    shards: watch::Sender<u64>,
    rung: Notify,
    rows: AtomicBool,
    rescan: AtomicBool,
    holds: AtomicBool,
}

/// How often it rang, by what it was about.
struct Rings([Counter; 5]);

const WHAT: [&str; 5] = ["rows", "rescan", "holds", "deployments", "shards"];

impl Default for Rings {
    /// A probe's are not counted.
    fn default() -> Self {
        Self([const { Counter::noop() }; 5])
    }
}

impl Rings {
    fn of(scope: &Scope) -> Self {
        Self(WHAT.map(|what| scope.counter("avouch_doorbell_rings_total", &[("what", what)])))
    }

    fn count(&self, payload: &str) {
        // Anything else is about rows.
        let place = WHAT.iter().position(|what| *what == payload).unwrap_or(0);
        self.0[place].increment(1);
    }
}

enum Command {
    FallAsleep { shards: Vec<i32>, answer: oneshot::Sender<Sleep> },
    WakeUp,
}

/// Commands wait only while the connection is made again.
const COMMANDS_MAX: usize = 8;
/// A probe's notification takes a millisecond; three seconds are a stuck server.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// Between two tries to listen again.
const RETRY: Duration = Duration::from_millis(500);

impl Bell {
    /// Somebody has notified.
    fn rang(&self, payload: &str) {
        self.rings.count(payload);
        self.ring(payload);
    }

    fn ring(&self, payload: &str) {
        match payload {
            "rescan" => self.rescan.store(true, Ordering::Release),
            "holds" => self.holds.store(true, Ordering::Release),
            "deployments" => return self.deployments.send_modify(|n| *n += 1),
            "shards" => return self.shards.send_modify(|n| *n += 1),
            _ => self.rows.store(true, Ordering::Release),
        }
        self.rung.notify_one();
    }
}

impl Doorbell {
    /// Listens, after a probe that fails behind a transaction pooler. Runs until `stop`; connects again when it must.
    pub async fn start(config: &Config, target: Target, scope: &Scope, stop: CancellationToken) -> Result<Self, Error> {
        let bell = Arc::new(Bell { rings: Rings::of(scope), ..Bell::default() });
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        if config.mode == Mode::On {
            probe(&target).await?;
            let heartbeat = Duration::from_millis(config.heartbeat_ms);
            let listener = (target, scope.connections("doorbell"));
            tokio::spawn(listen_until(stop, Arc::clone(&bell), listener, heartbeat, inbox));
        }
        Ok(Self { bell, commands })
    }

    /// Changes whenever somebody deploys a plugin.
    pub fn deployments(&self) -> watch::Receiver<u64> {
        self.bell.deployments.subscribe()
    }

    /// Changes whenever somebody gives shards back.
    pub fn shards(&self) -> watch::Receiver<u64> {
        self.bell.shards.subscribe()
    }

    /// Waits until the bell rings; what rang before counts. Losing the future loses nothing.
    pub async fn rung(&self) -> Rung {
        loop {
            let rung = Rung {
                rows: self.bell.rows.swap(false, Ordering::AcqRel),
                rescan: self.bell.rescan.swap(false, Ordering::AcqRel),
                holds: self.bell.holds.swap(false, Ordering::AcqRel),
            };
            if rung != Rung::default() {
                return rung;
            }
            self.bell.rung.notified().await;
        }
    }

    /// Asks for K of these shards: all or none.
    pub fn fall_asleep(&self, shards: &[u16]) -> impl Future<Output = Sleep> + Send + use<> {
        let commands = self.commands.clone();
        let shards = shards.iter().map(|s| i32::from(*s)).collect();
        async move {
            let (answer, result) = oneshot::channel();
            if commands.send(Command::FallAsleep { shards, answer }).await.is_err() {
                return Sleep::Deaf;
            }
            result.await.unwrap_or(Sleep::Deaf)
        }
    }

    /// Gives K back, without waiting for it. A full queue means that the connection, and K with it, is gone.
    pub fn wake_up(&self) {
        if self.commands.try_send(Command::WakeUp).is_err() {
            tracing::debug!("no doorbell to give K back to");
        }
    }
}

async fn listen_until(
    stop: CancellationToken,
    bell: Arc<Bell>,
    listener: (Target, Connections),
    heartbeat: Duration,
    mut inbox: mpsc::Receiver<Command>,
) {
    let mut deaf_since_logged = false;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = listen_once(&bell, &listener, heartbeat, &mut inbox, &mut deaf_since_logged) => ended,
        };
        if !deaf_since_logged {
            tracing::warn!(error = %ended, "the doorbell is deaf: the relay polls until it listens again");
            deaf_since_logged = true;
        }
        // Whoever sleeps must look by itself now.
        bell.ring("rescan");
        let pause = tokio::time::sleep(RETRY);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut pause => break,
                command = inbox.recv() => match command {
                    Some(Command::FallAsleep { answer, .. }) => drop(answer.send(Sleep::Deaf).ok()),
                    Some(Command::WakeUp) => {}
                    None => return,
                },
            }
        }
    }
}

/// One connection's life; returns why it ended.
async fn listen_once(
    bell: &Arc<Bell>,
    listener: &(Target, Connections),
    heartbeat: Duration,
    inbox: &mut mpsc::Receiver<Command>,
    was_deaf: &mut bool,
) -> Error {
    let (client, statement) = match open(bell, listener, heartbeat).await {
        Ok(opened) => opened,
        Err(e) => return e,
    };
    if std::mem::take(was_deaf) {
        tracing::info!("the doorbell listens again");
    }
    // What was inserted while nobody listened did not ring here.
    bell.ring("rescan");
    let mut holding = false;
    let mut beat = tokio::time::interval(heartbeat);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let result = tokio::select! {
            _ = beat.tick() => within(heartbeat, client.batch_execute("select 1")).await,
            command = inbox.recv() => match command {
                None => return Error::Retry("the relay has ended".into()),
                Some(Command::WakeUp) if !holding => Ok(()),
                Some(Command::WakeUp) => {
                    holding = false;
                    within(heartbeat, client.batch_execute("select pg_advisory_unlock_all()")).await
                }
                Some(Command::FallAsleep { shards, answer }) => match within(heartbeat, lock(&client, &statement, &shards)).await {
                    Ok(granted) => {
                        holding = granted;
                        // A relay that no longer waits for the answer has stopped.
                        answer.send(if granted { Sleep::Granted } else { Sleep::Refused }).ok();
                        Ok(())
                    }
                    Err(e) => Err(e),
                },
            },
        };
        if let Err(e) = result {
            return e;
        }
        if client.is_closed() {
            return Error::Retry("the listening connection was closed".into());
        }
    }
}

/// All or none: a relay that must look after one shard looks after all.
const LOCK: &str = "select coalesce(bool_and(pg_try_advisory_lock('avouch.outbox'::regclass::oid::int4, shard)), false) \
                    from unnest($1::int[]) as shard";

async fn lock(client: &Client, statement: &Statement, shards: &[i32]) -> Result<bool, tokio_postgres::Error> {
    let row = client.query_one(statement, &[&shards]).await?;
    let granted: bool = row.get(0);
    if !granted {
        client.batch_execute("select pg_advisory_unlock_all()").await?;
    }
    Ok(granted)
}

async fn open(
    bell: &Arc<Bell>,
    (target, connections): &(Target, Connections),
    heartbeat: Duration,
) -> Result<(Client, Statement), Error> {
    let connected = target.connect().await?;
    let client = hear(Arc::clone(bell), connected, Some(connections.opened()));
    // The server ends this session, and frees K, if its runtime is frozen.
    let timeout_ms = heartbeat.as_millis() * 3;
    let setup = format!("set idle_session_timeout = {timeout_ms}; listen avouch_doorbell");
    within(heartbeat, client.batch_execute(&setup)).await?;
    let statement = within(heartbeat, client.prepare(LOCK)).await?;
    Ok((client, statement))
}

/// Polls a connection and rings the bell with what it hears. (Awaiting the connection itself would drop that.)
fn hear(bell: Arc<Bell>, (client, mut connection): Connected, open: Option<Open>) -> Client {
    tokio::spawn(async move {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(n))) => bell.rang(n.payload()),
                Some(Ok(_)) => {}
                Some(Err(e)) => {
                    tracing::debug!(error = %full_text(&e), "the listening connection ended");
                    break;
                }
                None => break,
            }
        }
        drop(open);
        // Without a connection there is no K: rows come without a ring.
        bell.ring("rescan");
    });
    client
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(Error::from),
        Err(_) => Err(Error::Retry(format!("the listening connection did not answer within {} ms", limit.as_millis()))),
    }
}

/// LISTEN here, NOTIFY there: a pooler in transaction mode accepts LISTEN and delivers nothing.
pub async fn probe(target: &Target) -> Result<(), Error> {
    let bell = Arc::new(Bell::default());
    let listener = hear(Arc::clone(&bell), target.connect().await?, None);
    let channel = format!("avouch_probe_{}", Uuid::now_v7().simple());
    listener.batch_execute(&format!("listen {channel}")).await?;
    let notifier = hear(Arc::new(Bell::default()), target.connect().await?, None);
    notifier.batch_execute(&format!("notify {channel}, 'probe'")).await?;
    tokio::time::timeout(PROBE_LIMIT, bell.rung.notified()).await.map_err(|_| {
        Error::Fatal(format!(
            "LISTEN was accepted but no notification arrived within {} s: the connection goes through a transaction pooler. \
             Give the database's direct address as url, or [doorbell] mode = \"off\" to poll instead",
            PROBE_LIMIT.as_secs()
        ))
    })
}
