//! A database that was restored to an earlier state: its sequences give values again, and the stream is ahead of it.

use avouch_tests::database::Database;
use avouch_tests::servers::{OwnPostgres, Sync};
use avouch_tests::stream::jetstream;
use avouch_tests::wait::{secs, until};

use super::{QUICK, by_key, path, run, told};
use crate::ground::{Ground, drained};

#[tokio::test]
async fn restored_database_is_noticed_and_what_it_inserts_again_under_old_numbers_is_sent() {
    let mut postgres = OwnPostgres::start(Sync::Off).await;
    let database = Database::create_on(&postgres).await;
    let nats = avouch_tests::servers::shared().nats.url();
    let mut ground = Ground::with(database, nats, jetstream().await).await;
    let mut avouch = ground.runtime(QUICK).await;
    ground.insert("orders", 10, 0, 50).await;
    ground.drained().await;
    let data = postgres.dir().join("data");
    let copy = postgres.dir().join("copy");
    postgres.stop().await.expect("it runs");
    run("cp", &["-a", path(&data), path(&copy)]);
    postgres.start_again().await.expect("its port is free");
    ground.client = ground.database.client().await;
    ground.insert("orders", 10, 50, 100).await;
    drained(&ground.client, secs(60)).await;
    postgres.stop().await.expect("it runs");
    run("rm", &["-rf", path(&data)]);
    run("cp", &["-a", path(&copy), path(&data)]);
    postgres.start_again().await.expect("its port is free");
    ground.client = ground.database.client().await;
    // Other messages under the numbers of those that it has forgotten, while the relay still remembers those.
    ground.insert("orders", 10, 1_000, 1_040).await;
    drained(&ground.client, secs(60)).await;
    avouch.wait_for_log(r#""alarm":"database_behind""#, secs(30)).await;
    avouch.kill();
    let held: Vec<_> = ground.stream().await.iter().map(told).collect();
    let steps = (0..100).chain(1_000..1_040);
    let wanted = steps.map(|n| (format!("{}:{n}", n % 10), "0".to_owned())).collect();
    assert_eq!(by_key(held), by_key(wanted), "nothing is swallowed, nothing comes twice");
    let unsent = "select count(*) from avouch.outbox where state <> 'sent'";
    assert_eq!(ground.client.query_one(unsent, &[]).await.expect("the server runs").get::<_, i64>(0), 0);
}

#[tokio::test]
async fn stream_that_others_use_as_well_is_no_sign_of_a_restored_database() {
    let ground = Ground::new().await;
    let avouch = ground.runtime(QUICK).await;
    ground.insert("orders", 1, 0, 1).await;
    ground.drained().await;
    drop(avouch);
    // As another database would send it.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Avouch-Id", uuid::Uuid::now_v7().to_string());
    let subject = format!("{}.orders", ground.names.prefix);
    ground
        .jetstream
        .publish_with_headers(subject, headers, "{}".into())
        .await
        .expect("is sent")
        .await
        .expect("is kept");
    let alone = ground.runtime(QUICK).await;
    alone.wait_for_log(r#""alarm":"database_behind""#, secs(30)).await;
    drop(alone);
    let shared = ground.runtime(&format!("shared = true\n{QUICK}")).await;
    ground.insert("orders", 1, 1, 2).await;
    ground.drained().await;
    until("all to be sent", secs(30), async || (ground.stream().await.len() == 3).then_some(())).await;
    assert!(!shared.log().contains("database_behind"));
}
