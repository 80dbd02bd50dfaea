//! Several runtimes on one database and one stream, each with wires of its own to the servers; with `AVOUCH_TEST_NAMESPACES=1`, which
//! needs root, each in a network namespace of its own.

use avouch_tests::database::SHARDS;
use avouch_tests::namespace::Namespace;
use avouch_tests::process::Avouch;
use avouch_tests::servers::shared;
use avouch_tests::wait::{secs, until};
use avouch_tests::wire::Wire;

use crate::ground::{Ground, rounds};

/// Short leases; nothing is sent twice because an answer took its time.
const SETTINGS: &str = "[shards]\nlease_ms = 900\n[relay]\nretry_max_ms = 200\nack_timeout_ms = 60000\n";

/// A runtime and its wires.
pub struct Member {
    pub name: String,
    pub avouch: Avouch,
    pub postgres: Wire,
    pub nats: Wire,
    cable: Option<Namespace>,
}

impl Member {
    /// Nothing arrives at it or leaves it.
    pub fn cut_off(&self) {
        match &self.cable {
            Some(cable) => cable.cut(),
            None => {
                self.postgres.cut();
                self.nats.cut();
            }
        }
    }

    /// Whatever was done to it is over.
    pub fn recover(&self) {
        self.avouch.resume();
        self.postgres.mend();
        self.nats.mend();
        if let Some(cable) = &self.cable {
            cable.mend();
        }
    }
}

/// What they share, and who they are.
pub struct Fleet {
    pub ground: Ground,
    pub members: Vec<Member>,
    joined: u32,
}

impl Fleet {
    /// Nobody yet.
    pub async fn new() -> Fleet {
        Fleet { ground: Ground::new().await, members: Vec::new(), joined: 0 }
    }

    /// Another runtime, which is told by its name in the books.
    pub async fn joins(&mut self) {
        self.joined += 1;
        let name = format!("r{}", self.joined);
        let cable = (rounds("AVOUCH_TEST_NAMESPACES", 0) > 0).then(Namespace::new);
        let here = cable.as_ref().map_or("127.0.0.1", Namespace::here);
        let (postgres, nats) = (shared().postgres.port(), shared().nats.port());
        let wires = (Wire::from(here, postgres).await, Wire::from(here, nats).await);
        let config = format!(
            "instance_name = \"{name}\"\n{}[source.main.tls]\nmode = \"disable\"\n{SETTINGS}",
            self.ground.config("").replace("[nats]\n", "[nats]\nping_interval_ms = 60000\n")
        );
        let config = config.replace(&format!("127.0.0.1:{postgres}"), &format!("{here}:{}", wires.0.port()));
        let config = config.replace(&format!("127.0.0.1:{nats}"), &format!("{here}:{}", wires.1.port()));
        let avouch = match &cable {
            Some(cable) => Avouch::run_in(&config, cable).await,
            None => Avouch::run(&config).await,
        };
        avouch.wait_for_log("avouch runs", secs(30)).await;
        self.members.push(Member { name, avouch, postgres: wires.0, nats: wires.1, cable });
    }

    /// One says goodbye.
    pub async fn leaves(&mut self, which: usize) {
        let mut member = self.members.remove(which);
        let status = member.avouch.terminate(secs(20)).await;
        assert!(status.success(), "{} ended with {status}", member.name);
    }

    /// One dies without a word.
    pub fn dies(&mut self, which: usize) {
        self.members.remove(which).avouch.kill();
    }

    /// How many shards those with a lease own, fewest first.
    pub async fn shares(&self) -> Vec<i64> {
        let sql = "select count(s.shard) from avouch.instance i left join avouch.shard s on s.owner = i.id \
                   where i.lease_until > clock_timestamp() group by i.id order by 1";
        let rows = self.ground.client.query(sql, &[]).await.expect("the server runs");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until so many own all shards, none more than one above another.
    pub async fn shared_fairly(&self, by: usize) {
        until(&format!("the shards to be shared by {by}"), secs(60), async || {
            let shares = self.shares().await;
            let (first, last) = (shares.first()?, shares.last()?);
            let is_fair = shares.len() == by && shares.iter().sum::<i64>() == i64::from(SHARDS) && last - first <= 1;
            is_fair.then_some(())
        })
        .await;
    }

    /// Waits until this one owns nothing.
    pub async fn owns_nothing(&self, name: &str) {
        let sql =
            "select not exists (select from avouch.shard s join avouch.instance i on i.id = s.owner where i.name = $1)";
        until(&format!("{name} to own nothing"), secs(60), async || {
            self.ground.client.query_one(sql, &[&name]).await.ok()?.get::<_, bool>(0).then_some(())
        })
        .await;
    }
}
