//! The coordinator of a transfer: what a user of Avouch would write. Confirm and cancel calls are half messages of one
//! transaction, so whichever outcome is decided, and by whom, its calls are sent and the other's are not.

use std::time::Duration;

use anyhow::Context as _;
use avouch_example_stage::connect;
use clap::{Args, ValueEnum};
use nix::sys::signal::{Signal, raise};
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::bank::{Answer, Try};

/// No answer is no: what the bank may have reserved is cancelled.
const TRY_MAX: Duration = Duration::from_secs(2);

/// Where the coordinator can be when it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Step {
    /// The transfer and its messages are written, and not committed.
    Opened,
    /// They are committed. Nobody was asked yet.
    Prepared,
    /// The first bank has reserved its part.
    TriedOne,
    /// Both banks have answered.
    TriedBoth,
    /// The decision is written, and not committed.
    Deciding,
    /// It is committed.
    Decided,
}

/// One transfer, and the accident on the way.
#[derive(Args, Clone, Debug)]
pub struct Transfer {
    #[arg(long)]
    pub id: Uuid,
    /// An account at bank_a
    #[arg(long)]
    pub debtor: String,
    /// An account at bank_b
    #[arg(long)]
    pub payee: String,
    #[arg(long)]
    pub amount: i64,
    /// Ends the process there, as kill -9 would
    #[arg(long)]
    pub die_at: Option<Step>,
    /// Stops the process there, until SIGCONT
    #[arg(long)]
    pub freeze_at: Option<Step>,
}

/// Carries one transfer out.
pub async fn run(database_url: &str, nats_url: &str, transfer: Transfer) -> anyhow::Result<()> {
    let nats = async_nats::ConnectOptions::new().request_timeout(Some(TRY_MAX)).connect(nats_url).await?;
    let mut coordinator = Coordinator { database: connect(database_url).await?, nats };
    coordinator.prepare(&transfer).await?;
    let agreed = coordinator.try_both(&transfer).await;
    let outcome = coordinator.decide(&transfer, agreed).await?;
    println!("transfer {}: {outcome}", transfer.id);
    Ok(())
}

struct Coordinator {
    database: Client,
    nats: async_nats::Client,
}

impl Coordinator {
    /// All that may have to be said later is committed before anything is asked.
    async fn prepare(&mut self, transfer: &Transfer) -> anyhow::Result<()> {
        let Transfer { id, debtor, payee, amount, .. } = transfer;
        let tx = self.database.transaction().await?;
        let sql = "insert into transfers (id, debtor, payee, amount) values ($1, $2, $3, $4)";
        tx.execute(sql, &[id, debtor, payee, amount]).await?;
        let sql = "select avouch.prepare('transfer-check', '3 seconds', $1, $2)";
        tx.execute(sql, &[&id.to_string(), id]).await?;
        let sql = "insert into avouch.outbox (tx_id, topic, key, payload, release_on)
                   values ($1, $2, $3, jsonb_build_object('transfer', $1::uuid), $4)";
        for bank in ["bank_a", "bank_b"] {
            for (call, release_on) in [("confirm", "commit"), ("cancel", "rollback")] {
                tx.execute(sql, &[id, &format!("{bank}.{call}"), &id.to_string(), &release_on]).await?;
            }
        }
        transfer.reached(Step::Opened);
        tx.commit().await?;
        transfer.reached(Step::Prepared);
        Ok(())
    }

    /// Whether both banks have reserved their parts; if not, why.
    async fn try_both(&self, transfer: &Transfer) -> Result<(), String> {
        self.try_one("bank_a", transfer, &transfer.debtor, -transfer.amount).await?;
        transfer.reached(Step::TriedOne);
        let answer = self.try_one("bank_b", transfer, &transfer.payee, transfer.amount).await;
        transfer.reached(Step::TriedBoth);
        answer
    }

    async fn try_one(&self, bank: &str, transfer: &Transfer, account: &str, amount: i64) -> Result<(), String> {
        let ask = Try { transfer: transfer.id, account: account.to_owned(), amount };
        let reply = self.nats.request(format!("{bank}.try"), json!(ask).to_string().into()).await;
        let reply = reply.map_err(|e| format!("{bank} does not answer: {e}"))?;
        match serde_json::from_slice(&reply.payload) {
            Ok(Answer { refused: None }) => Ok(()),
            Ok(Answer { refused: Some(why) }) => Err(format!("{bank} refuses: {why}")),
            Err(e) => Err(format!("{bank} gives an answer that cannot be read: {e}")),
        }
    }

    /// The outcome and the verdict on its messages commit together. If the check-back was faster and said the opposite, Avouch
    /// raises, this transaction aborts, and the check-back's word stands.
    async fn decide(&mut self, transfer: &Transfer, agreed: Result<(), String>) -> anyhow::Result<&'static str> {
        let tx = self.database.transaction().await?;
        let (said, ours, theirs) = match &agreed {
            Ok(()) => (tx.execute("select avouch.commit($1)", &[&transfer.id]).await, "confirmed", "cancelled"),
            Err(why) => {
                let said = tx.execute("select avouch.rollback($1, $2)", &[&transfer.id, why]).await;
                (said, "cancelled", "confirmed")
            }
        };
        let update = "update transfers set outcome = $2 where id = $1";
        match said {
            Ok(_) => {
                tx.execute(update, &[&transfer.id, &ours]).await?;
                transfer.reached(Step::Deciding);
                tx.commit().await?;
                transfer.reached(Step::Decided);
                Ok(ours)
            }
            Err(e) if e.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
                tx.rollback().await?;
                self.database.execute(update, &[&transfer.id, &theirs]).await?;
                Ok(theirs)
            }
            Err(e) => Err(e).context("deciding; whether it happened is unknown, so the check-back says"),
        }
    }
}

impl Transfer {
    /// The accident, if it is to happen here.
    fn reached(&self, step: Step) {
        let accident = match step {
            _ if self.die_at == Some(step) => Signal::SIGKILL,
            _ if self.freeze_at == Some(step) => Signal::SIGSTOP,
            _ => return,
        };
        raise(accident).expect("a process may signal itself");
    }
}
