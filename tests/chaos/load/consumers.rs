//! Consumers: one acknowledges, one records in the transaction of its effect, one asks the gate. What each did is on record.

mod gate;
mod once;

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{message, topics};
use crate::facts::{Effect, Step};
use crate::ledger::Ledger;
use crate::stage::STREAM;

/// Deliveries of one consumer that are worked on at a time.
const AT_A_TIME: usize = 16;
const BATCH: usize = 50;
const BATCH_WAIT: Duration = Duration::from_millis(1_000);
/// A batch that a broken connection lost is asked for again.
const BATCH_MAX: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(100);

/// Where consumers go.
pub struct Lanes {
    pub database_url: String,
    pub nats_url: String,
}

/// One of them.
enum Consumer {
    Plain(Ledger),
    Once(Box<once::Once>),
    Gate(Box<gate::Gate>),
}

/// All three, until they are dropped.
pub async fn start(lanes: &Lanes, ledger: &Ledger) -> anyhow::Result<JoinSet<()>> {
    let nats = connect(&lanes.nats_url).await?;
    let mut tasks = JoinSet::new();
    for consumer in [
        Consumer::Plain(ledger.clone()),
        Consumer::Once(Box::new(once::Once::new(&lanes.database_url))),
        Consumer::Gate(Box::new(gate::Gate::new(nats, ledger.clone()))),
    ] {
        tasks.spawn(consumer.work(connect(&lanes.nats_url).await?));
    }
    Ok(tasks)
}

async fn connect(url: &str) -> anyhow::Result<async_nats::Client> {
    let options = ConnectOptions::new().retry_on_initial_connect().ping_interval(Duration::from_secs(1));
    Ok(options.reconnect_delay_callback(|_| AGAIN).connect(url).await?)
}

impl Consumer {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain(_) => topics::PLAIN,
            Self::Once(_) => topics::ONCE,
            Self::Gate(_) => topics::GATE,
        }
    }

    /// Pulls batches for as long as anybody wants them.
    async fn work(self, nats: async_nats::Client) {
        let jetstream = async_nats::jetstream::new(nats);
        loop {
            let Some(durable) = durable(&jetstream, self.name()).await else {
                sleep(AGAIN).await;
                continue;
            };
            while let Some(messages) = fetch(&durable).await {
                let consumer = &self;
                let each = futures_util::stream::iter(messages);
                each.for_each_concurrent(AT_A_TIME, |message| async move { consumer.handle(&message).await }).await;
            }
        }
    }

    async fn handle(&self, message: &Message) {
        // One that tells no number is found in the stream as well, and never acknowledged.
        let Some(number) = message::number(&message.payload) else { return };
        match self {
            Self::Plain(ledger) => {
                ledger.did(Effect { who: topics::PLAIN.into(), number, step: Step::Done }).await;
                // An acknowledgement that is lost is a delivery more.
                drop(message.ack().await);
            }
            Self::Once(once) => once.handle(message, number).await,
            Self::Gate(gate) => gate.handle(message, number).await,
        }
    }
}

async fn durable(jetstream: &async_nats::jetstream::Context, who: &str) -> Option<PullConsumer> {
    let found = async { jetstream.get_stream_no_info(STREAM).await.ok()?.get_consumer(who).await.ok() };
    timeout(BATCH_MAX, found).await.ok().flatten()
}

/// None: the connection, or the durable, is to be looked for again.
async fn fetch(durable: &PullConsumer) -> Option<Vec<Message>> {
    let pull = async {
        let batch = durable.batch().max_messages(BATCH).expires(BATCH_WAIT).messages().await.ok()?;
        Some(batch.take_while(|m| std::future::ready(m.is_ok())).filter_map(async |m| m.ok()).collect().await)
    };
    timeout(BATCH_MAX, pull).await.ok().flatten()
}
