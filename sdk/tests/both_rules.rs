//! A plugin with both rules: the code that the attributes add stands side by side.

use avouch_sdk::mock::{self, Host};
use avouch_sdk::prelude::*;
use serde_json::json;

avouch_sdk::manifest!("Cargo.toml");

#[check_back]
fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError> {
    cx.info(format_args!("asked about {}", tx.reference()?));
    Ok(Verdict::unknown_for(5_000))
}

#[idempotency]
mod rule {
    use avouch_sdk::prelude::*;

    #[identify]
    pub(super) fn identify(consumer: &str, m: &Message, _cx: &Context) -> Result<Identity, RuleError> {
        let key = m.header("order-id").ok_or_else(|| RuleError::permanent("no order-id"))?;
        Ok(Identity::key(format!("{consumer}/{key}")).with_fingerprint(m.text()?))
    }

    #[decide]
    pub(super) fn decide(_: &str, m: &Message, seen: &Seen, _cx: &Context) -> Result<Decision, RuleError> {
        Ok(if m.generation > 0 { Decision::Run } else { Decision::by_default(seen) })
    }
}

#[test]
fn a_check_back_and_an_idempotency_rule_live_in_one_plugin() {
    let host = Host::new();
    let cx = host.context();
    assert_eq!(check(&mock::transaction("order-7"), &cx), Ok(Verdict::Unknown(Some(5_000))));
    assert_eq!(host.logs()[0].text, "asked about order-7");

    let m = mock::message("orders.created", json!({"id": 7})).with_header("order-id", "7");
    let identity = rule::identify("mailer", &m, &cx).expect("the header is there");
    assert_eq!(identity, Identity::key("mailer/7").with_fingerprint(r#"{"id":7}"#));
    let seen = mock::seen_before(identity.clone(), avouch_sdk::Status::Completed, identity);
    assert_eq!(rule::decide("mailer", &m, &seen, &cx), Ok(Decision::Done));
    assert_eq!(rule::decide("mailer", &m.with_generation(1), &seen, &cx), Ok(Decision::Run));
}
