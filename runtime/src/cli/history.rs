//! A message, a transaction, and what happened to them, for people to read.

use serde::Serialize;
use serde_json::Value;

use super::table::{Cell, Fit, Table, Tone, facts, heading};
use super::tell::escape_lines;
use super::times::{maybe, shown};
use crate::store::views::{Event, Message, Payload, Transaction};

/// A message with its history.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// None if its row is retired already.
    pub message: Option<Message>,
    /// Oldest first.
    pub timeline: Vec<Event>,
    /// If it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Payload>,
}

/// A transaction with its history.
#[derive(Debug, Serialize)]
pub struct ShownTransaction {
    /// None if its row is retired already.
    pub transaction: Option<Transaction>,
    /// Oldest first: each time that its checker was asked, what it answered, and which version of the plugin that was.
    pub timeline: Vec<Event>,
}

const TIMELINE: &[(&str, Fit)] =
    &[("at", Fit::Whole), ("what", Fit::Whole), ("consumer", Fit::Whole), ("by", Fit::Whole), ("", Fit::Cut)];
const WAITING: &[(&str, Fit)] = &[
    ("consumer", Fit::Whole),
    ("state", Fit::Whole),
    ("sequence", Fit::Number),
    ("sent again", Fit::Number),
    ("why", Fit::Cut),
];

/// All of a message.
pub fn of_message(s: &Shown) -> String {
    let mut text = match &s.message {
        Some(message) => facts(&message_facts(message)) + &waiting(message) + &headers(message),
        None => "its row is retired: this is what was written down beside it\n".to_owned(),
    };
    text += &timeline(&s.timeline);
    if let Some(payload) = &s.payload {
        text += &heading(if payload.is_cut { "Payload, its beginning" } else { "Payload" });
        text += &escape_lines(payload.text.as_deref().or(payload.base64.as_deref()).unwrap_or_default());
    }
    text
}

/// All of a transaction.
pub fn of_transaction(s: &ShownTransaction) -> String {
    let known = s.transaction.as_ref().map_or_else(String::new, |tx| facts(&transaction_facts(tx)));
    known + &timeline(&s.timeline)
}

fn message_facts(m: &Message) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let number = |value: Option<String>| value.unwrap_or_default();
    vec![
        ("message", m.id.to_string()),
        ("topic", m.topic.clone()),
        ("key", text(&m.key)),
        ("state", m.state.clone()),
        ("why", text(&m.reason)),
        ("held", text(&m.held)),
        ("inserted", shown(m.created_at)),
        ("not before", maybe(m.not_before)),
        ("released", maybe(m.released_at)),
        ("sent", maybe(m.sent_at)),
        ("stream", text(&m.stream)),
        ("sequence", number(m.sequence.map(|s| s.to_string()))),
        ("generation", m.generation.to_string()),
        ("transaction", number(m.tx_id.map(|id| id.to_string()))),
        ("released on", text(&m.release_on)),
        ("dedup key", text(&m.dedup_key)),
        ("shard", m.shard.to_string()),
        ("payload", format!("{} bytes", m.bytes)),
    ]
}

fn transaction_facts(tx: &Transaction) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        ("transaction", tx.id.to_string()),
        ("checker", tx.checker.clone()),
        ("reference", text(&tx.reference)),
        ("state", tx.state.clone()),
        ("messages", tx.messages.to_string()),
        ("prepared", shown(tx.created_at)),
        ("asked", format!("{} times, {} unknown", tx.checks, tx.unknowns)),
        ("asked next", if tx.state == "prepared" { shown(tx.check_at) } else { String::new() }),
        ("last answer", text(&tx.verdict)),
        ("plugin", text(&tx.checked_by)),
        ("decided", maybe(tx.decided_at)),
        ("decided by", text(&tx.decided_by)),
        ("why", text(&tx.reason)),
    ]
}

fn waiting(m: &Message) -> String {
    let mut table = Table::new(WAITING);
    for w in &m.waits_for {
        let place = w.sequence.map_or_else(|| "-".to_owned(), |s| s.to_string());
        let why = w.reason.as_deref().unwrap_or_default();
        table.row([
            w.consumer.as_str().into(),
            Cell::state(&w.state),
            place.into(),
            i64::from(w.tries).into(),
            why.into(),
        ]);
    }
    if m.waits_for.is_empty() { String::new() } else { heading("Waits for") + &table.take() }
}

fn headers(m: &Message) -> String {
    let Some(Value::Object(headers)) = &m.headers else { return String::new() };
    let lines = headers.iter().map(|(name, value)| format!("{name}: {}", value.as_str().unwrap_or_default()));
    heading("Headers") + &escape_lines(&lines.collect::<Vec<_>>().join("\n"))
}

/// What happened, oldest first.
pub fn timeline(events: &[Event]) -> String {
    let mut table = Table::new(TIMELINE);
    for event in events {
        let what = if event.subject == "transaction" { format!("tx {}", event.what) } else { event.what.clone() };
        table.row([
            shown(event.at).into(),
            Cell::from(what).toned(Tone::of_state(&event.what)),
            event.consumer.as_deref().into(),
            event.actor.as_deref().into(),
            details(&event.detail).into(),
        ]);
    }
    heading("What happened") + &table.take()
}

/// The answer, the reason and why a person did it first, then what else is known.
fn details(detail: &Value) -> String {
    const FIRST: [&str; 3] = ["verdict", "reason", "why"];
    let Value::Object(fields) = detail else { return String::new() };
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let told = FIRST.iter().filter_map(|name| fields.get(*name)).map(plain);
    let others = fields.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    let others = others.map(|(name, value)| format!("{name} {}", plain(value)));
    told.chain(others).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_begin_with_the_answer_and_the_reason() {
        let detail = serde_json::json!({"checks": 2, "reason": "too long", "plugin": "ab", "verdict": "unknown", "why": "I asked"});
        assert_eq!(details(&detail), "unknown, too long, I asked, checks 2, plugin ab");
        assert_eq!(details(&Value::Null), "");
    }
}
