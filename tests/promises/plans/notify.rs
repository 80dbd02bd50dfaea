//! Statements about what endpoints are told read by indexes, whatever was told before.

use avouch_runtime::store::FIXED_PLANS;
use avouch_tests::database::Database;
use serde_json::Value;
use tokio_postgres::Client;

use crate::ground::rounds;

/// What reads all deliveries touches more than this: they are some two thousand blocks, their messages and tries as many each.
const BLOCKS_MAX: i64 = 1_200;
/// These look at all that waits or was given up, up to a bound of each endpoint or of the statement.
const WIDE: &[(&str, i64)] = &[("waiting", 3_000), ("endpoints_shown", 4_000), ("untold", 4_500)];

macro_rules! sql {
    ($path:literal) => {
        include_str!(concat!("../../../runtime/src/store/", $path))
    };
}

/// Messages of the first endpoint in each of their states, and one that waits for it.
const SOME: &str = "select string_agg(message_id::text, ',') from (select distinct on (state) message_id \
                    from avouch.delivery where endpoint = 1 order by state, message_id) x";
const ONE: &str = "select message_id::text from avouch.delivery where endpoint = 1 and state = 'waiting' limit 1";

/// Name, statement, the types of its parameters, and arguments.
const STATEMENTS: &[(&str, &str, &str, &str)] = &[
    ("due", sql!("notify/due.sql"), "int[], int[]", "'{1,2,3,4}', '{1000,10,10,10}'"),
    ("behind", sql!("notify/behind.sql"), "int[], uuid[]", "'{1,1,1}', {SOME}"),
    ("close", sql!("notify/close.sql"), "int, bigint", "720, 5000"),
    ("notices", sql!("notify/notices.sql"), "uuid[]", "{SOME}"),
    (
        "record",
        sql!("notify/record.sql"),
        "uuid[], text[], text[], bytea[], text[], timestamptz[], bigint[], int[]",
        "array[gen_random_uuid()], '{a}', '{7}', '{x}', '{null}', array[now()], '{1,1}', '{1,2}'",
    ),
    (
        "mark_attempts",
        sql!("notify/mark_attempts.sql"),
        "int[], uuid[], int[], int[], timestamptz[], int[], text[], int[], text[], text[], text[], bigint[]",
        "'{1}', array[{ONE}]::uuid[], '{1}', '{1}', array[now()], '{5}', '{given_up}', '{500}', '{no}', '{no}', '{null}', '{null}'",
    ),
    ("retire", sql!("notify/retire.sql"), "int, bigint", "715, 100"),
    ("untold", sql!("notify/untold.sql"), "bigint", "5000"),
    ("told", sql!("notify/told.sql"), "text[], text[], bigint", "'{endpoint-1}', '{}', 5000"),
    ("waiting", sql!("notify/waiting.sql"), "bigint", "10000"),
    ("endpoints_shown", sql!("views/endpoints_shown.sql"), "text", "null"),
    ("deliveries_recent", sql!("views/deliveries_recent.sql"), "text, uuid, bigint", "'endpoint-1', {ONE}, 50"),
    ("deliveries_waiting", sql!("views/deliveries_waiting.sql"), "text, uuid, bigint", "'endpoint-1', {ONE}, 50"),
    ("deliveries_given_up", sql!("views/deliveries_given_up.sql"), "text, uuid, bigint", "'endpoint-1', null, 50"),
    ("deliveries_of_message", sql!("views/deliveries_of_message.sql"), "uuid", "{ONE}"),
    ("attempts_shown", sql!("views/attempts_shown.sql"), "uuid, text, bigint", "{ONE}, 'endpoint-1', 50"),
    (
        "given_up_since",
        sql!("views/given_up_since.sql"),
        "text, timestamptz, bigint",
        "'endpoint-1', now() - interval '2 h', 1001",
    ),
    ("status", sql!("status.sql"), "", ""),
    ("notify_again", sql!("operate/notify_again.sql"), "text, text, text, uuid[]", "'a', 'b', 'endpoint-1', {SOME}"),
    (
        "notify_given_up_again",
        sql!("operate/notify_given_up_again.sql"),
        "text, text, text, timestamptz, int",
        "'a', 'b', 'endpoint-1', now() - interval '2 h', 100",
    ),
    ("ping_endpoint", sql!("operate/ping_endpoint.sql"), "text, text, text", "'a', 'b', 'endpoint-1'"),
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

/// What the statement reads: blocks, rows that it throws away, and tables that it reads whole.
struct Cost {
    blocks: i64,
    in_vain: i64,
    whole: Vec<String>,
}

/// Rows that were read and not wanted.
fn in_vain(plan: &Value) -> i64 {
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0);
    let own = (number("Rows Removed by Filter") * number("Actual Loops")) as i64;
    own + plan["Plans"].as_array().into_iter().flatten().map(in_vain).sum::<i64>()
}

async fn cost(client: &Client, (name, sql, types, args): (&str, &str, &str, &str)) -> Cost {
    let found = async |sql: &str| client.query_one(sql, &[]).await.expect("there are some").get::<_, String>(0);
    let args = args.replace("{SOME}", &format!("'{{{}}}'", found(SOME).await));
    let args = args.replace("{ONE}", &format!("'{}'", found(ONE).await));
    let (types, args) =
        if types.is_empty() { (String::new(), args) } else { (format!("({types})"), format!("({args})")) };
    client.batch_execute(&format!("deallocate all; prepare {name}{types} as {sql}")).await.expect(name);
    client.batch_execute("begin").await.expect("the server runs");
    let explain = format!("explain (analyze, buffers, format json) execute {name}{args}");
    let answer: Value = client.query_one(&explain, &[]).await.unwrap_or_else(|e| panic!("{name}: {e:?}")).get(0);
    let whole = "select relname::text from pg_stat_xact_user_tables \
                 where schemaname = 'avouch' and relname in ('delivery', 'notice', 'attempt') and seq_scan > 0";
    let whole = client.query(whole, &[]).await.expect("is valid").iter().map(|row| row.get(0)).collect();
    client.batch_execute("rollback").await.expect("the server runs");
    let plan = &answer[0]["Plan"];
    let blocks = ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|name| plan[name].as_i64().unwrap_or(0)).sum();
    Cost { blocks, in_vain: in_vain(plan), whole }
}

#[tokio::test]
async fn statements_about_endpoints_read_by_indexes_at_a_hundred_thousand_deliveries() {
    let (_database, client) = populated().await;
    for statistics in ["", "vacuum analyze avouch.delivery", "analyze avouch.notice", "analyze avouch.attempt"] {
        client.batch_execute(statistics).await.expect("is valid");
        client.batch_execute(FIXED_PLANS).await.expect("is valid");
        for statement in STATEMENTS {
            let Cost { blocks, in_vain, whole } = cost(&client, *statement).await;
            assert!(whole.is_empty(), "{} reads {whole:?} whole after {statistics:?}", statement.0);
            // A bound that no index knows, such as the clock of a volatile function, is found here.
            assert!(in_vain < 1_000, "{} reads {in_vain} rows in vain after {statistics:?}", statement.0);
            let wide = WIDE.iter().find(|(name, _)| *name == statement.0);
            let max = wide.map_or(BLOCKS_MAX, |(_, max)| *max);
            assert!(blocks < max, "{} touches {blocks} blocks after {statistics:?}", statement.0);
        }
    }
}
