//! What the runtime's durables deliver, message by message, whatever becomes of a subscription.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream;
use async_nats::jetstream::{self, Message};
use avouch_example_stage::wait_for_durable;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Messages that one worker is handed at a time: few, because their ack wait begins then.
const BATCH: usize = 8;
/// An answer of the runtime takes milliseconds, and none comes from a dead one.
const REQUEST_MAX: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);

/// What one worker gets.
pub struct Deliveries {
    durable: PullConsumer,
    messages: Option<Stream>,
}

/// A connection that does not wait long for answers.
pub async fn connect(nats_url: &str) -> anyhow::Result<async_nats::Client> {
    let options = async_nats::ConnectOptions::new().request_timeout(Some(REQUEST_MAX));
    options.connect(nats_url).await.context("connecting to the private nats-server")
}

impl Deliveries {
    /// Of this durable, which the runtime has made or makes soon.
    pub async fn of(client: &async_nats::Client, durable: &str) -> anyhow::Result<Self> {
        let durable = wait_for_durable(&jetstream::new(client.clone()), durable).await?;
        Ok(Self { durable, messages: None })
    }

    /// The next one; none once `stop` is cancelled. A broken subscription is made anew: the durable knows what is settled.
    pub async fn next(&mut self, stop: &CancellationToken) -> Option<Message> {
        stop.run_until_cancelled(self.delivered()).await
    }

    async fn delivered(&mut self) -> Message {
        loop {
            if let Some(messages) = &mut self.messages
                && let Some(Ok(message)) = messages.next().await
            {
                return message;
            }
            self.messages = self.durable.stream().max_messages_per_batch(BATCH).messages().await.ok();
            if self.messages.is_none() {
                sleep(PAUSE).await;
            }
        }
    }
}

/// `Avouch-Id`, and the order that the message is about.
pub fn identity(message: &Message) -> anyhow::Result<(Uuid, String)> {
    let id = message.headers.as_ref().and_then(|headers| headers.get("Avouch-Id"));
    let id = id.context("the message is none of Avouch's")?.as_str().parse()?;
    let body: Value = serde_json::from_slice(&message.payload)?;
    Ok((id, body["order"].as_str().context("the message names no order")?.to_owned()))
}
