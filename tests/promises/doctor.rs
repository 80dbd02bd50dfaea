//! `avouch doctor` on real servers: a healthy installation is told so, and each thing that is broken on purpose is named, with its remedy.

mod broken;
mod outside;
mod permissions;

use std::collections::BTreeSet;

use async_nats::jetstream::stream::Config as StreamConfig;
use avouch_tests::database::Database;
use avouch_tests::plugins;
use avouch_tests::process::Avouch;
use avouch_tests::servers::{OwnPostgres, Sync, shared};
use avouch_tests::stream::jetstream;
use avouch_tests::wait::{secs, until};
use serde_json::Value;
use uuid::Uuid;

use crate::cli::{Told, avouch};
use crate::ground::Ground;
use crate::producers::url_of;
use crate::relayed::LIMIT;
use crate::schema::File;

/// What other tests do to the servers that all share, and how those run: `fsync` is off there.
const NEIGHBOURS: &[&str] = &["fsync", "connections", "replication_slot", "clock"];

/// An installation whose runtime is a role of its own.
struct Installation {
    ground: Ground,
    role: String,
    config: String,
    stream: String,
}

impl Installation {
    async fn new(more: &str) -> Installation {
        Installation::on(Ground::new().await, more).await
    }

    /// On these servers; `more` opens further tables.
    async fn on(ground: Ground, more: &str) -> Installation {
        let role = format!("relay_{}", Uuid::now_v7().simple());
        let create = format!("create role {role} login in role avouch_runtime");
        ground.client.batch_execute(&create).await.expect("a role can be made");
        let stream = format!(
            "max_bytes = 100_000_000\n[receipts]\nevents_stream = \"EVENTS_{}\"\nevents_bytes_max = 16_000_000\n",
            Uuid::now_v7().simple()
        );
        let config = ground.config(&format!("{stream}{more}"));
        let config = config.replace(ground.database.url(), &url_of(&ground.database, &role));
        let stream = ground.names.stream.clone();
        Installation { ground, role, config, stream }
    }

    async fn doctor(&self, args: &[&str]) -> Told {
        doctor(&self.config, args).await
    }

    async fn findings(&self) -> Findings {
        Findings::of(&self.config).await
    }

    /// A runtime that has made its stream and durables.
    async fn runtime(&self, durables: &[&str]) -> Avouch {
        let avouch = Avouch::run(&self.config).await;
        avouch.wait_for_log("avouch runs", LIMIT).await;
        for name in durables {
            until(&format!("durable {name} is made and known"), LIMIT, async || {
                let stream = self.ground.jetstream.get_stream(&self.stream).await.ok()?;
                stream.consumer_info(*name).await.ok()?;
                let sql = "select from avouch.consumer where name = $1 and start_seq is not null";
                self.ground.client.query_opt(sql, &[name]).await.expect("the server runs").map(drop)
            })
            .await;
        }
        avouch
    }

    /// Makes the stream as the runtime would, but for this.
    async fn stream_with(&self, change: impl FnOnce(&mut StreamConfig)) {
        let names = &self.ground.names;
        let mut config = StreamConfig {
            name: names.stream.clone(),
            subjects: vec![names.subjects()],
            discard: async_nats::jetstream::stream::DiscardPolicy::New,
            max_bytes: 100_000_000,
            duplicate_window: secs(600),
            ..StreamConfig::default()
        };
        change(&mut config);
        self.ground.jetstream.create_stream(config).await.expect("it can be made");
    }
}

async fn doctor(config: &str, args: &[&str]) -> Told {
    let file = File::new("avouch.toml", config);
    avouch(&[&["doctor", "--config", file.path()], args].concat(), &[]).await
}

/// What programs are told, without what belongs to the shared servers.
struct Findings(Vec<Value>);

impl Findings {
    async fn of(config: &str) -> Findings {
        // Longer than a busy machine needs, and shorter than the test waits.
        let told = doctor(config, &["--json", "--limit-ms", "15000"]).await;
        let report: Value = serde_json::from_str(&told.text).unwrap_or_else(|e| panic!("{e}:\n{}", told.text));
        let is_problem = report["problems"].as_u64().is_some_and(|n| n > 0);
        assert_eq!(told.code, Some(i32::from(is_problem)), "{}", told.text);
        let all = report["findings"].as_array().expect("a list").iter();
        Findings(all.filter(|f| !NEIGHBOURS.contains(&f["check"].as_str().expect("a name"))).cloned().collect())
    }

    /// The names of the checks with this severity.
    fn checks(&self, severity: &str) -> BTreeSet<&str> {
        let of = self.0.iter().filter(|f| f["severity"] == severity);
        of.map(|f| f["check"].as_str().expect("a name")).collect()
    }

    /// The only finding of this check that is not in order; it says this, and its remedy that.
    #[track_caller]
    fn names(&self, check: &str, meaning: &str, remedy: &str) {
        let all: Vec<_> = self.0.iter().filter(|f| f["check"] == check && f["severity"] != "ok").collect();
        let [finding] = &all[..] else { panic!("one {check} was expected: {:#?}", self.0) };
        let text = |key: &str| finding[key].as_str().unwrap_or_default();
        let said = format!("{}: {}", text("object"), text("meaning"));
        assert!(said.contains(meaning), "no {meaning:?} in {said}");
        assert!(text("remedy").contains(remedy), "no {remedy:?} in {}", text("remedy"));
    }

    /// Nothing is worse than a note but these checks.
    #[track_caller]
    fn only(&self, problems: &[&str], warnings: &[&str]) {
        let told = (self.checks("problem"), self.checks("warning"));
        let expected = (problems.iter().copied().collect(), warnings.iter().copied().collect());
        assert_eq!(told, expected, "{:#?}", self.0);
    }
}

const BILLING: &str = "[consumer.billing]\ntopics = [\"orders.>\"]\n";

#[tokio::test]
async fn healthy_installation_has_no_warning_and_no_problem() {
    let server = OwnPostgres::start(Sync::On).await;
    let ground = Ground::with(Database::create_on(&server).await, shared().nats.url(), jetstream().await).await;
    let role = format!("checker_{}", ground.database.name());
    let shop = format!(
        "create schema shop; create table shop.orders (id bigint primary key, status text not null); \
         create role {role} login; grant usage on schema shop to {role}; grant select on shop.orders to {role}"
    );
    ground.client.batch_execute(&shop).await.expect("is valid");
    let cache = avouch_tests::scratch::profile_dir().join("plugin-cache");
    let more = format!(
        "{BILLING}[binding.sql.orders]\nurl = {:?}\n[rules]\ncache_dir = {:?}\n[[alarm]]\ncommand = [\"true\"]\n\
         [control]\nsubject_prefix = \"doctor-{}\"\n[checker.order-check]\n",
        url_of(&ground.database, &role),
        cache,
        Uuid::now_v7().simple()
    );
    let healthy = Installation::on(ground, &more).await;
    let file = File::new("avouch.toml", &healthy.config);
    let wasm = plugins::file("order-check");
    let wasm = wasm.to_str().expect("a UTF-8 path");
    let deploy = ["plugin", "deploy", wasm, "--grant", "sql:orders", "--config", file.path()];
    avouch(&deploy, &[]).await.succeeds();
    let running = healthy.runtime(&["billing"]).await;
    healthy.ground.insert("orders.created", 3, 0, 30).await;
    healthy.ground.drained().await;
    until("a runtime owns every shard, and nothing is wrong", secs(60), async || {
        let told = healthy.doctor(&["--strict"]).await;
        if told.code != Some(0) {
            eprintln!("{}", told.text);
        }
        (told.code == Some(0)).then_some(())
    })
    .await;
    let findings = healthy.findings().await;
    findings.only(&[], &[]);
    let fine =
        ["version", "schema", "doorbell", "runtimes", "permission", "stream", "durable", "plugin", "binding_role"];
    for check in &fine {
        assert!(findings.checks("ok").contains(check), "{check}: {:#?}", findings.0);
    }
    healthy.doctor(&[]).await.succeeds().says("0 problems, 0 warnings").says("Postgres\n").says("NATS\n");
    // It has looked, and changed nothing.
    let stream = healthy.ground.jetstream.get_stream(&healthy.stream).await.expect("it is there");
    assert_eq!(stream.cached_info().state.consumer_count, 1);
    assert_eq!(healthy.ground.balance().await, 30);
    assert!(!running.has_ended());
}
