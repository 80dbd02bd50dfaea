//! Several runtimes notice one loss: it is written down once, and each sends again what is lost of its own shards.

use avouch_tests::wait::{secs, until};

use super::{BILLING, Broken, QUICK, by_key, steps};

#[tokio::test]
async fn loss_is_noticed_once_by_many_and_each_sends_its_own_shards_again() {
    let mut broken = Broken::start().await;
    let settings = format!("{BILLING}{QUICK}");
    let others = [broken.ground.runtime(&settings).await, broken.ground.runtime(&settings).await];
    until("the shards to be shared", secs(30), async || {
        let sql = "select count(distinct owner) from avouch.shard";
        let owners: i64 = broken.ground.client.query_one(sql, &[]).await.ok()?.get(0);
        (owners == 3).then_some(())
    })
    .await;
    broken.ground.insert("orders", 10, 0, 500).await;
    broken.ground.drained().await;
    broken.nats.kill().expect("it runs");
    super::run("rm", &["-rf", super::path(&broken.store())]);
    broken.ground.insert("orders", 10, 500, 1_000).await;
    broken.server_again().await;
    broken.held_of(1_000).await;
    broken.ground.drained().await;
    let wanted = steps(0..500, "1").into_iter().chain(steps(500..1_000, "0")).collect();
    assert_eq!(by_key(broken.held().await), by_key(wanted));
    let losses = "select count(*) from avouch.loss";
    assert_eq!(broken.ground.client.query_one(losses, &[]).await.expect("the server runs").get::<_, i64>(0), 1);
    let told = others.iter().chain([&broken.avouch]).filter(|a| a.log().contains("broker_lost")).count();
    assert_eq!(told, 1, "one of them has told it");
}

#[tokio::test]
async fn owner_that_is_killed_over_a_loss_leaves_the_rest_of_it_to_the_next() {
    let mut broken = Broken::start().await;
    broken.ground.insert("orders", 10, 0, 300).await;
    broken.ground.drained().await;
    broken.avouch.kill();
    broken.nats.kill().expect("it runs");
    super::run("rm", &["-rf", super::path(&broken.store())]);
    broken.server_again().await;
    // It is noticed, and nothing is done about it.
    let fails = "create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; \
                 create trigger refuse before update on avouch.outbox for each row execute function refuse()";
    broken.ground.client.batch_execute(fails).await.expect("is valid");
    let mut first = broken.ground.runtime(&format!("{BILLING}{QUICK}")).await;
    first.wait_for_log("broker_lost", secs(30)).await;
    first.wait_for_log("not now", secs(30)).await;
    first.kill();
    broken.ground.client.batch_execute("drop trigger refuse on avouch.outbox").await.expect("is valid");
    broken.avouch = broken.ground.runtime(&format!("{BILLING}{QUICK}")).await;
    broken.held_of(300).await;
    assert_eq!(by_key(broken.held().await), by_key(steps(0..300, "1")));
    assert_eq!(broken.loss().await.2, 0, "no shard is left");
}
