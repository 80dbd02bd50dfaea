//! Duplicates on purpose: messages of the stream are published again under another `Nats-Msg-Id`, as a relay does whose PubAck was
//! lost for longer than the broker remembers.

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream::Stream};
use avouch_example_stage::STREAM;
use uuid::Uuid;

/// At these distances from the end of the stream: what is being consumed, and what was consumed a while ago.
const BACK: [u64; 5] = [1, 10, 50, 250, 1000];

/// Whoever repeats.
pub struct Repeater {
    jetstream: jetstream::Context,
    stream: Stream,
    /// How many there were.
    pub count: usize,
}

impl Repeater {
    /// Of the stream that is there.
    pub async fn new(nats_url: &str) -> anyhow::Result<Self> {
        let client = async_nats::connect(nats_url).await.context("connecting to the private nats-server")?;
        let jetstream = jetstream::new(client);
        let stream = jetstream.get_stream(STREAM).await.context("finding the stream")?;
        Ok(Self { jetstream, stream, count: 0 })
    }

    /// Publishes a few messages once more.
    pub async fn repeat(&mut self) -> anyhow::Result<()> {
        let last = self.stream.get_info().await.context("asking for the stream")?.state.last_sequence;
        for back in BACK {
            let Some(sequence) = last.checked_sub(back).filter(|n| *n > 0) else { continue };
            let message = self.stream.get_raw_message(sequence).await.context("reading a message again")?;
            let mut headers = message.headers;
            if is_repeated(&headers) {
                continue;
            }
            headers.insert("Nats-Msg-Id", Uuid::now_v7().to_string());
            self.jetstream.publish_with_headers(message.subject, headers, message.payload).await?.await?;
            self.count += 1;
        }
        Ok(())
    }
}

fn is_repeated(headers: &HeaderMap) -> bool {
    headers.get("Nats-Msg-Id") != headers.get("Avouch-Id")
}
