//! The doorbell: may a relay sleep while a row waits? Lock K, the trigger's try at it, NOTIFY only when refused, the second look.
//!
//! Two relays, one shard that is handed over, two inserting transactions, lost connections. Without the safety poll,
//! which would find any row a second later.

mod moves;
#[cfg(test)]
mod tests;

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
