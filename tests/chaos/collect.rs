//! The end of a run: waits until all is drained, and puts together what the checker needs.

use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use avouch_tests::wait::secs;
use futures_util::TryStreamExt;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row as Found};

use crate::facts::{Effect, Ending, Move, Owned, Row, State, Step, Witness};
use crate::load::{message, topics};
use crate::stage::Stage;

/// After everything is healed. What waited for a broken checker, a lease and a redelivery goes within seconds; this bears two
/// cores that others use too.
const DRAIN_MAX: Duration = secs(120);
const POLL: Duration = Duration::from_millis(100);
/// A transaction that is idle for longer, when nothing is to be done any more, was forgotten.
const IDLE_MAX: Duration = secs(10);

/// What still has to be done; empty when nothing has.
const LEFT: &str = "select coalesce(string_agg(what || ' ' || n, ', ' order by what), '') from ( \
    select state as what, count(*) as n from avouch.outbox where state in ('ready', 'prepared') group by state \
    union all select 'awaited', count(*) from avouch.outbox where awaiting is not null \
    union all select 'undecided', count(*) from avouch.tx where state in ('prepared', 'in_doubt') \
    union all select 'to be sent again', count(*) from avouch.recovery \
    union all select 'producers', count(*) from pg_stat_activity \
      where datname = current_database() and query ~ '^(begin|commit|rollback)' and state <> 'idle' \
  ) x where n > 0";
const IDLE: &str = "select format('pid %s since %s: %s', pid, xact_start, left(query, 100)) from pg_stat_activity \
    where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%' \
    and state_change < clock_timestamp() - interval '2 s'";
const ROWS: &str = "select o.id, o.payload, o.payload_bytes, o.state, o.stream_seq, \
    (extract(epoch from s.incarnation) * 1000000)::bigint from avouch.outbox o left join avouch.stream s on s.id = o.stream";

/// Waits for the end, and tells how it came.
pub async fn ending(stage: &Stage) -> anyhow::Result<Ending> {
    let began = Instant::now();
    let client = stage.direct().await?;
    let (mut drained_ms, mut left) = (None, String::new());
    while began.elapsed() < DRAIN_MAX {
        left = client.query_one(LEFT, &[]).await?.get(0);
        if left.is_empty() {
            drained_ms = Some(ms(began.elapsed()));
            break;
        }
        sleep(POLL).await;
    }
    let undecided = client.query("select id from avouch.tx where state in ('prepared', 'in_doubt')", &[]).await?;
    let counts = client.query("select state, count(*) from avouch.outbox group by state", &[]).await?;
    Ok(Ending {
        drained_ms,
        drain_max_ms: ms(DRAIN_MAX),
        left,
        counts: counts.iter().map(|r| Ok((state(r, 0)?, number(r, 1)?))).collect::<anyhow::Result<_>>()?,
        undecided: undecided.iter().map(|row| row.get(0)).collect(),
        idle_in_transaction: idle(&client).await?,
        ended_by_themselves: Vec::new(),
        forgotten: 0,
    })
}

/// Those that stay.
async fn idle(client: &Client) -> anyhow::Result<Vec<String>> {
    let began = Instant::now();
    loop {
        let found = client.query(IDLE, &[]).await?;
        if found.is_empty() || began.elapsed() > IDLE_MAX {
            return Ok(found.iter().map(|row| row.get(0)).collect());
        }
        sleep(POLL).await;
    }
}

/// Every row of the outbox.
pub async fn rows(client: &Client) -> anyhow::Result<Vec<Row>> {
    each(client, ROWS, |row| {
        let payload = row.get::<_, Option<&str>>(1).map(str::as_bytes).or(row.get(2));
        let at = row.get::<_, Option<i64>>(5).zip(row.get::<_, Option<i64>>(4));
        Ok(Row { id: row.get(0), number: payload.and_then(message::number), state: state(row, 3)?, at })
    })
    .await
}

/// What became of each row, as the rig's trigger saw it.
pub async fn moves(client: &Client) -> anyhow::Result<Vec<Move>> {
    each(client, "select id, was, became from chaos.move order by n", |row| {
        let state = |at: usize| row.get::<_, Option<&str>>(at).map(known).transpose();
        Ok(Move { id: row.get(0), from: state(1)?, to: state(2)? })
    })
    .await
}

/// Who owned each shard, as the rig's trigger saw it.
pub async fn owners(client: &Client) -> anyhow::Result<Vec<Owned>> {
    each(client, "select shard, epoch, owner from chaos.owned order by n", |row| {
        Ok(Owned { by: Witness::Trigger, shard: row.get(0), epoch: row.get(1), owner: row.get(2) })
    })
    .await
}

/// The effects that were committed with their records.
pub async fn effects(client: &Client) -> anyhow::Result<Vec<Effect>> {
    each(client, "select number from chaos.effect order by n", |row| {
        Ok(Effect { who: topics::ONCE.into(), number: number(row, 0)?, step: Step::Done })
    })
    .await
}

async fn each<T>(client: &Client, sql: &str, of: impl Fn(&Found) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    let none = std::iter::empty::<&(dyn ToSql + Sync)>();
    let mut rows = pin!(client.query_raw(sql, none).await?);
    let mut all = Vec::new();
    while let Some(row) = rows.try_next().await? {
        all.push(of(&row)?);
    }
    Ok(all)
}

fn state(row: &Found, at: usize) -> anyhow::Result<State> {
    known(row.get(at))
}

fn known(word: &str) -> anyhow::Result<State> {
    State::of(word).with_context(|| format!("no state of a message is called {word}"))
}

fn number(row: &Found, at: usize) -> anyhow::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(at))?)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a run is short")
}
