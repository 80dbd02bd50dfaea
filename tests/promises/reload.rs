//! Versions of a plugin change under load: no call fails, none is answered by two versions, and who is back is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use avouch_tests::web::{Web, reply};
use tokio_postgres::Client;

use crate::cli::avouch;
use crate::ground::{Ground, rounds};
use crate::hostile::guest::{Guest, HTTP};
use crate::schema::File;

/// Prepared at a time, and how often: 500 a second.
const BATCH: i32 = 10;
const PACE: Duration = Duration::from_millis(20);
/// A call takes longer than a change.
const ANSWER: Duration = Duration::from_millis(50);

/// Rolls back with four signs: what its setting and its code say before it asks a slow server, and after.
fn versioned(version: char) -> Guest {
    const CONFIG: &str = r#"(import "avouch:rules/config@1.0.0" "get" (func $get (param i32 i32 i32)))"#;
    let sign = |at: u32| {
        format!(
            "(call $get (i32.const 530) (i32.const 7) (i32.const 3000))
             (i32.store8 (i32.const {at}) (i32.load8_u (i32.load (i32.const 3004))))
             (i32.store8 (i32.const {}) (i32.load8_u (i32.const 540)))",
            at + 1
        )
    };
    let check = format!(
        "{}
        (call $send (i32.const 512) (i32.const 3) (i32.const 515) (i32.const 3) (i32.const 518) (i32.const 5)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))
        (if (i32.load8_u (i32.const 2048)) (then (return (i32.const 2048))))
        {}
        (i32.store (i32.const 2052) (i32.const 1)) (i32.store (i32.const 2056) (i32.const 4000))
        (i32.store (i32.const 2060) (i32.const 4)) (i32.const 2048)",
        sign(4000),
        sign(4002)
    );
    Guest {
        name: "versioned",
        manifest: "[http.web]\n[config]\nversion = \"0\"".into(),
        items: format!(
            "(data (i32.const 512) \"webGET/slow\") (data (i32.const 530) \"version\") (data (i32.const 540) \"{version}\")"
        ),
        ..Guest::importing(&format!("{HTTP} {CONFIG}"), &check)
    }
}

/// Prepares until it is told to stop. Returns how many.
async fn produce(client: Client, stop: Arc<AtomicBool>) -> i64 {
    let mut prepared = 0;
    let mut pace = tokio::time::interval(PACE);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let sql = "select avouch.prepare('versioned', '0 s') from generate_series(1, $1::int)";
        client.execute(sql, &[&BATCH]).await.expect("is valid");
        prepared += i64::from(BATCH);
    }
    prepared
}

/// The versions that answered, as the runtime heard of them.
struct Versions<'a> {
    ground: &'a Ground,
    avouch: &'a Avouch,
    config: File,
    files: [File; 2],
    heard: usize,
}

impl Versions<'_> {
    async fn deploy(&mut self, version: usize) {
        let setting = format!("version={version}");
        let file = self.files[version - 1].path().to_owned();
        self.command(&["plugin", "deploy", &file, "--grant", "http:web", "--set", &setting], version).await;
    }

    async fn roll_back(&mut self) {
        self.command(&["plugin", "rollback", "versioned"], 1).await;
    }

    /// From when the runtime has said that it follows until the next command, only this version is asked.
    async fn command(&mut self, args: &[&str], version: usize) {
        avouch(&[args, &["--config", self.config.path()]].concat(), &[]).await.succeeds();
        self.heard += 1;
        until("the runtime to follow", secs(30), async || {
            (self.avouch.log().matches("a plugin was deployed").count() >= self.heard).then_some(())
        })
        .await;
        let probes = "select avouch.prepare('versioned', '0 s', $1) from generate_series(1, 20)";
        let probe = format!("{version} of {}", self.heard);
        self.ground.client.execute(probes, &[&probe]).await.expect("is valid");
        let settled = "select count(*) filter (where state <> 'prepared'), coalesce(string_agg(distinct reason, ' '), '') \
                       from avouch.tx where ref = $1";
        let reasons: String = until("the probes to be settled", secs(60), async || {
            let row = self.ground.client.query_one(settled, &[&probe]).await.expect("the server runs");
            (row.get::<_, i64>(0) == 20).then(|| row.get(1))
        })
        .await;
        assert_eq!(reasons, version.to_string().repeat(4), "the change before is over when it is said");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_change_under_load_without_a_failed_or_mixed_call() {
    let web = Web::start(|_, socket| async {
        tokio::time::sleep(ANSWER).await;
        reply(socket, 200, String::new(), Vec::new()).await;
    })
    .await;
    let ground = Ground::new().await;
    let cache = avouch_tests::scratch::profile_dir().join("plugin-cache");
    let more = format!(
        "[binding.http.web]\norigin = \"{}\"\n[checker.versioned]\nrollback_after_ms = 0\n[checkback]\npoll_max_ms = 50\n\
         [rules]\nconcurrency_max = 64\ncache_dir = \"{}\"\n",
        web.origin(),
        cache.display()
    );
    let files = ['1', '2'].map(|version| {
        let file = File::new("versioned.wasm", "");
        std::fs::write(file.path(), versioned(version).wasm()).expect("it can be written");
        file
    });
    let avouch = ground.runtime(&more).await;
    let config = File::new("avouch.toml", &ground.config(&more));
    let mut versions = Versions { ground: &ground, avouch: &avouch, config, files, heard: 0 };
    versions.deploy(1).await;

    let stop = Arc::new(AtomicBool::new(false));
    let producer = tokio::spawn(produce(ground.database.client().await, Arc::clone(&stop)));
    let began = std::time::Instant::now();
    let seconds = u64::from(rounds("AVOUCH_TEST_RELOAD_SECONDS", 4));
    while began.elapsed() < secs(seconds) {
        versions.deploy(2).await;
        versions.roll_back().await;
    }
    stop.store(true, Ordering::Relaxed);
    let prepared = producer.await.expect("the producer does not panic");
    until("all to be settled", secs(120), async || {
        let sql = "select not exists (select from avouch.tx where state = 'prepared')";
        ground.client.query_one(sql, &[]).await.expect("the server runs").get::<_, bool>(0).then_some(())
    })
    .await;
    let took = began.elapsed();
    let sql =
        "select reason, count(*), max(checks), max(unknowns) from avouch.tx where ref is null group by 1 order by 1";
    let rows = ground.client.query(sql, &[]).await.expect("the server runs");
    let told: Vec<(Option<String>, i64)> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    println!("{} changes, {prepared} checks in {took:?}: {told:?}", versions.heard);
    assert_eq!(told.iter().map(|(_, n)| n).sum::<i64>(), prepared);
    let reasons: Vec<_> = told.iter().map(|(reason, _)| reason.as_deref()).collect();
    assert_eq!(reasons, [Some("1111"), Some("2222")], "each call was answered, and by one version");
    assert!(rows.iter().all(|r| r.get::<_, i32>(2) == 1 && r.get::<_, i32>(3) == 0), "nobody was asked twice");
}
