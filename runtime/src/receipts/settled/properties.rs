//! Whatever a broker is seen to do: settled is only what was seen settled while it was held, long enough ago.

use proptest::prelude::*;

use super::*;

/// One look at the consumer: what the stream removed, acknowledged, told, how much of that is applied, and the time since.
#[derive(Clone, Debug)]
struct Look {
    removed: u64,
    settled: u64,
    told: u64,
    applied: u64,
    knows_events: bool,
    wait_ms: u64,
}

fn looks() -> impl Strategy<Value = Vec<Look>> {
    let look = (0..6_u64, 0..6_u64, 0..4_u64, 0..4_u64, any::<bool>(), 0..1500_u64).prop_map(
        |(removed, settled, told, applied, knows_events, wait_ms)| Look {
            removed,
            settled,
            told,
            applied,
            knows_events,
            wait_ms,
        },
    );
    proptest::collection::vec(look, 1..60)
}

proptest! {
    #[test]
    fn only_what_was_seen_settled_while_it_was_held_counts_and_only_after_the_grace_and_its_events(looks in looks()) {
        let (mut settled, mut now, grace) = (Settled::default(), Instant::now(), Duration::from_secs(1));
        let (mut first, mut floor, mut last_event, mut applied) = (1, 0, 0, 0);
        // What was seen, when, and the last event once its grace was over.
        let mut seen: Vec<(u64, u64, Instant, Option<u64>)> = Vec::new();
        for look in looks {
            now += Duration::from_millis(look.wait_ms);
            first += look.removed;
            floor += look.settled;
            last_event += look.told;
            applied = (applied + look.applied).min(last_event);
            let events = look.knows_events.then_some((last_event, applied));
            if floor >= first && seen.last().is_none_or(|(f, l, ..)| (*f, *l) != (first, floor)) {
                seen.push((first, floor, now, None));
            }
            if look.knows_events {
                let is_over = |at: Instant| now.duration_since(at) >= grace;
                for told in seen.iter_mut().filter(|(_, _, at, _)| is_over(*at)).map(|(.., told)| told) {
                    told.get_or_insert(last_event);
                }
            }
            settled.observe(first, floor, now, grace, events);
            for seq in 1..=floor.max(first) + 1 {
                let counts = |s: &&(u64, u64, Instant, Option<u64>)| (s.0..=s.1).contains(&seq) && s.3.is_some_and(|e| e <= applied);
                prop_assert!(!settled.has(seq) || seen.iter().any(|s| counts(&s)), "{} was not seen", seq);
            }
        }
    }

    #[test]
    fn what_was_seen_counts_at_last(floors in proptest::collection::vec(1..200_u64, 1..20)) {
        let (mut settled, mut now, grace) = (Settled::default(), Instant::now(), Duration::from_secs(1));
        for floor in &floors {
            settled.observe(1, *floor, now, grace, Some((0, 0)));
            now += grace;
        }
        let last = *floors.last().expect("there is one");
        settled.observe(1, last, now, grace, Some((0, 0)));
        prop_assert!((1..=last).all(|seq| settled.has(seq)));
        prop_assert_eq!(settled.to(), *floors.iter().max().expect("there is one"));
    }
}
