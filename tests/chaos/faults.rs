//! What each fault does, and how it ends: every one is over when its function returns.

mod forget;

use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, sleep_until, timeout};

pub use self::forget::Forgotten;
use crate::proxy::Trap;
use crate::schedule::{Fault, Lane, Planned, Server, Way};
use crate::stage::{RIGHT_TIME, Stage, set_clock};

/// One pulse of a slow server: stopped, then going on for as long.
const PULSE: Duration = Duration::from_millis(60);
/// Between two tries to undo a fault over a connection.
const AGAIN: Duration = Duration::from_millis(200);
/// Undoing needs a server that may be down for another fault's reason.
const UNDO_MAX: Duration = Duration::from_secs(180);
/// A snapshot is held for some times as long as other faults last.
const SNAPSHOT_TIMES: u64 = 3;
/// Traps wait for their event for so long.
const TRAP: Duration = Duration::from_secs(2);

/// Which faults were applied, by name.
pub type Applied = Vec<&'static str>;

/// One series, in its order; late ones at once.
pub async fn play(stage: &Stage, series: &[Planned], began: Instant, forgotten: &Forgotten) -> anyhow::Result<Applied> {
    let mut applied = Vec::new();
    for Planned { at_ms, fault } in series {
        sleep_until(began + Duration::from_millis(*at_ms)).await;
        println!("{:7.1} s  {fault}", began.elapsed().as_secs_f64());
        apply(stage, *fault, forgotten).await.with_context(|| fault.to_string())?;
        applied.push(fault.name());
    }
    Ok(applied)
}

async fn apply(stage: &Stage, fault: Fault, forgotten: &Forgotten) -> anyhow::Result<()> {
    match fault {
        Fault::KillRuntime { slot, down_ms } => kill_runtime(stage, slot, down_ms).await,
        Fault::KillServer { server, down_ms } => return kill_server(stage, server, down_ms).await,
        Fault::RollingRestart => rolling_restart(stage).await,
        Fault::PauseRuntime { slot, ms } => pause_runtime(stage, slot, ms).await,
        Fault::PauseServer { server, ms } => return stop_for(stage, server, 1, Duration::from_millis(ms)).await,
        Fault::SlowServer { server, pulses } => return stop_for(stage, server, pulses, PULSE).await,
        Fault::CutAtCommit { nth, side } => trap(stage, Lane::Producers, Trap::Commit { nth, side }, TRAP).await,
        Fault::CutRuntimeReply { nth, side } => {
            trap(stage, Lane::RuntimesPostgres, Trap::Statement { nth, side }, TRAP).await;
        }
        Fault::LosePubAcks { nth, count, lose } => {
            trap(stage, Lane::RuntimesNats, Trap::PubAck { nth, count, lose }, TRAP).await;
        }
        Fault::BlackHole { lane, way, ms } => block(stage, lane, way, ms).await,
        Fault::DeafListener { way, ms } => {
            let lane = stage.lane(Lane::RuntimesPostgres);
            lane.block_listeners(way);
            pause(ms).await;
            lane.heal();
        }
        Fault::SlowLane { lane, delay_ms, ms } => {
            stage.lane(lane).slow(delay_ms);
            pause(ms).await;
            stage.lane(lane).heal();
        }
        Fault::CutLane { lane } => stage.lane(lane).cut(),
        Fault::FullDisk { server, ms } => return full_disk(stage, server, ms).await,
        Fault::BlindChecker { ms } => {
            do_sql(stage, "revoke select on shop.orders from checker").await;
            pause(ms).await;
            return undo_sql(stage, "grant select on shop.orders to checker").await;
        }
        Fault::StuckChecker { ms } => hold(stage, "begin; lock table shop.orders in access exclusive mode", ms).await,
        Fault::HeldSnapshot { ms } => {
            let sql = "begin isolation level repeatable read; select from avouch.outbox limit 1";
            hold(stage, sql, ms * SNAPSHOT_TIMES).await;
        }
        Fault::ClockJump { seconds, ms } => return jump(stage, seconds, ms).await,
        Fault::Forget { memory } => return forgotten.forget(stage, memory).await,
    }
    Ok(())
}

async fn pause(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

async fn kill_runtime(stage: &Stage, slot: usize, down_ms: u64) {
    let mut runtime = stage.runtimes[slot].lock().await;
    runtime.kill();
    pause(down_ms).await;
    runtime.start_again().await;
}

async fn kill_server(stage: &Stage, server: Server, down_ms: u64) -> anyhow::Result<()> {
    match server {
        Server::Postgres => {
            let mut postgres = stage.postgres.lock().await;
            postgres.kill()?;
            pause(down_ms).await;
            postgres.start_again().await
        }
        Server::Nats => {
            let mut nats = stage.nats.lock().await;
            nats.kill()?;
            pause(down_ms).await;
            nats.start_again().await
        }
    }
}

/// One after another, as a new version is rolled out.
async fn rolling_restart(stage: &Stage) {
    for (slot, runtime) in stage.runtimes.iter().enumerate() {
        let mut runtime = runtime.lock().await;
        if !runtime.stop().await {
            stage.note(format!("runtime {slot} did not end in order within its time"));
        }
        runtime.start_again().await;
        drop(runtime);
        pause(500).await;
    }
}

async fn pause_runtime(stage: &Stage, slot: usize, ms: u64) {
    let runtime = stage.runtimes[slot].lock().await;
    runtime.pause();
    pause(ms).await;
    runtime.resume();
}

async fn stop_for(stage: &Stage, server: Server, times: u64, each: Duration) -> anyhow::Result<()> {
    for _ in 0..times {
        match server {
            Server::Postgres => {
                let postgres = stage.postgres.lock().await;
                postgres.signal(Signal::SIGSTOP)?;
                sleep(each).await;
                postgres.signal(Signal::SIGCONT)?;
            }
            Server::Nats => {
                let nats = stage.nats.lock().await;
                nats.signal(Signal::SIGSTOP)?;
                sleep(each).await;
                nats.signal(Signal::SIGCONT)?;
            }
        }
        if times > 1 {
            sleep(each).await;
        }
    }
    Ok(())
}

async fn trap(stage: &Stage, lane: Lane, trap: Trap, limit: Duration) {
    let lane = stage.lane(lane);
    let before = lane.sprung();
    lane.set(trap);
    let sprung = async {
        while lane.sprung() == before {
            sleep(AGAIN).await;
        }
    };
    // It may wait in vain, in a silence that another fault makes.
    drop(timeout(limit, sprung).await);
    if let Trap::PubAck { .. } = trap {
        // A trap for many is over when they are lost, or the time is.
        sleep(limit).await;
    }
    lane.heal();
}

async fn block(stage: &Stage, lane: Lane, way: Way, ms: u64) {
    stage.lane(lane).block(way);
    pause(ms).await;
    stage.lane(lane).heal();
}

async fn full_disk(stage: &Stage, server: Server, ms: u64) -> anyhow::Result<()> {
    let disk = match server {
        Server::Postgres => &stage.disks.0,
        Server::Nats => &stage.disks.1,
    };
    let Some(disk) = disk else { return Ok(()) };
    disk.fill()?;
    pause(ms).await;
    disk.free()?;
    match server {
        // It has crashed, if it was to write its log meanwhile.
        Server::Postgres => stage.postgres.lock().await.start_again().await,
        // It gives up JetStream until it is started again.
        Server::Nats => kill_server(stage, Server::Nats, 0).await,
    }
}

/// Holds what the statements take until the time is over, or the server ends the session.
async fn hold(stage: &Stage, sql: &str, ms: u64) {
    let Ok(client) = stage.direct().await else { return };
    if matches!(timeout(Duration::from_millis(ms), client.batch_execute(sql)).await, Ok(Ok(()))) {
        pause(ms).await;
    }
}

async fn do_sql(stage: &Stage, sql: &str) {
    if let Ok(client) = stage.direct().await {
        // A server that is away has nothing to be undone.
        drop(client.batch_execute(sql).await);
    }
}

async fn undo_sql(stage: &Stage, sql: &str) -> anyhow::Result<()> {
    let undo = async {
        loop {
            let done = async { stage.direct().await?.batch_execute(sql).await.map_err(anyhow::Error::from) };
            match timeout(UNDO_MAX / 10, done).await {
                Ok(Ok(())) => return,
                _ => sleep(AGAIN).await,
            }
        }
    };
    timeout(UNDO_MAX, undo).await.with_context(|| format!("in vain: {sql}"))
}

async fn jump(stage: &Stage, seconds: i64, ms: u64) -> anyhow::Result<()> {
    let Some(clock) = &stage.clock else { return Ok(()) };
    set_clock(clock, &format!("{seconds:+}s"))?;
    pause(ms).await;
    set_clock(clock, RIGHT_TIME)
}

/// Everything goes again, whatever was left of any fault.
pub async fn heal(stage: &Stage) -> anyhow::Result<()> {
    stage.lanes().iter().for_each(crate::proxy::Proxy::heal);
    stage.postgres.lock().await.start_again().await?;
    stage.nats.lock().await.start_again().await
}
