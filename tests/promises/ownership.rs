//! Several runtimes share a database: fairly, one owner at a time, and the living take over from the dead and the frozen.

use avouch_runtime::meters::Scope;
use avouch_runtime::secret::Secret;
use avouch_runtime::store::{Config, Plans, Report, Store, Succession};
use avouch_runtime::window::Mark;
use avouch_tests::database::SHARDS;
use avouch_tests::wait::{secs, until};
use std::time::Duration;
use uuid::Uuid;

use crate::ground::Ground;

const QUICK: &str = "[shards]\nlease_ms = 900\n";

/// How many shards each living instance owns, sorted.
async fn owned(ground: &Ground) -> Vec<i64> {
    let sql = "select count(s.shard) from avouch.instance i left join avouch.shard s on s.owner = i.id \
               where i.lease_until > clock_timestamp() group by i.id order by 1";
    ground.client.query(sql, &[]).await.expect("the server runs").iter().map(|r| r.get(0)).collect()
}

async fn owned_like(ground: &Ground, wanted: &[i64]) {
    until("the shards to be shared as wanted", secs(30), async || (owned(ground).await == wanted).then_some(())).await;
}

#[tokio::test]
async fn shards_are_shared_fairly_and_given_back_at_once() {
    let ground = Ground::new().await;
    let half = i64::from(SHARDS / 2);
    let mut first = ground.runtime(QUICK).await;
    owned_like(&ground, &[i64::from(SHARDS)]).await;
    let _second = ground.runtime(QUICK).await;
    owned_like(&ground, &[half, half]).await;
    ground.insert("orders", 40, 0, 2000).await;
    ground.drained().await;
    first.terminate(secs(10)).await;
    owned_like(&ground, &[i64::from(SHARDS)]).await;
    ground.insert("orders", 40, 2000, 2400).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 2400, "handing over sent nothing twice");
}

#[tokio::test]
async fn expired_lease_is_claimed_by_another_instance() {
    let ground = Ground::new().await;
    let mut first = ground.runtime(QUICK).await;
    let _second = ground.runtime(QUICK).await;
    owned_like(&ground, &[i64::from(SHARDS / 2); 2]).await;
    first.kill();
    ground.insert("orders", 40, 0, 2000).await;
    ground.drained().await;
    ground.balance().await;
}

#[tokio::test]
async fn former_owners_marks_touch_no_row() {
    let ground = Ground::new().await;
    ground.insert("orders", 1, 0, 1).await;
    let store =
        Store::new(&Config::of(Secret::new(ground.database.url())), Scope::new("main", 0, []), "test", Plans::Fixed)
            .expect("the url is valid");
    let (frozen, other) = (Uuid::now_v7(), Uuid::now_v7());
    let (blink, long) = (Duration::ZERO, Duration::from_secs(60));
    store.heartbeat(frozen, "frozen", blink, &Report::default()).await.expect("the server runs");
    assert_eq!(store.acquire(frozen, 100).await.expect("the server runs"), u64::from(SHARDS));
    let old = store.share(frozen).await.expect("the server runs").owned;
    store.heartbeat(other, "other", long, &Report::default()).await.expect("the server runs");
    assert_eq!(store.acquire(other, 100).await.expect("the server runs"), u64::from(SHARDS));
    let new = store.share(other).await.expect("the server runs").owned;
    let row = ground.client.query_one("select shard, seq, id from avouch.outbox", &[]).await.expect("one row");
    let shard = u16::try_from(row.get::<_, i32>(0)).expect("is small");
    let new_stream =
        Succession { name: "S", created: time::OffsetDateTime::UNIX_EPOCH, former: None, above: 0, reason: "" };
    let stream = store.succeed(&new_stream).await.expect("the server runs").expect("is registered").stream;
    let place = (row.get(1), row.get(2));
    let marks = [Mark { shard, seq: place.0, id: place.1, stream, stream_seq: 1 }];
    let another = [Mark { id: Uuid::now_v7(), ..marks[0].clone() }];
    assert_eq!(store.mark_sent(&old, &marks, (&[None], 0)).await.expect("the server runs"), 0, "the former owner's");
    let old_owned = old.into_iter().find(|o| o.shard == shard).expect("it owned all");
    assert!(!store.bury(old_owned, place, "no", true).await.expect("the server runs"));
    assert!(!store.next_generation(old_owned, place, 0).await.expect("the server runs"));
    let other_row = store.mark_sent(&new, &another, (&[None], 0)).await.expect("the server runs");
    assert_eq!(other_row, 0, "a number that was given twice is not that row");
    assert_eq!(store.mark_sent(&new, &marks, (&[None], 0)).await.expect("the server runs"), 1, "the owner's");
    assert_eq!(store.mark_sent(&new, &marks, (&[None], 0)).await.expect("the server runs"), 0, "only once");
}

#[tokio::test]
async fn owner_whose_late_renewal_is_under_way_keeps_its_shards() {
    let ground = Ground::new().await;
    let store =
        Store::new(&Config::of(Secret::new(ground.database.url())), Scope::new("main", 0, []), "test", Plans::Fixed)
            .expect("the url is valid");
    let (late, other) = (Uuid::now_v7(), Uuid::now_v7());
    let long = Duration::from_secs(60);
    store.heartbeat(late, "late", Duration::ZERO, &Report::default()).await.expect("the server runs");
    assert_eq!(store.acquire(late, 100).await.expect("the server runs"), u64::from(SHARDS));
    store.heartbeat(other, "other", long, &Report::default()).await.expect("the server runs");
    let mut renewing = ground.database.client().await;
    let renewal = renewing.transaction().await.expect("the server runs");
    let renew = "update avouch.instance set lease_until = clock_timestamp() + interval '1 minute' where id = $1";
    renewal.execute(renew, &[&late]).await.expect("is valid");
    assert_eq!(store.acquire(other, 100).await.expect("the server runs"), 0, "it may be committed at any moment");
    renewal.commit().await.expect("the server runs");
    assert_eq!(store.acquire(other, 100).await.expect("the server runs"), 0, "it is renewed");
    assert_eq!(store.share(late).await.expect("the server runs").owned.len(), usize::from(SHARDS));
}

#[tokio::test]
async fn frozen_owner_that_wakes_up_after_its_lease_disturbs_nothing() {
    let ground = Ground::new().await;
    let first = ground.runtime(QUICK).await;
    ground.insert("orders", 40, 0, 20_000).await;
    until("it to be in the middle", secs(30), async || (ground.count("sent").await > 100).then_some(())).await;
    first.pause();
    let _second = ground.runtime(QUICK).await;
    ground.insert("orders", 40, 20_000, 22_000).await;
    ground.drained().await;
    first.resume();
    owned_like(&ground, &[i64::from(SHARDS / 2); 2]).await;
    ground.insert("orders", 40, 22_000, 23_000).await;
    ground.drained().await;
    ground.balance().await;
}
