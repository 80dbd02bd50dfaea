//! The durable consumers: made where they are missing, at the first place that matters; paused and resumed.

use time::OffsetDateTime;

use super::{Place, Receipts};
use crate::broker::Progress;
use crate::consumers::Consumer;

/// A stream that is younger holds nothing that a vanished durable has finished.
const YOUNG: time::Duration = time::Duration::minutes(10);

impl Receipts {
    /// How far a consumer's durable is, which is made if it is not there.
    pub(super) async fn durable(&mut self, consumer: &Consumer, place: &Place) -> anyhow::Result<Progress> {
        let stream = self.stream(consumer.stream.as_deref().unwrap_or_default())?;
        let there = stream.progress(&consumer.name).await?;
        let wanted = self.parts.durables.get(&consumer.name);
        let is_verified = self.follows.get(&consumer.id).is_some_and(|f| f.is_verified);
        let progress = match (there, wanted) {
            (None, None) => anyhow::bail!(
                "the durable of consumer {} is gone, and it is not in this configuration: start an instance that has [consumer.{}], or \
                 `avouch consumer remove {}`",
                consumer.name,
                consumer.name,
                consumer.name
            ),
            (Some(progress), None) => progress,
            (Some(progress), Some(_)) if is_verified => progress,
            (there, Some(wanted)) => {
                let first = match there {
                    Some(_) => 1,
                    None => self.first_place(consumer, place, wanted.starts_new).await?,
                };
                let progress = stream.make_durable(&wanted.durable, first).await?;
                if consumer.start_seq.is_none() {
                    // Read after its registration was committed: what was marked without it stands before this place.
                    let start = if wanted.starts_new { first.max(progress.delivered + 1) } else { 1 };
                    self.parts.store.start_consumer(consumer.id, i64::try_from(start)?).await?;
                }
                progress
            }
        };
        if progress.is_paused != consumer.is_paused {
            stream.hold_durable(&consumer.name, consumer.is_paused).await?;
            tracing::info!(consumer = consumer.name, is_paused = consumer.is_paused, "consumer held back or let go on");
        }
        self.follows.entry(consumer.id).or_default().is_verified = true;
        Ok(progress)
    }

    /// Where a durable begins that is not there: at the first message that waits for it.
    async fn first_place(&self, consumer: &Consumer, place: &Place, starts_new: bool) -> anyhow::Result<u64> {
        let (state, next) = (&place.state, place.state.last_seq + 1);
        if consumer.start_seq.is_none() {
            return Ok(if starts_new { next } else { 1 });
        }
        if let Some(lowest) = self.parts.store.lowest_awaited(consumer.id, place.id).await? {
            return Ok(u64::try_from(lowest)?);
        }
        Ok(if OffsetDateTime::now_utc() - state.created < YOUNG { state.first_seq } else { next })
    }
}
