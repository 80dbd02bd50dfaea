//! Any key and any headers travel whole, or are refused; nothing forges a header of ours.

use proptest::prelude::*;

use super::*;

fn message(key: Option<String>, headers: Option<String>, generation: u32) -> Message {
    Message {
        shard: 0,
        seq: 1,
        id: Uuid::from_u128(7),
        generation,
        created_at: OffsetDateTime::UNIX_EPOCH,
        topic: "orders.created".into(),
        key: key.map(Into::into),
        payload: Payload::Here(Bytes::new()),
        headers: headers.map(Into::into),
    }
}

proptest! {
    #[test]
    fn any_key_travels_in_unreserved_ascii_and_comes_back(key in "(?s).{0,80}") {
        let map = message(Some(key.clone()), None, 0).wire_headers().expect("no headers of its own");
        let encoded = map.get("Avouch-Key").expect("it has a key").as_str();
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        prop_assert_eq!(percent_encoding::percent_decode_str(encoded).decode_utf8().expect("it was UTF-8"), key);
    }

    #[test]
    fn headers_that_the_schema_lets_pass_arrive_unchanged(
        own in proptest::collection::btree_map("x[!#$%&'*+.^_`|~0-9A-Za-z-]{0,20}", "[^\\x00-\\x1f\\x7f-\\x9f]{0,40}", 0..5),
    ) {
        let json = serde_json::to_string(&own).expect("strings are JSON");
        let map = message(None, Some(json), 0).wire_headers().expect("names and values are valid");
        for (name, value) in &own {
            prop_assert_eq!(map.get(name.as_str()).map(|v| v.as_str()), Some(value.as_str()));
        }
    }

    #[test]
    fn any_text_as_headers_is_sent_or_refused_and_replaces_none_of_ours(
        name in "(?s).{0,20}|(?i:nats-msg-id|avouch-id|avouch-key)",
        value in "(?s).{0,20}",
        text in "(?s).{0,40}",
    ) {
        let json = serde_json::json!({ name: value }).to_string();
        for headers in [json, text] {
            let sent = message(Some("k".into()), Some(headers), 3);
            if let Ok(map) = sent.wire_headers() {
                prop_assert_eq!(map.get("Nats-Msg-Id").map(|v| v.as_str().to_owned()), Some(sent.msg_id()));
                prop_assert_eq!(map.get("Avouch-Id").map(|v| v.as_str().to_owned()), Some(sent.id.to_string()));
                let is_one_line = |v: &HeaderValue| !v.as_str().contains(['\r', '\n']);
                prop_assert!(map.iter().all(|(_, values)| values.iter().all(is_one_line)));
            }
        }
    }

    #[test]
    fn any_reason_of_a_dead_letter_is_one_line(reason in "(?s).{0,80}") {
        let map = message(None, None, 0).dead_headers("billing", &reason).expect("no headers of its own");
        prop_assert!(!map.get("Avouch-Dead-Reason").expect("it has one").as_str().contains(['\r', '\n']));
    }

    #[test]
    fn generations_never_share_an_id(a: u32, b: u32) {
        prop_assert_eq!(message(None, None, a).msg_id() == message(None, None, b).msg_id(), a == b);
    }
}
