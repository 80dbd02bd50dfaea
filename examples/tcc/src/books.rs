//! The books: what Avouch, the coordinator and both banks say about each transfer, and whether that agrees.

use std::fmt;

use avouch_example_stage::{Stage, connect};
use tokio_postgres::Client;
use uuid::Uuid;

/// What each bank begins with, in its one account.
pub const OPENING: i64 = 10_000;
/// The two of them.
pub const BANKS: [(&str, &str); 2] = [("bank_a", "alice"), ("bank_b", "bob")];

/// A transfer that was begun.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// What happens to its coordinator.
    pub case: &'static str,
    /// Its id everywhere.
    pub id: Uuid,
    /// From alice to bob.
    pub amount: i64,
}

/// Connections that only read.
pub struct Books {
    coordinator: Client,
    banks: Vec<Client>,
}

/// What everybody says in the end.
#[derive(Debug, PartialEq, Eq)]
pub struct Balance {
    lines: Vec<String>,
    faults: Vec<String>,
}

impl Books {
    /// Opens them.
    pub async fn open(stage: &Stage) -> anyhow::Result<Self> {
        let mut banks = Vec::new();
        for (bank, _) in BANKS {
            banks.push(connect(&stage.url_of_owner(bank)).await?);
        }
        Ok(Self { coordinator: connect(&stage.url_of_owner("coordinator")).await?, banks })
    }

    /// Whether the transfer's outcome is decided, by anybody.
    pub async fn is_decided(&self, transfer: &Transfer) -> anyhow::Result<bool> {
        let sql = "select from avouch.tx where id = $1 and state <> 'prepared'";
        Ok(self.coordinator.query_opt(sql, &[&transfer.id]).await?.is_some())
    }

    /// Whether every transaction is decided, and every message that follows from it sent.
    pub async fn are_at_rest(&self) -> anyhow::Result<bool> {
        let sql = "select not exists (select from avouch.tx where state = 'prepared')
                      and not exists (select from avouch.outbox where state in ('prepared', 'ready'))";
        Ok(self.coordinator.query_one(sql, &[]).await?.get(0))
    }

    /// Compares what they say.
    pub async fn balance(&self, transfers: &[Transfer]) -> anyhow::Result<Balance> {
        let mut lines = vec![line(["coordinator", "transfer", "decided by", "bank_a", "bank_b"])];
        let (mut faults, mut moved) = (Vec::new(), 0);
        for transfer in transfers {
            let said = self.read(transfer).await?;
            if said.outcome == "confirmed" {
                moved += transfer.amount;
            }
            faults.extend(said.fault().map(|fault| format!("{}: {fault}", transfer.case)));
            lines.push(line([transfer.case, said.outcome, said.decided_by, &said.banks[0], &said.banks[1]]));
        }
        for ((bank, account), (client, due)) in
            BANKS.iter().zip(self.banks.iter().zip([OPENING - moved, OPENING + moved]))
        {
            let row = client.query_one("select balance, reserved from accounts where name = $1", &[account]).await?;
            let (balance, reserved): (i64, i64) = (row.get(0), row.get(1));
            lines.push(format!("{bank}: {account} had {OPENING} and has {balance}, {reserved} of it reserved"));
            if (balance, reserved) != (due, 0) {
                faults.push(format!("{bank}: {account} should have {due}, and nothing reserved"));
            }
        }
        Ok(Balance { lines, faults })
    }

    async fn read(&self, transfer: &Transfer) -> anyhow::Result<Said> {
        let sql = "select t.state, t.decided_by from avouch.tx t where t.id = $1";
        let tx = self.coordinator.query_opt(sql, &[&transfer.id]).await?;
        let (outcome, decided_by) = match tx.map(|row| (row.get::<_, String>(0), row.get::<_, Option<String>>(1))) {
            None => ("never begun", "-"),
            Some((state, by)) => (
                match state.as_str() {
                    "committed" => "confirmed",
                    "rolled_back" => "cancelled",
                    _ => "UNDECIDED",
                },
                if by.as_deref() == Some("checker") { "check-back" } else { "coordinator" },
            ),
        };
        let sql = "select outcome from transfers where id = $1";
        let row = self.coordinator.query_opt(sql, &[&transfer.id]).await?;
        let mut banks = Vec::new();
        for client in &self.banks {
            let sql = "select state from reservations where transfer = $1";
            let row = client.query_opt(sql, &[&transfer.id]).await?;
            banks.push(row.map_or_else(|| "-".to_owned(), |row| row.get(0)));
        }
        Ok(Said { outcome, decided_by, told: row.and_then(|row| row.get(0)), banks })
    }
}

/// What everybody says about one transfer.
struct Said {
    outcome: &'static str,
    decided_by: &'static str,
    told: Option<String>,
    banks: Vec<String>,
}

impl Said {
    fn fault(&self) -> Option<String> {
        let due = if self.outcome == "never begun" { "-" } else { self.outcome };
        if let Some(bank) = self.banks.iter().find(|state| *state != due) {
            return Some(format!("the transfer is {}, and a bank says {bank}", self.outcome));
        }
        let told = self.told.as_ref().filter(|told| *told != self.outcome)?;
        Some(format!("the transfer is {}, and its caller was told {told}", self.outcome))
    }
}

impl Balance {
    /// Whether everybody agrees, no money was made or lost, and none is held back.
    pub fn is_even(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "FAULT {fault}"))
    }
}

fn line([case, outcome, decided_by, a, b]: [&str; 5]) -> String {
    format!("{case:<24}{outcome:<13}{decided_by:<13}{a:<11}{b}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(outcome: &'static str, told: Option<&str>, banks: [&str; 2]) -> bool {
        let banks = banks.map(str::to_owned).to_vec();
        Said { outcome, decided_by: "check-back", told: told.map(str::to_owned), banks }.fault().is_some()
    }

    #[test]
    fn books_are_even_only_if_everybody_says_the_same() {
        assert!(!fault("confirmed", None, ["confirmed", "confirmed"]));
        assert!(!fault("cancelled", Some("cancelled"), ["cancelled", "cancelled"]));
        assert!(!fault("never begun", None, ["-", "-"]));
        assert!(fault("confirmed", None, ["confirmed", "reserved"]));
        assert!(fault("cancelled", None, ["-", "cancelled"]));
        assert!(fault("cancelled", Some("confirmed"), ["cancelled", "cancelled"]));
        assert!(fault("UNDECIDED", None, ["reserved", "reserved"]));
        assert!(fault("never begun", None, ["reserved", "-"]));
    }
}
