//! What inserting transactions and relays do about K and the bell.

use super::{Action, Attention, Command, Doorbell, Ear, Insert, Mistake, State};

impl Doorbell {
    pub(super) fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    pub(super) fn relay_steps(&self, state: &State, n: usize, actions: &mut Vec<Action>) {
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

    pub(super) fn insert_next(&self, state: &mut State, action: &Action) {
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

    pub(super) fn sleep_next(&self, state: &mut State, action: &Action) {
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
