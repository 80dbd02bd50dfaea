//! The runtime dies between any two of its effects, at the first, a middle and the last message of a load: whatever it leaves
//! behind, its successor ends every message where it belongs.

mod books;
mod load;

use std::os::unix::process::ExitStatusExt;

use avouch_runtime::killpoint::Point;
use avouch_tests::process::Avouch;
use avouch_tests::wait::secs;
use futures_util::{FutureExt, StreamExt};
use nix::sys::signal::Signal;
use uuid::Uuid;

use self::books::{balanced, everything_ended};
use self::load::{Consumers, insert, times};
use crate::checkback::{FENCED, Shop};

/// Points that are tried beside each other.
const AT_A_TIME: usize = 4;

/// Small batches, so that the first, the middle and the last message are in different ones; waits that suit a test.
const SETTINGS: &str = "claim_ms = 2000\nsettle_rows_max = 5\n\
    [relay]\nread_rows_max = 8\nmark_rows_max = 7\nin_flight_max = 16\nretry_max_ms = 200\n\
    [shards]\nlease_ms = 500\n[upkeep]\nevery_ms = 200\n\
    [receipts]\nevery_ms = 100\ngrace_ms = 500\nrows_max = 8\n[recovery]\nevery_ms = 50\nrows_max = 5\n\
    [consumer.billing]\ntopics = [\"orders.>\", \"doomed.>\"]\nack_wait_ms = 500\ndeadline_ms = 500\ngenerations_max = 1000\n\
    [consumer.stock]\ntopics = [\"lost.>\"]\nack_wait_ms = 500\ndeadline_ms = 500\ngenerations_max = 1000\n";

async fn shop(events: &str) -> Shop {
    let settings =
        SETTINGS.replace("grace_ms", &format!("events_stream = \"{events}\"\nevents_bytes_max = 16_000_000\ngrace_ms"));
    let mut shop = Shop::new(&format!("{settings}{FENCED}")).await;
    // A claim lasts for two calls: a successor waits for it.
    shop.config = shop.config.replace("[rules]\n", "[rules]\ndeadline_ms = 1000\n");
    shop.deploy().await;
    shop
}

/// A load, a runtime that dies when so many of it have come there, and one that ends what is left.
async fn dies_and_is_followed(shop: &Shop, consumers: &Consumers, point: Point, nth: u64) {
    let kill_at = format!("{}:{nth}", point.name());
    insert(shop).await;
    let mut avouch = Avouch::run_with(&shop.config, &[("AVOUCH_KILL_AT", &kill_at)]).await;
    let status = avouch.wait_for_end(secs(60)).await;
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "it was to die at {kill_at}:\n{}", avouch.log());
    let last = avouch.log().lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("killed here") && last.contains(&format!("{:?}", point.name())), "at {kill_at}: {last}");
    avouch.set_env(&[]);
    avouch.start_again().await;
    everything_ended(shop, &kill_at).await;
    balanced(shop, &consumers.acked(), &kill_at).await;
    let status = avouch.terminate(secs(20)).await;
    assert!(status.success(), "after {kill_at}: {status}");
}

/// The first, a middle one and the last of so many.
fn first_middle_last(of: u64) -> Vec<u64> {
    let mut nths = vec![1, of.div_ceil(2), of];
    nths.dedup();
    nths
}

async fn try_point(point: Point) {
    let events = format!("EVENTS_{}", Uuid::now_v7().simple());
    let shop = shop(&events).await;
    let consumers = Consumers::start(&shop);
    for nth in first_middle_last(times(point)) {
        dies_and_is_followed(&shop, &consumers, point, nth).await;
    }
    // It may grow to a gigabyte, which the shared server sets aside.
    shop.ground.jetstream.delete_stream(events).await.expect("it was made");
}

/// `AVOUCH_TEST_KILL_POINT` names a single one.
#[tokio::test]
async fn runtime_killed_at_any_point_ends_every_message_where_it_belongs() {
    let only = std::env::var("AVOUCH_TEST_KILL_POINT").ok();
    // Those of telling outside parties have a load of their own: notify::killed.
    let points = Point::ALL.iter().filter(|p| !p.name().starts_with("notice-"));
    let points = points.filter(|p| only.as_deref().is_none_or(|name| name == p.name()));
    let tries: Vec<_> = points.map(|point| try_point(*point).boxed_local()).collect();
    assert!(!tries.is_empty(), "there is no point {only:?}");
    futures_util::stream::iter(tries).buffer_unordered(AT_A_TIME).collect::<()>().await;
}
