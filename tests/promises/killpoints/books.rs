//! The books of a shop: where each message ended, and what the stream holds.

use std::collections::HashSet;

use avouch_tests::stream::{Stored, count_by_header, read_all};
use avouch_tests::wait::{secs, until};
use uuid::Uuid;

use crate::checkback::Shop;
use crate::ground::balance_of;

/// Rows that are not where they belong, by what really happened.
const ASTRAY: &str = "select o.topic || ' ' || o.state || coalesce(': ' || o.reason, '') \
    from avouch.outbox o left join avouch.tx t on t.id = o.tx_id left join shop.orders s on s.id = t.ref::bigint \
    where o.state <> case \
      when o.topic in ('huge', 'doomed.made') then 'dead' \
      when t.id is null or (s.id is not null) = (coalesce(o.release_on, 'commit') = 'commit') then 'consumed' \
      else 'cancelled' end";

/// Waits until every message is where it belongs.
pub async fn everything_ended(shop: &Shop, after: &str) {
    let astray = async || {
        let rows = shop.ground.client.query(ASTRAY, &[]).await.expect("the server runs");
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    let wait = until("all to have ended", secs(60), async || astray().await.is_empty().then_some(()));
    tokio::select! {
        () = wait => {}
        () = tokio::time::sleep(secs(55)) => panic!("after {after} these never ended: {:?}", astray().await),
    }
}

/// Nothing is lost, invented or reordered; nothing is stored twice; what is consumed was acknowledged, and what is dead says why.
pub async fn balanced(shop: &Shop, acked: &HashSet<Uuid>, after: &str) {
    let ground = &shop.ground;
    let stream = read_all(&ground.jetstream, &ground.names.stream).await;
    let twice: Vec<_> = count_by_header(&stream, "Nats-Msg-Id").into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "after {after}, stored twice: {twice:?}");
    let (firsts, again): (Vec<Stored>, Vec<Stored>) =
        stream.into_iter().partition(|m| m.header("Avouch-Generation") == Some("0"));
    // Of what is lost, its consumer has deleted the first ones.
    let kept: Vec<Stored> = firsts.into_iter().filter(|m| m.header("Avouch-Topic") != Some("lost.made")).collect();
    balance_of(&ground.client, &kept, "topic <> 'lost.made'").await;
    // A receipt that a crash could lose would show here: its message would be missed, and sent again.
    let lost = "select id::text from avouch.outbox where topic = 'lost.made'";
    let lost = ground.client.query(lost, &[]).await.expect("the server runs");
    let lost: HashSet<&str> = lost.iter().map(|row| row.get(0)).collect();
    let not_lost: Vec<_> =
        again.iter().filter(|m| !m.header("Avouch-Id").is_some_and(|id| lost.contains(id))).collect();
    assert!(not_lost.is_empty(), "after {after}, sent again though it was acknowledged: {not_lost:?}");
    let consumed = ground.client.query("select id from avouch.outbox where state = 'consumed'", &[]).await;
    let unacked = consumed.expect("the server runs").iter().filter(|r| !acked.contains(&r.get::<_, Uuid>(0))).count();
    assert_eq!(unacked, 0, "after {after}: consumed, and never acknowledged");
    for (what, rule) in RULES {
        let broken: i64 = ground.client.query_one(*rule, &[]).await.expect("is valid").get(0);
        assert_eq!(broken, 0, "after {after}: {what}");
    }
}

/// Each counts what must not be.
const RULES: &[(&str, &str)] = &[
    (
        "dead for another reason",
        "select count(*) from avouch.outbox where state = 'dead' and case topic \
           when 'huge' then reason not like '%max_payload%' or sent_at is not null \
           else reason not like 'billing: terminated%' or sent_at is null end",
    ),
    ("still to be sent again", "select count(*) from avouch.recovery where state <> 'dead'"),
    ("still waited for", "select count(*) from avouch.outbox where awaiting is not null and state <> 'dead'"),
    (
        "parked without a dead message, or dead without being parked",
        "select count(*) from (select key from avouch.outbox where topic = 'huge') h \
         full join (select name from avouch.hold where kind = 'key') p on p.name = h.key where p.name is null or h.key is null",
    ),
    (
        "settled against what happened, or by the wrong one",
        "select count(*) from avouch.tx t left join shop.orders s on s.id = t.ref::bigint \
         where (t.state = 'committed') <> (s.id is not null) or t.state not in ('committed', 'rolled_back') \
            or t.decided_by <> case when (t.ref::int - 1) % 18 < 6 then 'producer' else 'checker' end",
    ),
];
