//! What holds for any answer of a broker, and any run of failures.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn backoff_never_exceeds_its_bound_never_shrinks_and_starts_over(
        first_ms in 0_u64..100_000,
        max_ms in 0_u64..100_000,
        succeeds in proptest::collection::vec(proptest::bool::weighted(0.2), 0..60),
    ) {
        let (first, max) = (Duration::from_millis(first_ms), Duration::from_millis(max_ms));
        let mut backoff = Backoff::new(first, max);
        let mut last = None;
        for has_succeeded in succeeds {
            if has_succeeded {
                backoff.succeeded();
                last = None;
                continue;
            }
            let wait = backoff.failed();
            prop_assert!(wait <= max);
            prop_assert!(last.map_or(wait == first.min(max), |last| wait >= last));
            last = Some(wait);
        }
    }

    #[test]
    fn any_bytes_are_an_answer_and_only_a_puback_is_possession(payload in ".*", no_responders: bool) {
        let answer = read_answer(no_responders, payload.as_bytes());
        let stored = matches!(answer, Answer::Stored { .. });
        prop_assert!(!stored, "{payload:?} is no PubAck");
    }

    #[test]
    fn puback_is_read_as_it_was_written(stream in "[^\\p{C}]{1,40}", seq in 1_u64.., duplicate: bool, domain in ".*") {
        let json = serde_json::json!({ "stream": stream, "seq": seq, "duplicate": duplicate, "domain": domain });
        let expected = Answer::Stored { stream, stream_seq: seq, duplicate };
        prop_assert_eq!(read_answer(false, json.to_string().as_bytes()), expected);
    }

    #[test]
    fn error_is_never_possession(code: u64, err_code in 10_000_u64..10_200, seq: u64) {
        let json = serde_json::json!({ "stream": "A", "seq": seq, "error": { "code": code, "err_code": err_code } });
        let answer = read_answer(false, json.to_string().as_bytes());
        let is_the_messages_fault = [MESSAGE_TOO_LARGE, HEADER_TOO_LARGE].contains(&err_code);
        let is_refused = matches!(answer, Answer::Refused(_));
        prop_assert_eq!(is_refused, is_the_messages_fault);
        let is_stored = matches!(answer, Answer::Stored { .. });
        prop_assert!(!is_stored);
    }
}
