//! Did the payment happen? The payment service tells: settled, it did; declined or unknown to it, it did not.

use avouch_sdk::http::segment;
use avouch_sdk::prelude::*;

avouch_sdk::manifest!("plugin.toml");

#[derive(serde::Deserialize)]
struct Payment {
    status: Status,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Settled,
    Declined,
    Pending,
}

#[check_back]
fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError> {
    let path = format!("/payments/{}", segment(tx.reference()?)?);
    let response = cx.http("payments").get(&path)?;
    match response.status {
        200 => Ok(verdict(&response.json()?)),
        404 => Ok(Verdict::rollback("no such payment")),
        _ => Err(response.unexpected()),
    }
}

fn verdict(payment: &Payment) -> Verdict {
    match payment.status {
        Status::Settled => Verdict::Commit,
        Status::Declined => Verdict::rollback("the payment was declined"),
        Status::Pending => Verdict::in_progress(),
    }
}

#[cfg(test)]
mod tests {
    use avouch_sdk::mock::{self, Host};
    use serde_json::{Value, json};

    use super::*;

    fn check_with(status: u16, body: Value) -> Result<Verdict, RuleError> {
        let host = Host::new().http("payments", move |request| {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/payments/pay-42"));
            Ok(mock::response(status, &body))
        });
        check(&mock::transaction("pay-42"), &host.context())
    }

    #[test]
    fn a_settled_payment_commits() {
        assert_eq!(check_with(200, json!({"status": "settled"})), Ok(Verdict::Commit));
    }

    #[test]
    fn a_declined_payment_rolls_back() {
        let verdict = Verdict::rollback("the payment was declined");
        assert_eq!(check_with(200, json!({"status": "declined"})), Ok(verdict));
    }

    #[test]
    fn a_pending_payment_is_in_progress() {
        assert_eq!(check_with(200, json!({"status": "pending"})), Ok(Verdict::in_progress()));
    }

    #[test]
    fn a_payment_that_the_service_does_not_know_rolls_back() {
        assert_eq!(check_with(404, json!({})), Ok(Verdict::rollback("no such payment")));
    }

    #[test]
    fn a_fault_of_the_service_is_transient() {
        for status in [500, 502, 503, 429] {
            assert!(matches!(check_with(status, json!({})), Err(RuleError::Transient(_))), "{status}");
        }
    }

    #[test]
    fn any_other_status_is_permanent() {
        for status in [204, 301, 400, 401, 403] {
            assert!(matches!(check_with(status, json!({})), Err(RuleError::Permanent(_))), "{status}");
        }
    }

    #[test]
    fn a_body_of_another_shape_is_permanent() {
        for body in [json!({"status": "frozen"}), json!({}), json!("settled")] {
            assert!(matches!(check_with(200, body), Err(RuleError::Permanent(_))));
        }
    }

    #[test]
    fn a_service_that_is_away_is_transient() {
        let host = Host::new().http("payments", |_| Err(RuleError::transient("no connection")));
        assert_eq!(check(&mock::transaction("pay-42"), &host.context()), Err(RuleError::transient("no connection")));
    }

    #[test]
    fn an_origin_that_is_not_granted_is_denied() {
        let fault = check(&mock::transaction("pay-42"), &Host::new().context());
        assert!(matches!(fault, Err(RuleError::Denied(_))));
    }

    #[test]
    fn a_transaction_without_a_reference_is_permanent() {
        let fault = check(&mock::transaction_without_reference(), &Host::new().context());
        assert!(matches!(fault, Err(RuleError::Permanent(_))));
    }

    #[test]
    fn a_reference_stays_one_segment_of_the_path() {
        let host = Host::new().http("payments", |request| {
            assert_eq!(request.path, "/payments/..%2Fadmin%3Fx");
            Ok(mock::response(404, ()))
        });
        assert!(check(&mock::transaction("../admin?x"), &host.context()).is_ok());
        assert!(matches!(check(&mock::transaction(".."), &host.context()), Err(RuleError::Permanent(_))));
    }
}
