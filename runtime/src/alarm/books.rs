//! Which alarms are sent now, and which are counted. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Alarm, Kind};

/// The books of one sink: what waits for it, and what it was told lately.
pub struct Books {
    repeat: Duration,
    max: usize,
    entries: HashMap<(Kind, String, String), Entry>,
    lost: u64,
}

struct Entry {
    /// When the next of these may be sent.
    due_at: Instant,
    /// The last of those that were not sent, with their number.
    held: Option<Alarm>,
}

impl Books {
    /// Empty books for at most `max` different alarms; equal ones are sent once in `repeat`.
    pub fn new(repeat: Duration, max: usize) -> Self {
        Self { repeat, max, entries: HashMap::new(), lost: 0 }
    }

    /// Takes an alarm. If there is no room for it, returns how many were lost since [`Books::take_lost`].
    pub fn take(&mut self, alarm: Alarm, now: Instant) -> Option<u64> {
        let key = (alarm.kind, alarm.source.clone(), alarm.subject.clone());
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            self.entries.retain(|_, entry| entry.held.is_some() || entry.due_at > now);
            if self.entries.len() >= self.max {
                self.lost += 1;
                return Some(self.lost);
            }
        }
        let entry = self.entries.entry(key).or_insert(Entry { due_at: now, held: None });
        entry.held = Some(match entry.held.take() {
            Some(first) => Alarm { since: first.since, count: first.count + alarm.count, ..alarm },
            None => alarm,
        });
        None
    }

    /// What may be sent now: what has waited longest comes first.
    pub fn next(&mut self, now: Instant) -> Option<Alarm> {
        let due = |entry: &&mut Entry| entry.held.is_some() && entry.due_at <= now;
        let entry = self.entries.values_mut().filter(due).min_by_key(|entry| entry.due_at)?;
        entry.due_at = now + self.repeat;
        entry.held.take()
    }

    /// When something may be sent, if anything waits.
    pub fn next_at(&self) -> Option<Instant> {
        self.entries.values().filter(|entry| entry.held.is_some()).map(|entry| entry.due_at).min()
    }

    /// Anything that waits, even before its time: nothing comes after the end.
    pub fn rest(&mut self) -> Option<Alarm> {
        self.entries.values_mut().find_map(|entry| entry.held.take())
    }

    /// How many were lost since this was asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn alarm(kind: Kind, subject: &str, id: &str) -> Alarm {
        let event = Event { kind, subject, id: id.into(), reference: None, trace_id: None, why: "" };
        Alarm::new(&event, "main", "here")
    }

    #[test]
    fn equal_alarms_are_counted_and_sent_once() {
        let (mut books, now) = (Books::new(MINUTE, 10), Instant::now());
        let doubt = |id| alarm(Kind::InDoubt, "a", id);
        assert_eq!(books.take(doubt("1"), now), None);
        assert_eq!((books.next_at(), books.next(now).map(|a| a.id)), (Some(now), Some("1".into())));
        let first = doubt("2");
        let since = first.since;
        books.take(first, now);
        books.take(doubt("3"), now);
        assert!(books.next(now + MINUTE / 2).is_none());
        let repeated = books.next(now + MINUTE).expect("its time has come");
        assert_eq!((repeated.count, &*repeated.id, repeated.since), (2, "3", since));
        assert!(repeated.at >= since && books.next_at().is_none());
        // Nothing came for a while: the next one is a first one.
        books.take(doubt("4"), now + MINUTE * 3);
        assert_eq!(books.next(now + MINUTE * 3).map(|a| a.count), Some(1));
    }

    #[test]
    fn alarms_of_another_kind_or_subject_are_not_equal() {
        let (mut books, now) = (Books::new(MINUTE, 10), Instant::now());
        for (kind, subject) in [(Kind::InDoubt, "a"), (Kind::CheckerBroken, "a"), (Kind::InDoubt, "b")] {
            books.take(alarm(kind, subject, ""), now);
            assert_eq!(books.next(now).map(|a| (a.kind, a.subject)), Some((kind, subject.to_owned())));
        }
    }

    #[test]
    fn books_are_bounded_and_what_does_not_fit_is_counted() {
        let (mut books, now) = (Books::new(MINUTE, 2), Instant::now());
        assert_eq!(
            ["a", "b", "c", "d"].map(|s| books.take(alarm(Kind::Dead, s, ""), now)),
            [None, None, Some(1), Some(2)]
        );
        assert_eq!(books.take(alarm(Kind::Dead, "a", ""), now), None, "it is there already");
        assert_eq!((books.take_lost(), books.take_lost()), (2, 0));
        while books.next(now).is_some() {}
        assert_eq!(books.take(alarm(Kind::Dead, "c", ""), now), Some(1), "those two were told lately");
        assert_eq!(books.take(alarm(Kind::Dead, "c", ""), now + MINUTE), None);
    }

    #[test]
    fn what_was_counted_is_told_at_the_end() {
        let (mut books, now) = (Books::new(MINUTE, 3), Instant::now());
        books.take(alarm(Kind::InDoubt, "a", ""), now);
        books.next(now);
        for _ in 0..2 {
            books.take(alarm(Kind::InDoubt, "a", ""), now);
        }
        assert_eq!(books.rest().map(|a| a.count), Some(2));
        assert!(books.rest().is_none());
    }
}
