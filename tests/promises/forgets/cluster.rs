//! A cluster of three: its leader is killed and one server is lost for good, and nothing is.

use avouch_runtime::dev::nats_server::Options;
use avouch_runtime::dev::process::free_port;
use avouch_tests::database::Database;
use avouch_tests::servers::OwnNats;
use avouch_tests::stream::jetstream_at;
use avouch_tests::wait::{secs, until};

use super::QUICK;
use crate::ground::{Ground, drained};

async fn three() -> Vec<OwnNats> {
    let routes: Vec<u16> = (0..3).map(|_| free_port().expect("there is one")).collect();
    let all: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let of = |port: u16| Options {
        extra_config: format!("cluster {{ name: three, listen: \"127.0.0.1:{port}\", routes: [{}] }}", all.join(", ")),
        ..Options::default()
    };
    // Each waits for the others: together they answer.
    futures_util::future::join_all(routes.iter().map(|port| OwnNats::start_with(of(*port)))).await
}

#[tokio::test]
async fn cluster_that_loses_its_leader_and_then_a_server_for_good_loses_no_message() {
    let mut servers = three().await;
    let urls = servers.iter().map(|s| s.url()).collect::<Vec<_>>().join(",");
    let ground = Ground::with(Database::create().await, urls, jetstream_at(&servers[0].url()).await).await;
    let avouch = ground.runtime(&format!("replicas = 3\n{QUICK}")).await;
    ground.insert("orders", 10, 0, 200).await;
    drained(&ground.client, secs(60)).await;
    let leader = async |servers: &[OwnNats]| {
        until("the stream to have a leader", secs(60), async || {
            for server in servers.iter().filter(|s| s.pid().is_some()) {
                let Ok(stream) = jetstream_at(&server.url()).await.get_stream(&ground.names.stream).await else {
                    continue;
                };
                let found = stream.cached_info().cluster.as_ref().and_then(|c| c.leader.clone());
                if let Some(at) =
                    found.and_then(|l| servers.iter().position(|s| l.contains(&format!("-{}-", s.port()))))
                {
                    return Some(at);
                }
            }
            None
        })
        .await
    };
    let first = leader(&servers).await;
    servers[first].kill().expect("it runs");
    ground.insert("orders", 10, 200, 400).await;
    drained(&ground.client, secs(120)).await;
    servers[first].start_again().await.expect("its port is free");
    // Another one goes for good, with all it had.
    let gone = (first + 1) % 3;
    servers[gone].kill().expect("it runs");
    super::run("rm", &["-rf", super::path(&servers[gone].dir().join("store"))]);
    ground.insert("orders", 10, 400, 600).await;
    drained(&ground.client, secs(120)).await;
    let mut left = Ground { jetstream: jetstream_at(&servers[first].url()).await, ..ground };
    until("the rest of the cluster to answer", secs(60), async || {
        left.jetstream.get_stream(&left.names.stream).await.ok()
    })
    .await;
    assert!(left.balance().await >= 600);
    left.nats_url.clear();
    assert!(!avouch.log().contains("broker_lost"), "a change of leader is no loss");
}
