//! The books: what both services say about each order, and whether that agrees.

use std::fmt;

use avouch_example_stage::{Stage, connect};
use tokio_postgres::Client;

use crate::shop::Order;

/// The customer's money, and the apples, in the beginning.
pub const WALLET: i64 = 10_000;
pub const APPLES: i32 = 1_000;

/// Connections that only read.
pub struct Books {
    shop: Client,
    stock: Client,
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
        Ok(Self {
            shop: connect(&stage.url_of_owner("shop")).await?,
            stock: connect(&stage.url_of_owner("stock")).await?,
        })
    }

    /// Whether the order is confirmed or cancelled.
    pub async fn is_concluded(&self, order: &Order) -> anyhow::Result<bool> {
        let sql = "select from orders where id = $1 and state <> 'placed'";
        Ok(self.shop.query_opt(sql, &[&order.id]).await?.is_some())
    }

    /// Compares what they say. `orders` are all that were ever asked for, with what happened on the way.
    pub async fn balance(&self, orders: &[(&str, Order)]) -> anyhow::Result<Balance> {
        let mut lines = vec![format!("{:<27}{:<12}{:<10}why", "accident", "order", "deducted")];
        let (mut faults, mut paid, mut sold) = (Vec::new(), 0, 0);
        for (case, order) in orders {
            let row = self.shop.query_opt("select state, reason from orders where id = $1", &[&order.id]).await?;
            let (state, reason): (String, Option<String>) =
                row.map_or_else(|| ("LOST".to_owned(), None), |row| (row.get(0), row.get(1)));
            let row = self.stock.query_opt("select deducted from answers where order_id = $1", &[&order.id]).await?;
            let deducted: i32 = row.map_or(0, |row| row.get(0));
            if state == "confirmed" {
                (paid, sold) = (paid + order.price, sold + order.quantity);
            }
            faults.extend(fault(&state, deducted, order.quantity).map(|fault| format!("{case}: {fault}")));
            lines.push(format!("{case:<27}{state:<12}{deducted:<10}{}", reason.unwrap_or_default()));
        }
        let wallet: i64 = self.shop.query_one("select balance from wallets", &[]).await?.get(0);
        let apples: i32 = self.stock.query_one("select quantity from items", &[]).await?.get(0);
        lines.push(format!("the wallet held {WALLET} and holds {wallet}; there were {APPLES} apples and are {apples}"));
        if (wallet, apples) != (WALLET - paid, APPLES - sold) {
            faults.push(format!("there should be {} in the wallet, and {} apples", WALLET - paid, APPLES - sold));
        }
        let sql = "select count(*) from orders";
        let count: i64 = self.shop.query_one(sql, &[]).await?.get(0);
        if usize::try_from(count)? != orders.len() {
            faults.push(format!("{} orders were asked for, and there are {count}", orders.len()));
        }
        Ok(Balance { lines, faults })
    }
}

/// An order is confirmed and deducted whole, or cancelled and not at all.
fn fault(state: &str, deducted: i32, quantity: i32) -> Option<String> {
    let is_even = match state {
        "confirmed" => deducted == quantity,
        "cancelled" => deducted == 0,
        _ => false,
    };
    (!is_even).then(|| format!("the order is {state}, and {deducted} of {quantity} were deducted"))
}

impl Balance {
    /// Whether both agree, and no money and no apple was made or lost.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_even_only_if_both_services_agree() {
        assert_eq!([fault("confirmed", 3, 3), fault("cancelled", 0, 3)], [None, None]);
        for (state, deducted) in [("confirmed", 0), ("cancelled", 3), ("placed", 0), ("placed", 3), ("LOST", 0)] {
            assert!(fault(state, deducted, 3).is_some(), "{state} {deducted}");
        }
    }
}
