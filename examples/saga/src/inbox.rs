//! Consuming, the same in both services: a durable consumer, each message's effect once, the acknowledgement after it.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::{self, Message};
use avouch_example_stage::STREAM;
use tokio_postgres::Transaction;
use uuid::Uuid;

/// What was not acknowledged for so long is delivered again. Short, so that the story need not wait; 30 s is usual.
const ACK_WAIT: Duration = Duration::from_millis(500);

/// The messages of these subjects, from where this durable stopped.
pub async fn messages(nats: &async_nats::Client, durable: &str, subjects: &str) -> anyhow::Result<Stream> {
    let stream = jetstream::new(nats.clone()).get_stream(STREAM).await?;
    let config = Config {
        durable_name: Some(durable.to_owned()),
        filter_subject: subjects.to_owned(),
        ack_wait: ACK_WAIT,
        ..Config::default()
    };
    Ok(stream.create_consumer(config).await?.messages().await?)
}

/// True once a message: the record commits with its effect, or not at all. A second delivery waits here for the first one's
/// transaction.
pub async fn is_new(tx: &Transaction<'_>, consumer: &str, message: &Message) -> anyhow::Result<bool> {
    let id = message.headers.as_ref().and_then(|headers| headers.get("Avouch-Id"));
    let id: Uuid = id.context("the message is none of Avouch's")?.as_str().parse()?;
    Ok(tx.query_one("select avouch.inbox_once($1, $2)", &[&consumer, &id]).await?.get(0))
}

/// After the effect, and only then.
pub async fn ack(message: &Message) -> anyhow::Result<()> {
    message.ack().await.map_err(|e| anyhow::anyhow!(e))
}
