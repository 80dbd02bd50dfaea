//! Receipts by message, of those who confirm, and of plugins' decisions: a batch is one statement.

use serde_json::json;
use uuid::Uuid;

use super::request::Confirm;
use crate::answer::{self, Code, Fault};
use crate::broker::Request;
use crate::store::Store;

/// Puts them into their queue, and tells those who asked.
pub async fn confirm(store: &Store, batch: Vec<(Option<Box<Request>>, Confirm)>) {
    let said: Vec<(&str, Uuid, Option<&str>)> =
        batch.iter().map(|(_, c)| (c.consumer.as_str(), c.message, c.dead.as_deref())).collect();
    let answers: Vec<Result<Option<bool>, Fault>> = match store.confirm(&said).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(e) => {
            let fault = Fault::from(e);
            batch.iter().map(|_| Err(fault.clone())).collect()
        }
    };
    for ((request, confirm), answer) in batch.iter().zip(answers) {
        let Some(request) = request else { continue };
        let none = || {
            let text = format!("there is no message {}: it was never inserted here, or is retired", confirm.id);
            Fault::new(Code::NotFound, text)
        };
        let answer = answer.and_then(|known| known.ok_or_else(none));
        answer::send(request, answer.map(|is_awaited| json!({ "id": confirm.id, "awaited": is_awaited }))).await;
    }
}
