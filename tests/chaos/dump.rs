//! What the stream holds, in its order: read by a connection and a consumer of the rig's own.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::{self, Message};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::facts::Stored;
use crate::load::message;
use crate::stage::STREAM;

const NEXT_MAX: Duration = Duration::from_secs(20);

/// All of it, every subject; `number` is which dump this is.
pub async fn dump(nats_url: &str, number: u32) -> anyhow::Result<Vec<Stored>> {
    let jetstream = jetstream::new(async_nats::connect(nats_url).await?);
    let Ok(stream) = jetstream.get_stream(STREAM).await else { return Ok(Vec::new()) };
    let info = stream.cached_info();
    let made_us = i64::try_from(info.created.unix_timestamp_nanos() / 1_000).context("made in our time")?;
    let mut all = Vec::new();
    if info.state.messages == 0 {
        return Ok(all);
    }
    let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    loop {
        let next = timeout(NEXT_MAX, messages.next()).await.context("the stream stopped in the middle")?;
        let message = next.context("an ordered consumer ended")??;
        let is_last = message.info().map_err(|e| anyhow::anyhow!("{e}"))?.pending == 0;
        all.push(stored(&message, number, made_us)?);
        if is_last {
            return Ok(all);
        }
    }
}

fn stored(message: &Message, dump: u32, incarnation_us: i64) -> anyhow::Result<Stored> {
    let info = message.info().map_err(|e| anyhow::anyhow!("{e}"))?;
    let header = |name: &str| {
        let value = message.headers.as_ref().and_then(|headers| headers.get(name));
        value.map(ToString::to_string).with_context(|| format!("sequence {} has no {name}", info.stream_sequence))
    };
    Ok(Stored {
        dump,
        incarnation_us,
        sequence: i64::try_from(info.stream_sequence)?,
        topic: topic(&message.subject),
        key: header("Avouch-Key")?,
        id: header("Avouch-Id")?.parse()?,
        number: message::number(&message.payload),
        sha256: message::sha256(&message.payload),
    })
}

/// `msg.<topic>`, or `redo.<consumer>.<topic>`.
fn topic(subject: &str) -> String {
    let rest = subject.strip_prefix("msg.");
    let rest = rest.or_else(|| subject.strip_prefix("redo.")?.split_once('.').map(|(_, topic)| topic));
    rest.unwrap_or(subject).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_is_what_follows_the_prefix_of_its_subject() {
        assert_eq!(topic("msg.orders.placed"), "orders.placed");
        assert_eq!(topic("redo.once.orders.placed"), "orders.placed");
        assert_eq!(topic("other.orders"), "other.orders");
    }
}
