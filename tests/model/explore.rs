//! Explores a protocol: its rules hold in every state, and from every state it can still come to its end.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Deref;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

/// A protocol as a state machine.
pub trait Protocol: Clone + Send + Sync + 'static {
    /// All that matters of the world.
    type State: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// One atomic thing that happens.
    type Action: Clone + Debug + PartialEq + Send + Sync + 'static;

    /// How it begins.
    fn start(&self) -> Self::State;
    /// What happens by itself, sooner or later.
    fn steps(&self, state: &Self::State, actions: &mut Vec<Self::Action>);
    /// What may happen or not: crashes, losses, delays.
    fn faults(&self, state: &Self::State, actions: &mut Vec<Self::Action>);
    /// The world after it.
    fn next(&self, state: &Self::State, action: &Self::Action) -> Self::State;
    /// What must hold in every state.
    fn rules(&self) -> Vec<Property<Play<Self>>>;
    /// Nothing is left to be done, and it is as it should be.
    fn has_ended_well(&self, state: &Self::State) -> bool;
}

/// A protocol as the checker plays it.
#[derive(Clone, Debug)]
pub struct Play<P>(P);

impl<P> Deref for Play<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

impl<P: Protocol> Model for Play<P> {
    type State = P::State;
    type Action = P::Action;

    fn init_states(&self) -> Vec<P::State> {
        vec![self.start()]
    }

    fn actions(&self, state: &P::State, actions: &mut Vec<P::Action>) {
        self.steps(state, actions);
        self.faults(state, actions);
    }

    fn next_state(&self, state: &P::State, action: P::Action) -> Option<P::State> {
        Some(self.next(state, &action)).filter(|next| next != state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.rules()
    }
}

/// What was found wrong: the rule, and the shortest way to break it.
#[derive(Debug)]
pub struct Broken<A> {
    /// Its name.
    pub rule: &'static str,
    /// From the start.
    pub way: Vec<A>,
}

/// Every state keeps the rules, and from every state the steps alone can lead to the end; there are at least so many states.
pub fn holds<P: Protocol>(protocol: P, states_min: usize) {
    let checker = Play(protocol.clone()).checker().threads(threads()).target_state_count(STATES_MAX * 8);
    let checker = checker.spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!("{}: {states} states, depth {}", std::any::type_name::<P>(), checker.max_depth());
    assert!(states >= states_min, "{states} states are fewer than {states_min}: has the model lost a part?");
    assert!(states < STATES_MAX, "{states} states: keep the model small");
    if let Some(stuck) = stuck(&protocol) {
        panic!("it can never end well from here:\n{stuck:#?}");
    }
}

/// The checker finds a state that breaks a rule, or one from which it cannot end well: which, and how it comes to that.
pub fn refuted<P: Protocol>(protocol: P) -> Broken<P::Action> {
    let play = Play(protocol.clone()).checker().finish_when(HasDiscoveries::AnyFailures);
    let found = play.spawn_bfs().join().discoveries();
    let rules: Vec<&str> =
        protocol.rules().iter().filter(|r| r.expectation == Expectation::Always).map(|r| r.name).collect();
    if let Some((rule, path)) = found.into_iter().find(|(name, _)| rules.contains(name)) {
        let way = path.into_actions();
        println!("{rule}: {way:#?}");
        return Broken { rule, way };
    }
    assert!(stuck(&protocol).is_some(), "the mistake was not found");
    Broken { rule: NEVER_ENDS, way: Vec::new() }
}

/// What [`refuted`] says of a protocol that keeps its rules and comes to no good end.
pub const NEVER_ENDS: &str = "it can always end well";

/// More would take more than seconds.
const STATES_MAX: usize = 1_000_000;

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(2)
}

/// A state from which no steps lead to a good end.
fn stuck<P: Protocol>(protocol: &P) -> Option<P::State> {
    let mut numbers = HashMap::from([(protocol.start(), 0)]);
    let (mut states, mut before): (Vec<P::State>, Vec<Vec<usize>>) = (vec![protocol.start()], vec![Vec::new()]);
    let mut at = 0;
    while at < states.len() {
        let state = states[at].clone();
        let (mut steps, mut faults) = (Vec::new(), Vec::new());
        protocol.steps(&state, &mut steps);
        protocol.faults(&state, &mut faults);
        for (n, action) in steps.iter().chain(&faults).enumerate() {
            let next = protocol.next(&state, action);
            let number = *numbers.entry(next.clone()).or_insert_with(|| {
                states.push(next);
                before.push(Vec::new());
                states.len() - 1
            });
            if n < steps.len() {
                before[number].push(at);
            }
        }
        at += 1;
    }
    let mut ends_well: Vec<bool> = states.iter().map(|state| protocol.has_ended_well(state)).collect();
    let mut open: Vec<usize> = (0..states.len()).filter(|n| ends_well[*n]).collect();
    while let Some(n) = open.pop() {
        for earlier in &before[n] {
            if !std::mem::replace(&mut ends_well[*earlier], true) {
                open.push(*earlier);
            }
        }
    }
    ends_well.iter().position(|ends_well| !ends_well).map(|n| states[n].clone())
}
