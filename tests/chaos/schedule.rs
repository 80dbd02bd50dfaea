//! Which faults come when: decided by the seed alone, before anything is started. Pure.

use std::fmt;

use crate::rng::Rng;

/// How many `avouch run` there are.
pub const RUNTIMES: usize = 3;
const SLOTS: [usize; RUNTIMES] = [0, 1, 2];
/// The others are never killed, only restarted in order: memory and descriptors are looked at over their long lives.
const KILLED: [usize; 2] = [1, CLOCKED];
/// This one's clock can be moved.
pub const CLOCKED: usize = 2;
/// A kill every five seconds in the mean: 360 in half an hour.
const KILL_GAP_MS: (u64, u64) = (3_500, 6_500);
/// Other trouble comes in between, and beside the kills.
const TROUBLE_GAP_MS: (u64, u64) = (3_000, 9_000);
/// Before the first fault, so that everything has been seen at work.
const CALM_MS: u64 = 2_000;
/// Every kind of fault comes up much sooner.
const PICKS_MAX: u32 = 10_000;

/// Whose connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    RuntimesPostgres,
    RuntimesNats,
    Producers,
    ConsumersPostgres,
    ConsumersNats,
}

/// Which way bytes are held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    FromServer,
    Both,
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Postgres,
    Nats,
}

/// When a connection is cut: before its client learns that a statement is done, or just after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// What becomes of a PubAck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lose {
    Drop,
    HoldMs(u64),
}

/// What the broker is left with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    Nothing,
    OlderCopy,
}

/// One fault, with all that chance decides of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillRuntime { slot: usize, down_ms: u64 },
    KillServer { server: Server, down_ms: u64 },
    RollingRestart,
    PauseRuntime { slot: usize, ms: u64 },
    PauseServer { server: Server, ms: u64 },
    SlowServer { server: Server, pulses: u64 },
    CutAtCommit { nth: u64, side: Side },
    CutRuntimeReply { nth: u64, side: Side },
    LosePubAcks { nth: u64, count: u64, lose: Lose },
    BlackHole { lane: Lane, way: Way, ms: u64 },
    DeafListener { way: Way, ms: u64 },
    SlowLane { lane: Lane, delay_ms: u64, ms: u64 },
    CutLane { lane: Lane },
    FullDisk { server: Server, ms: u64 },
    BlindChecker { ms: u64 },
    StuckChecker { ms: u64 },
    HeldSnapshot { ms: u64 },
    ClockJump { seconds: i64, ms: u64 },
    Forget { memory: Memory },
}

impl Fault {
    /// Its row in the report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KillRuntime { .. } => "kill runtime",
            Self::KillServer { server: Server::Postgres, .. } => "kill postgres",
            Self::KillServer { server: Server::Nats, .. } => "kill nats",
            Self::RollingRestart => "rolling restart",
            Self::PauseRuntime { .. } => "pause runtime",
            Self::PauseServer { server: Server::Postgres, .. } => "pause postgres",
            Self::PauseServer { server: Server::Nats, .. } => "pause nats",
            Self::SlowServer { server: Server::Postgres, .. } => "slow postgres",
            Self::SlowServer { server: Server::Nats, .. } => "slow nats",
            Self::CutAtCommit { side: Side::Before, .. } => "cut before a commit's reply",
            Self::CutAtCommit { side: Side::After, .. } => "cut after a commit's reply",
            Self::CutRuntimeReply { side: Side::Before, .. } => "cut before a runtime's reply",
            Self::CutRuntimeReply { side: Side::After, .. } => "cut after a runtime's reply",
            Self::LosePubAcks { lose: Lose::Drop, .. } => "drop PubAcks",
            Self::LosePubAcks { lose: Lose::HoldMs(_), .. } => "hold PubAcks",
            Self::BlackHole { .. } => "black hole",
            Self::DeafListener { .. } => "deaf listener",
            Self::SlowLane { .. } => "slow network",
            Self::CutLane { .. } => "cut all connections",
            Self::FullDisk { server: Server::Postgres, .. } => "full disk of postgres",
            Self::FullDisk { server: Server::Nats, .. } => "full disk of nats",
            Self::BlindChecker { .. } => "checker without rights",
            Self::StuckChecker { .. } => "checker that times out",
            Self::HeldSnapshot { .. } => "held snapshot",
            Self::ClockJump { .. } => "clock jump",
            Self::Forget { memory: Memory::Nothing } => "broker wiped",
            Self::Forget { memory: Memory::OlderCopy } => "broker rolled back",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self:?}", self.name())
    }
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    pub at_ms: u64,
    pub fault: Fault,
}

/// Whether the broker is made to forget, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgetting {
    Off,
    On,
}

/// What a schedule follows from.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub run_ms: u64,
    pub forgetting: Forgetting,
    /// Only trouble with this in its name, and no kills beside it; empty: all.
    pub only: String,
}

impl Plan {
    /// The kills of a run, and its other faults, each by time: the two go on side by side.
    pub fn series(&self) -> [Vec<Planned>; 2] {
        let mut rng = Rng::part(self.seed, 1);
        let kills = if self.only.is_empty() { series(&mut rng, self.run_ms, KILL_GAP_MS, kill) } else { Vec::new() };
        let mut rng = Rng::part(self.seed, 2);
        [kills, series(&mut rng, self.run_ms, TROUBLE_GAP_MS, |rng| self.trouble(rng))]
    }

    fn trouble(&self, rng: &mut Rng) -> Fault {
        for _ in 0..PICKS_MAX {
            let fault = match self.forgetting {
                Forgetting::On if rng.chance(8) => {
                    Fault::Forget { memory: *rng.pick(&[Memory::Nothing, Memory::OlderCopy]) }
                }
                _ => trouble(rng),
            };
            if fault.name().contains(&self.only) {
                return fault;
            }
        }
        panic!("no fault is called {:?}", self.only);
    }
}

fn series(rng: &mut Rng, run_ms: u64, gap_ms: (u64, u64), mut next: impl FnMut(&mut Rng) -> Fault) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut at_ms = CALM_MS;
    loop {
        at_ms += rng.between(gap_ms.0, gap_ms.1);
        if at_ms >= run_ms {
            return planned;
        }
        planned.push(Planned { at_ms, fault: next(rng) });
    }
}

fn kill(rng: &mut Rng) -> Fault {
    let down_ms = rng.between(0, 1_500);
    match rng.below(10) {
        0..=5 => Fault::KillRuntime { slot: *rng.pick(&KILLED), down_ms },
        6..=7 => Fault::KillServer { server: Server::Nats, down_ms },
        _ => Fault::KillServer { server: Server::Postgres, down_ms },
    }
}

fn trouble(rng: &mut Rng) -> Fault {
    let ms = rng.between(300, 4_000);
    let server = *rng.pick(&[Server::Postgres, Server::Nats]);
    let side = *rng.pick(&[Side::Before, Side::After]);
    let lane = *rng.pick(&[
        Lane::RuntimesPostgres,
        Lane::RuntimesNats,
        Lane::Producers,
        Lane::ConsumersPostgres,
        Lane::ConsumersNats,
    ]);
    let way = *rng.pick(&[Way::ToServer, Way::FromServer, Way::Both]);
    let nth = rng.between(1, 40);
    match rng.below(40) {
        0 => Fault::RollingRestart,
        1..=3 => Fault::PauseRuntime { slot: *rng.pick(&SLOTS), ms },
        4..=6 => Fault::PauseServer { server, ms },
        7..=8 => Fault::SlowServer { server, pulses: rng.between(5, 30) },
        9..=12 => Fault::CutAtCommit { nth, side },
        13..=15 => Fault::CutRuntimeReply { nth, side },
        16..=19 => {
            let lose = if rng.chance(50) { Lose::Drop } else { Lose::HoldMs(ms) };
            Fault::LosePubAcks { nth, count: rng.between(1, 30), lose }
        }
        20..=23 => Fault::BlackHole { lane, way, ms },
        24..=25 => Fault::DeafListener { way, ms },
        26..=27 => Fault::SlowLane { lane, delay_ms: rng.between(5, 60), ms },
        28..=29 => Fault::CutLane { lane },
        30..=31 => Fault::FullDisk { server, ms },
        32..=33 => Fault::BlindChecker { ms },
        34..=35 => Fault::StuckChecker { ms },
        36..=37 => Fault::HeldSnapshot { ms },
        _ => {
            let seconds = i64::try_from(rng.between(1, 7_200)).expect("is small");
            Fault::ClockJump { seconds: if rng.chance(50) { seconds } else { -seconds }, ms }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(seed: u64, forgetting: Forgetting) -> [Vec<Planned>; 2] {
        Plan { seed, run_ms: 1_800_000, forgetting, only: String::new() }.series()
    }

    #[test]
    fn seed_decides_the_whole_schedule() {
        assert_eq!(plan(7, Forgetting::On), plan(7, Forgetting::On));
        assert_ne!(plan(7, Forgetting::Off), plan(8, Forgetting::Off));
    }

    #[test]
    fn half_an_hour_has_more_than_300_kills_and_every_kind_of_fault() {
        for seed in 0..20 {
            let [kills, troubles] = plan(seed, Forgetting::On);
            assert!(kills.len() > 300, "{} kills", kills.len());
            let kinds: BTreeSet<_> = kills.iter().chain(&troubles).map(|p| p.fault.name()).collect();
            assert_eq!(kinds.len(), 27, "{kinds:?}");
        }
    }

    #[test]
    fn broker_forgets_only_when_asked_to() {
        let [_, troubles] = plan(7, Forgetting::Off);
        assert!(!troubles.iter().any(|p| matches!(p.fault, Fault::Forget { .. })));
    }

    #[test]
    fn one_runtime_lives_long() {
        let [kills, _] = plan(7, Forgetting::Off);
        assert!(!kills.iter().any(|p| matches!(p.fault, Fault::KillRuntime { slot: 0, .. })));
    }

    #[test]
    fn one_kind_of_trouble_can_be_asked_for() {
        let only = "full disk".to_owned();
        let [kills, troubles] = Plan { seed: 7, run_ms: 60_000, forgetting: Forgetting::Off, only }.series();
        assert!(kills.is_empty() && !troubles.is_empty());
        assert!(troubles.iter().all(|p| matches!(p.fault, Fault::FullDisk { .. })));
    }
}
