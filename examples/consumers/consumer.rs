//! Asks the gate before each effect, and tells it afterwards.

use std::env::var;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message, consumer::PullConsumer};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

/// Its store should refuse a token older than one that it has seen.
fn effect(message: &Message, token: &Value) -> anyhow::Result<()> {
    let id = message.headers.as_ref().and_then(|headers| headers.get("Avouch-Id"));
    let mut file = File::options().create(true).append(true).open(var("EFFECTS")?)?;
    Ok(writeln!(file, "{} {token}", id.map_or("?", |id| id.as_str()))?)
}

async fn ask(client: &Client, word: &str, payload: Bytes, headers: Option<HeaderMap>) -> anyhow::Result<Value> {
    let subject = format!("avouch.v1.inbox.{word}.{}", var("CONSUMER")?);
    // Every request may be repeated.
    loop {
        let headers = headers.clone().unwrap_or_default();
        match client.request_with_headers(subject.clone(), headers, payload.clone()).await {
            Ok(reply) => match serde_json::from_slice::<Value>(&reply.payload)? {
                answer if answer["decision"].is_string() => return Ok(answer),
                error => eprintln!("the gate refuses: {error}"),
            },
            Err(error) => eprintln!("the gate does not answer: {error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn handle(client: &Client, message: Message) -> anyhow::Result<()> {
    let mut answer = ask(client, "begin", message.payload.clone(), message.headers.clone()).await?;
    if answer["decision"] == "run" {
        effect(&message, &answer["token"])?;
        let done = json!({ "key": answer["key"], "token": answer["token"], "result": { "by": "Rust" } });
        answer = ask(client, "complete", done.to_string().into(), None).await?;
    }
    let settled = match answer["decision"].as_str() {
        Some("done" | "skip") => AckKind::Ack,
        Some("reject" | "conflict") => AckKind::Term,
        // Busy, or fenced: another one has begun.
        _ => AckKind::Nak(Some(Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap_or(1000)))),
    };
    message.ack_with(settled).await.map_err(anyhow::Error::from_boxed)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = async_nats::connect(var("NATS_URL")?).await?;
    let jetstream = async_nats::jetstream::new(client.clone());
    let consumer: PullConsumer = jetstream.get_consumer_from_stream(var("CONSUMER")?, var("STREAM")?).await?;
    let mut messages = consumer.stream().max_messages_per_batch(10).messages().await?;
    while let Some(message) = messages.next().await {
        handle(&client, message?).await?;
    }
    anyhow::bail!("the consumer is gone")
}
