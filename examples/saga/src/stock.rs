//! The stock service, as a user would write it: each order is answered once, and the answer is a message in the transaction that
//! deducts the stock, or that records why not.

use async_nats::jetstream::Message;
use avouch_example_stage::connect;
use clap::ValueEnum;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::accident::Accident;
use crate::inbox::{ack, is_new, messages};

/// Where this service can be when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// The answer is written, and not committed.
    Answering,
    /// It is committed, and the order's message not acknowledged.
    Answered,
}

/// `orders.placed`.
#[derive(Debug, Deserialize)]
struct Placed {
    order: Uuid,
    item: String,
    quantity: i32,
}

/// Runs until something breaks; whoever starts it again loses nothing.
pub async fn run(database_url: &str, nats_url: &str, accident: Accident<Step>) -> anyhow::Result<()> {
    let nats = async_nats::connect(nats_url).await?;
    let mut stock = Stock { database: connect(database_url).await?, accident };
    let mut orders = messages(&nats, "stock", "msg.orders.placed").await?;
    while let Some(message) = orders.next().await {
        stock.answer(&message?).await?;
    }
    anyhow::bail!("the stock service is no longer connected")
}

struct Stock {
    database: Client,
    accident: Accident<Step>,
}

impl Stock {
    async fn answer(&mut self, message: &Message) -> anyhow::Result<()> {
        let Placed { order, item, quantity } = serde_json::from_slice(&message.payload)?;
        let tx = self.database.transaction().await?;
        if is_new(&tx, "stock", message).await? {
            let sql = "update items set quantity = quantity - $2 where name = $1 and quantity >= $2";
            let (topic, deducted, reason) = match tx.execute(sql, &[&item, &quantity]).await? {
                1 => ("stock.deducted", quantity, None),
                _ => ("stock.refused", 0, Some(format!("there are no {quantity} {item}"))),
            };
            let sql = "insert into answers (order_id, item, deducted, reason) values ($1, $2, $3, $4)";
            tx.execute(sql, &[&order, &item, &deducted, &reason]).await?;
            let body = json!({ "order": order, "reason": reason });
            let sql = "insert into avouch.outbox (topic, key, payload) values ($1, $2, $3)";
            tx.execute(sql, &[&topic, &order.to_string(), &body.to_string()]).await?;
        }
        self.accident.reached(Step::Answering);
        tx.commit().await?;
        self.accident.reached(Step::Answered);
        ack(message).await
    }
}
