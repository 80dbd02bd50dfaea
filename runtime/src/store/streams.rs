//! What is known of streams, what they have lost, and what is ready again because of that.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::rows::{columns, u16_of};
use super::{Error, Owned, Store};
use crate::incarnation::{Known, Reached};

/// What a stream was and is not any more, and what it is now.
#[derive(Clone, Debug)]
pub struct Succession<'a> {
    /// The stream's name.
    pub name: &'a str,
    /// Its creation time now.
    pub created: OffsetDateTime,
    /// The number of what it was; none: it was never seen.
    pub former: Option<i32>,
    /// What stood above this sequence is lost.
    pub above: u64,
    /// How that was noticed.
    pub reason: &'a str,
}

/// The number of what a stream is now, and that of the loss, if messages had come there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Of the stream.
    pub stream: i32,
    /// Of the loss.
    pub loss: Option<i32>,
}

/// A loss whose messages are not all ready again.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Its number.
    pub id: i32,
    /// What has lost them.
    pub stream: i32,
    /// Its name.
    pub name: String,
    /// They stood above this sequence.
    pub above: i64,
    /// What the stream is now.
    pub successor: i32,
    /// The shards whose messages are to be made ready.
    pub shards: Vec<u16>,
}

/// Rows of the outbox that one statement looks at for what was lost.
const PART_ROWS: i64 = 20_000;

impl Store {
    /// What a stream was when it was seen last; none: it was never seen.
    pub async fn stream_known(&self, name: &str) -> Result<Option<Known>, Error> {
        let rows = self.control.query(include_str!("stream_known.sql"), &[&name]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (seqs, ids): (Vec<i64>, Vec<Uuid>) = (row.get(2), row.get(3));
        let place = |(seq, id): (i64, Uuid)| Reached { seq: u64::try_from(seq).unwrap_or(0), id };
        Ok(Some(Known {
            stream: row.get(0),
            created: row.get(1),
            losses: row.get(4),
            reached: seqs.into_iter().zip(ids).map(place).collect(),
        }))
    }

    /// The number of what a stream is now; none: no relay has seen it as it is.
    pub async fn stream_now(&self, name: &str, created: OffsetDateTime) -> Result<Option<i32>, Error> {
        let rows = self.receipts.query(include_str!("stream_now.sql"), &[&name, &created]).await?;
        Ok(rows.first().map(|r| r.get(0)))
    }

    /// Gives a stream another number, and writes down what the former one lost. None: somebody else was faster.
    pub async fn succeed(&self, s: &Succession<'_>) -> Result<Option<Successor>, Error> {
        let above = i64::try_from(s.above).unwrap_or(i64::MAX);
        let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&s.name, &s.created, &s.former, &above, &s.reason];
        let rows = self.control.query(include_str!("succeed.sql"), values).await?;
        Ok(rows.first().map(|r| Successor { stream: r.get(0), loss: r.get(1) }))
    }

    /// What was lost and is not ready again in these shards, the oldest first.
    pub async fn losses(&self, owned: &[Owned]) -> Result<Vec<Loss>, Error> {
        let (shards, _) = columns(owned);
        let rows = self.control.query(include_str!("losses.sql"), &[&shards]).await?;
        let loss = |r: &tokio_postgres::Row| {
            let shards: Vec<i32> = r.get(5);
            Ok(Loss {
                id: r.get(0),
                stream: r.get(1),
                name: r.get(2),
                above: r.get(3),
                successor: r.get(4),
                shards: shards.into_iter().map(u16_of).collect::<Result<_, Error>>()?,
            })
        };
        rows.iter().map(loss).collect()
    }

    /// Makes ready again what was lost of the owned shards, a part of the outbox at a time. `kept` is how long the stream holds a
    /// message; none: for good. Returns how many messages. What is done twice finds nothing the second time.
    pub async fn requeue(&self, loss: &Loss, owned: &[Owned], kept: Option<Duration>) -> Result<u64, Error> {
        let mine: Vec<Owned> = owned.iter().filter(|o| loss.shards.contains(&o.shard)).copied().collect();
        let (shards, epochs) = columns(&mine);
        let kept_ms = kept.map(|k| i64::try_from(k.as_millis()).unwrap_or(i64::MAX));
        let (mut total, mut after) = (0, Some(Uuid::nil()));
        while let Some(id) = after {
            let sql = include_str!("requeue.sql");
            let (stream, above, next) = (loss.stream, loss.above, loss.successor);
            let rows =
                self.reader.query(sql, &[&shards, &epochs, &stream, &above, &next, &kept_ms, &id, &PART_ROWS]).await?;
            let row = rows.first().ok_or_else(|| Error::Retry("a part of the outbox came without its end".into()))?;
            total += u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
            after = row.get(1);
        }
        let count = i64::try_from(total).unwrap_or(i64::MAX);
        self.reader.execute(include_str!("requeued.sql"), &[&shards, &epochs, &loss.id, &count]).await?;
        Ok(total)
    }

    /// The first place between these two where somebody waits for a consumer.
    pub async fn awaited_between(&self, stream: i32, above: u64, below: u64) -> Result<Option<Reached>, Error> {
        let [above, below] = [above, below].map(|seq| i64::try_from(seq).unwrap_or(i64::MAX));
        let rows = self.control.query(include_str!("awaited_between.sql"), &[&stream, &above, &below]).await?;
        Ok(rows.first().map(|r| Reached { seq: u64::try_from(r.get::<_, i64>(0)).unwrap_or(0), id: r.get(1) }))
    }

    /// What keeps old row versions from being removed for longer than this: who, what that is, and since how many seconds.
    pub async fn pins(&self, older_than: Duration) -> Result<Vec<(String, String, i64)>, Error> {
        let ms = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
        let rows = self.control.query(include_str!("pins.sql"), &[&ms]).await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect())
    }

    /// Whether this message is here.
    pub async fn is_known(&self, id: Uuid) -> Result<bool, Error> {
        let rows = self.control.query(include_str!("is_known.sql"), &[&id]).await?;
        Ok(rows.first().is_some_and(|r| r.get(0)))
    }
}
