//! Several runtimes under load, which join, leave, die, freeze and are cut off: shards are shared fairly, and no two owners of one
//! take effect.

mod books;
mod fleet;

use std::time::Duration;

use avouch_tests::wait::{secs, until};

use self::books::{Published, balance, keep};
use self::fleet::{Fleet, Member};
use crate::crash::{Producers, sent_more};
use crate::ground::{random, rounds};

#[tokio::test]
async fn instances_that_join_and_leave_share_fairly_and_hand_over_what_is_finished() {
    let mut fleet = Fleet::new().await;
    keep(&fleet.ground.client).await;
    let mut published = Published::listen(&fleet.ground).await;
    fleet.joins().await;
    let producers = Producers::start(fleet.ground.database.url());
    for by in [1, 2, 3, 4, 5] {
        fleet.shared_fairly(by).await;
        sent_more(&fleet.ground, 200).await;
        fleet.joins().await;
    }
    for by in [5, 4, 3, 2, 1] {
        fleet.leaves(usize::try_from(random(by + 1)).expect("is small")).await;
        fleet.shared_fairly(usize::try_from(by).expect("is small")).await;
        sent_more(&fleet.ground, 200).await;
    }
    producers.stop().await;
    fleet.ground.drained().await;
    balance(&fleet.ground).await;
    let stored = fleet.ground.stream().await.len();
    let mut counts = published.counts();
    until("every publish to be heard", secs(30), async || {
        for (id, count) in published.counts() {
            *counts.entry(id).or_default() += count;
        }
        (counts.len() >= stored).then_some(())
    })
    .await;
    let twice = counts.values().filter(|count| **count > 1).count();
    assert_eq!((counts.len(), twice), (stored, 0), "what a leaving owner had sent was not sent again by the next");
}

#[tokio::test]
async fn dead_owners_shards_are_taken_over_when_its_lease_has_run_out_and_not_before() {
    let mut fleet = Fleet::new().await;
    keep(&fleet.ground.client).await;
    for _ in 0..4 {
        fleet.joins().await;
    }
    fleet.shared_fairly(4).await;
    let producers = Producers::start(fleet.ground.database.url());
    for left in [3, 2, 1] {
        sent_more(&fleet.ground, 100).await;
        let died = "create table if not exists public.deaths (at timestamptz); insert into public.deaths values (clock_timestamp())";
        fleet.ground.client.batch_execute(died).await.expect("is valid");
        fleet.dies(usize::try_from(random(left + 1)).expect("is small"));
        fleet.shared_fairly(usize::try_from(left).expect("is small")).await;
    }
    producers.stop().await;
    fleet.ground.drained().await;
    balance(&fleet.ground).await;
    let sql = "select d.at::text, (extract(epoch from max(o.at) - d.at) * 1000)::int8, (extract(epoch from max(o.at - o.old_lease)) * 1000)::int8 \
               from public.deaths d join public.owners o on o.at > d.at and o.at < coalesce((select min(at) from public.deaths n where n.at > d.at), 'infinity') \
               where o.old_lease is not null and o.old_owner is not null and o.new_owner is not null group by d.at order by d.at";
    for row in fleet.ground.client.query(sql, &[]).await.expect("is valid") {
        let (after_death, after_lease): (i64, i64) = (row.get(1), row.get(2));
        eprintln!(
            "lease 900 ms: all taken over {after_death} ms after SIGKILL, {after_lease} ms after the lease's end"
        );
    }
}

#[tokio::test]
async fn owner_that_is_cut_off_is_replaced_and_disturbs_nothing_when_it_is_back() {
    let mut fleet = Fleet::new().await;
    keep(&fleet.ground.client).await;
    fleet.joins().await;
    fleet.joins().await;
    fleet.shared_fairly(2).await;
    let producers = Producers::start(fleet.ground.database.url());
    for cut in ["postgres", "both", "nats", "frozen"] {
        sent_more(&fleet.ground, 200).await;
        let one = &fleet.members[0];
        match cut {
            "postgres" => one.postgres.cut(),
            "nats" => one.nats.cut(),
            "both" => one.cut_off(),
            _ => one.avouch.pause(),
        }
        if cut == "nats" {
            // It renews its lease, and its rows wait.
            sent_more(&fleet.ground, 50).await;
        } else {
            fleet.owns_nothing(&one.name).await;
            sent_more(&fleet.ground, 200).await;
        }
        one.recover();
        fleet.shared_fairly(2).await;
    }
    producers.stop().await;
    fleet.ground.drained().await;
    balance(&fleet.ground).await;
}

#[tokio::test]
async fn mark_that_arrives_after_a_change_of_owner_touches_nothing() {
    let mut fleet = Fleet::new().await;
    keep(&fleet.ground.client).await;
    fleet.joins().await;
    fleet.joins().await;
    fleet.shared_fairly(2).await;
    let (ground, first, second) = (&fleet.ground, &fleet.members[0], &fleet.members[1]);
    // The other one takes over what it cannot send, so that it stays ready.
    second.nats.cut();
    ground.insert("orders", 400, 0, 20_000).await;
    sent_more(ground, 100).await;
    first.postgres.cut();
    until("the stream to hold what is not marked", secs(30), async || {
        let stream = ground.jetstream.get_stream(&ground.names.stream).await.ok()?;
        let stored = i64::try_from(stream.cached_info().state.messages).ok()?;
        (stored > ground.count("sent").await).then_some(())
    })
    .await;
    fleet.owns_nothing(&first.name).await;
    first.postgres.mend();
    // It is back, and what it had said before is heard. (It gets no shards: what the other one has in flight is not answered.)
    let heard = "select exists (select from avouch.instance where name = $1 and lease_until > clock_timestamp()) \
                 and not exists (select from pg_stat_activity where application_name = 'avouch ' || $1 and state = 'active')";
    until("it to be back", secs(30), async || {
        ground.client.query_one(heard, &[&first.name]).await.ok()?.get::<_, bool>(0).then_some(())
    })
    .await;
    assert!(ground.count("ready").await > 0, "the load is too small");
    second.nats.mend();
    ground.drained().await;
    balance(ground).await;
}

/// `AVOUCH_TEST_INSTANCE_ROUNDS` for longer.
#[tokio::test]
async fn whatever_happens_to_instances_nothing_is_lost_reordered_or_marked_by_a_former_owner() {
    let mut fleet = Fleet::new().await;
    keep(&fleet.ground.client).await;
    fleet.joins().await;
    fleet.joins().await;
    let producers = Producers::start(fleet.ground.database.url());
    for _ in 0..rounds("AVOUCH_TEST_INSTANCE_ROUNDS", 8) {
        let which = usize::try_from(random(u64::try_from(fleet.members.len()).expect("is small"))).expect("is small");
        match random(9) {
            0 | 1 if fleet.members.len() < 4 => fleet.joins().await,
            2 if fleet.members.len() > 1 => fleet.dies(which),
            3 if fleet.members.len() > 1 => {
                // Whoever is cut off or frozen cannot say goodbye.
                fleet.members[which].recover();
                fleet.leaves(which).await;
            }
            4 => fleet.members[which].postgres.cut(),
            5 => fleet.members[which].nats.cut(),
            6 => fleet.members[which].cut_off(),
            7 => fleet.members[which].avouch.pause(),
            _ => fleet.members.iter().for_each(Member::recover),
        }
        tokio::time::sleep(Duration::from_millis(random(1_500))).await;
    }
    fleet.members.iter().for_each(Member::recover);
    fleet.shared_fairly(fleet.members.len()).await;
    sent_more(&fleet.ground, 100).await;
    producers.stop().await;
    fleet.ground.drained().await;
    balance(&fleet.ground).await;
}
