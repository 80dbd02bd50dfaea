//! JetStream: what it stores, what it takes for a duplicate, and what is on its way to and from it, in any order.

/// A publish on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Publish {
    /// Who waits for the answer.
    pub worker: usize,
    /// For which place of its window.
    pub seq: u8,
    /// The row.
    pub id: usize,
    /// With the row, its `Nats-Msg-Id`.
    pub generation: u8,
}

/// An answer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PubAck {
    /// What it answers.
    pub publish: Publish,
    /// The sequence in the stream.
    pub place: usize,
    /// The broker had the id before.
    pub duplicate: bool,
}

/// The broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broker {
    /// To it.
    pub publishes: Vec<Publish>,
    /// From it.
    pub pubacks: Vec<PubAck>,
    /// What it holds, by place: row and generation.
    pub stream: Vec<Option<(usize, u8)>>,
    /// The dedup window: row, generation, place.
    pub remembered: Vec<(usize, u8, usize)>,
    /// Rows in the order of their first arrival.
    pub arrived: Vec<usize>,
}

impl Broker {
    /// Sends one more.
    pub fn publish(&mut self, publish: Publish) {
        self.publishes.push(publish);
        self.publishes.sort();
    }

    /// One arrives.
    pub fn deliver(&mut self, n: usize) {
        let publish = self.publishes.remove(n);
        let (id, generation) = (publish.id, publish.generation);
        let known = self.remembered.iter().find(|(i, g, _)| (*i, *g) == (id, generation)).map(|(_, _, place)| *place);
        let place = known.unwrap_or(self.stream.len());
        if known.is_none() {
            self.stream.push(Some((id, generation)));
            self.remembered.push((id, generation, place));
            if !self.arrived.contains(&id) {
                self.arrived.push(id);
            }
        }
        self.pubacks.push(PubAck { publish, place, duplicate: known.is_some() });
        self.pubacks.sort();
    }

    /// A direct get of this place shows this message.
    pub fn holds(&self, place: usize, id: usize, generation: u8) -> bool {
        self.stream[place] == Some((id, generation))
    }
}
