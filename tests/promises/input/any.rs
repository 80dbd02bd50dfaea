//! Rows of any text: what is accepted arrives as it was written, what is not is refused by a named rule, and nothing stops the relay.

use std::collections::BTreeMap;

use avouch_tests::stream::Stored;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::decoded;
use crate::ground::rounds;
use crate::relayed::Relayed;

/// Rows of one run; the long runs set AVOUCH_TEST_CASES.
const CASES: u32 = 64;

#[derive(Clone, Debug)]
struct Row {
    topic: String,
    key: Option<String>,
    payload: Result<String, Vec<u8>>,
    headers: Option<BTreeMap<String, String>>,
}

fn row() -> impl Strategy<Value = Row> {
    // Half of what there is of each is what producers write; the other half is whatever fits into a text.
    let topic = prop_oneof![4 => "[A-Za-z0-9_-]{1,20}(\\.[A-Za-z0-9_-]{1,20}){0,3}", 1 => "(?s).{0,30}"];
    let key = proptest::option::of(prop_oneof![3 => "(?s)[^\\x00]{0,60}", 1 => "(?s).{0,2000}"]);
    let payload = prop_oneof![
        3 => "(?s)[^\\x00]{0,3000}".prop_map(Ok),
        1 => "(?s).{0,40}".prop_map(Ok),
        2 => proptest::collection::vec(any::<u8>(), 0..20_000).prop_map(Err),
    ];
    let name =
        prop_oneof![5 => "[a-z!#$%&'*+.^_`|~-]{1,30}", 1 => "(?s).{0,10}", 1 => "(?i:nats|avouch|ce)-[a-z]{0,5}"];
    let value = prop_oneof![5 => "[^\\x00-\\x1f\\x7f-\\x9f]{0,60}", 1 => "(?s).{0,20}"];
    let headers = proptest::option::of(proptest::collection::btree_map(name, value, 0..4));
    (topic, key, payload, headers).prop_map(|(topic, key, payload, headers)| Row { topic, key, payload, headers })
}

#[tokio::test]
async fn row_of_any_text_arrives_as_it_was_written_or_is_refused_by_name() {
    let relayed = Relayed::start("").await;
    let (mut runner, mut accepted) = (TestRunner::default(), Vec::new());
    for _ in 0..rounds("AVOUCH_TEST_CASES", CASES) {
        let row = row().new_tree(&mut runner).expect("nothing is filtered").current();
        if let Some(id) = insert(&relayed, &row).await {
            accepted.push((id, row));
        }
    }
    assert!(!accepted.is_empty(), "most rows are fine");
    relayed.everything_else_went().await;
    let arrived = relayed.arrived(accepted.len() as u64).await;
    for (id, row) in accepted {
        let message = arrived.iter().find(|message| message.header("Avouch-Id") == Some(&*id.to_string()));
        check(message.unwrap_or_else(|| panic!("{row:?} does not arrive")), &row, &relayed.names.prefix);
    }
}

/// Its id, or nothing if a rule refuses it.
async fn insert(relayed: &Relayed, row: &Row) -> Option<Uuid> {
    let headers = row.headers.as_ref().map(|h| serde_json::to_string(h).expect("strings are JSON"));
    let (text, bytes) = (row.payload.as_ref().ok(), row.payload.as_ref().err());
    let sql = "insert into avouch.outbox (topic, key, payload, payload_bytes, headers) \
               values ($1, $2, $3, $4, $5::text::jsonb) returning id";
    match relayed.client.query_one(sql, &[&row.topic, &row.key, &text, &bytes, &headers]).await {
        Ok(inserted) => Some(inserted.get(0)),
        Err(error) => {
            let refusal = error.as_db_error().unwrap_or_else(|| panic!("{row:?}: the connection broke: {error:?}"));
            let is_named = *refusal.code() == SqlState::CHECK_VIOLATION && refusal.constraint().is_some();
            // Postgres's text holds no NUL, and says so before any rule of ours.
            let nul = [&SqlState::CHARACTER_NOT_IN_REPERTOIRE, &SqlState::UNTRANSLATABLE_CHARACTER];
            assert!(is_named || nul.contains(&refusal.code()), "{row:?}: {refusal:?}");
            assert!(!is_fine(row), "{row:?} is fine: {refusal:?}");
            None
        }
    }
}

/// By the rules as producers read them.
fn is_fine(row: &Row) -> bool {
    let is_token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let is_text = |t: &String| !t.contains('\0');
    let is_name = |n: &str| {
        let is_http_token = n.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let lower = n.to_ascii_lowercase();
        let is_reserved = ["nats-", "avouch-", "ce-"].iter().any(|prefix| lower.starts_with(prefix));
        !n.is_empty() && is_http_token && !is_reserved
    };
    row.topic.split('.').all(is_token)
        && row.key.as_ref().is_none_or(|k| is_text(k) && k.len() <= 1024)
        && row.payload.as_ref().ok().is_none_or(is_text)
        && row.headers.iter().flatten().all(|(n, v)| is_name(n) && !v.chars().any(char::is_control))
}

fn check(message: &Stored, row: &Row, prefix: &str) {
    assert_eq!(message.subject, format!("{prefix}.{}", row.topic));
    assert_eq!(message.header("Avouch-Topic"), Some(&*row.topic));
    assert_eq!(message.header("Avouch-Key").map(decoded), row.key);
    let payload = match &row.payload {
        Ok(text) => text.as_bytes(),
        Err(bytes) => bytes,
    };
    assert_eq!(message.payload, payload, "{row:?}");
    for (name, value) in row.headers.iter().flatten() {
        // NATS's protocol gives no meaning to blanks around a value.
        assert_eq!(message.header(name).map(str::trim), Some(value.trim()), "{name} of {row:?}");
    }
}
