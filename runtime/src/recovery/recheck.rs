//! Whether what is to be sent again did happen: its producer's checker is asked, where the topic wants that.

use std::time::SystemTime;

use uuid::Uuid;

use super::spans::rechecked;
use crate::message::Payload;
use crate::rules::{Message, Rules, Transaction, Verdict};
use crate::store::control::TxStatus;
use crate::store::{Recovery as Due, Store};
use crate::trace::Tracer;

/// What follows.
pub enum Word {
    /// It happened, or nobody is to be asked.
    Send,
    /// It did not happen, for this reason.
    Discard(String),
    /// Nobody knows now: it waits. A fault never decides.
    Later(String),
}

/// Asks the checker of the transaction that held this message.
pub async fn recheck(rules: &Rules, store: &Store, due: &Due, tracer: &Tracer) -> Word {
    let Some(tx_id) = due.tx_id else { return Word::Send };
    let tx = match store.tx_status(tx_id).await {
        Ok(Some(tx)) => tx,
        // Its transaction is retired: there is nothing left to ask about.
        Ok(None) => return Word::Send,
        Err(e) => return Word::Later(format!("{e:?}")),
    };
    let began = SystemTime::now();
    let answer = rules.check(&question(tx_id, &tx, due)).await;
    rechecked(tracer, due, (tx_id, &tx.checker), began, &answer);
    match answer.verdict {
        Ok(Verdict::Commit) => Word::Send,
        Ok(Verdict::Rollback(reason)) => Word::Discard(format!("its checker {} says rollback: {reason}", tx.checker)),
        Ok(Verdict::InProgress(_) | Verdict::Unknown(_)) => {
            Word::Later(format!("its checker {} does not know whether it happened", tx.checker))
        }
        Err(fault) => Word::Later(format!("its checker {} gives no verdict: {fault}", tx.checker)),
    }
}

/// The transaction with this one message of it.
fn question(id: Uuid, tx: &TxStatus, due: &Due) -> Transaction {
    let message = &due.message;
    let payload = match &message.payload {
        Payload::Here(bytes) => bytes.to_vec(),
        Payload::Behind { .. } => Vec::new(),
    };
    Transaction {
        id: id.to_string(),
        checker: tx.checker.clone(),
        reference: tx.reference.clone(),
        age_ms: u64::try_from(tx.age_ms).unwrap_or(0),
        attempt: u32::try_from(tx.checks).unwrap_or(0),
        message_count: u32::try_from(tx.messages).unwrap_or(0),
        messages: vec![Message {
            id: message.id.to_string(),
            topic: message.topic.to_string(),
            key: message.key.as_deref().map(str::to_owned),
            payload_bytes: u64::try_from(payload.len()).unwrap_or(0),
            payload,
            headers: message.own_headers(),
            created_at_ms: u64::try_from(message.created_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
            generation: message.generation,
        }],
    }
}
