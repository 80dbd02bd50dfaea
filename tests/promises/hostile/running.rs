//! Hostile plugins in the runtime itself: deployed, asked about real transactions, and decided nothing.

use avouch_tests::wait::{secs, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use super::guest::Guest;
use crate::cli::{Told, avouch};
use crate::ground::Ground;
use crate::schema::File;

pub async fn deploy(config: &File, guest: Guest) -> Told {
    deploy_with(config, guest, &[]).await
}

pub async fn deploy_with(config: &File, guest: Guest, more: &[&str]) -> Told {
    let file = File::new("guest.wasm", "");
    std::fs::write(file.path(), guest.wasm()).expect("it can be written");
    avouch(&[&["plugin", "deploy", file.path(), "--config", config.path()], more].concat(), &[]).await
}

pub async fn prepare(ground: &Ground, checker: &str) -> Uuid {
    prepare_as(ground, checker, "").await
}

/// The same with a reference.
pub async fn prepare_as(ground: &Ground, checker: &str, reference: &str) -> Uuid {
    let sql = "select avouch.prepare($1, '0 seconds', nullif($2, ''))";
    let row = ground.client.query_one(sql, &[&checker, &reference]).await;
    row.expect("a transaction may be prepared").get(0)
}

pub async fn committed(ground: &Ground, id: Uuid) {
    until("the checker commits", secs(30), async || {
        let sql = "select state from avouch.tx where id = $1 and state <> 'prepared' and decided_by = 'checker'";
        let row = ground.client.query_opt(sql, &[&id]).await.expect("the server runs")?;
        assert_eq!(row.get::<_, &str>(0), "committed");
        Some(())
    })
    .await;
}

#[tokio::test]
async fn hostile_plugin_decides_nothing_and_hides_nobody() {
    let ground = Ground::new().await;
    let config = File::new("avouch.toml", &ground.config(""));
    deploy(&config, Guest::good().named("good")).await.succeeds();
    deploy(&config, Guest::checking("(loop (br 0)) (unreachable)").named("looping")).await.succeeds();
    let large = Guest { memory: "(memory (export \"memory\") 1024)".into(), ..Guest::good() };
    deploy(&config, large).await.fails_with(1).says("needs more than a call may have");

    let avouch = ground.runtime("").await;
    let mut looping = Vec::new();
    for _ in 0..50 {
        looping.push(prepare(&ground, "looping").await);
    }
    committed(&ground, prepare(&ground, "good").await).await;
    avouch.wait_for_log("checker_broken", secs(30)).await;
    committed(&ground, prepare(&ground, "good").await).await;

    // A file that is not what its digest says takes nobody's place.
    let forged = "insert into avouch.plugin (name, digest, version, file) values ('good', repeat('0', 64), '2', 'x'); \
        insert into avouch.deployment (name, digest, grants) values ('good', repeat('0', 64), '{}')";
    ground.client.batch_execute(forged).await.expect("the superuser may");
    avouch.wait_for_log("plugin_refused", secs(30)).await;
    committed(&ground, prepare(&ground, "good").await).await;

    let sql = "select count(*) from avouch.tx where id = any ($1) and state = 'prepared' and decided_at is null";
    let undecided: i64 = ground.client.query_one(sql, &[&looping]).await.expect("the server runs").get(0);
    assert_eq!(undecided, 50, "a fault never decides");
}

#[tokio::test]
async fn faults_are_counted_for_prometheus() {
    let ground = Ground::new().await;
    let config = File::new("avouch.toml", &ground.config(""));
    deploy(&config, Guest::good().named("good")).await.succeeds();
    deploy(&config, Guest::checking("(unreachable)").named("trapping")).await.succeeds();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port is free").port();
    let _avouch = ground.runtime(&format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n")).await;
    committed(&ground, prepare(&ground, "good").await).await;
    prepare(&ground, "trapping").await;
    let text = until("both to be counted", secs(30), async || {
        let mut connection = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.ok()?;
        let mut text = String::new();
        connection.read_to_string(&mut text).await.ok()?;
        let trapped = |line: &str| line.contains("trapping") && line.contains("broken") && !line.ends_with(" 0");
        text.lines().any(|l| l.starts_with("avouch_plugin_calls_total") && trapped(l)).then_some(text)
    })
    .await;
    let counted = |parts: &[&str]| text.lines().any(|l| parts.iter().all(|p| l.contains(p)));
    assert!(counted(&["avouch_plugin_calls_total", "plugin=\"good\"", "outcome=\"answered\"", " 1"]), "{text}");
    assert!(counted(&["avouch_plugin_call_seconds_bucket", "plugin=\"good\"", "le=\"+Inf\"", " 1"]), "{text}");
}
