//! The consumer whose effect and record commit together. The effect is a row: how many there are is what the checker counts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::Message;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::Client;
use uuid::Uuid;

use super::topics;
use crate::facts::Number;
use crate::stage::connect;

const CONNECTIONS: usize = 4;
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// True once a message, whoever asks: and only the transaction that was told so has the effect.
const ACT: &str = "insert into chaos.effect (who, number) select $1, $2 where avouch.inbox_once($1, $3)";

/// Its connections, made when they are needed.
pub struct Once {
    url: String,
    clients: [Mutex<Option<Client>>; CONNECTIONS],
    turn: AtomicUsize,
}

impl Once {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), clients: Default::default(), turn: AtomicUsize::new(0) }
    }

    /// Acts, and acknowledges if that is known to be committed.
    pub async fn handle(&self, message: &Message, number: Number) {
        let headers = message.headers.as_ref();
        let id = headers.and_then(|h| h.get("Avouch-Id")).and_then(|id| id.as_str().parse::<Uuid>().ok());
        let Some(id) = id else { return };
        let at = self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let mut slot = self.clients[at].lock().await;
        if slot.as_ref().is_none_or(Client::is_closed) {
            *slot = connect(&self.url).await.ok();
        }
        let Some(client) = slot.as_ref() else { return };
        let number = i64::try_from(number).expect("nobody counts so far");
        match timeout(ANSWER_MAX, client.execute(ACT, &[&topics::ONCE, &number, &id])).await {
            Ok(Ok(_)) => drop(message.ack().await),
            // It comes again. Whether this one happened is what the record knows.
            Ok(Err(_)) => {}
            Err(_) => *slot = None,
        }
    }
}
