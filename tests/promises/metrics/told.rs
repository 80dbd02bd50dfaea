//! What waits for endpoints is told as what waits for the broker is: by one instance, by name, and not beyond its end.

use avouch_tests::metrics::{self, Exported};
use avouch_tests::wait::{secs, until};

use crate::ground::Ground;
use crate::notify::{Receiver, settings};

/// More than two rounds of upkeep, which is every ten seconds, on a busy machine.
const LIMIT: std::time::Duration = secs(90);

fn waiting(told: &Exported, endpoint: &str) -> f64 {
    told.sum("avouch_notify_waiting", &[("endpoint", endpoint)])
}

#[tokio::test]
async fn what_waits_for_endpoints_is_told_by_one_instance_and_becomes_nought() {
    let (failing, working) = (Receiver::new(500).await, Receiver::new(200).await);
    let endpoints = format!("{}{}", failing.section("failing", ""), working.section("working", ""));
    let (ground, settings) = (Ground::new().await, settings(&endpoints));
    let ports = [metrics::free_port(), metrics::free_port()];
    let config = |port: u16| format!("{settings}{}", metrics::config(port));
    let mut first = ground.runtime(&config(ports[0])).await;
    ground.insert("payments.settled", 3, 0, 3).await;
    let tells = |m: &Exported| waiting(m, "failing") == 3.0;
    let told = until("the first tells", LIMIT, async || metrics::fetch(ports[0]).await.filter(tells)).await;
    assert!(told.sum("avouch_notify_oldest_seconds", &[("endpoint", "failing")]) > 0.0);
    assert_eq!(waiting(&told, "working"), 0.0);
    assert!(told.0["avouch_notify_waiting"].samples.iter().any(|s| s.labels["endpoint"] == "working"), "and says so");
    let _second = ground.runtime(&config(ports[1])).await;
    first.kill();
    until("the other tells", LIMIT, async || metrics::fetch(ports[1]).await.filter(tells)).await;
    ground.client.batch_execute("select avouch.remove_endpoint('failing')").await.expect("the owner may");
    let nothing = |m: &Exported| {
        waiting(m, "failing") == 0.0 && m.sum("avouch_notify_oldest_seconds", &[("endpoint", "failing")]) == 0.0
    };
    until("what is gone is nought", LIMIT, async || metrics::fetch(ports[1]).await.filter(nothing)).await;
}
