//! Idempotency by JSON pointers: which values are unique together, and which must be equal in two messages that share them.

avouch_sdk::manifest!("plugin.toml");

#[avouch_sdk::idempotency]
mod rule {
    use avouch_sdk::prelude::*;
    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    #[identify]
    pub(super) fn identify(_consumer: &str, m: &Message, cx: &Context) -> Result<Identity, RuleError> {
        let payload: Value = m.json()?;
        let id = values(&payload, &cx.config("id").unwrap_or_default(), true)?;
        if id.is_empty() {
            return Err(RuleError::permanent("the setting id names no pointer"));
        }
        let equal = cx.config("equal").unwrap_or_default();
        let compared = if equal.trim().is_empty() { vec![&payload] } else { values(&payload, &equal, false)? };
        // A JSON text of what was found: no two lists of values have the same. Object keys come sorted.
        Ok(Identity::key(key(&text(&id)?)).with_fingerprint(digest(&text(&compared)?)))
    }

    /// What the pointers point to. What is missing is null to a comparison, and an error to an identity.
    fn values<'a>(payload: &'a Value, pointers: &str, is_id: bool) -> Result<Vec<&'a Value>, RuleError> {
        let find = |pointer: &str| match payload.pointer(pointer) {
            Some(Value::Null) | None if is_id => Err(RuleError::permanent(format!("the payload has no {pointer}"))),
            found => Ok(found.unwrap_or(&Value::Null)),
        };
        pointers.split_whitespace().map(find).collect()
    }

    fn text(values: &[&Value]) -> Result<String, RuleError> {
        serde_json::to_string(values).map_err(|e| RuleError::permanent(e.to_string()))
    }

    /// Short ones stay readable.
    fn key(text: &str) -> String {
        if text.len() <= 200 { text.to_owned() } else { digest(text) }
    }

    fn digest(text: &str) -> String {
        Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use avouch_sdk::mock::{self, Host};
    use avouch_sdk::prelude::*;
    use serde_json::{Value, json};

    use super::rule::identify;

    fn of(id: &str, equal: &str, payload: Value) -> Result<Identity, RuleError> {
        let host = Host::new().config("id", id).config("equal", equal);
        identify("billing", &mock::message("orders", payload), &host.context())
    }

    #[test]
    fn values_that_are_unique_together_are_the_key() {
        let line =
            |id: u32, line: u32| of("/order/id /line", "", json!({"order": {"id": id}, "line": line})).map(|i| i.key);
        assert_eq!(line(1, 2), Ok("[1,2]".into()));
        assert_ne!(line(1, 22), line(12, 2));
    }

    #[test]
    fn text_and_number_are_different_keys() {
        assert_ne!(of("/id", "", json!({"id": 1})).map(|i| i.key), of("/id", "", json!({"id": "1"})).map(|i| i.key));
    }

    #[test]
    fn what_must_be_equal_is_compared_and_nothing_else() {
        let print = |amount: u32, note: &str| of("/id", "/amount", json!({"id": 1, "amount": amount, "note": note}));
        assert_eq!(print(10, "a"), print(10, "b"));
        assert_ne!(print(10, "a"), print(11, "a"));
        let whole = |note: &str| of("/id", "", json!({"id": 1, "note": note}));
        assert_ne!(whole("a"), whole("b"));
    }

    #[test]
    fn order_of_members_is_no_difference() {
        let print = |text: &str| {
            let host = Host::new().config("id", "/id").config("equal", "");
            identify("c", &mock::message("t", Value::Null).with_payload(text), &host.context())
        };
        assert_eq!(print(r#"{"id":1,"a":2}"#), print(r#"{ "a": 2, "id": 1 }"#));
    }

    #[test]
    fn message_without_its_id_is_rejected_not_guessed() {
        for payload in [json!({}), json!({"id": null}), json!([1]), json!("id")] {
            assert!(matches!(of("/id", "", payload), Err(RuleError::Permanent(_))));
        }
        assert!(matches!(of(" ", "", json!({"id": 1})), Err(RuleError::Permanent(_))));
    }

    #[test]
    fn long_id_becomes_a_digest() {
        let key = of("/id", "", json!({"id": "x".repeat(10_000)})).map(|i| i.key);
        assert_eq!(key.map(|k| k.len()), Ok(32));
    }
}
