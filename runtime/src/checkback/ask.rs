//! What a checker is told of a transaction, and what it said in the runtime's log.

use std::collections::BTreeMap;

use crate::rules::{Answer, Line, Message, Transaction};
use crate::store::{Claim, Held, LogLine};

/// A claimed transaction as its plugin sees it.
pub fn transaction(claim: &Claim, messages: Vec<Message>) -> Transaction {
    Transaction {
        id: claim.id.to_string(),
        checker: claim.checker.clone(),
        reference: claim.reference.clone(),
        age_ms: claim.age_ms,
        attempt: claim.checks.saturating_sub(1),
        message_count: claim.messages,
        messages,
    }
}

/// A held message as its plugin sees it.
pub fn message(row: Held) -> Message {
    let headers: BTreeMap<String, String> =
        row.headers.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Message {
        id: row.id.to_string(),
        topic: row.topic,
        key: row.key,
        payload: row.payload.unwrap_or_default(),
        payload_bytes: row.bytes,
        headers: headers.into_iter().collect(),
        created_at_ms: row.created_at_ms,
        generation: row.generation,
    }
}

/// Lines of one call that are kept.
const LINES_MAX: usize = 20;

/// What a plugin logged, and its fault: in the runtime's log, and as lines to be kept.
pub fn report(claim: &Claim, trace_id: Option<&str>, answer: &Answer) -> Vec<LogLine> {
    let digest = answer.digest.as_deref().map(|d| &d[..d.len().min(12)]);
    let mut lines = Vec::new();
    let mut keep = |level: &'static str, line: String| {
        let (plugin, digest) = (claim.checker.clone(), answer.digest.clone());
        lines.push(LogLine { plugin, digest, tx_id: Some(claim.id), level, line });
    };
    for (i, Line { level, text }) in answer.log.iter().enumerate() {
        let plugin = claim.checker.as_str();
        let name = match *level {
            tracing::Level::ERROR => {
                tracing::error!(target: "avouch_plugin", plugin, digest, tx = %claim.id, trace_id, "{text}");
                "error"
            }
            tracing::Level::WARN => {
                tracing::warn!(target: "avouch_plugin", plugin, digest, tx = %claim.id, trace_id, "{text}");
                "warn"
            }
            tracing::Level::INFO => {
                tracing::info!(target: "avouch_plugin", plugin, digest, tx = %claim.id, trace_id, "{text}");
                "info"
            }
            _ => {
                tracing::debug!(target: "avouch_plugin", plugin, digest, tx = %claim.id, trace_id, "{text}");
                "debug"
            }
        };
        if i < LINES_MAX {
            keep(name, text.clone());
        } else if i == LINES_MAX {
            keep("warn", format!("{} more lines of this call are not kept", answer.log.len() - LINES_MAX));
        }
    }
    if let Err(fault) = &answer.verdict {
        let took_us = answer.took.as_micros();
        tracing::debug!(checker = claim.checker, digest, tx = %claim.id, trace_id, took_us, fault = %fault, "no verdict");
        keep("fault", format!("{}: {fault}", fault.class()));
    }
    lines
}
