//! The doorbell: may a relay sleep while a row waits? Lock K, the trigger's try at it, NOTIFY only when refused, the second look.
//!
//! Two relays, one shard that is handed over, two inserting transactions, lost connections. Without the safety poll,
//! which would find any row a second later.

use stateright::Property;

use crate::explore::{Play, Protocol};

/// A known wrong variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// K is held, so the relay sleeps: it does not look once more.
    NoSecondLook,
    /// A ring during the last look is taken for one before it.
    RingDuringTheLookIsIgnored,
    /// The shared lock ends with the trigger and not with the transaction.
    LockEndsBeforeTheCommit,
    /// A relay whose shard was taken away keeps K.
    FormerOwnerKeepsK,
    /// A grant that nobody waits for any more is kept: its wish went out behind the wake-up that was to undo it.
    OutdatedGrantIsKept,
}

/// The protocol, right or with a mistake.
#[derive(Clone, Debug)]
pub struct Doorbell {
    /// How often the shard changes hands: at most once.
    pub handovers: u8,
    /// How many listening sessions are lost.
    pub cuts: u8,
    /// None: as it is.
    pub mistake: Option<Mistake>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Insert {
    Begun,
    /// The trigger has run; whether it got K shared, and whether it will notify.
    Committing {
        shares: bool,
        notifies: bool,
    },
    /// Visible; its locks are still there.
    Visible {
        shares: bool,
        notifies: bool,
    },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Attention {
    Awake,
    /// K was asked for.
    FallingAsleep,
    /// `reading`: the last look's snapshot was taken, and what it saw.
    LastLook {
        reading: Option<u8>,
        look_again: bool,
    },
    Asleep,
}

/// The listening connection, as the relay knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ear {
    Listens,
    /// The server has ended the session and freed K; the relay does not know yet.
    Cut,
    Deaf,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Relay {
    owns: bool,
    /// What `shards` has told it and it has not taken up: `take_ownership`.
    told: Option<bool>,
    attention: Attention,
    ear: Ear,
    rung: bool,
    /// Wishes that `fall_asleep` has not sent yet, and whether they still count: its future is polled later.
    unsent: Vec<bool>,
    /// To the listening connection.
    commands: Vec<Command>,
    /// From it: the answer to the latest wish.
    granted: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Command {
    FallAsleep { counts: bool },
    WakeUp,
}

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    inserts: [Insert; 2],
    /// Rows that were read, by anybody.
    read: u8,
    relays: [Relay; 2],
    /// Who holds K exclusively.
    k: Option<usize>,
    handovers: u8,
    cuts: u8,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `avouch.doorbell`, at commit: try K shared.
    Trigger(usize),
    /// The commit is visible.
    Commit(usize),
    /// Its locks are gone, its notification is out.
    Unlock(usize),
    /// `relay::look::start_reading`, awake: what is there is read.
    Read(usize),
    /// `start_sleeping`: wishes to have K.
    FallAsleep(usize),
    /// `Doorbell::fall_asleep` is polled: the wish is sent.
    SendWish(usize),
    /// `listen_once` takes a command: `pg_try_advisory_lock`, or `pg_advisory_unlock_all`.
    Obey(usize),
    /// `slept`: the answer is here.
    Slept(usize),
    /// The last look's snapshot.
    Look(usize),
    /// `looked`: the last look is over.
    Looked(usize),
    /// `wake`: the bell is heard.
    Wake(usize),
    /// `take_ownership`.
    TakeOwnership(usize),
    /// `listen_once` ends, `bell.ring("rescan")`.
    NoticeCut(usize),
    /// `listen_once` begins, `bell.ring("rescan")`.
    ListenAgain(usize),
    /// The shard goes from the first relay to the second.
    HandOver,
    /// The server ends a listening session, such as a frozen relay's.
    Cut(usize),
}

impl State {
    fn visible(&self) -> u8 {
        let is_visible = |i: &Insert| matches!(i, Insert::Visible { .. } | Insert::Ended);
        (0..2).filter(|n| is_visible(&self.inserts[*n])).map(|n| 1 << n).sum()
    }

    fn unread(&self) -> u8 {
        self.visible() & !self.read
    }

    fn is_shared(&self) -> bool {
        let shares =
            |i: &Insert| matches!(i, Insert::Committing { shares: true, .. } | Insert::Visible { shares: true, .. });
        self.inserts.iter().any(shares)
    }

    /// `relay::look::awake`.
    fn awaken(&mut self, n: usize) {
        let relay = &mut self.relays[n];
        if relay.attention != Attention::Awake && relay.ear != Ear::Deaf {
            relay.commands.push(Command::WakeUp);
        }
        relay.attention = Attention::Awake;
        // Only the answer to the latest wish counts.
        relay.granted = None;
        relay.unsent.fill(false);
        relay
            .commands
            .iter_mut()
            .filter(|c| **c != Command::WakeUp)
            .for_each(|c| *c = Command::FallAsleep { counts: false });
    }

    /// `doorbell::lock`.
    fn lock(&mut self, n: usize) -> bool {
        let is_free = self.k.is_none_or(|holder| holder == n) && !self.is_shared();
        let is_granted = self.relays[n].ear == Ear::Listens && is_free;
        if is_granted {
            self.k = Some(n);
        }
        is_granted
    }

    /// The session of the listener is gone: K, and what was not delivered.
    fn cut(&mut self, n: usize) {
        self.k = self.k.filter(|holder| *holder != n);
        self.relays[n].ear = Ear::Cut;
        self.relays[n].rung = false;
    }
}

impl Doorbell {
    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn relay_steps(&self, state: &State, n: usize, actions: &mut Vec<Action>) {
        let relay = &state.relays[n];
        let may_work = relay.owns && relay.told.is_none();
        match relay.attention {
            Attention::Awake if may_work && state.unread() != 0 => actions.push(Action::Read(n)),
            Attention::Awake if may_work => actions.push(Action::FallAsleep(n)),
            Attention::LastLook { reading: None, .. } => actions.push(Action::Look(n)),
            Attention::LastLook { reading: Some(_), .. } => actions.push(Action::Looked(n)),
            Attention::Awake | Attention::FallingAsleep | Attention::Asleep => {}
        }
        if relay.rung {
            actions.push(Action::Wake(n));
        }
        if !relay.unsent.is_empty() {
            actions.push(Action::SendWish(n));
        }
        if !relay.commands.is_empty() && relay.ear != Ear::Cut {
            actions.push(Action::Obey(n));
        }
        if relay.granted.is_some() {
            actions.push(Action::Slept(n));
        }
        if relay.told.is_some() {
            actions.push(Action::TakeOwnership(n));
        }
        match relay.ear {
            Ear::Listens => {}
            Ear::Cut => actions.push(Action::NoticeCut(n)),
            Ear::Deaf => actions.push(Action::ListenAgain(n)),
        }
    }

    fn insert_next(&self, state: &mut State, action: &Action) {
        match *action {
            Action::Trigger(n) => {
                let shares = state.k.is_none();
                let keeps = shares && !self.is(Mistake::LockEndsBeforeTheCommit);
                state.inserts[n] = Insert::Committing { shares: keeps, notifies: !shares };
            }
            Action::Commit(n) => {
                if let Insert::Committing { shares, notifies } = state.inserts[n] {
                    state.inserts[n] = Insert::Visible { shares, notifies };
                }
            }
            Action::Unlock(n) => {
                if let Insert::Visible { notifies: true, .. } = state.inserts[n] {
                    state.relays.iter_mut().filter(|r| r.ear == Ear::Listens).for_each(|r| r.rung = true);
                }
                state.inserts[n] = Insert::Ended;
            }
            _ => {}
        }
    }

    fn sleep_next(&self, state: &mut State, action: &Action) {
        match *action {
            Action::FallAsleep(n) => {
                state.relays[n].attention = Attention::FallingAsleep;
                state.relays[n].unsent.push(true);
            }
            Action::SendWish(n) => {
                let counts = state.relays[n].unsent.remove(0);
                state.relays[n].commands.push(Command::FallAsleep { counts });
            }
            Action::Obey(n) => match state.relays[n].commands.remove(0) {
                Command::WakeUp => state.k = state.k.filter(|holder| *holder != n),
                Command::FallAsleep { counts } => {
                    let is_granted = state.lock(n);
                    if counts {
                        state.relays[n].granted = Some(is_granted);
                    } else if is_granted
                        && state.relays[n].attention == Attention::Awake
                        && !self.is(Mistake::OutdatedGrantIsKept)
                    {
                        state.relays[n].commands.push(Command::WakeUp);
                    }
                }
            },
            Action::Slept(n) => {
                state.relays[n].attention = match state.relays[n].granted.take() {
                    Some(true) if self.is(Mistake::NoSecondLook) => Attention::Asleep,
                    Some(true) => Attention::LastLook { reading: None, look_again: false },
                    Some(false) | None => Attention::Awake,
                };
            }
            Action::Look(n) => {
                let saw = state.visible();
                state.relays[n].attention = Attention::LastLook { reading: Some(saw), look_again: false };
            }
            Action::Looked(n) => {
                if let Attention::LastLook { reading: Some(saw), look_again } = state.relays[n].attention {
                    state.read |= saw;
                    state.relays[n].attention = match look_again {
                        true => Attention::LastLook { reading: None, look_again: false },
                        false => Attention::Asleep,
                    };
                }
            }
            Action::Wake(n) => {
                state.relays[n].rung = false;
                match state.relays[n].attention {
                    Attention::Asleep => {
                        state.relays[n].attention = Attention::LastLook { reading: None, look_again: false };
                    }
                    Attention::LastLook { reading, .. } => {
                        let look_again = !self.is(Mistake::RingDuringTheLookIsIgnored);
                        state.relays[n].attention = Attention::LastLook { reading, look_again };
                    }
                    Attention::Awake | Attention::FallingAsleep => state.awaken(n),
                }
            }
            _ => {}
        }
    }
}

impl Protocol for Doorbell {
    type State = State;
    type Action = Action;

    fn start(&self) -> State {
        let relay = |owns| Relay {
            owns,
            told: None,
            attention: Attention::Awake,
            ear: Ear::Listens,
            rung: false,
            unsent: Vec::new(),
            commands: Vec::new(),
            granted: None,
        };
        State {
            inserts: [Insert::Begun; 2],
            read: 0,
            relays: [relay(true), relay(false)],
            k: None,
            handovers: self.handovers,
            cuts: self.cuts,
        }
    }

    fn steps(&self, state: &State, actions: &mut Vec<Action>) {
        for n in 0..2 {
            match state.inserts[n] {
                Insert::Begun => actions.push(Action::Trigger(n)),
                Insert::Committing { .. } => actions.push(Action::Commit(n)),
                Insert::Visible { .. } => actions.push(Action::Unlock(n)),
                Insert::Ended => {}
            }
            self.relay_steps(state, n, actions);
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        if state.handovers > 0 {
            actions.push(Action::HandOver);
        }
        if state.cuts > 0 {
            actions.extend((0..2).filter(|n| state.relays[*n].ear == Ear::Listens).map(Action::Cut));
        }
    }

    fn next(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match *action {
            Action::Read(_) => next.read |= state.visible(),
            Action::TakeOwnership(n) => {
                next.relays[n].owns = state.relays[n].told == Some(true);
                next.relays[n].told = None;
                if next.relays[n].owns || !self.is(Mistake::FormerOwnerKeepsK) {
                    next.awaken(n);
                }
            }
            Action::NoticeCut(n) => {
                // What is asked of a deaf connection is answered with a no.
                next.relays[n].ear = Ear::Deaf;
                next.awaken(n);
            }
            Action::ListenAgain(n) => {
                next.relays[n].ear = Ear::Listens;
                next.awaken(n);
            }
            Action::HandOver => {
                next.handovers -= 1;
                next.relays[0].told = Some(false);
                next.relays[1].told = Some(true);
            }
            Action::Cut(n) => {
                next.cuts -= 1;
                next.cut(n);
            }
            Action::Trigger(_) | Action::Commit(_) | Action::Unlock(_) => self.insert_next(&mut next, action),
            Action::FallAsleep(_)
            | Action::SendWish(_)
            | Action::Obey(_)
            | Action::Slept(_)
            | Action::Look(_)
            | Action::Looked(_)
            | Action::Wake(_) => self.sleep_next(&mut next, action),
        }
        next
    }

    fn rules(&self) -> Vec<Property<Play<Self>>> {
        vec![
            Property::always("no wake-up is lost", |_, state: &State| {
                // Whoever is to read will look: it is awake, was rung, or will notice something.
                let will_ring = state.inserts.iter().any(|i| matches!(i, Insert::Visible { notifies: true, .. }));
                let will_look = |r: &Relay| {
                    let is_owner = r.told.unwrap_or(r.owns);
                    is_owner
                        && (r.attention != Attention::Asleep || r.rung || r.told.is_some() || r.ear != Ear::Listens)
                };
                state.unread() == 0 || will_ring || state.relays.iter().any(will_look)
            }),
            Property::always("no relay keeps K while it is awake", |_, state: &State| {
                state.k.is_none_or(|n| {
                    let relay = &state.relays[n];
                    relay.attention != Attention::Awake || !relay.commands.is_empty() || !relay.unsent.is_empty()
                })
            }),
            Property::sometimes("a relay sleeps after everything was read", |_, state: &State| {
                state.read == 3 && state.relays.iter().any(|r| r.attention == Attention::Asleep)
            }),
            Property::sometimes("a row came without a ring", |_, state: &State| {
                state.inserts.iter().any(|i| matches!(i, Insert::Visible { notifies: false, .. }))
            }),
            Property::sometimes("a row rang", |_, state: &State| {
                state.inserts.iter().any(|i| matches!(i, Insert::Visible { notifies: true, .. }))
            }),
        ]
    }

    fn has_ended_well(&self, state: &State) -> bool {
        let owner_sleeps = state.relays.iter().any(|r| r.owns && r.told.is_none() && r.attention == Attention::Asleep);
        state.inserts.iter().all(|i| *i == Insert::Ended) && state.unread() == 0 && owner_sleeps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::{NEVER_ENDS, holds, refuted};

    #[test]
    fn doorbell_loses_no_wake_up_in_any_interleaving() {
        holds(Doorbell { handovers: 1, cuts: 0, mistake: None }, 10_000);
        holds(Doorbell { handovers: 0, cuts: 2, mistake: None }, 10_000);
    }

    #[test]
    fn doorbell_with_a_mistake_loses_a_wake_up() {
        for mistake in [Mistake::NoSecondLook, Mistake::RingDuringTheLookIsIgnored, Mistake::LockEndsBeforeTheCommit] {
            let broken = refuted(Doorbell { handovers: 1, cuts: 0, mistake: Some(mistake) });
            assert_eq!(broken.rule, "no wake-up is lost", "{mistake:?}");
        }
    }

    #[test]
    fn former_owner_that_keeps_k_keeps_the_next_one_awake() {
        let broken = refuted(Doorbell { handovers: 1, cuts: 0, mistake: Some(Mistake::FormerOwnerKeepsK) });
        assert_eq!(broken.rule, NEVER_ENDS);
    }

    #[test]
    fn grant_of_an_outdated_wish_that_is_kept_makes_every_insert_notify_an_awake_relay() {
        let broken = refuted(Doorbell { handovers: 1, cuts: 0, mistake: Some(Mistake::OutdatedGrantIsKept) });
        assert_eq!(broken.rule, "no relay keeps K while it is awake");
    }
}
