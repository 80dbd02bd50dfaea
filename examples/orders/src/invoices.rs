//! The invoicing service: what a user would write whose effect is in Postgres. The effect and `avouch.inbox_once` commit together.

use std::sync::Arc;

use anyhow::Context as _;
use async_nats::jetstream::{AckKind, Message};
use avouch_example_stage::connect;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::accident::Fate;
use crate::deliveries::{self, Deliveries, identity};

/// `[consumer.invoices]`.
pub const NAME: &str = "invoices";
/// Workers side by side, each with a connection: the same message may be with two of them.
const WORKERS: u32 = 4;

/// Writes invoices until `stop`.
pub async fn run(database_url: &str, nats_url: &str, stop: CancellationToken) -> anyhow::Result<()> {
    let (nats, fate) = (deliveries::connect(nats_url).await?, Arc::new(Fate::default()));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, deliveries) = (connect(database_url).await?, Deliveries::of(&nats, NAME).await?);
        workers.spawn(Worker { client, fate: Arc::clone(&fate) }.run(deliveries, stop.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker broke")??;
    }
    Ok(nats.flush().await?)
}

struct Worker {
    client: Client,
    fate: Arc<Fate>,
}

impl Worker {
    async fn run(mut self, mut deliveries: Deliveries, stop: CancellationToken) -> anyhow::Result<()> {
        while let Some(message) = deliveries.next(&stop).await {
            self.handle(&message).await?;
        }
        Ok(())
    }

    /// True once a message, whoever asks, however often: and only the transaction that was told so writes the invoice.
    async fn handle(&mut self, message: &Message) -> anyhow::Result<()> {
        let (id, order) = identity(message)?;
        let accident = self.fate.of(message);
        let tx = self.client.transaction().await?;
        let is_first: bool = tx.query_one("select avouch.inbox_once($1, $2)", &[&NAME, &id]).await?.get(0);
        // Overslept, its transaction is open for longer than the ack wait: who gets the message meanwhile waits above.
        self.fate.before(accident).await;
        if is_first {
            tx.execute("insert into shop.invoices (order_id) values ($1)", &[&order]).await?;
        } else {
            tx.execute("select nextval('shop.invoices_again')", &[]).await?;
        }
        tx.commit().await?;
        accident.after_effect();
        accident.settle(message, AckKind::Ack).await;
        Ok(())
    }
}
