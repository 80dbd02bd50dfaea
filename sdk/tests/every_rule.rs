//! A plugin with every rule: the code that the attributes add stands side by side.

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

#[notification]
mod told {
    use avouch_sdk::prelude::*;

    #[shape]
    pub(super) fn shape(d: &Delivery, cx: &Context) -> Result<Shaped, RuleError> {
        cx.info(format_args!("try {} of {}", d.attempt, d.endpoint));
        Ok(Shaped::json(&(&d.tenant, d.message.json::<serde_json::Value>()?))?.with_path("/orders"))
    }

    #[read]
    pub(super) fn read(d: &Delivery, r: &NotificationResponse, _cx: &Context) -> Result<Outcome, RuleError> {
        Ok(if d.attempt > 8 { Outcome::give_up("tried long enough") } else { Outcome::by_status(r) })
    }
}

#[test]
fn all_rules_live_in_one_plugin() {
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

    let d = mock::delivery(mock::message("orders.created", json!({"id": 7})))
        .with_endpoint("till")
        .with_tenant("t-1")
        .with_attempt(3);
    let shaped = told::shape(&d, &cx).expect("the payload is JSON");
    assert_eq!((shaped.path.as_deref(), shaped.body.as_slice()), (Some("/orders"), br#"["t-1",{"id":7}]"#.as_slice()));
    assert_eq!(host.logs()[1].text, "try 3 of till");
    let busy = mock::answered(503, "").with_header("Retry-After", "2");
    assert_eq!(told::read(&d, &busy, &cx), Ok(Outcome::retry_after(2_000)));
    assert_eq!(told::read(&d.with_attempt(9), &busy, &cx), Ok(Outcome::give_up("tried long enough")));
}
