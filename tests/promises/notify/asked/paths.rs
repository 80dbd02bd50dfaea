//! Each question is answered by its index, with and without statistics, however much there is of others'.

use avouch_runtime::store::FIXED_PLANS;
use avouch_tests::database::Database;
use serde_json::Value;
use uuid::Uuid;

use crate::ground::rounds;
use crate::plans::explain;

/// Its name, its statement, the types of its parameters, arguments, the indexes of which it must use one, and the most blocks that it may touch.
type Question = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], i64);

const QUESTIONS: &[Question] = &[
    (
        "bearer",
        include_str!("../../../../runtime/src/store/receivers/bearer.sql"),
        "bytea",
        "'\\x07'",
        &["endpoint_token_once"],
        30,
    ),
    (
        "message",
        include_str!("../../../../runtime/src/store/receivers/message.sql"),
        "int, uuid",
        "7, 'MIDDLE'",
        // A message has one delivery here: both lead to it.
        &["delivery_pkey", "delivery_message"],
        30,
    ),
    (
        "by_key",
        include_str!("../../../../runtime/src/store/receivers/by_key.sql"),
        "int, text, text, uuid, bigint, bigint",
        "7, 'payments', 'hot', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 10000, 101",
        &["notice_key"],
        40_000,
    ),
    (
        "by_time",
        include_str!("../../../../runtime/src/store/receivers/by_time.sql"),
        "int, uuid, uuid, bigint",
        "7, 'MIDDLE', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 501",
        &["delivery_pkey"],
        4_000,
    ),
    (
        "windows",
        include_str!("../../../../runtime/src/store/receivers/windows.sql"),
        "int, uuid, uuid, bigint, bigint, bigint",
        "7, 'MIDDLE', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 0, 60000, 1001",
        &["delivery_pkey"],
        3_000,
    ),
];

/// All nodes of a plan that touch what is told: (node type, index).
fn touches(plan: &Value, found: &mut Vec<(String, String)>) {
    let text = |name: &str| plan[name].as_str().unwrap_or_default().to_owned();
    if ["notice", "delivery", "endpoint_token"].contains(&&*text("Relation Name")) {
        found.push((text("Node Type"), text("Index Name")));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        touches(child, found);
    }
}

#[tokio::test]
async fn questions_touch_what_they_answer_among_many_messages_of_many_endpoints() {
    let database = Database::create().await;
    let client = database.client().await;
    let rows = rounds("AVOUCH_TEST_PLAN_ROWS", 200_000).min(1_000_000);
    let load = format!(
        "insert into avouch.endpoint (name, url, topics, settings, origin) \
           select 'e' || n, 'https://x', '{{payments}}', '{{}}', 'api' from generate_series(1, 20) n; \
         insert into avouch.endpoint_token (endpoint, hash, created_by) \
           select 1 + n % 20, decode(md5(n::text), 'hex'), 'x' from generate_series(1, 20000) n; \
         insert into avouch.endpoint_token (endpoint, hash, created_by) values (7, '\\x07', 'x'); \
         insert into avouch.notice (message_id, topic, key, payload, created_at) \
           select avouch.uuid_v7(), 'payments', case when n % 4 = 0 then 'hot' else n::text end, 'x', now() \
           from generate_series(1, {rows}) n; \
         insert into avouch.delivery (endpoint, message_id, state) \
           select 1 + (row_number() over (order by message_id)) % 20, message_id, 'waiting' from avouch.notice"
    );
    client.batch_execute(&load).await.expect("is valid");
    let middle = "select message_id from avouch.delivery where endpoint = 7 order by message_id offset 100 limit 1";
    let middle: Uuid = client.query_one(middle, &[]).await.expect("there are some").get(0);
    for statistics in ["", "analyze avouch.notice; analyze avouch.delivery; analyze avouch.endpoint_token"] {
        client.batch_execute(statistics).await.expect("is valid");
        client.batch_execute(FIXED_PLANS).await.expect("is valid");
        for (name, sql, types, args, indexes, blocks_max) in QUESTIONS {
            let args = args.replace("MIDDLE", &middle.to_string());
            let answer = explain(&client, name, sql, types, &args).await;
            let plan = &answer[0]["Plan"];
            let mut found = Vec::new();
            touches(plan, &mut found);
            let allowed = ["Index Scan", "Index Only Scan"];
            assert!(found.iter().all(|(node, _)| allowed.contains(&node.as_str())), "{name}: {found:?}");
            let uses = found.iter().any(|(_, used)| indexes.contains(&used.as_str()));
            assert!(uses, "{name} uses none of {indexes:?}: {found:?}");
            let blocks = ["Shared Hit Blocks", "Shared Read Blocks"].iter().filter_map(|kind| plan[*kind].as_i64());
            let blocks: i64 = blocks.sum();
            assert!(blocks <= *blocks_max, "{name} touches {blocks} blocks");
        }
    }
}
