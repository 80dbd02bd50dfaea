//! The NATS side: a consumer that plainly acknowledges what it gets, and a reader that takes the stream back whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer};
use async_nats::jetstream::{self, AckKind, Message};
use avouch_example_stage::{STREAM, wait_for_durable};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::facts::{Seen, Stored};
use crate::settings::CONSUMERS;

/// `[consumer.audit]`: it sees everything, and a plain ack is its receipt.
pub const NAME: &str = "audit";
/// At these places of the stream the consumer says no at first, or says nothing, as real ones do.
const NAK_EACH: u64 = 211;
const FORGET_EACH: u64 = 503;
/// How long reading the next message of a stream at rest may take.
const READ_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// The consumer of this process, at work until it is dropped.
pub struct Consumer {
    jetstream: jetstream::Context,
    durables: Vec<PullConsumer>,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Consumer {
    /// Waits until the runtime has made the durables of all consumers, its own among them, and begins.
    pub async fn start(nats_url: &str) -> anyhow::Result<Self> {
        let client = async_nats::connect(nats_url).await.context("connecting to the private nats-server")?;
        let jetstream = jetstream::new(client);
        let mut durables = Vec::new();
        for name in CONSUMERS {
            durables.push(wait_for_durable(&jetstream, name).await?);
        }
        let own = wait_for_durable(&jetstream, NAME).await?;
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), CancellationToken::new());
        let task = tokio::spawn(consume(own, Arc::clone(&seen), stop.clone()));
        Ok(Self { jetstream, durables, seen, task, stop: stop.drop_guard() })
    }

    /// What it has seen until now.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// How many messages the stream holds.
    pub async fn published(&self) -> anyhow::Result<u64> {
        let stream = self.jetstream.get_stream_no_info(STREAM).await?;
        Ok(stream.get_info().await.with_context(|| format!("asking for stream {STREAM}"))?.state.messages)
    }

    /// How many deliveries to any consumer the broker still waits to have acknowledged, made or not.
    pub async fn behind(&self) -> anyhow::Result<u64> {
        let mut behind = 0;
        for durable in &self.durables {
            let info = durable.get_info().await.context("asking for a consumer")?;
            behind += info.num_pending + info.num_ack_pending as u64;
        }
        Ok(behind)
    }

    /// Ends it, and hands out all that it has seen.
    pub async fn stop(self) -> anyhow::Result<Seen> {
        drop(self.stop);
        self.task.await.context("the consumer broke")?;
        Ok(std::mem::take(&mut *lock(&self.seen)))
    }

    /// The whole stream in its order, read anew by a consumer that has nothing to do with this one.
    pub async fn read_back(nats_url: &str) -> anyhow::Result<Vec<Stored>> {
        let client = async_nats::connect(nats_url).await.context("connecting to the private nats-server")?;
        let stream = jetstream::new(client).get_stream(STREAM).await.context("finding the stream")?;
        let count = stream.cached_info().state.messages;
        let mut all = Vec::new();
        if count == 0 {
            return Ok(all);
        }
        let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        loop {
            let next = timeout(READ_MAX, messages.next()).await;
            let Ok(Some(message)) = next else {
                bail!("stream {STREAM} gave {} of {count} messages within {} s", all.len(), READ_MAX.as_secs());
            };
            let message = message.context("reading the stream back")?;
            let (stored, pending) = (read(&message)?, info(&message)?.pending);
            all.push(stored);
            if pending == 0 {
                return Ok(all);
            }
        }
    }
}

/// A broken subscription is made anew: the durable knows what was acknowledged.
async fn consume(durable: PullConsumer, seen: Arc<Mutex<Seen>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(mut messages) = durable.messages() => {
                while let Some(Some(Ok(message))) = stop.run_until_cancelled(messages.next()).await {
                    // A failed acknowledgement is a forgotten one: the broker delivers again.
                    handle(&message, &seen).await.ok();
                }
            }
            else => {}
        }
        sleep(POLL).await;
    }
}

async fn handle(message: &Message, seen: &Mutex<Seen>) -> anyhow::Result<()> {
    let (delivered, stored) = (info(message)?.delivered, read(message)?);
    if delivered > 1 {
        lock(seen).redelivered += 1;
    } else {
        lock(seen).note(&stored);
        if stored.sequence % NAK_EACH == 0 {
            return message.ack_with(AckKind::Nak(None)).await.map_err(|e| anyhow::anyhow!(e));
        }
        if stored.sequence % FORGET_EACH == 0 {
            return Ok(());
        }
    }
    message.ack().await.map_err(|e| anyhow::anyhow!(e))?;
    lock(seen).note_ack(&stored);
    Ok(())
}

fn info(message: &Message) -> anyhow::Result<jetstream::message::Info<'_>> {
    message.info().map_err(|e| anyhow::anyhow!("a delivery does not say where it is from: {e}"))
}

fn read(message: &Message) -> anyhow::Result<Stored> {
    Ok(Stored::read(info(message)?.stream_sequence, message.headers.as_ref(), &message.payload))
}

/// Whoever panicked while holding the lock left counts that are still counts.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
