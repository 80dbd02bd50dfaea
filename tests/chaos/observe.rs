//! What is seen of the runtimes while they run: who owns which shard, what they use, and whether one ended by itself.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::Client;

use crate::facts::{Owned, Sample, Witness};
use crate::stage::{Runtime, Stage};

/// A lease is many times as long: no owner goes unseen for want of looking.
const OWNERS_EVERY: Duration = Duration::from_millis(100);
const SAMPLES_EVERY: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(2);
const OWNERS: &str = "select shard, epoch, owner from avouch.shard order by shard";
/// Of a log, when its process has ended by itself.
const LAST_LINES: usize = 4;

/// All that was seen.
#[derive(Debug, Default)]
pub struct Seen {
    owners: Mutex<Vec<Owned>>,
    samples: Mutex<Vec<Sample>>,
    ended: Mutex<Vec<String>>,
}

impl Seen {
    /// Owners, samples, and the runtimes that ended by themselves.
    pub fn take(&self) -> (Vec<Owned>, Vec<Sample>, Vec<String>) {
        let expect = "nobody panics with what was seen";
        (
            std::mem::take(&mut self.owners.lock().expect(expect)),
            std::mem::take(&mut self.samples.lock().expect(expect)),
            std::mem::take(&mut self.ended.lock().expect(expect)),
        )
    }

    /// Looks at the shards' owners for as long as anybody wants to know. A change is kept, its repetitions are not.
    pub async fn owners(&self, stage: &Stage) {
        let (mut ticks, mut client, mut last) = (ticks(OWNERS_EVERY), None::<Client>, Vec::new());
        loop {
            ticks.tick().await;
            if client.as_ref().is_none_or(Client::is_closed) {
                client = stage.direct().await.ok();
            }
            let Some(asked) = &client else { continue };
            let Ok(Ok(rows)) = timeout(ANSWER_MAX, asked.query(OWNERS, &[])).await else {
                client = None;
                continue;
            };
            let now: Vec<Owned> = rows
                .iter()
                .map(|row| Owned { by: Witness::Poll, shard: row.get(0), epoch: row.get(1), owner: row.get(2) })
                .collect();
            let new = now.iter().enumerate().filter(|(at, owned)| last.get(*at) != Some(*owned));
            self.owners.lock().expect("nobody panics with it").extend(new.map(|(_, owned)| owned.clone()));
            last = now;
        }
    }

    /// Looks at the processes. One that has ended by itself is started again, as a service manager would.
    pub async fn runtimes(&self, stage: &Stage) {
        let mut ticks = ticks(SAMPLES_EVERY);
        loop {
            ticks.tick().await;
            for (slot, runtime) in stage.runtimes.iter().enumerate() {
                // One that has a fault of its own at the moment is not looked at.
                let Ok(mut runtime) = runtime.try_lock() else { continue };
                if runtime.has_ended() {
                    let last: Vec<String> = runtime.log().lines().rev().take(LAST_LINES).map(str::to_owned).collect();
                    let told = last.into_iter().rev().collect::<Vec<_>>().join(" / ");
                    self.ended.lock().expect("nobody panics with it").push(format!("runtime {slot}: {told}"));
                    runtime.kill();
                    runtime.start_again().await;
                } else {
                    self.samples.lock().expect("nobody panics with it").extend(sample(&runtime));
                }
            }
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// None: it ends at this very moment.
fn sample(runtime: &Runtime) -> Option<Sample> {
    let pid = runtime.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(Sample {
        pid,
        age_ms: u64::try_from(runtime.age().as_millis()).ok()?,
        rss_kib: rss.trim().trim_end_matches(" kB").parse().ok()?,
        descriptors: u64::try_from(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count()).ok()?,
    })
}
