//! Statements about what endpoints are told read by indexes, whatever was told before.

use std::collections::BTreeMap;

use avouch_runtime::store::FIXED_PLANS;
use avouch_tests::database::Database;
use serde_json::Value;
use tokio_postgres::Client;

use crate::docs::read;
use crate::ground::rounds;

/// What reads all deliveries touches more than this: they are some two thousand blocks, their messages and tries as many each.
const BLOCKS_MAX: i64 = 1_200;
/// These look at all that waits or was given up, up to a bound of each endpoint or of the statement.
const WIDE: &[(&str, i64)] =
    &[("notify/waiting.sql", 3_000), ("views/endpoints_shown.sql", 4_000), ("notify/untold.sql", 4_500)];

/// Messages of the first endpoint in each of their states, one that waits for it, and one that it was tried to tell.
const SOME: &str = "select string_agg(message_id::text, ',') from (select distinct on (state) message_id \
                    from avouch.delivery where endpoint = 1 order by state, message_id) x";
const ONE: &str = "select message_id::text from avouch.delivery where endpoint = 1 and state = 'waiting' limit 1";
const TRIED: &str = "select message_id::text from avouch.delivery where endpoint = 1 and state = 'given_up' limit 1";

/// File, types of the parameters, arguments.
pub const STATEMENTS: &[(&str, &str, &str)] = &[
    ("notify/due.sql", "int[], int[]", "'{1,2,3,4}', '{1000,10,10,10}'"),
    ("notify/behind.sql", "int[], uuid[]", "'{1,1,1}', {SOME}"),
    ("notify/close.sql", "int, bigint", "720, 5000"),
    ("notify/notices.sql", "uuid[]", "{SOME}"),
    (
        "notify/record.sql",
        "uuid[], text[], text[], bytea[], text[], timestamptz[], bigint[], int[]",
        "array[gen_random_uuid()], '{a}', '{7}', '{x}', '{null}', array[now()], '{1,1}', '{1,2}'",
    ),
    (
        "notify/mark_attempts.sql",
        "int[], uuid[], int[], int[], timestamptz[], int[], text[], int[], text[], text[], text[], bigint[]",
        "'{1}', array[{ONE}]::uuid[], '{1}', '{1}', array[now()], '{5}', '{given_up}', '{500}', '{no}', '{no}', '{null}', '{null}'",
    ),
    ("notify/retire.sql", "int, bigint", "715, 100"),
    ("notify/untold.sql", "bigint", "5000"),
    ("notify/told.sql", "text[], text[], bigint", "'{endpoint-1}', '{}', 5000"),
    ("notify/waiting.sql", "bigint", "10000"),
    ("views/endpoints_shown.sql", "text", "null"),
    ("views/deliveries_recent.sql", "text, uuid, bigint", "'endpoint-1', {ONE}, 50"),
    ("views/deliveries_waiting.sql", "text, uuid, bigint", "'endpoint-1', {ONE}, 50"),
    ("views/deliveries_given_up.sql", "text, uuid, bigint", "'endpoint-1', null, 50"),
    ("views/deliveries_of_message.sql", "uuid", "{ONE}"),
    ("views/attempts_shown.sql", "uuid, text, bigint", "{TRIED}, 'endpoint-1', 50"),
    ("views/given_up_since.sql", "text, timestamptz, bigint", "'endpoint-1', now() - interval '2 h', 1001"),
    ("status.sql", "", ""),
    ("operate/notify_again.sql", "text, text, text, uuid[]", "'a', 'b', 'endpoint-1', {SOME}"),
    (
        "operate/notify_given_up_again.sql",
        "text, text, text, timestamptz, int",
        "'a', 'b', 'endpoint-1', now() - interval '2 h', 100",
    ),
    ("operate/ping_endpoint.sql", "text, text, text", "'a', 'b', 'endpoint-1'"),
    (
        "operate/create_endpoint.sql",
        "text, text, text, text, text, text[], text, boolean, text, text, text[], text[]",
        "'a', 'b', 'another', '', 'https://e.example/', '{>}', '{}', true, '{\"schedule_s\": [60]}', 'x', '{h}', '{y}'",
    ),
    (
        "operate/change_endpoint.sql",
        "text, text, text, text, text, text[], text, boolean, text, text[], text[]",
        "'a', 'b', 'endpoint-1', '', 'https://e.example/', '{>}', '{}', true, '{\"schedule_s\": [60]}', '{h}', '{y}'",
    ),
    ("operate/set_endpoint.sql", "text, text, text, text", "'a', 'b', 'endpoint-1', 'disabled'"),
    ("operate/rotate_secret.sql", "text, text, text, text, int", "'a', 'b', 'endpoint-1', 'x', 60"),
    ("operate/create_endpoint_token.sql", "text, text, text, bytea, int", "'a', 'b', 'endpoint-1', sha256('x'), 7"),
    ("operate/revoke_endpoint_tokens.sql", "text, text, text", "'a', 'b', 'endpoint-1'"),
    ("operate/remove_endpoint.sql", "text, text, text", "'a', 'b', 'endpoint-1'"),
];

/// Twenty endpoints; of a hundred deliveries one waits, one was given up, the others were delivered. The first endpoint takes nothing: a fifth
/// of all messages waits for it. Ids tell the time of the last month.
const POPULATION: &str = "
insert into avouch.endpoint (name, url, topics, settings, origin, is_ordered)
  select 'endpoint-' || n, 'https://e.example/', '{>}', '{\"schedule_s\": [60]}', 'api', n % 2 = 0 from generate_series(1, 20) n;
insert into avouch.notice (message_id, topic, key, payload, created_at, recorded_at)
  select (lpad(to_hex((extract(epoch from t.at) * 1000)::bigint), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid,
         'payments.settled', (n % 1000)::text, convert_to(repeat('x', 100), 'UTF8'), t.at, t.at
  from generate_series(1, $1::int) n, lateral (select now() - interval '29 days' * (1 - n / $1::float8) as at) t;
insert into avouch.delivery (endpoint, message_id, lane, state, attempts, next_at, told, ended_at)
  select r.n % 20 + 1, r.message_id, case when r.n % 2 = 1 then r.key end,
         case r.n / 20 % 100 when 0 then 'waiting' when 1 then 'given_up' else 'delivered' end, case r.n / 20 % 100 when 0 then 0 else 1 end,
         r.created_at, r.n / 20 % 100 <> 1, case r.n / 20 % 100 when 0 then null else r.created_at end
  from (select row_number() over (order by message_id) as n, * from avouch.notice) r;
insert into avouch.delivery (endpoint, message_id, next_at)
  select 1, n.message_id, now() + interval '1 hour' + row_number() over () * interval '1 ms'
  from (select * from avouch.notice order by message_id desc limit 20000) n
  on conflict do nothing;
insert into avouch.attempt (endpoint, message_id, round, number, at, took_ms, outcome)
  select d.endpoint, d.message_id, 1, 1, now(), 5, 'delivered' from avouch.delivery d where d.attempts > 0";

async fn populated() -> (Database, Client) {
    let database = Database::create().await;
    let client = database.client().await;
    let rows = rounds("AVOUCH_TEST_DELIVERIES", 100_000);
    client.batch_execute(&POPULATION.replace("$1", &rows.to_string())).await.expect("rows are valid");
    (database, client)
}

/// What the statement reads: blocks, rows that it throws away, and tables that it reads whole; and how many rows it returns.
struct Cost {
    blocks: i64,
    in_vain: i64,
    whole: Vec<String>,
    rows: f64,
}

/// Rows that were read and not wanted.
fn in_vain(plan: &Value) -> i64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0);
    let own = (number("Rows Removed by Filter") * number("Actual Loops")) as i64;
    own + plan["Plans"].as_array().into_iter().flatten().map(in_vain).sum::<i64>()
}

/// How often this session has read which table whole, of what it has not handed in yet: that is more than its transaction.
async fn scanned(client: &Client) -> BTreeMap<String, i64> {
    let sql = "select relname::text, seq_scan from pg_stat_xact_user_tables \
               where schemaname = 'avouch' and relname in ('delivery', 'notice', 'attempt')";
    client.query(sql, &[]).await.expect("is valid").iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn cost(client: &Client, (file, types, args): (&str, &str, &str)) -> Cost {
    let sql = read(&format!("runtime/src/store/{file}"));
    let found = async |sql: &str| client.query_one(sql, &[]).await.expect("there are some").get::<_, String>(0);
    let args = args.replace("{SOME}", &format!("'{{{}}}'", found(SOME).await));
    let args = args.replace("{ONE}", &format!("'{}'", found(ONE).await));
    let args = args.replace("{TRIED}", &format!("'{}'", found(TRIED).await));
    let (types, args) =
        if types.is_empty() { (String::new(), args) } else { (format!("({types})"), format!("({args})")) };
    client.batch_execute(&format!("deallocate all; prepare asked{types} as {sql}")).await.expect(file);
    client.batch_execute("begin").await.expect("the server runs");
    let before = scanned(client).await;
    let explain = format!("explain (analyze, buffers, format json) execute asked{args}");
    let answer: Value = client.query_one(&explain, &[]).await.unwrap_or_else(|e| panic!("{file}: {e:?}")).get(0);
    let after = scanned(client).await;
    let is_whole = |(table, scans): &(String, i64)| *scans > before.get(table).copied().unwrap_or(0);
    let whole = after.into_iter().filter(is_whole).map(|(table, _)| table).collect();
    client.batch_execute("rollback").await.expect("the server runs");
    let plan = &answer[0]["Plan"];
    let blocks = ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|name| plan[name].as_i64().unwrap_or(0)).sum();
    Cost { blocks, in_vain: in_vain(plan), whole, rows: plan["Actual Rows"].as_f64().unwrap_or(0.0) }
}

#[tokio::test]
async fn statements_about_endpoints_read_by_indexes_at_a_hundred_thousand_deliveries() {
    let (_database, client) = populated().await;
    for statistics in ["", "vacuum analyze avouch.delivery", "analyze avouch.notice", "analyze avouch.attempt"] {
        client.batch_execute(statistics).await.expect("is valid");
        client.batch_execute(FIXED_PLANS).await.expect("is valid");
        for statement in STATEMENTS {
            let Cost { blocks, in_vain, whole, rows } = cost(&client, *statement).await;
            assert!(whole.is_empty(), "{} reads {whole:?} whole after {statistics:?}", statement.0);
            let is_of_people = ["views/", "operate/"].iter().any(|of| statement.0.starts_with(of));
            assert!(rows > 0.0 || !is_of_people, "{} did nothing: its arguments must make it work", statement.0);
            // A bound that no index knows, such as the clock of a volatile function, is found here.
            assert!(in_vain < 1_000, "{} reads {in_vain} rows in vain after {statistics:?}", statement.0);
            let wide = WIDE.iter().find(|(name, _)| *name == statement.0);
            let max = wide.map_or(BLOCKS_MAX, |(_, max)| *max);
            assert!(blocks < max, "{} touches {blocks} blocks after {statistics:?}", statement.0);
        }
    }
}
