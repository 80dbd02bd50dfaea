//! Idempotency by version: a thing's versions are done in order, each once; what is older than done is skipped, and what comes
//! too early waits.

avouch_sdk::manifest!("plugin.toml");

#[avouch_sdk::idempotency]
mod rule {
    use avouch_sdk::prelude::*;
    use serde_json::Value;

    #[identify]
    pub(super) fn identify(_consumer: &str, m: &Message, cx: &Context) -> Result<Identity, RuleError> {
        let payload: Value = m.json()?;
        let at = |setting: &str| {
            let pointer = cx.config(setting).unwrap_or_default();
            let found = payload.pointer(&pointer).filter(|v| !v.is_null());
            found.ok_or_else(|| RuleError::permanent(format!("the payload has no {pointer}")))
        };
        let version = at("version")?.as_u64().ok_or_else(|| RuleError::permanent("the version is no whole number"))?;
        Ok(Identity::key(at("id")?.to_string()).with_version(version))
    }

    #[decide]
    pub(super) fn decide(_consumer: &str, _m: &Message, seen: &Seen, cx: &Context) -> Result<Decision, RuleError> {
        let number = |setting: &str| {
            let text = cx.config(setting).unwrap_or_default();
            match text.trim() {
                "" => Ok(None),
                text => {
                    text.parse::<u64>().map(Some).map_err(|e| RuleError::permanent(format!("setting {setting}: {e}")))
                }
            }
        };
        let version = seen.identity.version.unwrap_or_default();
        let is_known = |r: &&SeenRecord| r.version.is_some();
        let (known, is_done) = match seen.record.as_ref().filter(is_known) {
            Some(record) => (record.version, record.status == Status::Completed),
            None => (None, false),
        };
        // What is recorded and not done is tried again; only then the next one.
        let next = match (known, number("first")?) {
            (_, None) => return Ok(Decision::by_default(seen)),
            (Some(known), _) if is_done => known.saturating_add(1),
            (Some(known), _) => known,
            (None, Some(first)) => first,
        };
        Ok(if version == next {
            Decision::Run
        } else if version > next {
            let pause = number("gap_ms")?.and_then(|ms| u32::try_from(ms).ok()).unwrap_or(1_000);
            cx.info(format_args!("version {version} waits for {next}"));
            Decision::Defer(pause)
        } else if is_done {
            Decision::by_default(seen)
        } else {
            Decision::skip(format!("version {version} is older than {next}, which was begun"))
        })
    }
}

#[cfg(test)]
mod tests {
    use avouch_sdk::mock::{self, Host};
    use avouch_sdk::prelude::*;
    use serde_json::json;

    use super::rule::{decide, identify};

    fn host() -> Host {
        Host::new().config("id", "/id").config("version", "/version").config("first", "1").config("gap_ms", "50")
    }

    fn version(n: u64) -> Identity {
        Identity::key("7").with_version(n)
    }

    fn decided(seen: &Seen) -> Result<Decision, RuleError> {
        decide("c", &mock::message("t", json!({})), seen, &host().context())
    }

    #[test]
    fn thing_and_version_are_read() {
        let of = |payload| identify("c", &mock::message("t", payload), &host().context());
        assert_eq!(of(json!({"id": 7, "version": 3})), Ok(version(3)));
        for payload in
            [json!({"id": 7}), json!({"version": 1}), json!({"id": 7, "version": -1}), json!({"id": 7, "version": "1"})]
        {
            assert!(matches!(of(payload), Err(RuleError::Permanent(_))));
        }
    }

    #[test]
    fn first_version_runs_and_a_later_one_waits_for_it() {
        assert_eq!(decided(&mock::seen(version(1))), Ok(Decision::Run));
        assert_eq!(decided(&mock::seen(version(2))), Ok(Decision::Defer(50)));
    }

    #[test]
    fn next_version_runs_a_gap_waits_and_an_older_one_is_skipped() {
        let after = |n| decided(&mock::seen_before(version(n), Status::Completed, version(3)));
        assert_eq!(after(4), Ok(Decision::Run));
        assert_eq!(after(5), Ok(Decision::Defer(50)));
        assert_eq!(after(3), Ok(Decision::Done));
        assert!(matches!(after(2), Ok(Decision::Skip(_))));
    }

    #[test]
    fn failed_version_is_tried_again_before_the_next_one() {
        let after = |n| decided(&mock::seen_before(version(n), Status::Failed, version(3)));
        assert_eq!(after(3), Ok(Decision::Run));
        assert_eq!(after(4), Ok(Decision::Defer(50)));
        assert!(matches!(after(2), Ok(Decision::Skip(_))));
    }

    #[test]
    fn without_a_first_version_any_greater_one_runs() {
        let seen = mock::seen_before(version(9), Status::Completed, version(3));
        let decision = decide("c", &mock::message("t", json!({})), &seen, &host().config("first", "").context());
        assert_eq!(decision, Ok(Decision::Run));
    }
}
