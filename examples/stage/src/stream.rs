//! NATS, as the stories look at it: the stream, its consumers, and who answers.

use std::time::Duration;

use anyhow::{Context as _, bail};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::{self, stream::Stream};
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// The stream that the runtime makes when no other is configured.
pub const STREAM: &str = "AVOUCH";
/// How long the runtime may take to make the stream, or a durable.
const STREAM_MAX: Duration = Duration::from_secs(30);
/// How long a service may take until it answers.
const SERVICE_MAX: Duration = Duration::from_secs(30);
/// How long reading the next message of a stream at rest may take.
const READ_MAX: Duration = Duration::from_secs(10);
/// How long consumers may take to finish what is in the stream.
const SETTLE_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Waits until the runtime has made the stream.
pub async fn wait_for_stream(jetstream: &jetstream::Context) -> anyhow::Result<Stream> {
    let deadline = Instant::now() + STREAM_MAX;
    loop {
        match jetstream.get_stream(STREAM).await {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => sleep(POLL).await,
            Err(e) => {
                bail!(
                    "the runtime made no stream {STREAM} within {} s ({e}): see its log avouch.log",
                    STREAM_MAX.as_secs()
                )
            }
        }
    }
}

/// Waits until the runtime has made the durable of a consumer.
pub async fn wait_for_durable(jetstream: &jetstream::Context, name: &str) -> anyhow::Result<PullConsumer> {
    let stream = wait_for_stream(jetstream).await?;
    let deadline = Instant::now() + STREAM_MAX;
    loop {
        match stream.get_consumer(name).await {
            Ok(durable) => return Ok(durable),
            Err(_) if Instant::now() < deadline => sleep(POLL).await,
            Err(e) => {
                bail!(
                    "the runtime made no durable {name} within {} s ({e}): see its log avouch.log",
                    STREAM_MAX.as_secs()
                )
            }
        }
    }
}

/// Asks until somebody answers.
pub async fn wait_for_service(client: &async_nats::Client, subject: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + SERVICE_MAX;
    while let Err(e) = client.request(subject.to_owned(), "".into()).await {
        anyhow::ensure!(
            Instant::now() < deadline,
            "nobody answers on {subject} after {} s: {e}",
            SERVICE_MAX.as_secs()
        );
        sleep(POLL).await;
    }
    Ok(())
}

/// Publishes every message of the stream once more, as a broker does whose window for duplicates is over: the same message and
/// `Avouch-Id` at another place. Returns how many there were.
pub async fn repeat_all(jetstream: &jetstream::Context) -> anyhow::Result<u64> {
    let stream = jetstream.get_stream(STREAM).await.context("finding the stream")?;
    let count = stream.cached_info().state.messages;
    let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    for _ in 0..count {
        let next = timeout(READ_MAX, messages.next()).await.context("reading the stream back takes too long")?;
        let (message, _) = next.context("the stream ended")?.context("reading the stream back")?.split();
        let mut headers = message.headers.unwrap_or_default();
        headers.insert("Nats-Msg-Id", Uuid::now_v7().to_string());
        jetstream.publish_with_headers(message.subject, headers, message.payload).await?.await?;
    }
    Ok(count)
}

/// Waits until these durables have acknowledged all that is in the stream.
pub async fn wait_for_consumers(jetstream: &jetstream::Context, durables: &[&str]) -> anyhow::Result<()> {
    let stream = jetstream.get_stream(STREAM).await.context("finding the stream")?;
    let deadline = Instant::now() + SETTLE_MAX;
    for name in durables {
        let durable: PullConsumer =
            stream.get_consumer(name).await.map_err(|e| anyhow::anyhow!("finding {name}: {e}"))?;
        loop {
            let info = durable.get_info().await.with_context(|| format!("asking for consumer {name}"))?;
            let behind = info.num_pending + info.num_ack_pending as u64;
            if behind == 0 {
                break;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{name} is {behind} messages behind after {} s",
                SETTLE_MAX.as_secs()
            );
            sleep(POLL).await;
        }
    }
    Ok(())
}
