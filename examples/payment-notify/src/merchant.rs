//! The merchant: a server that notes what it is told, once, and answers; and that asks when it has heard nothing.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use avouch_runtime::store::connect::system_tls;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use standardwebhooks::Webhook;
use tokio::runtime::Runtime;

/// How its server is today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    Well,
    /// It notes what it is told, and dies before it has answered.
    Dying,
    /// It answers 500.
    Broken,
}

/// What it was told of a payment.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Payment {
    /// The number that the merchant knows it by.
    pub payment: String,
    /// How much.
    pub cents: i64,
}

/// Its books: what survives its server.
#[derive(Default)]
struct Books {
    /// By the `webhook-id`: what comes again is answered, and not credited again.
    noted: BTreeMap<String, Payment>,
    repeats: u32,
    mood: Option<Mood>,
    secret: String,
}

/// By then its port is free again.
const CLOSING: Duration = Duration::from_secs(5);

/// The merchant, its server and its books.
pub struct Merchant {
    address: SocketAddr,
    secret: String,
    books: Arc<Mutex<Books>>,
    server: Option<Runtime>,
    client: reqwest::Client,
}

impl Merchant {
    /// A merchant whose server is down.
    pub fn new(secret: &str) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").context("finding a free port for the merchant")?;
        let tls = system_tls().map_err(anyhow::Error::msg)?;
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build()?;
        let books = Books { secret: secret.to_owned(), ..Books::default() };
        let address = port.local_addr()?;
        Ok(Self { address, secret: secret.to_owned(), books: Arc::new(Mutex::new(books)), server: None, client })
    }

    /// Where it wants to be told.
    pub fn url(&self) -> String {
        format!("http://{}/payments", self.address)
    }

    /// Its server is up.
    pub fn open(&mut self, mood: Mood) -> anyhow::Result<()> {
        self.close();
        lock(&self.books).mood = Some(mood);
        let listener = TcpListener::bind(self.address).context("the merchant's port")?;
        listener.set_nonblocking(true)?;
        let router = Router::new().route("/payments", post(receive)).with_state(Arc::clone(&self.books));
        let server = Runtime::new()?;
        server.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
            axum::serve(listener, router).await.expect("it serves until it dies");
        });
        self.server = Some(server);
        Ok(())
    }

    /// Its server is down, with all connections.
    pub fn close(&mut self) {
        if let Some(server) = self.server.take() {
            tokio::task::block_in_place(|| server.shutdown_timeout(CLOSING));
        }
    }

    /// Asks Avouch, and believes the answer if it is signed as messages are.
    pub async fn ask(&self, avouch: SocketAddr, token: &str, question: &str) -> anyhow::Result<serde_json::Value> {
        let url = format!("http://{avouch}/v1/notify/{question}");
        let answer = self.client.get(&url).bearer_auth(token).send().await.context("asking Avouch")?;
        let (status, headers, body) = (answer.status(), answer.headers().clone(), answer.bytes().await?);
        ensure!(status.is_success(), "{question} is answered {status}: {}", String::from_utf8_lossy(&body));
        Webhook::new(&self.secret)?.verify(&body, &headers).context("an answer that Avouch has not signed")?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Takes up what it heard by asking: the same books, under the same id.
    pub fn note(&self, id: &str, payload: &str) -> anyhow::Result<()> {
        let payment = serde_json::from_str(payload).context("a payment's payload")?;
        lock(&self.books).noted.insert(id.to_owned(), payment);
        Ok(())
    }

    /// What it has credited, by the payments' numbers.
    pub fn credited(&self) -> BTreeMap<String, i64> {
        lock(&self.books).noted.values().map(|p| (p.payment.clone(), p.cents)).collect()
    }

    /// How often it was told what it knew.
    pub fn repeats(&self) -> u32 {
        lock(&self.books).repeats
    }

    /// How many messages it has, and the SHA-256 of their ids: to be compared with Avouch's.
    pub fn digest(&self) -> (i64, String) {
        let books = lock(&self.books);
        let lines: String = books.noted.keys().map(|id| format!("{id}\n")).collect();
        let digest = data_encoding::HEXLOWER.encode(Sha256::digest(lines.as_bytes()).as_slice());
        (i64::try_from(books.noted.len()).unwrap_or(i64::MAX), digest)
    }
}

/// What a receiver does: verify, note once, answer.
async fn receive(State(books): State<Arc<Mutex<Books>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mood = {
        let mut books = lock(&books);
        if books.mood == Some(Mood::Broken) {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        let verified = Webhook::new(&books.secret).and_then(|webhook| webhook.verify(&body, &headers));
        let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let (Ok(()), Some(id), Ok(payment)) = (verified, id, serde_json::from_slice(&body)) else {
            return StatusCode::BAD_REQUEST;
        };
        // In a real service: one transaction, with the id as a primary key.
        if books.noted.insert(id, payment).is_some() {
            books.repeats += 1;
        }
        books.mood
    };
    if mood == Some(Mood::Dying) {
        // It lies there until somebody takes the server away.
        std::future::pending::<()>().await;
    }
    StatusCode::NO_CONTENT
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Merchant {
    fn drop(&mut self) {
        self.close();
    }
}
