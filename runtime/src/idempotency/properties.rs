//! Whatever consumers ask and say, in whatever order: one holder at a time, and what is done stays done.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Begin { fingerprint: u8, version: Option<i64> },
    Finish { word: Word, token: Who, permanent: bool, pause_ms: Option<i64> },
    Wait { ms: i64 },
}

/// Whose token is shown.
#[derive(Clone, Copy, Debug)]
enum Who {
    Newest,
    Any(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let word = prop_oneof![Just(Word::Complete), Just(Word::Renew), Just(Word::Fail)];
    let who = prop_oneof![3 => Just(Who::Newest), 1 => (0..12_i64).prop_map(Who::Any)];
    prop_oneof![
        4 => (0..2_u8, proptest::option::of(0..3_i64)).prop_map(|(fingerprint, version)| Event::Begin { fingerprint, version }),
        3 => (word, who, any::<bool>(), proptest::option::of(0..500_i64))
            .prop_map(|(word, token, permanent, pause_ms)| Event::Finish { word, token, permanent, pause_ms }),
        2 => (0..300_i64).prop_map(|ms| Event::Wait { ms }),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let takeover = prop_oneof![Just(Takeover::Rerun), Just(Takeover::Park)];
    (takeover, 1..4_i32).prop_map(|(takeover, attempts_max)| Policy {
        lease_ms: 100,
        takeover,
        attempts_max,
        retry_first_ms: 10,
        retry_max_ms: 60,
    })
}

fn begin_of(fingerprint: u8, version: Option<i64>) -> Begin {
    Begin {
        consumer: "c".into(),
        key: "k".into(),
        fingerprint: Some(fingerprint.to_string()),
        version,
        message: Uuid::from_u128(1),
        is_judged: false,
    }
}

proptest! {
    #[test]
    fn one_holder_at_a_time_attempts_bounded_and_done_stays_done(
        policy in policy(),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let (mut record, mut now_ms, mut revision): (Option<Record>, i64, i64) = (None, 1_000, 0);
        for event in events {
            let before = record.clone();
            let becomes = match event {
                Event::Wait { ms } => {
                    now_ms += ms;
                    None
                }
                Event::Begin { fingerprint, version } => {
                    let asked = begin_of(fingerprint, version);
                    let step = begin(before.as_ref(), &asked, &policy, now_ms);
                    let decision = step.told.decision;
                    let record = before.as_ref();
                    let is_held = record.is_some_and(|r| r.state == State::Running && r.until_ms > Some(now_ms));
                    prop_assert!(!(is_held && decision == Decision::Run), "somebody holds it");
                    prop_assert_eq!(decision == Decision::Run, step.becomes.as_ref().is_some_and(|r| r.state == State::Running));
                    if let Some(r) = record.filter(|r| r.state == State::Done) {
                        let is_newer = version.zip(r.version).is_some_and(|(a, b)| a > b);
                        prop_assert!(is_newer || decision != Decision::Run, "it was done: {:?}", r);
                    }
                    let attempts = step.told.attempt.unwrap_or(0);
                    prop_assert!(attempts <= policy.attempts_max, "attempt {}", attempts);
                    step.becomes
                }
                Event::Finish { word, token, permanent, pause_ms } => {
                    let newest = before.as_ref().and_then(|r| r.token).unwrap_or(0);
                    let token = match token {
                        Who::Newest => newest,
                        Who::Any(token) => token,
                    };
                    let said = Finish { word, consumer: "c".into(), key: "k".into(), token, text: None, permanent, pause_ms };
                    let step = finish(before.as_ref(), &said, &policy, now_ms);
                    if before.is_none() || token != newest {
                        prop_assert_eq!(step.told, Finished::Fenced);
                    }
                    prop_assert!(step.told != Finished::Fenced || step.becomes.is_none(), "a stale token changes nothing");
                    if let (Finished::Waiting { retry_after_ms }, None) = (step.told, pause_ms) {
                        prop_assert!((0..=policy.retry_max_ms.max(500)).contains(&retry_after_ms));
                    }
                    step.becomes
                }
            };
            if let Some(next) = becomes {
                revision += 1;
                // Where it is kept gives the revision; the one that begins a run is its token.
                let token = if next.state == State::Running && next.token.is_none() { Some(revision) } else { next.token };
                record = Some(Record { revision, token, ..next });
            }
        }
    }
}
