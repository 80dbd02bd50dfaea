//! Hostile plugins in the runtime itself: deployed, asked about real transactions, and decided nothing.

use avouch_tests::wait::{secs, until};
use uuid::Uuid;

use super::guest::Guest;
use crate::cli::{Told, avouch};
use crate::ground::Ground;
use crate::schema::File;

pub async fn deploy(config: &File, guest: Guest) -> Told {
    let file = File::new("guest.wasm", "");
    std::fs::write(file.path(), guest.wasm()).expect("it can be written");
    avouch(&["plugin", "deploy", file.path(), "--config", config.path()], &[]).await
}

pub async fn prepare(ground: &Ground, checker: &str) -> Uuid {
    let row = ground.client.query_one("select avouch.prepare($1, '0 seconds')", &[&checker]).await;
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
