//! Whether a stream is what it was, as far as its creation time and its sequences tell. Pure.

use time::OffsetDateTime;
use uuid::Uuid;

/// What the database knows of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The number of what it was when it was seen last.
    pub stream: i32,
    /// When that was created.
    pub created: OffsetDateTime,
    /// The last loss that was noticed, of any stream.
    pub losses: i32,
    /// How far messages came in it, the highest first.
    pub reached: Vec<Reached>,
}

/// A place where a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its sequence.
    pub seq: u64,
    /// The message.
    pub id: Uuid,
}

/// What the broker says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was created.
    pub created: OffsetDateTime,
    /// The first sequence that it holds, or would hold.
    pub first_seq: u64,
    /// The last one that it gave.
    pub last_seq: u64,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was never seen before.
    New,
    /// Nothing speaks against its being the same. If there is a place, what stands there is to be looked at.
    Same(Option<Reached>),
    /// It is another one: all is lost.
    Another,
    /// It gave less than was acknowledged: it fell back to an earlier state.
    FellBack,
}

/// Compares them. `known` must have been read before `seen`: messages come in between.
pub fn compare(known: Option<&Known>, seen: Seen) -> Finding {
    let Some(known) = known else { return Finding::New };
    if known.created != seen.created {
        return Finding::Another;
    }
    match known.reached.first() {
        None => Finding::Same(None),
        Some(top) if top.seq > seen.last_seq => Finding::FellBack,
        // What it removed since says nothing.
        Some(top) => Finding::Same((top.seq >= seen.first_seq).then_some(*top)),
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn known(reached: &[u64]) -> Known {
        let place = |seq: &u64| Reached { seq: *seq, id: Uuid::from_u128(u128::from(*seq)) };
        Known {
            stream: 1,
            created: OffsetDateTime::UNIX_EPOCH,
            losses: 0,
            reached: reached.iter().map(place).collect(),
        }
    }

    fn seen(first_seq: u64, last_seq: u64) -> Seen {
        Seen { created: OffsetDateTime::UNIX_EPOCH, first_seq, last_seq }
    }

    #[test]
    fn stream_that_has_all_it_acknowledged_is_the_same() {
        let known = known(&[9, 4]);
        assert_eq!(compare(Some(&known), seen(1, 9)), Finding::Same(Some(known.reached[0])));
        assert_eq!(compare(Some(&known), seen(1, 12)), Finding::Same(Some(known.reached[0])));
        assert_eq!(compare(Some(&known), seen(10, 9)), Finding::Same(None), "purged");
    }

    #[test]
    fn less_than_was_acknowledged_and_another_creation_time_are_losses() {
        let later = Seen { created: OffsetDateTime::UNIX_EPOCH + Duration::SECOND, ..seen(1, 99) };
        assert_eq!(compare(Some(&known(&[9])), seen(1, 8)), Finding::FellBack);
        assert_eq!(compare(Some(&known(&[9])), later), Finding::Another);
        assert_eq!(compare(Some(&known(&[])), later), Finding::Another);
        assert_eq!(compare(None, later), Finding::New);
        assert_eq!(compare(Some(&known(&[])), seen(1, 0)), Finding::Same(None));
    }
}
