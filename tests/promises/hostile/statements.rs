//! What a plugin's statements do to the database: nothing that is seen after the call, whoever wrote them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_runtime::rules::{Bindings, Error, Fault, File, Plugin, Rules, Verdict, sql};
use avouch_runtime::secret::Secret;
use avouch_tests::database::Database;
use avouch_tests::wait::{secs, until};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::guest::Guest;
use super::{DEADLINE_MS, SLACK, all_grants, limits, rules, transaction};
use crate::producers::url_of;

/// A role that may do everything with one schema and nothing else; what a careless operator grants.
const SHOP: &str = r#"
    create schema "Shop";
    create type "Shop"."Status" as enum ('placed', 'paid');
    create table "Shop".orders (id bigint primary key, status "Shop"."Status");
    insert into "Shop".orders values (1, 'placed'), (2, 'paid');
    create sequence "Shop".numbers;
    create function "Shop".write() returns int language sql volatile
        as 'insert into "Shop".orders values (99) returning 1';
    create function "Shop".hidden() returns int language plpgsql stable as $$ begin
        perform pg_catalog.set_config('application_name', 'hostile', false);
        perform pg_catalog.pg_advisory_lock(77);
        perform pg_catalog.pg_notify('hostile', 'x');
        return 1; end $$;
    create function "Shop".lies() returns int language sql stable as 'select "Shop".write()';
    create view "Shop".trap as select "Shop".write() as n;
    grant usage on schema "Shop" to ROLE;
    grant all on all tables in schema "Shop" to ROLE;
    grant all on all sequences in schema "Shop" to ROLE;
    grant create on schema "Shop" to ROLE;"#;

struct Shop {
    database: Database,
    admin: Client,
    role: String,
    rules: Arc<Rules>,
}

impl Shop {
    async fn open() -> Self {
        let database = Database::create().await;
        let admin = database.client().await;
        let role = format!("role_{}", Uuid::now_v7().simple());
        let sql = format!("create role {role} login; {}", SHOP.replace("ROLE", &role));
        admin.batch_execute(&sql).await.expect("the shop opens");
        let rules = rules(&limits(), &bindings(&url_of(&database, &role)));
        Self { database, admin, role, rules }
    }

    async fn plugin(&self, statements: &[(&str, &str)]) -> Plugin {
        let file = file(statements).expect("it is a plugin");
        self.rules.load(&file, &all_grants(&file)).await.expect("it is granted")
    }

    /// Runs one statement, with as many nulls as parameters.
    async fn run(&self, sql: &str, nulls: u32) -> Result<Verdict, Fault> {
        query(&self.rules, &self.plugin(&[("q", sql)]).await, nulls).await
    }

    /// The first row.
    async fn row(&self, sql: &str) -> Value {
        match self.run(sql, 0).await {
            Ok(Verdict::Rollback(row)) => serde_json::from_str(&row).expect("a row is JSON"),
            other => panic!("{sql}: {other:?}"),
        }
    }

    async fn number(&self, sql: &str) -> i64 {
        self.admin.query_one(sql, &[]).await.expect("the server runs").get(0)
    }

    async fn is_untouched(&self, after: &str) {
        let orders = self.number("select sum(id)::bigint from \"Shop\".orders").await;
        assert_eq!(orders, 3, "after {after}");
        let locks = "select count(*) from pg_locks where locktype = 'advisory' \
            and database = (select oid from pg_database where datname = current_database())";
        assert_eq!(self.number(locks).await, 0, "after {after}");
        assert_eq!(self.number("select count(*) from pg_largeobject_metadata").await, 0, "after {after}");
    }

    async fn is_vetted(&self, sql: &str) -> Result<(), Error> {
        self.rules.vet(&file(&[("q", sql)])?).await
    }
}

fn bindings(url: &str) -> Bindings {
    let config =
        sql::Config { url: Secret::new(url), tls: Default::default(), connections_max: 1, connect_timeout_ms: 2_000 };
    Bindings { sql: BTreeMap::from([("db".to_owned(), config)]), ..Bindings::default() }
}

fn file(statements: &[(&str, &str)]) -> Result<File, Error> {
    File::read(Guest::querying(statements).wasm(), usize::MAX)
}

async fn query(rules: &Rules, plugin: &Plugin, nulls: u32) -> Result<Verdict, Fault> {
    let mut tx = transaction(plugin.name(), "q");
    tx.attempt = nulls;
    let began = Instant::now();
    let answer = rules.ask(plugin, &tx).await;
    assert!(began.elapsed() < Duration::from_millis(DEADLINE_MS) + SLACK, "{:?}", began.elapsed());
    answer.verdict
}

/// What is no query does not even become a plugin.
const NO_QUERY: &[&str] = &[
    "update \"Shop\".orders set id = 9",
    "delete from \"Shop\".orders",
    "set role postgres",
    "do $$ begin end $$",
    "copy \"Shop\".orders to program 'id'",
    "/**/ drop table \"Shop\".orders",
    "select 1;",
];

/// Neither vetted nor run.
const NEVER: &[&str] = &[
    "with x as (delete from \"Shop\".orders returning id) select id from x",
    "with x as (insert into \"Shop\".orders values (9) returning id) select id from x",
    "select 1; drop table \"Shop\".orders",
    "select 1) r; drop table \"Shop\".orders; --",
    "select 1) avouch_row; commit; drop table \"Shop\".orders; select * from (select 1",
    "select 1) r limit 1; commit; --",
    "select 1 --\n; drop table \"Shop\".orders",
    "select 1 /*",
    "select 1 \\;drop table \"Shop\".orders",
    "select 1 into \"Shop\".copy",
    "select * from \"Shop\".orders for update",
    "select * from \"Shop\".orders for share",
    "select \"Shop\".write()",
    "select nextval('\"Shop\".numbers')",
    "select setval('\"Shop\".numbers', 9)",
    "select pg_read_file('/etc/passwd')",
    "select * from pg_ls_dir('/')",
];

/// Not vetted; run all the same, they leave nothing behind.
const NOT_VETTED: &[&str] = &[
    "select pg_advisory_lock(77)::text",
    "select pg_try_advisory_lock_shared(78)",
    "select set_config('application_name', 'hostile', false)",
    "select set_config('statement_timeout', '0', false)",
    "select set_config('default_transaction_read_only', 'off', false)",
    "select pg_notify('hostile', 'x')::text",
    "select pg_backend_pid() is null or pg_terminate_backend(pg_backend_pid())",
    "select pg_cancel_backend(pg_backend_pid())",
    "select set_config('transaction_read_only', 'off', true)",
    "select set_config('role', 'postgres', false)",
    "select pg_sleep(0.01)::text",
    "select lo_creat(-1)",
    "select lo_from_bytea(0, 'x')",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statement_that_writes_is_neither_vetted_nor_run() {
    let shop = Shop::open().await;
    for sql in NO_QUERY {
        assert!(matches!(file(&[("q", sql)]), Err(Error::Refused(_))), "{sql}");
    }
    for sql in NEVER {
        assert!(matches!(shop.is_vetted(sql).await, Err(Error::Refused(_))), "{sql} is vetted");
        let verdict = shop.run(sql, 0).await;
        assert!(verdict.is_err(), "{sql}: {verdict:?}");
        shop.is_untouched(sql).await;
    }
    for sql in ["select rolpassword from pg_authid", "select id from avouch.outbox"] {
        let verdict = shop.run(sql, 0).await;
        assert!(matches!(&verdict, Err(Fault::Broken(why)) if why.contains("permission denied")), "{sql}: {verdict:?}");
    }
    // What Postgres believes the function to be hides what it does.
    for sql in ["select \"Shop\".lies()", "select n from \"Shop\".trap"] {
        let verdict = shop.run(sql, 0).await;
        assert!(matches!(&verdict, Err(Fault::Broken(why)) if why.contains("read-only")), "{sql}: {verdict:?}");
        shop.is_untouched(sql).await;
    }
    assert_eq!(shop.row("select status from \"Shop\".orders where id = 1").await, json!({"status": "placed"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statement_with_effects_on_the_session_is_not_vetted_and_leaves_nothing() {
    let shop = Shop::open().await;
    let left = "select current_setting('application_name') as name, current_setting('statement_timeout') as timeout, \
        current_setting('default_transaction_read_only') as read_only, current_user = session_user as role";
    let before = shop.row(left).await;
    for sql in NOT_VETTED {
        assert!(matches!(shop.is_vetted(sql).await, Err(Error::Refused(_))), "{sql} is vetted");
    }
    for sql in NOT_VETTED.iter().chain(&["select \"Shop\".hidden()"]) {
        let said = shop.run(sql, 0).await;
        println!("{sql}: {said:?}");
        let after = shop.row(left).await;
        for key in ["name", "read_only", "role"] {
            assert_eq!(after[key], before[key], "after {sql}");
        }
        shop.is_untouched(sql).await;
    }
    let message = "select pg_logical_emit_message(false, 'hostile', 'x')::text";
    assert!(
        matches!(shop.is_vetted(message).await, Err(Error::Refused(_))),
        "it is in the log whatever is rolled back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statement_that_only_reads_is_vetted() {
    let shop = Shop::open().await;
    for sql in [
        "select status from \"Shop\".orders where id = $1::bigint",
        "select 1 as n from \"Shop\".orders where status = $1::\"Shop\".\"Status\"",
        "with x as (select count(*) from \"Shop\".orders) select * from x",
        "values (1, now(), current_user, gen_random_uuid())",
        "table \"Shop\".orders",
        "select 1 as avouch_row, 2 as r -- a remark",
    ] {
        shop.is_vetted(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    let refused = shop.is_vetted("select \"Shop\".write()").await.expect_err("it is volatile").to_string();
    assert!(refused.contains("write()") && refused.contains("statement q of sql.db"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statement_that_outlives_the_call_is_cancelled() {
    let shop = Shop::open().await;
    let busy = format!("select count(*) from pg_stat_activity where usename = '{}' and state = 'active'", shop.role);
    let attacks = [
        "select pg_sleep(3600)::text",
        "select set_config('statement_timeout', '0', false), pg_sleep(3600)::text",
        "select count(*) from generate_series(1, 100000000000) n",
    ];
    for sql in attacks {
        let verdict = shop.run(sql, 0).await;
        assert!(matches!(verdict, Err(Fault::Transient(_) | Fault::Broken(_))), "{sql}: {verdict:?}");
        until("the server gives up, too", secs(10), async || (shop.number(&busy).await == 0).then_some(())).await;
        assert_eq!(shop.row("select 1 as n").await, json!({"n": 1}), "after {sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_of_a_table_does_not_pile_up_connections() {
    let shop = Shop::open().await;
    let plugin = shop.plugin(&[("q", "select status from \"Shop\".orders where id = 1")]).await;
    let locker = shop.database.client().await;
    locker.batch_execute("begin; lock table \"Shop\".orders in access exclusive mode").await.expect("nobody has it");
    for _ in 0..2 {
        let verdict = query(&shop.rules, &plugin, 0).await;
        assert!(matches!(verdict, Err(Fault::Transient(_) | Fault::Broken(_))), "{verdict:?}");
    }
    let waiting = format!("select count(*) from pg_stat_activity where usename = '{}'", shop.role);
    until("nobody waits for the lock", secs(20), async || (shop.number(&waiting).await == 0).then_some(())).await;
    locker.batch_execute("rollback").await.expect("it lives");
    assert!(matches!(query(&shop.rules, &plugin, 0).await, Ok(Verdict::Rollback(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_bytes_have_limits() {
    let shop = Shop::open().await;
    let permanent = |verdict: Result<Verdict, Fault>, says: &str| match verdict {
        Err(Fault::Permanent(why)) if why.contains(says) => {}
        other => panic!("not permanent with {says:?} but {other:?}"),
    };
    permanent(shop.run("select n from generate_series(1, 1001) n", 0).await, "rules.sql_rows_max");
    permanent(
        shop.run("select n from generate_series(1, 1000) n, repeat('x', 2000)", 0)
            .await
            .and(shop.run("select repeat('x', 2000) as x from generate_series(1, 1000)", 0).await),
        "rules.bytes_in_max",
    );
    permanent(shop.run("select repeat('x', 100000000) as x", 0).await, "rules.bytes_in_max");
    permanent(shop.run("select repeat('é', 1048576) as x", 0).await, "rules.bytes_in_max");
    permanent(shop.run("select 1 as n where $1::int is null", 0).await, "takes 1 parameters, not 0");
    permanent(shop.run("select 1 as n", 2).await, "takes 0 parameters, not 2");
    permanent(shop.run("select 1 as n", 4_000).await, "takes 0 parameters, not 4000");
    permanent(shop.run("select 1 / (select 0) as n", 0).await, "division by zero");
    assert!(matches!(shop.run("select 1 as n where $1::int is null", 1).await, Ok(Verdict::Rollback(_))));
    assert!(matches!(shop.run("select 1 as n where false", 0).await, Ok(Verdict::Commit)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn common_types_come_back_as_json() {
    let shop = Shop::open().await;
    let sql = "select 9007199254740993::int8 as big, 1.10::numeric as amount, 'NaN'::float8 as nan, true as yes, 'ü\"\n'::text as text, \
        '2026-01-02T03:04:05Z'::timestamptz is not null as at, '2026-01-02'::date as day, \
        '0198b3a0-0000-7000-8000-000000000000'::uuid as id, '{\"a\": [1]}'::jsonb as doc, '\\x00ff'::bytea as bytes, \
        array[1, 2] as list, array['a', null] as texts, (select status from \"Shop\".orders where id = 1) as status, \
        null::int as nothing, row(1, 'x') as pair, 1 as r, 2 as avouch_row";
    let Ok(Verdict::Rollback(row)) = shop.run(sql, 0).await else { panic!("no row") };
    assert!(row.contains("9007199254740993") && row.contains("1.10"), "numbers keep their digits: {row}");
    let row: Value = serde_json::from_str(&row).expect("it is JSON");
    let wanted = json!({
        "big": 9_007_199_254_740_993_i64, "amount": 1.1, "nan": "NaN", "yes": true, "text": "ü\"\n", "at": true,
        "day": "2026-01-02", "id": "0198b3a0-0000-7000-8000-000000000000", "doc": {"a": [1]}, "bytes": "\\x00ff",
        "list": [1, 2], "texts": ["a", null], "status": "placed", "nothing": null, "pair": {"f1": 1, "f2": "x"},
        "r": 1, "avouch_row": 2,
    });
    assert_eq!(row, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role_with_power_is_denied() {
    let shop = Shop::open().await;
    for (grant, says) in [
        ("alter role ROLE superuser", "superuser"),
        ("alter role ROLE nosuperuser; grant avouch_producer to ROLE", "avouch role"),
        ("revoke avouch_producer from ROLE; grant select on pg_authid to ROLE", "password"),
    ] {
        shop.admin.batch_execute(&grant.replace("ROLE", &shop.role)).await.expect("the superuser may");
        let fresh = rules(&limits(), &bindings(&url_of(&shop.database, &shop.role)));
        let file = file(&[("q", "select 1 as n")]).expect("it is a plugin");
        let plugin = fresh.load(&file, &all_grants(&file)).await.expect("it is granted");
        let verdict = query(&fresh, &plugin, 0).await;
        assert!(matches!(&verdict, Err(Fault::Broken(why)) if why.contains(says)), "{verdict:?}");
        assert!(fresh.vet(&file).await.is_err(), "{grant}");
    }
}
