//! The plain alternative to the relay: the same messages, published with the same client library as fast as it goes.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use avouch_runtime::message::{Message, Payload};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use time::OffsetDateTime;
use uuid::Uuid;

/// PubAcks that are waited for at a time: as many as the relay's default.
const IN_FLIGHT: usize = 4096;

/// Publishes `count` messages of 200 bytes with the relay's headers, pipelined. Returns how long it took.
pub async fn publish(url: &str, count: u32) -> anyhow::Result<Duration> {
    let client = async_nats::connect(url).await?;
    let context = jetstream::ContextBuilder::new().max_ack_inflight(IN_FLIGHT * 2).build(client);
    let config = stream::Config { name: "PLAIN".into(), subjects: vec!["plain.>".into()], ..stream::Config::default() };
    context.get_or_create_stream(config).await?;
    let payload = Bytes::from(vec![b'x'; 200]);
    let started = Instant::now();
    let mut acks = FuturesUnordered::new();
    for n in 0..count {
        let message = Message {
            shard: 0,
            seq: i64::from(n),
            id: Uuid::now_v7(),
            generation: 0,
            created_at: OffsetDateTime::now_utc(),
            topic: "orders.created".into(),
            key: Some((n % 100_000).to_string().into()),
            payload: Payload::Here(payload.clone()),
            headers: None,
        };
        let ack =
            context.publish_with_headers("plain.orders.created", message.wire_headers()?, payload.clone()).await?;
        acks.push(std::future::IntoFuture::into_future(ack));
        while acks.len() >= IN_FLIGHT {
            acks.next().await.transpose()?;
        }
    }
    while let Some(ack) = acks.next().await {
        ack?;
    }
    let took = started.elapsed();
    context.delete_stream("PLAIN").await?;
    Ok(took)
}
