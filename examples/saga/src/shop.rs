//! The order service, as a user would write it: takes the money and places the order with one local transaction; hears later
//! whether there was stock, and if not, cancels the order and gives the money back.

use async_nats::jetstream::Message;
use avouch_example_stage::connect;
use clap::ValueEnum;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::accident::Accident;
use crate::inbox::{ack, is_new, messages};

/// Where this service can be when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// An order and its message are written, and not committed.
    Placing,
    /// They are committed, and the customer does not know.
    Placed,
    /// What the stock service answered is written, and not committed.
    Concluding,
    /// It is committed, and the message not acknowledged.
    Concluded,
}

/// What a customer asks for. The id is the customer's: asking again makes no second order.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Order {
    pub id: Uuid,
    pub customer: String,
    pub item: String,
    pub quantity: i32,
    pub price: i64,
}

/// What the stock service says.
#[derive(Debug, Deserialize)]
struct Answer {
    order: Uuid,
    reason: Option<String>,
}

/// Runs until something breaks; whoever starts it again loses nothing.
pub async fn run(database_url: &str, nats_url: &str, accident: Accident<Step>) -> anyhow::Result<()> {
    let nats = async_nats::connect(nats_url).await?;
    let mut shop = Shop { database: connect(database_url).await?, accident };
    let mut requests = nats.queue_subscribe("shop.place", "shop".to_owned()).await?;
    let mut answers = messages(&nats, "shop", "msg.stock.>").await?;
    loop {
        tokio::select! {
            Some(request) = requests.next() => {
                let said = match serde_json::from_slice(&request.payload) {
                    Ok(order) => shop.place(&order).await?.to_owned(),
                    Err(e) => format!("this is no order: {e}"),
                };
                if let Some(reply) = request.reply {
                    nats.publish(reply, said.into()).await?;
                }
            }
            Some(message) = answers.next() => shop.conclude(&message?).await?,
            else => anyhow::bail!("the shop is no longer connected"),
        }
    }
}

struct Shop {
    database: Client,
    accident: Accident<Step>,
}

impl Shop {
    /// Returns what the customer is told. The shop's own rules refuse; trouble with its database is no answer.
    async fn place(&mut self, order: &Order) -> anyhow::Result<&'static str> {
        match self.try_to_place(order).await {
            Ok(is_new) => Ok(if is_new { "placed" } else { "placed before" }),
            Err(e) if e.as_db_error().is_some_and(|e| e.constraint().is_some()) => Ok("refused"),
            Err(e) => Err(e.into()),
        }
    }

    /// The order, its payment and its message: all or nothing. False if the order is there already.
    async fn try_to_place(&mut self, order: &Order) -> Result<bool, tokio_postgres::Error> {
        let Order { id, customer, item, quantity, price } = order;
        let tx = self.database.transaction().await?;
        let sql = "insert into orders (id, customer, item, quantity, price) values ($1, $2, $3, $4, $5)
                   on conflict (id) do nothing";
        if tx.execute(sql, &[id, customer, item, quantity, price]).await? == 0 {
            return Ok(false);
        }
        let sql = "update wallets set balance = balance - $2 where customer = $1";
        tx.execute(sql, &[customer, price]).await?;
        let body = json!({ "order": id, "item": item, "quantity": quantity });
        let sql = "insert into avouch.outbox (topic, key, payload) values ('orders.placed', $1, $2)";
        tx.execute(sql, &[&id.to_string(), &body.to_string()]).await?;
        self.accident.reached(Step::Placing);
        tx.commit().await?;
        self.accident.reached(Step::Placed);
        Ok(true)
    }

    /// `stock.deducted` confirms the order; `stock.refused` undoes what placing it did.
    async fn conclude(&mut self, message: &Message) -> anyhow::Result<()> {
        let Answer { order, reason } = serde_json::from_slice(&message.payload)?;
        let tx = self.database.transaction().await?;
        if is_new(&tx, "shop", message).await? {
            if message.subject.ends_with(".deducted") {
                tx.execute("update orders set state = 'confirmed' where id = $1", &[&order]).await?;
            } else {
                let sql = "with cancelled as (
                             update orders set state = 'cancelled', reason = $2 where id = $1 returning customer, price
                           )
                           update wallets w set balance = w.balance + cancelled.price
                           from cancelled where w.customer = cancelled.customer";
                tx.execute(sql, &[&order, &reason]).await?;
            }
        }
        self.accident.reached(Step::Concluding);
        tx.commit().await?;
        self.accident.reached(Step::Concluded);
        ack(message).await
    }
}
