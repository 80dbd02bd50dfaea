use super::*;

const NOW: i64 = 1_000_000;
const POLICY: Policy =
    Policy { lease_ms: 30_000, takeover: Takeover::Rerun, attempts_max: 3, retry_first_ms: 1_000, retry_max_ms: 1_500 };

fn record(state: State) -> Record {
    let until_ms = matches!(state, State::Running | State::Waiting).then_some(NOW - 1);
    Record {
        state,
        revision: 12,
        attempts: 1,
        token: Some(7),
        until_ms,
        message: Some(Uuid::nil()),
        fingerprint: Some("f".into()),
        version: Some(5),
        result: Some("42".into()),
        reason: Some("why".into()),
        changed_at_ms: NOW - 10,
    }
}

fn held(state: State) -> Record {
    Record { until_ms: Some(NOW + 20), ..record(state) }
}

fn asked(fingerprint: &str, version: i64) -> Begin {
    Begin {
        consumer: "c".into(),
        key: "k".into(),
        fingerprint: Some(fingerprint.into()),
        version: Some(version),
        message: Uuid::nil(),
        is_judged: false,
    }
}

fn said(word: Word, token: i64) -> Finish {
    Finish {
        word,
        consumer: "c".into(),
        key: "k".into(),
        token,
        text: Some("it".into()),
        permanent: false,
        pause_ms: None,
    }
}

/// What is told, and the state that is recorded.
fn begun(seen: Option<&Record>, asked: &Begin, policy: &Policy) -> (Decision, Option<State>) {
    let step = begin(seen, asked, policy, NOW);
    (step.told.decision, step.becomes.map(|record| record.state))
}

#[test]
fn what_is_recorded_decides_what_who_asks_is_told() {
    use Decision::{Busy, Conflict, Done, Reject, Run, Skip};
    use State::{Parked, Rejected, Running, Waiting};
    let (same, other) = (asked("f", 5), asked("g", 5));
    let (newer, older) = (asked("g", 6), asked("g", 4));
    for (seen, ask, decision, state) in [
        (None, &same, Run, Some(Running)),
        (Some(held(Running)), &same, Busy, None),
        (Some(held(Waiting)), &same, Busy, None),
        (Some(held(Running)), &newer, Busy, None),
        (Some(record(Running)), &older, Busy, None),
        (Some(record(Running)), &same, Run, Some(Running)),
        (Some(record(Waiting)), &same, Run, Some(Running)),
        (Some(record(State::Done)), &same, Done, None),
        (Some(record(State::Done)), &older, Skip, None),
        (Some(record(State::Done)), &newer, Run, Some(Running)),
        (Some(record(Rejected)), &same, Reject, None),
        (Some(record(Parked)), &older, Reject, None),
        (Some(record(Parked)), &newer, Run, Some(Running)),
        (Some(held(Running)), &other, Conflict, None),
        (Some(record(State::Done)), &other, Conflict, None),
        (Some(Record { fingerprint: None, ..record(State::Done) }), &other, Done, None),
        (Some(Record { attempts: 3, ..record(Running) }), &same, Reject, Some(Rejected)),
        (Some(Record { attempts: 3, ..record(Running) }), &newer, Run, Some(Running)),
    ] {
        assert_eq!(begun(seen.as_ref(), ask, &POLICY), (decision, state), "{seen:?} {ask:?}");
    }
}

#[test]
fn lease_that_ended_without_a_word_is_parked_where_it_must_not_be_repeated() {
    let parks = Policy { takeover: Takeover::Park, ..POLICY };
    let step = begin(Some(&record(State::Running)), &asked("f", 5), &parks, NOW);
    let parked = step.becomes.expect("it is recorded");
    assert_eq!((step.told.decision, parked.state, parked.until_ms), (Decision::Reject, State::Parked, None));
    assert!(parked.reason.is_some_and(|reason| reason.contains("is not known")));
    // What failed with a word is tried again all the same.
    assert_eq!(begun(Some(&record(State::Waiting)), &asked("f", 5), &parks).0, Decision::Run);
}

#[test]
fn plugin_is_asked_where_nothing_else_decides() {
    let judged = |version: i64| Begin { is_judged: true, ..asked("g", version) };
    let seen = |state| Some(record(state));
    for (seen, version, decision) in [
        (None, 5, Decision::Ask),
        (seen(State::Done), 4, Decision::Ask),
        (seen(State::Running), 4, Decision::Ask),
        (Some(held(State::Running)), 6, Decision::Busy),
        (seen(State::Rejected), 5, Decision::Reject),
        (seen(State::Rejected), 6, Decision::Ask),
    ] {
        assert_eq!(begun(seen.as_ref(), &judged(version), &POLICY), (decision, None), "{seen:?} {version}");
    }
    let step = begin(seen(State::Done).as_ref(), &judged(5), &POLICY, NOW);
    assert_eq!((step.told.result.as_deref(), step.told.seen), (Some("42"), seen(State::Done)));
}

#[test]
fn claim_runs_only_what_is_still_as_it_was_seen() {
    for (seen, expected, decision) in [
        (None, None, Decision::Run),
        (None, Some(12), Decision::Miss),
        (Some(record(State::Done)), None, Decision::Miss),
        (Some(record(State::Done)), Some(11), Decision::Miss),
        (Some(record(State::Done)), Some(12), Decision::Run),
    ] {
        let step = claim(seen.as_ref(), &Claim { begin: asked("g", 5), expected }, &POLICY, NOW);
        assert_eq!((step.told.decision, step.becomes.is_some()), (decision, decision == Decision::Run));
    }
}

#[test]
fn attempts_are_counted_anew_for_what_is_newer_or_was_done() {
    let failed = Record { attempts: 2, ..record(State::Waiting) };
    for (seen, version, attempts) in [(&failed, 5, 3), (&failed, 6, 1), (&record(State::Done), 6, 1)] {
        let step = begin(Some(seen), &asked("f", version), &POLICY, NOW);
        let runs = step.becomes.expect("it runs");
        assert_eq!((runs.attempts, step.told.attempt), (attempts, Some(attempts)));
        assert_eq!((runs.until_ms, runs.token, runs.result, runs.reason), (Some(NOW + 30_000), None, None, None));
    }
}

#[test]
fn word_of_a_holder_counts_and_that_of_another_is_fenced() {
    let (running, done) = (record(State::Running), record(State::Done));
    for (seen, word, token, told, state) in [
        (Some(&running), Word::Complete, 7, Finished::Done, Some(State::Done)),
        (Some(&running), Word::Renew, 7, Finished::Running { lease_ms: 30_000 }, Some(State::Running)),
        (Some(&running), Word::Fail, 7, Finished::Waiting { retry_after_ms: 1_000 }, Some(State::Waiting)),
        (Some(&done), Word::Complete, 7, Finished::Done, None),
        (Some(&done), Word::Fail, 7, Finished::Fenced, None),
        (Some(&done), Word::Renew, 7, Finished::Fenced, None),
        (Some(&held(State::Waiting)), Word::Fail, 7, Finished::Waiting { retry_after_ms: 20 }, None),
        (Some(&record(State::Rejected)), Word::Fail, 7, Finished::Rejected, None),
        (Some(&record(State::Parked)), Word::Complete, 7, Finished::Fenced, None),
        (Some(&running), Word::Complete, 6, Finished::Fenced, None),
        (Some(&running), Word::Fail, 8, Finished::Fenced, None),
        (None, Word::Complete, 7, Finished::Fenced, None),
    ] {
        let step = finish(seen, &said(word, token), &POLICY, NOW);
        assert_eq!((step.told, step.becomes.map(|r| r.state)), (told, state), "{seen:?} {word:?} {token}");
    }
    let done = finish(Some(&running), &said(Word::Complete, 7), &POLICY, NOW).becomes.expect("it is recorded");
    assert_eq!((done.result.as_deref(), done.reason, done.until_ms, done.token), (Some("it"), None, None, Some(7)));
}

#[test]
fn failures_pause_for_longer_and_longer_and_end() {
    let after = |attempts: i32, change: fn(&mut Finish)| {
        let mut fail = said(Word::Fail, 7);
        change(&mut fail);
        finish(Some(&Record { attempts, ..record(State::Running) }), &fail, &POLICY, NOW)
    };
    assert_eq!(after(2, |_| {}).told, Finished::Waiting { retry_after_ms: 1_500 }, "at most retry_max_ms");
    assert_eq!(after(1, |f| f.pause_ms = Some(0)).told, Finished::Waiting { retry_after_ms: 0 });
    let last = after(3, |_| {}).becomes.expect("it is recorded");
    assert_eq!((last.state, last.until_ms, last.reason.as_deref()), (State::Rejected, None, Some("attempt 3: it")));
    let permanent = after(1, |f| f.permanent = true).becomes.expect("it is recorded");
    assert_eq!((permanent.state, permanent.reason.as_deref()), (State::Rejected, Some("it")));
    assert_eq!(pause_ms(i32::MAX, &POLICY), 1_500);
}
