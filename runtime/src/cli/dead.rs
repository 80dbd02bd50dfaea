//! `avouch dead|resend|discard|replay`: dead messages, one by one or as groups of one failure; and messages that are sent once more.

use std::process::ExitCode;

use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::Client;
use uuid::Uuid;

use super::inspect::escape;
use super::operate::connect;
use crate::store::Error;
use crate::store::connect::Target;

/// Which dead messages: of all of these.
#[derive(Args, Debug, Default)]
pub struct Group {
    /// Dead for this consumer; `-` for messages that were never sent
    #[arg(long)]
    consumer: Option<String>,
    /// Of this topic
    #[arg(long)]
    topic: Option<String>,
    /// With this reason, as `avouch dead --groups` shows it
    #[arg(long)]
    failure: Option<String>,
}

/// Single messages, or a group.
#[derive(Args, Debug)]
pub struct Which {
    /// Message ids
    ids: Vec<Uuid>,
    #[command(flatten)]
    group: Group,
}

/// What a consumer is to get once more.
#[derive(Args, Debug)]
pub struct Replay {
    /// The consumer
    consumer: String,
    /// Message ids
    ids: Vec<Uuid>,
    /// Messages of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Inserted at this time or later: 2026-01-31T12:00:00Z
    #[arg(long, value_parser = time_of)]
    from: Option<OffsetDateTime>,
    /// Inserted before this time
    #[arg(long, value_parser = time_of)]
    to: Option<OffsetDateTime>,
    /// Forget what it did: whoever asks the gate is told to run again
    #[arg(long)]
    forget: bool,
}

/// Messages of one statement.
const BATCH: i64 = 500;
/// `$1` consumer, `$2` topic, `$3` class.
const IN_GROUP: &str = "($1::text is null or coalesce(f.consumer, '-') = $1) and ($2::text is null or f.topic = $2) \
                        and ($3::text is null or f.class = $3 or f.reason = $3)";

impl Group {
    fn is_any(&self) -> bool {
        self.consumer.is_some() || self.topic.is_some() || self.failure.is_some()
    }

    /// Up to a batch of its messages that are not among the first so many.
    async fn ids(&self, client: &Client, after: i64) -> Result<Vec<(Uuid, i64)>, Error> {
        let sql = format!(
            "select distinct f.id, f.seq from avouch.failures() f where {IN_GROUP} and f.seq > $4 order by f.seq limit {BATCH}"
        );
        let rows = client.query(&sql, &[&self.consumer, &self.topic, &self.failure, &after]).await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect())
    }
}

/// One line a message.
pub async fn list(target: &Target, group: &Group, limit: i64) -> anyhow::Result<()> {
    let client = connect(target).await?;
    let sql = format!(
        "select f.id, f.topic, coalesce(f.key, ''), to_char(f.created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
         coalesce(f.consumer, ''), f.reason from avouch.failures() f where {IN_GROUP} order by f.seq limit $4"
    );
    let rows =
        client.query(&sql, &[&group.consumer, &group.topic, &group.failure, &limit]).await.map_err(Error::from)?;
    for row in &rows {
        let (id, topic, key): (Uuid, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let (created, consumer, reason): (&str, &str, &str) = (row.get(3), row.get(4), row.get(5));
        let of = if consumer.is_empty() { String::new() } else { format!("consumer {consumer}: ") };
        let reason = if reason.is_empty() { "no reason given" } else { reason };
        println!("{id}  {created}  {topic}  key {:?}\n  {of}{}", escape(key), escape(reason));
    }
    if rows.is_empty() {
        println!("no message is dead");
    }
    Ok(())
}

/// One line a failure.
pub async fn groups(target: &Target, group: &Group) -> anyhow::Result<()> {
    let client = connect(target).await?;
    let sql = format!(
        "select coalesce(f.consumer, '-'), f.topic, f.class, count(*), \
         to_char(min(f.created_at) at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
         from avouch.failures() f where {IN_GROUP} group by 1, 2, 3 order by 4 desc, 1, 2, 3"
    );
    let rows = client.query(&sql, &[&group.consumer, &group.topic, &group.failure]).await.map_err(Error::from)?;
    for row in &rows {
        let (consumer, topic, class): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let (count, oldest): (i64, &str) = (row.get(3), row.get(4));
        println!("{count:>7}  consumer {consumer}  {topic}  since {oldest}\n         {}", escape(class));
    }
    if rows.is_empty() {
        println!("no message is dead");
    }
    Ok(())
}

pub async fn resend(target: &Target, which: &Which) -> anyhow::Result<ExitCode> {
    each(target, which, &Act::Resend).await
}

pub async fn discard(target: &Target, which: &Which, reason: Option<String>) -> anyhow::Result<ExitCode> {
    each(target, which, &Act::Discard(reason)).await
}

/// What is done with a message.
enum Act {
    Resend,
    Discard(Option<String>),
}

impl Act {
    /// Returns false if it could not be done.
    async fn on(&self, client: &Client, id: &Uuid) -> Result<bool, Error> {
        let row = match self {
            Self::Resend => client.query_one("select avouch.resend($1)", &[id]).await?,
            Self::Discard(reason) => client.query_one("select avouch.discard($1, $2)", &[id, reason]).await?,
        };
        Ok(row.get(0))
    }

    fn told(&self, is_done: bool) -> &'static str {
        match (self, is_done) {
            (Self::Resend, true) => "is sent again",
            (Self::Resend, false) => "is not dead: nothing done",
            (Self::Discard(_), true) => "is discarded",
            (Self::Discard(_), false) => "was sent already, or never was: nothing done",
        }
    }
}

/// Does it with each of them, and says what came of it.
async fn each(target: &Target, which: &Which, act: &Act) -> anyhow::Result<ExitCode> {
    if which.ids.is_empty() && !which.group.is_any() {
        anyhow::bail!("which messages? give their ids, or a group of dead ones: --consumer, --topic, --failure");
    }
    let client = connect(target).await?;
    let mut all = true;
    for id in &which.ids {
        let is_done = act.on(&client, id).await?;
        println!("{id}: {}", act.told(is_done));
        all &= is_done;
    }
    if which.group.is_any() {
        let (mut count, mut after) = (0u64, i64::MIN);
        loop {
            let batch = which.group.ids(&client, after).await?;
            let Some((_, last)) = batch.last() else { break };
            after = *last;
            for (id, _) in &batch {
                count += u64::from(act.on(&client, id).await?);
            }
        }
        println!("{count} messages: each {}", act.told(true));
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub async fn replay(target: &Target, what: &Replay) -> anyhow::Result<ExitCode> {
    let has_range = what.topic.is_some() || what.from.is_some() || what.to.is_some();
    if what.ids.is_empty() && !has_range {
        anyhow::bail!("which messages? give their ids, or --topic, --from and --to");
    }
    let client = connect(target).await?;
    let again = async |ids: &[Uuid]| -> Result<usize, Error> {
        let sql = "select avouch.replay($1, $2, $3)";
        Ok(client.query(sql, &[&what.consumer, &ids, &what.forget]).await?.len())
    };
    let mut count = again(&what.ids).await?;
    if has_range {
        let sql = "select id from avouch.outbox where id > $1 and state in ('sent', 'consumed') and stream is not null \
                   and ($2::text is null or topic = $2) and ($3::timestamptz is null or created_at >= $3) \
                   and ($4::timestamptz is null or created_at < $4) order by id limit 500";
        let mut after = Uuid::nil();
        loop {
            let rows = client.query(sql, &[&after, &what.topic, &what.from, &what.to]).await.map_err(Error::from)?;
            let ids: Vec<Uuid> = rows.iter().map(|r| r.get(0)).collect();
            let Some(last) = ids.last() else { break };
            after = *last;
            count += again(&ids).await?;
        }
    }
    println!("{count} messages are sent to {} once more", what.consumer);
    Ok(if count > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn time_of(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|e| format!("{e}: write 2026-01-31T12:00:00Z"))
}
