//! A payment provider as its customers see it: `GET /payments/{order}` tells how a payment stands. It is asked by the plugin
//! payment-http-check about half messages whose producer died. What it knows, it knows from the shop's own rows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use avouch_example_stage::connect;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// A payment that nobody has gone on with for so long was never made.
const ABANDONED: Duration = Duration::from_secs(2);
/// A request of the plugin has a fraction of this.
const HEAD_BYTES_MAX: u64 = 8 << 10;

/// Answers until it is dropped.
pub struct Provider {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Provider {
    /// Listens on a free port of loopback.
    pub async fn start(database_url: &str) -> anyhow::Result<Self> {
        let ledger = Arc::new(Ledger { client: connect(database_url).await?, begun: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the payment provider needs a port")?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let ledger = Arc::clone(&ledger);
                tokio::spawn(async move { drop(answer(socket, &ledger).await) });
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known of payments.
struct Ledger {
    client: Client,
    /// When a payment in progress was first asked about, by order and version of its row.
    begun: Mutex<HashMap<(i64, String), Instant>>,
}

impl Ledger {
    /// settled, pending, or none.
    async fn payment(&self, order: i64) -> anyhow::Result<Option<&'static str>> {
        let sql = "select status, xmin::text from shop.orders where id = $1";
        let Some(row) = self.client.query_opt(sql, &[&order]).await? else { return Ok(None) };
        let (status, version): (&str, String) = (row.get(0), row.get(1));
        Ok(match status {
            "paid" | "shipped" => Some("settled"),
            "paying" => {
                let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
                let since = *begun.entry((order, version)).or_insert_with(Instant::now);
                (since.elapsed() < ABANDONED).then_some("pending")
            }
            _ => None,
        })
    }
}

/// One request of one connection.
async fn answer(mut socket: TcpStream, ledger: &Ledger) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = (&mut socket).take(HEAD_BYTES_MAX).read_buf(&mut head).await?;
        anyhow::ensure!(read > 0 && head.len() < 1 << 13, "no request");
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let order = line.strip_prefix("GET /payments/").and_then(|rest| rest.split(' ').next()?.parse().ok());
    let payment = match order {
        Some(order) => ledger.payment(order).await?,
        None => None,
    };
    let (status, body) = match payment {
        Some(status) => ("200 OK", json!({ "status": status })),
        None => ("404 Not Found", json!({ "error": "no such payment" })),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await?;
    Ok(socket.shutdown().await?)
}
