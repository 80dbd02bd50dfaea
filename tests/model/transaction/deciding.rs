//! What a deciding transaction does, statement by statement.

use super::{Action, Business, Deciding, FOR, Isolation, Message, Mistake, Snapshot, State, Transaction, Tx, Who};

impl Transaction {
    pub(super) fn is(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    pub(super) fn begins(&self, state: &State, actions: &mut Vec<Action>) {
        let is_free = |who: Who| state.deciding[who as usize] == Deciding::No;
        if is_free(Who::Producer) {
            match self.business {
                Business::Here => actions.extend([true, false].map(|commits| Action::Begin(Who::Producer, commits))),
                Business::Elsewhere if state.happened => actions.push(Action::Begin(Who::Producer, true)),
                Business::Elsewhere if state.given_up => actions.push(Action::Begin(Who::Producer, false)),
                Business::Elsewhere => {}
            }
        }
        if is_free(Who::Checker) && state.tx == Tx::Prepared {
            actions.push(Action::Begin(Who::Checker, state.happened));
            actions.push(Action::Park);
        }
        if is_free(Who::Operator) && state.tx == Tx::InDoubt {
            actions.extend([true, false].map(|commits| Action::Begin(Who::Operator, commits)));
        }
    }

    /// What the lock is taken for, once it can be: where this moves the transaction, or none if it is not to be moved.
    fn moves_to(&self, state: &State, who: Who, commits: bool) -> Option<Tx> {
        let to = if commits { Tx::Committed } else { Tx::RolledBack };
        let undecided = matches!(state.tx, Tx::Prepared | Tx::InDoubt);
        match who {
            Who::Producer if undecided || self.is(Mistake::NoFence) => Some(to),
            Who::Producer if self.business == Business::Elsewhere && state.tx != to => Some(Tx::InDoubt),
            Who::Checker if state.tx == Tx::Prepared || self.is(Mistake::UnguardedVerdict) => Some(to),
            Who::Operator if undecided => Some(to),
            Who::Producer | Who::Checker | Who::Operator => None,
        }
    }

    pub(super) fn moved(&self, state: &mut State, who: Who, commits: bool, begun: Snapshot) {
        // `skip locked`: somebody is deciding, so the verdict comes to nothing and is asked for again.
        let skips = who != Who::Producer && state.is_locked();
        let is_fixed = self.isolation == Isolation::RepeatableRead;
        if skips || is_fixed && begun.changes != state.changes {
            state.deciding[who as usize] = Deciding::No;
            return;
        }
        let keeps = is_fixed || self.is(Mistake::OneSnapshot);
        let snapshot = if keeps { begun } else { state.snapshot() };
        state.deciding[who as usize] = match self.moves_to(state, who, commits) {
            Some(to) => Deciding::Moved { to, snapshot },
            None => Deciding::Over,
        };
    }

    pub(super) fn released(&self, state: &mut State, who: Who, to: Tx, earlier: Snapshot) {
        let keeps = self.is(Mistake::OneSnapshot) || self.isolation == Isolation::RepeatableRead;
        let snapshot = if keeps { earlier } else { state.snapshot() };
        let held = |n: &usize| snapshot.messages & (1 << n) != 0 && state.messages[*n] == Message::Prepared;
        let of = |wanted: bool| (0..2).filter(held).filter(|n| (FOR[*n] == to) == wanted).map(|n| 1 << n).sum();
        let (released, cancelled) = if to == Tx::InDoubt { (0, 0) } else { (of(true), of(false)) };
        state.deciding[who as usize] = Deciding::Released { to, released, cancelled };
    }

    pub(super) fn ended(&self, state: &mut State, who: Who, (to, released, cancelled): (Tx, u8, u8)) {
        let was = std::mem::replace(&mut state.tx, to);
        state.changes += 1;
        for n in 0..2 {
            if released & (1 << n) != 0 {
                state.messages[n] = Message::Ready;
            } else if cancelled & (1 << n) != 0 {
                state.messages[n] = Message::Cancelled;
            } else if to == Tx::InDoubt && state.messages[n] == Message::Cancelled {
                // `report`, contradicting: held again, and a person decides.
                state.messages[n] = Message::Prepared;
            }
        }
        state.contradicted |= to == Tx::InDoubt;
        state.overruled |= who == Who::Operator || was == Tx::InDoubt;
        state.happened |= self.business == Business::Here && who == Who::Producer && to == Tx::Committed;
        state.deciding[who as usize] = Deciding::Over;
        if to == Tx::InDoubt {
            state.deciding[Who::Operator as usize] = Deciding::No;
        }
    }
}
