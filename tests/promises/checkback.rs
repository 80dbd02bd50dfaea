//! Transactions in doubt are settled by the plugin that they name, by nothing else, and once.

use std::time::Duration;

use avouch_tests::plugins;
use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::cli::{Told, avouch};
use crate::ground::{Ground, rounds};
use crate::hostile::guest::Guest;

/// A ground with a shop whose orders tell what happened, and a role for its checker.
pub struct Shop {
    pub ground: Ground,
    pub config: String,
}

impl Shop {
    /// `more` is the end of the configuration.
    pub async fn new(more: &str) -> Self {
        let ground = Ground::new().await;
        let role = format!("checker_{}", ground.database.name());
        let sql = format!(
            "create schema shop; create table shop.orders (id bigint primary key, status text not null); \
             create role {role} login; grant usage on schema shop to {role}; grant select on shop.orders to {role}"
        );
        ground.client.batch_execute(&sql).await.expect("the server runs");
        let mut url: String = ground.database.url().to_owned();
        let (_, rest) = url.split_once('@').expect("a url with a user");
        url = format!("postgres://{role}@{rest}");
        let cache = avouch_tests::scratch::profile_dir().join("plugin-cache");
        let config = ground.config(&format!(
            "[binding.sql.orders]\nurl = \"{url}\"\n[rules]\ncache_dir = \"{}\"\n[checkback]\npoll_max_ms = 100\n{more}",
            cache.display()
        ));
        Self { ground, config }
    }

    /// Calls of plugins may take this long.
    fn with_deadline(self, deadline_ms: u32) -> Self {
        let config = self.config.replace("[rules]\n", &format!("[rules]\ndeadline_ms = {deadline_ms}\n"));
        Self { config, ..self }
    }

    /// Runs `avouch plugin …` or `avouch tx …` with this configuration.
    async fn command(&self, args: &[&str]) -> Told {
        let file = tempfile(&self.config);
        let mut all = vec!["--config", file.to_str().expect("a UTF-8 path")];
        all.extend(args);
        avouch(&all, &[]).await
    }

    pub async fn deploy(&self) {
        let wasm = plugins::file("order-check");
        let wasm = wasm.to_str().expect("a UTF-8 path");
        self.command(&["plugin", "deploy", wasm, "--grant", "sql:orders"]).await.succeeds().says("is deployed");
    }

    pub async fn runtime(&self) -> Avouch {
        let avouch = Avouch::run(&self.config).await;
        avouch.wait_for_log("avouch runs", secs(30)).await;
        avouch
    }

    /// Prepares a transaction for each order, with a message for each outcome.
    pub async fn prepare(&self, checker: &str, orders: &str) {
        let sql = format!(
            "do $$ declare t uuid; n int; begin for n in {orders} loop \
               t := avouch.prepare('{checker}', '0 s', n::text); \
               insert into avouch.outbox (tx_id, topic, key, payload) values (t, 'orders.created', n::text, format('{{\"id\":%s}}', n)); \
               insert into avouch.outbox (tx_id, topic, key, payload, release_on) values (t, 'orders.refused', n::text, '{{}}', 'rollback'); \
             end loop; end $$"
        );
        self.ground.client.batch_execute(&sql).await.expect("is valid");
    }

    pub async fn transactions(&self, state: &str) -> i64 {
        let sql = "select count(*) from avouch.tx where state = $1";
        self.ground.client.query_one(sql, &[&state]).await.expect("the server runs").get(0)
    }

    async fn settled(&self) {
        until("every transaction to be settled", secs(60), async || {
            (self.transactions("prepared").await == 0).then_some(())
        })
        .await;
        self.ground.drained().await;
    }

    async fn messages(&self, topic: &str, state: &str) -> i64 {
        let sql = "select count(*) from avouch.outbox where topic = $1 and state = $2";
        self.ground.client.query_one(sql, &[&topic, &state]).await.expect("the server runs").get(0)
    }
}

fn tempfile(text: &str) -> std::path::PathBuf {
    let file = avouch_tests::scratch::dir("config").join("avouch.toml");
    std::fs::write(&file, text).expect("the target directory can be written");
    file
}

/// Producers here decide inside their business transaction.
pub const FENCED: &str = "[checker.order-check]\nrollback_after_ms = 0\n";

#[tokio::test]
async fn dead_producers_transactions_are_settled_by_their_plugin() {
    let shop = Shop::new(FENCED).await;
    let orders = "insert into shop.orders select n, case when n % 3 = 0 then 'cancelled' else 'placed' end \
                  from generate_series(1, 300) n where n % 5 <> 0";
    shop.ground.client.batch_execute(orders).await.expect("is valid");
    shop.prepare("order-check", "1..300").await;
    shop.deploy().await;
    let _avouch = shop.runtime().await;
    shop.settled().await;
    // 300 without the 60 fifths are 240 orders, 80 of them cancelled: thirds that are no fifths.
    assert_eq!([shop.transactions("committed").await, shop.transactions("rolled_back").await], [160, 140]);
    assert_eq!(
        [shop.messages("orders.created", "sent").await, shop.messages("orders.created", "cancelled").await],
        [160, 140]
    );
    assert_eq!(
        [shop.messages("orders.refused", "sent").await, shop.messages("orders.refused", "cancelled").await],
        [140, 160]
    );
    let wrong = "select count(*) from avouch.tx t left join shop.orders o on o.id = t.ref::bigint \
                 where (t.state = 'committed') <> coalesce(o.status = 'placed', false) or t.decided_by <> 'checker'";
    assert_eq!(shop.ground.client.query_one(wrong, &[]).await.expect("is valid").get::<_, i64>(0), 0);
    assert_eq!(shop.ground.stream().await.len(), 300);
}

#[tokio::test]
async fn absence_is_no_rollback_before_its_time_and_a_late_contradiction_is_left_to_a_person() {
    let shop = Shop::new("in_progress_ms = 100\n[checker.order-check]\nrollback_after_ms = 1500\n").await;
    shop.deploy().await;
    let _avouch = shop.runtime().await;
    shop.prepare("order-check", "1..2").await;
    let asked =
        "select count(*) from avouch.tx where checks >= 2 and verdict like '%too early%' and state = 'prepared'";
    until("both to be asked about twice", secs(30), async || {
        (shop.ground.client.query_one(asked, &[]).await.ok()?.get::<_, i64>(0) == 2).then_some(())
    })
    .await;
    // The slow business transaction of the first one ends now; the other's never does.
    shop.ground.client.batch_execute("insert into shop.orders values (1, 'placed')").await.expect("is valid");
    shop.settled().await;
    let young =
        "select count(*) from avouch.tx where state = 'rolled_back' and decided_at < created_at + interval '1500 ms'";
    assert_eq!(shop.ground.client.query_one(young, &[]).await.expect("is valid").get::<_, i64>(0), 0);
    assert_eq!([shop.transactions("committed").await, shop.transactions("rolled_back").await], [1, 1]);
    // Its producer, in another database, says that it did happen.
    let late = "select avouch.report(id, 'commit', 'settled elsewhere') from avouch.tx where state = 'rolled_back'";
    let row = shop.ground.client.query_one(late, &[]).await.expect("never raises");
    assert_eq!(row.get::<_, String>(0), "in_doubt");
    shop.command(&["tx", "list"]).await.succeeds().says("in_doubt").says("after it was rolled_back by checker");
    shop.command(&["tx", "commit", "--checker", "order-check", "--reason", "the bank confirms"])
        .await
        .succeeds()
        .says("1 of 1");
    shop.settled().await;
    assert_eq!(shop.transactions("committed").await, 2);
    assert_eq!(shop.messages("orders.created", "sent").await, 2);
    let audit =
        "select count(*) from avouch.audit where action = 'commit transaction' and detail = 'the bank confirms'";
    assert_eq!(shop.ground.client.query_one(audit, &[]).await.expect("is valid").get::<_, i64>(0), 1);
}

#[tokio::test]
async fn missing_and_faulty_checkers_decide_nothing_and_hold_up_nobody() {
    let shop = Shop::new(&format!("broken_first_ms = 200\nbroken_max_ms = 400\n{FENCED}")).await;
    shop.deploy().await;
    let avouch = shop.runtime().await;
    shop.prepare("nobody-there", "1..20").await;
    shop.prepare("order-check", "1..20").await;
    until("the others to be settled", secs(30), async || (shop.transactions("rolled_back").await == 20).then_some(()))
        .await;
    avouch.wait_for_log("checker_broken", secs(30)).await;
    let undecided =
        "select count(*) from avouch.tx where checker = 'nobody-there' and state = 'prepared' and unknowns = 0";
    assert_eq!(shop.ground.client.query_one(undecided, &[]).await.expect("is valid").get::<_, i64>(0), 20);
    shop.command(&["tx", "list", "--checker", "nobody-there"])
        .await
        .succeeds()
        .says("no plugin of this name is deployed");
    shop.command(&["plugin", "logs", "nobody-there"])
        .await
        .succeeds()
        .says("missing: no plugin of this name is deployed");
    shop.command(&["plugin", "logs", "order-check"]).await.succeeds().says("no plugin said anything");
}

#[tokio::test]
async fn unknown_runs_out_and_is_parked_until_a_person_has_it_asked_again() {
    let shop = Shop::new(&format!("unknown_first_ms = 1\nunknown_max_ms = 5\nunknowns_max = 3\n{FENCED}")).await;
    let shop = shop.with_deadline(400);
    shop.deploy().await;
    // Its query waits for a lock, and so for longer than a call may take.
    let lock = "insert into shop.orders values (1, 'placed'); begin; lock table shop.orders";
    shop.ground.client.batch_execute(lock).await.expect("is valid");
    let _avouch = shop.runtime().await;
    let other = shop.ground.database.client().await;
    other.batch_execute("select avouch.prepare('order-check', '0 s', '1')").await.expect("is valid");
    let parked = "select coalesce(reason, '') from avouch.tx where state = 'in_doubt'";
    let reason: String = until("the transaction to be parked", secs(60), async || {
        other.query_opt(parked, &[]).await.ok()?.map(|row| row.get(0))
    })
    .await;
    assert!(reason.contains("unknowns_max"), "{reason}");
    shop.ground.client.batch_execute("commit").await.expect("the lock is given back");
    shop.command(&["tx", "recheck", "--checker", "order-check"]).await.succeeds().says("1 of 1");
    until("it to be committed", secs(30), async || (shop.transactions("committed").await == 1).then_some(())).await;
}

#[tokio::test]
async fn producer_and_checker_settle_a_transaction_once_and_the_loser_aborts() {
    let shop = Shop::new(FENCED).await;
    shop.deploy().await;
    let _avouch = shop.runtime().await;
    let count = i32::try_from(rounds("AVOUCH_TEST_RACES", 300)).expect("is small");
    let mut producers = JoinSet::new();
    for producer in 0..4 {
        let mut client = shop.ground.database.client().await;
        producers.spawn(async move {
            let mut committed = 0;
            for n in 0..count / 4 {
                let order = i64::from(producer * 1_000_000 + n);
                let sql = "select avouch.prepare('order-check', '0 s', $1)";
                let tx: Uuid = client.query_one(sql, &[&order.to_string()]).await.expect("is valid").get(0);
                let business = client.transaction().await.expect("the server runs");
                let insert =
                    "insert into avouch.outbox (tx_id, topic, key, payload) values ($1, 'orders.created', 'k', '{}')";
                let inserted = business.execute(insert, &[&tx]).await;
                let placed = async {
                    inserted?;
                    business.execute("insert into shop.orders values ($1, 'placed')", &[&order]).await?;
                    business.execute("select avouch.commit($1)", &[&tx]).await
                };
                // The checker sees no order until this commits: its rollback wins, or this commit does.
                match placed.await {
                    Ok(_) => committed += i64::from(business.commit().await.is_ok()),
                    Err(_) => business.rollback().await.expect("the server runs"),
                }
            }
            committed
        });
    }
    let mut committed: i64 = 0;
    while let Some(ended) = producers.join_next().await {
        committed += ended.expect("producers do not panic");
    }
    shop.settled().await;
    let orders: i64 =
        shop.ground.client.query_one("select count(*) from shop.orders", &[]).await.expect("is valid").get(0);
    assert_eq!([orders, shop.transactions("committed").await], [committed, committed]);
    assert_eq!(shop.messages("orders.created", "sent").await, committed);
    let stranded = "select count(*) from avouch.outbox where state in ('prepared', 'ready')";
    assert_eq!(shop.ground.client.query_one(stranded, &[]).await.expect("is valid").get::<_, i64>(0), 0);
}

#[tokio::test]
async fn deployments_are_followed_at_once_refused_by_name_and_rolled_back() {
    let shop = Shop::new(FENCED).await;
    let wasm = plugins::file("order-check");
    let wasm = wasm.to_str().expect("a UTF-8 path");
    shop.command(&["plugin", "check", wasm])
        .await
        .succeeds()
        .says("needs --grant sql:orders")
        .says("answers for transactions");
    shop.command(&["plugin", "deploy", wasm]).await.fails_with(1).says("--grant sql:orders");
    shop.command(&["plugin", "deploy", wasm, "--grant", "sql:orders", "--set", "x=1"])
        .await
        .fails_with(1)
        .says("no setting x");
    shop.command(&["plugin", "list"]).await.succeeds().says("no plugin is deployed");
    shop.command(&["plugin", "rollback", "order-check"]).await.fails_with(1).says("no such version");
    let avouch = shop.runtime().await;
    shop.deploy().await;
    avouch.wait_for_log("a plugin was deployed", secs(10)).await;
    shop.prepare("order-check", "1..1").await;
    shop.settled().await;
    shop.command(&["plugin", "remove", "order-check"]).await.succeeds();
    shop.command(&["plugin", "list"]).await.succeeds().says("*  order-check").says("removed");
    shop.prepare("order-check", "2..2").await;
    until("it to be asked in vain", secs(30), async || {
        let sql = "select 1 from avouch.tx where state = 'prepared' and verdict like '%no plugin%'";
        shop.ground.client.query_opt(sql, &[]).await.ok()?.map(drop)
    })
    .await;
    shop.command(&["plugin", "rollback", "order-check"]).await.succeeds().says("is back at");
    shop.settled().await;
}

#[tokio::test]
async fn frozen_instances_transactions_are_taken_over_and_settled_once() {
    let shop = Shop::new(&format!("claim_ms = 1000\n{FENCED}")).await;
    let shop = shop.with_deadline(400);
    shop.deploy().await;
    let first = shop.runtime().await;
    shop.prepare("order-check", "1..500").await;
    first.pause();
    let _second = shop.runtime().await;
    until("the other to settle all", secs(60), async || (shop.transactions("prepared").await == 0).then_some(())).await;
    first.resume();
    shop.ground.drained().await;
    tokio::time::timeout(Duration::from_secs(30), shop.settled()).await.expect("nothing comes back");
    assert_eq!(shop.transactions("rolled_back").await, 500);
    assert_eq!(shop.messages("orders.refused", "sent").await, 500);
}

#[tokio::test]
async fn guest_with_both_results_is_tested_in_the_production_engine() {
    let shop = Shop::new(FENCED).await;
    shop.ground.client.batch_execute("insert into shop.orders values (1, 'placed')").await.expect("is valid");
    let wasm = plugins::file("order-check");
    let cases = tempfile(
        r#"[{"name": "placed", "transaction": {"reference": "1"}, "expect": "commit"},
            {"name": "missing", "transaction": {"messages": [{"topic": "t", "payload": {"id": 2}}]}, "expect": "rollback"}]"#,
    );
    let args = [
        "plugin",
        "test",
        wasm.to_str().expect("UTF-8"),
        "--cases",
        cases.to_str().expect("UTF-8"),
        "--grant",
        "sql:orders",
    ];
    shop.command(&args).await.succeeds().says("ok   placed: commit").says("ok   missing: rollback no such order");
    let told = shop.command(&[&args[..], &["--json"]].concat()).await.succeeds().text;
    let told: serde_json::Value = serde_json::from_str(&told).expect("is one document");
    assert_eq!((&told["failed"], &told["cases"][1]["answer"]), (&0.into(), &"rollback".into()), "{told:#}");
    let wrong = tempfile(r#"[{"transaction": {"reference": "1"}, "expect": "rollback"}]"#);
    let args = [
        "plugin",
        "test",
        wasm.to_str().expect("UTF-8"),
        "--cases",
        wrong.to_str().expect("UTF-8"),
        "--grant",
        "sql:orders",
    ];
    shop.command(&args).await.fails_with(1).says("FAIL case 1: commit").says("expected rollback");
}

#[tokio::test]
async fn dev_follows_a_plugin_file() {
    let dir = avouch_tests::scratch::dir("dev");
    let file = dir.join("rule.wasm");
    std::fs::write(&file, Guest::good().named("rule").wasm()).expect("it can be written");
    let (path, servers) = (file.to_str().expect("a UTF-8 path"), dir.join("servers"));
    let servers = servers.to_str().expect("a UTF-8 path");
    let ports = ["--postgres-port", "0", "--nats-port", "0"];
    let args = [&["dev", "--dir", servers, "--plugin", path], ports.as_slice()].concat();
    let mut avouch = Avouch::start(&args).await;
    let first = avouch.wait_for_log("rule 1 is deployed", secs(60)).await;
    std::fs::write(&file, b"half a fi").expect("it can be written");
    avouch.wait_for_log("rule.wasm: ", secs(30)).await;
    let second = Guest::answering(0, 2, 0, 0).named("rule").wasm();
    std::fs::write(&file, second).expect("it can be written");
    until("the changed file to be deployed", secs(30), async || {
        avouch.log().lines().any(|line| line.contains("rule 1 is deployed") && line != first).then_some(())
    })
    .await;
    avouch.terminate(secs(30)).await;
}
