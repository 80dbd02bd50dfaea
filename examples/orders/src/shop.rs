//! The shop's database as the demo looks at it: makes the tables, counts for the screen, reads the whole for the books.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use avouch_example_stage::connect;
use tokio_postgres::Client;

use crate::facts::{Committed, Invoiced, Ledger, Transactions};
use crate::parcels;

/// No look at the database may hold the screen up for longer.
const STATEMENT_MAX: &str = "set statement_timeout = '10s'";
/// Transactions end in any order, but none takes as long as this many others: what is older is counted once and for all.
const COUNTED_AGAIN: i64 = 2000;
/// Waiting rows are counted up to here, so that a big backlog costs no more than a small one.
const WAITING_MAX: i64 = 100_000;
/// How often, and how far apart, a frozen service's statements are given time to end.
const SETTLE_LOOKS_MAX: u32 = 20;
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// Outbox rows by what keeps them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    /// May be sent now.
    pub ready: i64,
    /// Wait for their `not_before`.
    pub delayed: i64,
    /// Wait for their transaction's verdict.
    pub prepared: i64,
}

/// A connection that looks.
pub struct Shop {
    client: Client,
    /// Attempts up to here are in `counted`.
    mark: i64,
    counted: i64,
}

impl Shop {
    /// Connects as the owner of everything.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let client = connect(url).await?;
        client.batch_execute(STATEMENT_MAX).await?;
        Ok(Self { client, mark: 0, counted: 0 })
    }

    /// Whether an earlier demo has been here.
    pub async fn is_there(&self) -> anyhow::Result<bool> {
        Ok(self.client.query_one("select to_regnamespace('shop') is not null", &[]).await?.get(0))
    }

    /// Makes the shop's tables and the order service's role.
    pub async fn install(&self) -> anyhow::Result<()> {
        self.client.batch_execute(include_str!("shop.sql")).await.context("making the shop's tables")
    }

    /// How many transactions were begun, committed and rolled back until now.
    pub async fn transactions(&mut self) -> anyhow::Result<Transactions> {
        let sql = "select count(*) filter (where attempt <= $2), count(*), coalesce(max(attempt), $1),
                     (select case when is_called then last_value else 0 end from shop.attempts),
                     (select case when is_called then last_value else 0 end from shop.rollbacks)
                   from shop.transactions where attempt > $1";
        let old = self.mark + COUNTED_AGAIN;
        let row = self.client.query_one(sql, &[&self.mark, &old]).await?;
        let (settled, fresh, last): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let committed = self.counted + fresh;
        if last > old + COUNTED_AGAIN {
            self.mark = old;
            self.counted += settled;
        }
        Ok(Transactions { begun: row.get(3), committed, rolled_back: row.get(4) })
    }

    /// What the outbox holds back or has not sent yet.
    pub async fn waiting(&self) -> anyhow::Result<Waiting> {
        let sql = "select
            (select count(*) from (select from avouch.outbox where state = 'ready' and not_before is null limit $1) x),
            (select count(*) from (select from avouch.outbox where state = 'ready' and not_before is not null limit $1) x),
            (select count(*) from (select from avouch.outbox where state = 'prepared' limit $1) x)";
        let row = self.client.query_one(sql, &[&WAITING_MAX]).await?;
        Ok(Waiting { ready: row.get(0), delayed: row.get(1), prepared: row.get(2) })
    }

    /// How many messages were sent, and still wait for a receipt.
    pub async fn awaited(&self) -> anyhow::Result<i64> {
        Ok(self
            .client
            .query_one("select count(*) from avouch.outbox where awaiting is not null and state = 'sent'", &[])
            .await?
            .get(0))
    }

    /// How many invoices there are.
    pub async fn invoices(&self) -> anyhow::Result<i64> {
        Ok(self.client.query_one("select count(*) from shop.invoices", &[]).await?.get(0))
    }

    /// The invoices, for the books.
    pub async fn read_invoices(&self) -> anyhow::Result<Invoiced> {
        let rows = self.client.query("select order_id, count(*) from shop.invoices group by order_id", &[]).await?;
        let sql = "select case when is_called then last_value else 0 end from shop.invoices_again";
        let again = self.client.query_one(sql, &[]).await?.get(0);
        Ok(Invoiced { invoices: rows.iter().map(|r| (r.get::<_, &str>(0).into(), r.get(1))).collect(), again })
    }

    /// The tokens of the attempts that the gate calls done, by order: what the parcel service was told.
    pub async fn read_done(&self) -> anyhow::Result<HashMap<Box<str>, i64>> {
        let sql = "select h.key, i.token from avouch.inbox i join avouch.consumer c on c.id = i.consumer
                   join shop.history h on h.message_id = i.message_id where c.name = $1 and i.state = 'done'";
        let rows = self.client.query(sql, &[&parcels::NAME]).await?;
        Ok(rows.iter().map(|r| (r.get::<_, &str>(0).into(), r.get(1))).collect())
    }

    /// Waits until the statements of the order service, which stands still, have ended; it sends no new ones.
    pub async fn settle(&self) -> anyhow::Result<()> {
        let sql = "select from pg_stat_activity where usename = 'order_service' and state = 'active'";
        for _ in 0..SETTLE_LOOKS_MAX {
            if self.client.query(sql, &[]).await?.is_empty() {
                break;
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
        Ok(())
    }

    /// Everything, for the books.
    pub async fn read_all(&self) -> anyhow::Result<Ledger> {
        self.client.batch_execute("set statement_timeout = 0").await?;
        let history = self.client.query("select message_id, key, step, topic from shop.history", &[]).await?;
        let outbox = self.client.query("select id, state from avouch.outbox", &[]).await?;
        let row = self
            .client
            .query_one(
                "select (select case when is_called then last_value else 0 end from shop.attempts),
                        (select count(*) from shop.transactions),
                        (select case when is_called then last_value else 0 end from shop.rollbacks),
                        (select count(*) from avouch.tx where decided_by = 'checker' and state = 'committed'),
                        (select count(*) from avouch.tx where decided_by = 'checker' and state = 'rolled_back')",
                &[],
            )
            .await?;
        let committed = history.iter().map(|r| {
            (r.get(0), Committed { key: r.get::<_, &str>(1).into(), step: r.get(2), topic: r.get::<_, &str>(3).into() })
        });
        let rows = outbox.iter().map(|r| (r.get(0), r.get::<_, &str>(1).into()));
        Ok(Ledger {
            committed: committed.collect::<HashMap<_, _>>(),
            outbox: rows.collect::<HashMap<_, _>>(),
            transactions: Transactions { begun: row.get(0), committed: row.get(1), rolled_back: row.get(2) },
            judged: (row.get(3), row.get(4)),
        })
    }
}
