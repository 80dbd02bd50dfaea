//! A bank: what takes part in transfers, as a user would write it. Three moves, each one statement and each repeatable; they
//! may come twice, and a cancel may come without its try or before it.

use anyhow::Context as _;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::{self, Message};
use avouch_example_stage::{STREAM, connect};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

/// The first of a transfer's requests and messages wins: a reservation that is there already is left as it is, be it a
/// cancelled one. Otherwise the bank's constraints say whether the money is there and the account exists.
const TRY: &str = "
    with part as (
      insert into reservations (transfer, account, amount, state) values ($1, $2, $3, 'reserved')
      on conflict (transfer) do nothing
      returning account, amount
    )
    update accounts a set reserved = a.reserved + greatest(- part.amount, 0) from part where a.name = part.account";

const CONFIRM: &str = "
    with part as (
      update reservations set state = 'confirmed' where transfer = $1 and state = 'reserved' returning account, amount
    )
    update accounts a set balance = a.balance + part.amount, reserved = a.reserved - greatest(- part.amount, 0)
    from part where a.name = part.account";

/// Without a try before it, it leaves a cancelled reservation, which the try will find.
const CANCEL: &str = "
    with part as (
      insert into reservations (transfer, state) values ($1, 'cancelled')
      on conflict (transfer) do update set state = 'cancelled' where reservations.state = 'reserved'
      returning account, amount
    )
    update accounts a set reserved = a.reserved - greatest(- part.amount, 0) from part where a.name = part.account";

/// Asks a bank to reserve its part of a transfer. A negative amount leaves the account.
#[derive(Debug, Deserialize, Serialize)]
pub struct Try {
    pub transfer: Uuid,
    pub account: String,
    pub amount: i64,
}

/// The part is reserved, unless it says why not.
#[derive(Debug, Deserialize, Serialize)]
pub struct Answer {
    pub refused: Option<String>,
}

/// What a confirm or a cancel says.
#[derive(Debug, Deserialize)]
struct Call {
    transfer: Uuid,
}

/// Runs until something breaks; whoever starts it again loses nothing.
pub async fn run(name: &str, database_url: &str, nats_url: &str) -> anyhow::Result<()> {
    let nats = async_nats::connect(nats_url).await?;
    let bank = Bank { name, database: connect(database_url).await?, nats };
    tokio::try_join!(bank.answer(), bank.carry_out())?;
    anyhow::bail!("{name} is no longer connected")
}

struct Bank<'a> {
    name: &'a str,
    database: Client,
    nats: async_nats::Client,
}

impl Bank<'_> {
    /// `<name>.try` for coordinators, `<name>.look` for the check-back.
    async fn answer(&self) -> anyhow::Result<()> {
        let mut requests = self.nats.queue_subscribe(format!("{}.*", self.name), self.name.to_owned()).await?;
        while let Some(request) = requests.next().await {
            let Some(reply) = request.reply else { continue };
            let answer = match request.subject.rsplit('.').next() {
                Some("try") => json!(self.reserve(&request.payload).await?).to_string(),
                _ => match str::from_utf8(&request.payload).map(str::parse) {
                    Ok(Ok(transfer)) => self.look(transfer).await?,
                    _ => "this is no transfer's id".to_owned(),
                },
            };
            self.nats.publish(reply, answer.into()).await?;
        }
        Ok(())
    }

    /// The bank's own rules refuse; trouble with its database is no answer.
    async fn reserve(&self, request: &[u8]) -> anyhow::Result<Answer> {
        let ask: Try = match serde_json::from_slice(request) {
            Ok(ask) => ask,
            Err(e) => return Ok(Answer { refused: Some(e.to_string()) }),
        };
        if let Err(e) = self.database.execute(TRY, &[&ask.transfer, &ask.account, &ask.amount]).await {
            let broken = e.as_db_error().and_then(|e| e.constraint()).map(str::to_owned);
            return broken.map(|rule| Answer { refused: Some(rule) }).context(e);
        }
        let state = self.look(ask.transfer).await?;
        Ok(Answer { refused: (state == "cancelled").then(|| "the transfer was cancelled before".to_owned()) })
    }

    /// `reserved`, `confirmed`, `cancelled` or `none`.
    async fn look(&self, transfer: Uuid) -> anyhow::Result<String> {
        let row = self.database.query_opt("select state from reservations where transfer = $1", &[&transfer]).await?;
        Ok(row.map_or_else(|| "none".to_owned(), |row| row.get(0)))
    }

    /// Confirms and cancels, as the runtime publishes them: at least once.
    async fn carry_out(&self) -> anyhow::Result<()> {
        let stream = jetstream::new(self.nats.clone()).get_stream(STREAM).await?;
        let config = Config {
            durable_name: Some(self.name.to_owned()),
            filter_subject: format!("msg.{}.>", self.name),
            ..Config::default()
        };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        while let Some(message) = messages.next().await {
            self.carry_out_one(&message?).await?;
        }
        Ok(())
    }

    async fn carry_out_one(&self, message: &Message) -> anyhow::Result<()> {
        let Call { transfer } = serde_json::from_slice(&message.payload)?;
        let sql = if message.subject.ends_with(".confirm") { CONFIRM } else { CANCEL };
        self.database.execute(sql, &[&transfer]).await?;
        // After the effect, and only then.
        message.ack().await.map_err(|e| anyhow::anyhow!(e))
    }
}
