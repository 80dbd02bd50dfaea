//! Ownership: a lease, an epoch, two runtimes. Does a former owner's late mark ever take effect, does a hand-over lose or double?
//!
//! One shard whose rows have one key. A frozen runtime is one that stops between looking at its clock and sending: its lease
//! ends in the database, and it goes on where it was.

use stateright::Property;

use crate::explore::{Play, Protocol};

/// A known wrong variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A mark does not look at the epoch.
    MarkWithoutEpoch,
    /// A mark compares the epoch with its snapshot's, and does not lock the shard's row.
    EpochInAJoin,
    /// A shard is given up while something is under way.
    GivenUpBusy,
    /// The clock is not looked at: whoever was once told that it owns the shard goes on. Costs duplicates, and nothing else.
    NoClock,
}

/// The protocol, right or with a mistake.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// How many leases end though their runtime lives, or is dead.
    pub expiries: u8,
    /// How many runtimes die.
    pub crashes: u8,
    /// How often the shard is given to the other one.
    pub gifts: u8,
    /// None: as it is.
    pub mistake: Option<Mistake>,
}

const ROWS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    Unread,
    Queued,
    /// The clock was looked at; it is about to be sent.
    Sending,
    /// The broker holds it.
    Stored,
    /// mark_sent.sql runs: whether its fence let it pass.
    Marking {
        passes: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Runtime {
    lives: bool,
    /// Its lease in the database.
    has_lease: bool,
    /// Its own clock says that the lease holds.
    may_send: bool,
    /// What it was told that it owns: the epoch.
    epoch: Option<usize>,
    is_leaving: bool,
    window: [Slot; ROWS],
}

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    owner: Option<usize>,
    /// Who owned the shard in each epoch; the last is now.
    owners: Vec<Option<usize>>,
    runtimes: [Runtime; 2],
    is_marked: [bool; ROWS],
    arrived: Vec<usize>,
    /// Marks that took effect: in which epoch, whose.
    marks: Vec<(usize, usize)>,
    expiries: u8,
    crashes: u8,
    gifts: u8,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// heartbeat.sql and share.sql: renews the lease, learns what is owned.
    Beat(usize),
    /// acquire.sql.
    Acquire(usize),
    /// read_ready.sql.
    Read(usize),
    /// `Relay::send` looks at the clock.
    Check(usize),
    /// The message goes to the broker, which stores it and says so.
    Send(usize),
    /// mark_sent.sql begins: its fence.
    Mark(usize, usize),
    /// It commits.
    Marked(usize, usize),
    /// give_up.sql, once the relay says that nothing is under way.
    GiveUp(usize),
    /// A third instance is there: the shard is to be given up.
    Leave(usize),
    /// Its lease ends in the database.
    Expire(usize),
    /// It is killed; what it asked of Postgres may still be done.
    Crash(usize),
    /// It starts again.
    Start(usize),
}

impl Runtime {
    fn new(lives: bool) -> Self {
        let window = [Slot::Unread; ROWS];
        Self { lives, has_lease: false, may_send: false, epoch: None, is_leaving: false, window }
    }

    fn is_at_rest(&self) -> bool {
        let is_under_way = |s: &Slot| matches!(s, Slot::Sending | Slot::Stored | Slot::Marking { .. });
        !self.window.iter().any(is_under_way)
    }

    /// `Window::own`: what is owned anew starts afresh; statements that run go on.
    fn is_told(&mut self, epoch: Option<usize>) {
        if self.epoch != epoch {
            let keeps = |s: &Slot| matches!(s, Slot::Marking { .. } | Slot::Sending);
            self.window.iter_mut().filter(|s| !keeps(s)).for_each(|s| *s = Slot::Unread);
            self.is_leaving = false;
        }
        self.epoch = epoch;
    }
}

impl State {
    fn epoch(&self) -> usize {
        self.owners.len() - 1
    }

    fn change_owner(&mut self, owner: Option<usize>) {
        self.owner = owner;
        self.owners.push(owner);
    }
}

impl Ownership {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Marks hold their shard's row for share: whoever changes the owner waits, or skips it.
    fn is_fenced(&self, state: &State) -> bool {
        let locks = !self.is(Mistake::EpochInAJoin) && !self.is(Mistake::MarkWithoutEpoch);
        let marks = |r: &Runtime| r.window.contains(&Slot::Marking { passes: true });
        locks && state.runtimes.iter().any(marks)
    }

    fn works(&self, state: &State, n: usize, actions: &mut Vec<Action>) {
        let runtime = &state.runtimes[n];
        let may_send = (runtime.may_send || self.is(Mistake::NoClock)) && runtime.epoch.is_some();
        let first = runtime.window.iter().position(|s| matches!(s, Slot::Queued | Slot::Sending));
        if may_send && !runtime.is_leaving {
            actions.push(Action::Read(n));
        }
        match first.map(|row| runtime.window[row]) {
            Some(Slot::Sending) => actions.push(Action::Send(n)),
            Some(_) if may_send && !runtime.is_leaving => actions.push(Action::Check(n)),
            _ => {}
        }
        for row in 0..ROWS {
            match runtime.window[row] {
                Slot::Stored => actions.push(Action::Mark(n, row)),
                Slot::Marking { .. } => actions.push(Action::Marked(n, row)),
                _ => {}
            }
        }
        let may_leave = runtime.is_at_rest() || self.is(Mistake::GivenUpBusy);
        if runtime.is_leaving && state.owner == Some(n) && may_leave && !self.is_fenced(state) {
            actions.push(Action::GiveUp(n));
        }
    }
}

impl Protocol for Ownership {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        State {
            owner: None,
            owners: vec![None],
            runtimes: [Runtime::new(true), Runtime::new(true)],
            is_marked: [false; ROWS],
            arrived: Vec::new(),
            marks: Vec::new(),
            expiries: self.expiries,
            crashes: self.crashes,
            gifts: self.gifts,
        }
    }

    fn steps(&self, state: &State, actions: &mut Vec<Action>) {
        let is_free = state.owner.is_none_or(|owner| !state.runtimes[owner].has_lease) && !self.is_fenced(state);
        for (n, runtime) in state.runtimes.iter().enumerate() {
            if !runtime.lives {
                actions.push(Action::Start(n));
                // The dead renew nothing.
                actions.extend(runtime.has_lease.then_some(Action::Expire(n)));
                let running = (0..ROWS).filter(|row| matches!(runtime.window[*row], Slot::Marking { .. }));
                actions.extend(running.map(|row| Action::Marked(n, row)));
                continue;
            }
            actions.push(Action::Beat(n));
            if is_free && runtime.has_lease && state.owner != Some(n) {
                actions.push(Action::Acquire(n));
            }
            self.works(state, n, actions);
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        for (n, runtime) in state.runtimes.iter().enumerate() {
            if state.expiries > 0 && runtime.has_lease {
                actions.push(Action::Expire(n));
            }
            if state.crashes > 0 && runtime.lives {
                actions.push(Action::Crash(n));
            }
            if state.gifts > 0 && runtime.epoch.is_some() && state.owner == Some(n) {
                actions.push(Action::Leave(n));
            }
        }
    }

    fn next(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match *action {
            Action::Beat(n) => {
                let owned = (state.owner == Some(n)).then(|| state.epoch());
                let runtime = &mut next.runtimes[n];
                (runtime.has_lease, runtime.may_send) = (true, true);
                runtime.is_told(owned);
            }
            Action::Acquire(n) => {
                next.change_owner(Some(n));
                let epoch = next.epoch();
                next.runtimes[n].is_told(Some(epoch));
            }
            Action::Read(n) => {
                let window = &mut next.runtimes[n].window;
                let unread = (0..ROWS).filter(|row| !state.is_marked[*row]);
                unread
                    .filter(|row| state.runtimes[n].window[*row] == Slot::Unread)
                    .for_each(|r| window[r] = Slot::Queued);
            }
            Action::Check(n) => {
                let window = &mut next.runtimes[n].window;
                if let Some(slot) = window.iter_mut().find(|s| **s == Slot::Queued) {
                    *slot = Slot::Sending;
                }
            }
            Action::Send(n) => {
                if let Some(row) = state.runtimes[n].window.iter().position(|s| *s == Slot::Sending) {
                    // A third time would tell nothing more.
                    if state.arrived.iter().filter(|r| **r == row).count() < 2 {
                        next.arrived.push(row);
                    }
                    // What is not owned any more is forgotten; the answer finds nothing.
                    let is_owned = state.runtimes[n].epoch.is_some();
                    next.runtimes[n].window[row] = if is_owned { Slot::Stored } else { Slot::Unread };
                }
            }
            Action::Mark(n, row) => {
                let is_mine = state.runtimes[n].epoch == Some(state.epoch());
                let passes = is_mine || self.is(Mistake::MarkWithoutEpoch);
                next.runtimes[n].window[row] = Slot::Marking { passes };
            }
            Action::Marked(n, row) => {
                if state.runtimes[n].window[row] == (Slot::Marking { passes: true }) && !state.is_marked[row] {
                    next.is_marked[row] = true;
                    next.marks.push((state.epoch(), n));
                }
                // A row that the mark did not touch is found again by looking back.
                next.runtimes[n].window[row] = Slot::Unread;
            }
            Action::Leave(n) => {
                next.gifts -= 1;
                next.runtimes[n].is_leaving = true;
                // What waits is left to the next owner.
                next.runtimes[n].window.iter_mut().filter(|s| **s == Slot::Queued).for_each(|s| *s = Slot::Unread);
            }
            Action::GiveUp(n) => {
                next.change_owner(None);
                next.runtimes[n].is_told(None);
            }
            Action::Expire(n) => {
                next.expiries -= u8::from(state.runtimes[n].lives);
                // Its own clock counts from before the heartbeat: it is over no later.
                (next.runtimes[n].has_lease, next.runtimes[n].may_send) = (false, false);
            }
            Action::Crash(n) => {
                next.crashes -= 1;
                let old = &state.runtimes[n];
                let runs = |s: Slot| if matches!(s, Slot::Marking { .. }) { s } else { Slot::Unread };
                let window = old.window.map(runs);
                next.runtimes[n] = Runtime { has_lease: old.has_lease, window, ..Runtime::new(false) };
            }
            // Under a new id: it takes the shard over from what it was.
            Action::Start(n) => {
                if !state.runtimes[n].has_lease && state.runtimes[n].is_at_rest() {
                    next.runtimes[n] = Runtime::new(true);
                    next.owner = state.owner.filter(|owner| *owner != n);
                }
            }
        }
        next
    }

    fn rules(&self) -> Vec<Property<Play<Self>>> {
        vec![
            Property::always("only the owner's marks take effect", |_, s: &State| {
                s.marks.iter().all(|(epoch, runtime)| s.owners[*epoch] == Some(*runtime))
            }),
            Property::always("first occurrences are in order", |_, s: &State| {
                let at = |row: usize| s.arrived.iter().position(|r| *r == row).unwrap_or(usize::MAX);
                (1..ROWS).all(|row| at(row - 1) <= at(row))
            }),
            Property::always("what is marked has arrived", |_, s: &State| {
                (0..ROWS).all(|row| !s.is_marked[row] || s.arrived.contains(&row))
            }),
            Property::always("nothing is sent twice unless somebody died or froze", |play: &Play<Self>, s: &State| {
                let is_calm = (s.expiries, s.crashes) == (play.expiries, play.crashes);
                let mut rows = s.arrived.clone();
                rows.sort_unstable();
                rows.dedup();
                !is_calm || rows.len() == s.arrived.len()
            }),
            Property::sometimes("everything is marked", |_, s: &State| s.is_marked == [true; ROWS]),
        ]
    }

    fn has_ended_well(&self, state: &State) -> bool {
        state.is_marked == [true; ROWS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::{holds, refuted};

    const CALM: Ownership = Ownership { expiries: 0, crashes: 0, gifts: 0, mistake: None };

    #[test]
    fn former_owners_disturb_nothing_however_long_they_froze() {
        holds(Ownership { expiries: 2, ..CALM }, 5_000);
        holds(Ownership { expiries: 1, crashes: 1, ..CALM }, 5_000);
    }

    #[test]
    fn shard_that_is_given_up_is_handed_over_without_a_message_sent_twice() {
        holds(Ownership { gifts: 2, ..CALM }, 100);
        holds(Ownership { gifts: 1, expiries: 1, ..CALM }, 1_000);
    }

    #[test]
    fn clock_of_the_lease_only_spares_duplicates() {
        holds(Ownership { expiries: 1, mistake: Some(Mistake::NoClock), ..CALM }, 1_000);
    }

    #[test]
    fn mark_without_an_epoch_takes_effect_after_the_take_over() {
        let broken = refuted(Ownership { expiries: 1, mistake: Some(Mistake::MarkWithoutEpoch), ..CALM });
        assert_eq!(broken.rule, "only the owner's marks take effect");
    }

    #[test]
    fn epoch_that_is_compared_in_a_join_is_that_of_an_old_snapshot() {
        let broken = refuted(Ownership { expiries: 1, mistake: Some(Mistake::EpochInAJoin), ..CALM });
        assert_eq!(broken.rule, "only the owner's marks take effect");
    }

    #[test]
    fn shard_that_is_given_up_while_something_is_under_way_sends_it_twice() {
        let broken = refuted(Ownership { gifts: 1, mistake: Some(Mistake::GivenUpBusy), ..CALM });
        assert_eq!(broken.rule, "nothing is sent twice unless somebody died or froze");
    }
}
