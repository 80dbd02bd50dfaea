//! Reading a stream back, whole and in order, to balance the books: what was lost, doubled, or out of order.

use std::collections::HashMap;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;
use uuid::Uuid;

use crate::servers::shared;
use crate::wait::{secs, until};

/// A stream and a subject prefix that no other test has.
#[derive(Debug, Clone)]
pub struct Names {
    /// Of the stream.
    pub stream: String,
    /// Of the subjects, without the dot at its end.
    pub prefix: String,
}

impl Names {
    /// Never the same twice.
    pub fn unique() -> Names {
        let id = Uuid::now_v7().simple().to_string();
        Names { stream: format!("TEST_{id}"), prefix: format!("test-{id}") }
    }

    /// All subjects below the prefix.
    pub fn subjects(&self) -> String {
        format!("{}.>", self.prefix)
    }
}

/// One message as the stream holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its place in the stream.
    pub sequence: u64,
    /// Where it was published.
    pub subject: String,
    /// Ours, the producer's and the server's.
    pub headers: HeaderMap,
    /// The message.
    pub payload: Bytes,
}

impl Stored {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.as_str())
    }
}

/// JetStream on the shared server, over a connection of the test's own.
pub async fn jetstream() -> Context {
    jetstream_at(&shared().nats.url()).await
}

/// JetStream on a server of the test's own.
pub async fn jetstream_at(url: &str) -> Context {
    let client = async_nats::connect(url).await.unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"));
    async_nats::jetstream::new(client)
}

/// All messages that the stream holds, in its order.
pub async fn read_all(jetstream: &Context, stream: &str) -> Vec<Stored> {
    let found = jetstream.get_stream(stream).await;
    let found = found.unwrap_or_else(|error| panic!("stream {stream}: {error}"));
    let count = found.cached_info().state.messages;
    let mut all = Vec::with_capacity(usize::try_from(count).expect("a test's stream fits into memory"));
    if count == 0 {
        return all;
    }
    let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    // A cluster may be without a leader for a moment.
    let consumer =
        until("an ordered consumer to be made", secs(30), async || found.create_consumer(config.clone()).await.ok())
            .await;
    let mut messages = consumer.messages().await.expect("an ordered consumer can be read");
    loop {
        let next = timeout(secs(10), messages.next()).await;
        let next = next.unwrap_or_else(|_| panic!("stream {stream} gave {} of {count} messages", all.len()));
        let message = next.expect("an ordered consumer does not end").expect("a message can be read");
        let info = message.info().expect("a message of a consumer says where it is from");
        let (sequence, pending) = (info.stream_sequence, info.pending);
        let (message, _) = message.split();
        let headers = message.headers.unwrap_or_default();
        all.push(Stored { sequence, subject: message.subject.to_string(), headers, payload: message.payload });
        if pending == 0 {
            return all;
        }
    }
}

/// How often each value of a header occurs: a value that is missing was lost, one above 1 was doubled.
pub fn count_by_header(messages: &[Stored], name: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for value in messages.iter().filter_map(|message| message.header(name)) {
        *counts.entry(value.to_owned()).or_default() += 1;
    }
    counts
}
