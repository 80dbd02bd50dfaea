//! The payment service: a payment and the message about it are one transaction. It knows nothing of HTTP or of schedules.

use avouch_example_stage::connect;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

/// What merchants are told of.
pub const TOPIC: &str = "payments.settled";

/// The service.
pub struct Shop {
    client: Client,
}

impl Shop {
    /// Connects as the service's own role: a producer, and nothing more.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        Ok(Self { client: connect(url).await? })
    }

    /// Settles a payment. Returns the id of the message about it.
    pub async fn settle(&mut self, merchant: &str, number: &str, cents: i64) -> anyhow::Result<Uuid> {
        let payload = json!({ "payment": number, "cents": cents }).to_string();
        let headers = json!({ "merchant": merchant }).to_string();
        let tx = self.client.transaction().await?;
        let payment = "insert into payments (number, merchant, cents) values ($1, $2, $3)";
        tx.execute(payment, &[&number, &merchant, &cents]).await?;
        let message = "insert into avouch.outbox (topic, key, payload, headers) values ($1, $2, $3, $4::text::jsonb) returning id";
        let id = tx.query_one(message, &[&TOPIC, &number, &payload, &headers]).await?.get(0);
        tx.commit().await?;
        Ok(id)
    }
}
