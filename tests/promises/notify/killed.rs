//! The runtime dies between any two effects of telling: no schedule is lost, and what is told again has its id.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;

use avouch_runtime::killpoint::Point;
use avouch_tests::process::Avouch;
use avouch_tests::wait::secs;
use nix::sys::signal::Signal;

use super::{Notified, Receiver, settings};
use crate::ground::Ground;

const MESSAGES: u64 = 20;
const POINTS: [Point; 3] = [Point::NoticeRecorded, Point::NoticeTried, Point::NoticeMarked];

async fn dies_and_is_followed(point: Point, nth: u64) {
    let (works, fails) = (Receiver::new(200).await, Receiver::new(500).await);
    let sections = format!(
        "{}{}",
        works.section("works", "ordered = true\n"),
        fails.section("fails", "schedule_s = [3600, 3600]\n").replace("payments.>", "payments.declined")
    );
    let (ground, settings) = (Ground::new().await, settings(&sections));
    let kill_at = format!("{}:{nth}", point.name());
    let avouch = Avouch::run_with(&ground.config(&settings), &[("AVOUCH_KILL_AT", &kill_at)]).await;
    let mut notified = Notified { ground, settings, avouch };
    let ids = notified.insert_many(i32::try_from(MESSAGES).expect("is small"), 4).await;
    let status = notified.avouch.wait_for_end(secs(60)).await;
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "it was to die at {kill_at}:\n{}", notified.avouch.log());
    notified.sql("insert into avouch.outbox (topic, payload) values ('payments.declined', '{}')").await;
    notified.avouch.set_env(&[]);
    notified.avouch.start_again().await;
    notified.until_count("works", "delivered", i64::try_from(MESSAGES).expect("is small") + 1).await;
    let told: BTreeSet<_> = works.ids().into_iter().collect();
    assert!(told.is_superset(&ids) && told.len() == ids.len() + 1, "at {kill_at}: each is told, none is invented");
    // The one that failed waits for its next try, once.
    notified.until_count("fails", "waiting", 1).await;
    let sql = "select attempts from avouch.delivery where state = 'waiting' and attempts > 0";
    avouch_tests::wait::until("its try is in the books", secs(30), async || {
        notified
            .ground
            .client
            .query_opt(sql, &[])
            .await
            .expect("is valid")
            .filter(|row| row.get::<_, i32>(0) == 1)
            .map(drop)
    })
    .await;
    assert_eq!(fails.ids().len(), 1);
    let status = notified.avouch.terminate(secs(20)).await;
    assert!(status.success(), "after {kill_at}: {status}");
}

#[tokio::test]
async fn runtime_killed_at_any_point_of_telling_loses_no_schedule_and_keeps_the_ids() {
    for point in POINTS {
        for nth in [1, MESSAGES / 2, MESSAGES] {
            dies_and_is_followed(point, nth).await;
        }
    }
}

#[tokio::test]
async fn instances_share_the_endpoints_and_one_that_dies_is_followed() {
    let receivers: Vec<Receiver> = futures_util::future::join_all((0..12).map(|_| Receiver::new(200))).await;
    let sections: Vec<String> = receivers.iter().enumerate().map(|(n, r)| r.section(&format!("e{n}"), "")).collect();
    let mut notified = Notified::new(&sections.concat()).await;
    let other = notified.ground.runtime(&notified.settings).await;
    other.wait_for_log("took shards", secs(30)).await;
    let mut ids = notified.insert_many(100, 10).await;
    notified.avouch.kill();
    ids.extend(notified.insert_many(100, 10).await);
    for (n, receiver) in receivers.iter().enumerate() {
        notified.until_count(&format!("e{n}"), "delivered", 200).await;
        assert_eq!(receiver.ids().into_iter().collect::<BTreeSet<_>>(), ids, "e{n}");
    }
}
