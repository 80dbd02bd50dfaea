//! What is broken on purpose is told, and nothing else is.

use super::*;
use crate::checkback::{FENCED, Shop};

#[tokio::test]
async fn prepared_transaction_and_held_snapshot_are_named_with_how_to_end_them() {
    let held = Installation::new("[upkeep]\nsnapshot_max_s = 1\n").await;
    let prepare = "begin; set local avouch.doorbell = off; \
                   insert into avouch.outbox (topic, payload) values ('orders', '{}'); prepare transaction 'pay''42'";
    held.ground.client.batch_execute(prepare).await.expect("is valid");
    let holder = held.ground.database.client().await;
    let report = "set application_name = 'monthly report'; \
                  begin isolation level repeatable read; select count(*) from avouch.outbox";
    holder.batch_execute(report).await.expect("is valid");
    let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).await.expect("is valid").get(0);
    let findings = until("both are old enough to be told", secs(60), async || {
        let findings = held.findings().await;
        let is_told = findings.checks("problem").contains("prepared_transaction")
            && findings.checks("warning").contains("snapshot_held");
        is_told.then_some(findings)
    })
    .await;
    // Nobody runs, and the stream is not there yet.
    findings.only(&["prepared_transaction"], &["snapshot_held", "runtimes"]);
    findings.names("prepared_transaction", "prepared transaction pay'42", "rollback prepared 'pay''42'");
    findings.names("snapshot_held", "monthly report", &format!("pg_terminate_backend({pid})"));
    held.ground.client.batch_execute("rollback prepared 'pay''42'").await.expect("it is there");
    holder.batch_execute("commit").await.expect("is valid");
    held.findings().await.only(&[], &["runtimes"]);
}

#[tokio::test]
async fn stream_that_discards_old_messages_is_named() {
    let broken = Installation::new("").await;
    broken.stream_with(|c| c.discard = async_nats::jetstream::stream::DiscardPolicy::Old).await;
    let findings = broken.findings().await;
    findings.only(&["discard"], &["runtimes"]);
    findings.names("discard", &broken.stream, "--discard new");
}

#[tokio::test]
async fn window_of_duplicates_that_is_too_short_is_named() {
    let broken = Installation::new("").await;
    broken.stream_with(|c| c.duplicate_window = secs(20)).await;
    let findings = broken.findings().await;
    findings.only(&[], &["duplicate_window", "runtimes"]);
    findings.names("duplicate_window", "remembers ids for 20 s", "--dupe-window 600s");
}

#[tokio::test]
async fn missing_durable_and_forgotten_consumer_are_named() {
    let broken = Installation::new(BILLING).await;
    let mut running = broken.runtime(&["billing"]).await;
    assert!(running.terminate(LIMIT).await.success());
    broken.findings().await.only(&[], &["runtimes"]);
    let stream = broken.ground.jetstream.get_stream(&broken.stream).await.expect("it was made");
    stream.delete_consumer("billing").await.expect("it was made");
    let findings = broken.findings().await;
    findings.only(&["durable"], &["runtimes"]);
    findings.names("durable", "consumer billing", "start avouch run");
    let forgotten = Findings::of(&broken.config.replace(BILLING, "")).await;
    forgotten.only(&[], &["forgotten_consumer", "runtimes"]);
    forgotten.names("forgotten_consumer", "consumer billing", "avouch consumer remove billing");
    broken.ground.jetstream.delete_stream(&broken.stream).await.expect("it was made");
    let findings = broken.findings().await;
    // Without messages the relay has not looked at it: the database may not know it.
    assert!(findings.checks("problem").is_subset(&BTreeSet::from(["stream"])), "{:#?}", findings.0);
}

#[tokio::test]
async fn plugin_that_was_granted_an_unknown_binding_is_named() {
    let shop = Shop::new(FENCED).await;
    shop.deploy().await;
    shop.prepare("nobody", "1..3").await;
    let (before, rest) = shop.config.split_once("[binding.sql.orders]\n").expect("it is there");
    let (_url, rest) = rest.split_once('\n').expect("its url is a line");
    let findings = Findings::of(&format!("{before}{rest}")).await;
    findings.names("unknown_binding", "plugin order-check", "add [binding.sql.orders]");
    findings.names("missing_checker", "3 undecided transactions", "avouch plugin deploy");
    let whole = Findings::of(&shop.config).await;
    assert!(!whole.checks("problem").contains("unknown_binding"), "{:#?}", whole.0);
    assert!(whole.checks("ok").contains("plugin"), "{:#?}", whole.0);
}

#[tokio::test]
async fn binding_that_may_do_more_than_read_is_named() {
    let shop = Shop::new(FENCED).await;
    let role = format!("checker_{}", shop.ground.database.name());
    let grant = format!("grant insert on shop.orders to {role}");
    shop.ground.client.batch_execute(&grant).await.expect("is valid");
    Findings::of(&shop.config).await.names("binding_role", "may write to shop.orders", "a role of its own");
    shop.ground.client.batch_execute(&format!("grant avouch_viewer to {role}")).await.expect("is valid");
    Findings::of(&shop.config).await.names("binding_role", "avouch_viewer", "a role of its own");
}

#[tokio::test]
async fn servers_that_are_away_are_one_finding_each_and_the_rest_is_looked_at() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let config = format!(
        "strict_topics = true\n[source.main]\nurl = \"postgres://relay@127.0.0.1:{port}/x\"\n[nats]\nurl = \"nats://127.0.0.1:{port}\"\n"
    );
    let findings = Findings::of(&config).await;
    findings.only(&["unreachable", "strict_topics"], &[]);
    let away: Vec<_> = findings.0.iter().filter(|f| f["check"] == "unreachable").map(|f| &f["area"]).collect();
    assert_eq!(away, ["postgres", "nats"]);
}

#[tokio::test]
async fn server_that_hangs_is_given_up() {
    // Accepts, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let config = format!(
        "[source.main]\nurl = \"postgres://relay@127.0.0.1:{port}/x\"\n[nats]\nurl = \"nats://127.0.0.1:{port}\"\n"
    );
    let told = doctor(&config, &["--limit-ms", "200"]).await.fails_with(1);
    told.says("Postgres cannot be used").says("NATS cannot be used");
}

#[tokio::test]
async fn role_that_may_not_look_is_told_what_to_be_granted() {
    let ground = Ground::new().await;
    let role = format!("stranger_{}", Uuid::now_v7().simple());
    ground.client.batch_execute(&format!("create role {role} login")).await.expect("a role can be made");
    let config = ground.config("").replace(ground.database.url(), &url_of(&ground.database, &role));
    let findings = Findings::of(&config).await;
    findings.names("roles", &role, &format!("grant avouch_runtime to {role}"));
    for check in ["schema", "snapshots", "books"] {
        findings.names(check, "permission denied", "grant avouch_runtime");
    }
    assert_eq!(findings.checks("problem"), BTreeSet::from(["roles"]), "{:#?}", findings.0);
    ground.client.batch_execute(&format!("grant avouch_runtime to {role}")).await.expect("is allowed");
    let set = format!("alter role {role} set default_transaction_read_only = on");
    ground.client.batch_execute(&set).await.expect("is allowed");
    let findings = Findings::of(&config).await;
    findings.names("read_only", "default_transaction_read_only is on", "reset default_transaction_read_only");
    assert_eq!(findings.checks("problem"), BTreeSet::from(["read_only"]), "{:#?}", findings.0);
    ground.client.batch_execute(&format!("drop role {role}")).await.expect("it owns nothing");
}

#[tokio::test]
async fn database_without_the_schema_and_superusers_are_named() {
    let database = Database::create_empty().await;
    let ground = Ground::with(database, shared().nats.url(), jetstream().await).await;
    let findings = Findings::of(&ground.config("")).await;
    findings.only(&["schema"], &["superuser"]);
    findings.names("schema", "has no avouch schema", "avouch schema install");
    findings.names("superuser", "role postgres", "in role avouch_runtime");
}

#[tokio::test]
async fn configuration_that_cannot_be_read_is_a_finding_too() {
    let findings = Findings::of("[relay]\nrows_maximum = 3\n").await;
    findings.only(&["configuration"], &[]);
    findings.names("configuration", "rows_maximum", "docs/operating.md");
}

#[tokio::test]
async fn producer_whose_commits_can_be_lost_is_named_and_the_runtime_is_not_taken_for_one() {
    let broken = Installation::new("").await;
    let (client, database) = (&broken.ground.client, broken.ground.database.name());
    let [group, producer] = ["group", "orders"].map(|name| format!("{name}_{}", Uuid::now_v7().simple()));
    // In this database alone: roles are everybody's.
    let roles = format!(
        "create role {group} in role avouch_producer; create role {producer} login in role {group}; \
         alter role {producer} in database {database} set synchronous_commit = off"
    );
    client.batch_execute(&roles).await.expect("a superuser may");
    let findings = broken.findings().await;
    findings.only(&[], &["synchronous_commit", "runtimes"]);
    let reset = format!("alter role {producer} in database {database} reset synchronous_commit");
    findings.names("synchronous_commit", &producer, &reset);
    client.batch_execute(&reset).await.expect("what is told can be typed");
    broken.findings().await.only(&[], &["runtimes"]);
    let relay = &broken.role;
    let set = format!("alter role {relay} in database {database} set synchronous_commit = off");
    client.batch_execute(&set).await.expect("a superuser may");
    let findings = broken.findings().await;
    findings.only(&[], &["synchronous_commit", "runtimes"]);
    let reset = format!("alter role {relay} in database {database} reset synchronous_commit");
    findings.names("synchronous_commit", "not for producers that insert", &reset);
    client.batch_execute(&format!("drop role {producer}, {group}")).await.expect("they own nothing");
}
