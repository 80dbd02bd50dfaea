//! Did the order happen? Its row in the database tells: placed or paid, it did; cancelled or missing, it did not. Anything
//! else is in progress, until the setting `abandoned_after_s` says that nobody is at work on it any more.

use avouch_sdk::prelude::*;

avouch_sdk::manifest!("plugin.toml");

/// The payload of the transaction's first message.
#[derive(serde::Deserialize)]
struct Order {
    id: i64,
}

#[check_back]
fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError> {
    let id = order_id(tx)?;
    let Some(row) = cx.sql("orders").row("order_status", &[&id])? else {
        return Ok(Verdict::rollback("no such order"));
    };
    Ok(match row.get::<String>("status")?.as_str() {
        "placed" | "paid" => Verdict::Commit,
        "cancelled" => Verdict::rollback("the order was cancelled"),
        status if is_abandoned(tx, cx)? => Verdict::rollback(format!("still {status}, and nobody at work on it")),
        status => {
            cx.debug(format_args!("order {id} is {status}"));
            Verdict::in_progress()
        }
    })
}

/// Older than the operator gives a producer; 0 gives it all the time.
fn is_abandoned(tx: &Transaction, cx: &Context) -> Result<bool, RuleError> {
    let text = cx.config("abandoned_after_s").unwrap_or_else(|| "0".into());
    let wrong = |_| RuleError::Permanent(format!("setting abandoned_after_s is {text:?}: write seconds"));
    let after_s: u64 = text.parse().map_err(wrong)?;
    Ok(after_s > 0 && tx.age_ms / 1000 >= after_s)
}

/// The first message tells the order's id; where it does not, the reference is the id.
fn order_id(tx: &Transaction) -> Result<i64, RuleError> {
    let told = tx.message(0).and_then(|m| m.json::<Order>());
    told.map(|order| order.id).or_else(|fault| tx.reference()?.parse().map_err(|_| fault))
}

#[cfg(test)]
mod tests {
    use avouch_sdk::mock::{self, Host};
    use serde_json::{Value, json};

    use super::*;

    /// Answers for order 7 alone.
    fn host(rows: Vec<Value>) -> Host {
        Host::new().sql("orders", "order_status", move |params| {
            assert_eq!(params, [Some("7".to_owned())]);
            Ok(rows.clone())
        })
    }

    fn verdict_of_status(status: &str) -> Verdict {
        let cx = host(vec![json!({"status": status})]).context();
        check(&mock::transaction("7"), &cx).expect("the row can be read")
    }

    #[test]
    fn a_placed_or_paid_order_commits() {
        assert_eq!(verdict_of_status("placed"), Verdict::Commit);
        assert_eq!(verdict_of_status("paid"), Verdict::Commit);
    }

    #[test]
    fn a_cancelled_order_rolls_back() {
        assert_eq!(verdict_of_status("cancelled"), Verdict::rollback("the order was cancelled"));
    }

    #[test]
    fn an_abandoned_order_rolls_back() {
        let host = host(vec![json!({"status": "paying"})]).config("abandoned_after_s", "30");
        let aged = |age_ms| mock::transaction("7").with_age_ms(age_ms);
        assert_eq!(check(&aged(29_999), &host.context()), Ok(Verdict::in_progress()));
        assert!(matches!(check(&aged(30_000), &host.context()), Ok(Verdict::Rollback(_))));
    }

    #[test]
    fn a_missing_order_rolls_back() {
        assert_eq!(check(&mock::transaction("7"), &host(vec![]).context()), Ok(Verdict::rollback("no such order")));
    }

    #[test]
    fn an_order_of_any_other_status_is_in_progress_and_that_is_logged() {
        let host = host(vec![json!({"status": "draft"})]);
        assert_eq!(check(&mock::transaction("7"), &host.context()), Ok(Verdict::in_progress()));
        assert_eq!(host.logs()[0].text, "order 7 is draft");
    }

    #[test]
    fn the_first_message_tells_the_order_before_the_reference() {
        let cx = host(vec![json!({"status": "placed"})]).context();
        for tx in [mock::transaction("8"), mock::transaction("order-7"), mock::transaction_without_reference()] {
            let tx = tx.message("orders.created", json!({"id": 7})).message("orders.audited", json!({"id": 9}));
            assert_eq!(check(&tx, &cx), Ok(Verdict::Commit));
        }
    }

    #[test]
    fn where_the_first_message_tells_no_order_the_reference_does() {
        let cx = host(vec![json!({"status": "placed"})]).context();
        let large = mock::message("orders.created", json!({})).with_payload_too_large(300_000);
        for tx in [mock::transaction("7").message("orders.created", json!({})), mock::transaction("7").with(large)] {
            assert_eq!(check(&tx, &cx), Ok(Verdict::Commit));
        }
    }

    #[test]
    fn a_transaction_that_names_no_order_is_permanent() {
        let cx = Host::new().context();
        let tx = mock::transaction("order-7");
        assert!(matches!(check(&tx, &cx), Err(RuleError::Permanent(_))));
        let tx = tx.message("orders.created", json!({"order": 7}));
        assert!(matches!(check(&tx, &cx), Err(RuleError::Permanent(_))));
    }

    #[test]
    fn a_payload_too_large_to_be_given_is_permanent() {
        let m = mock::message("orders.created", json!({})).with_payload_too_large(300_000);
        let fault = check(&mock::transaction("order-7").with(m), &Host::new().context());
        assert!(matches!(fault, Err(RuleError::Permanent(why)) if why.contains("rules.payload_bytes_max")));
    }

    #[test]
    fn a_row_without_a_status_is_permanent() {
        for row in [json!({"state": "placed"}), json!({"status": null})] {
            let fault = check(&mock::transaction("7"), &host(vec![row]).context());
            assert!(matches!(fault, Err(RuleError::Permanent(why)) if why.contains("column status")));
        }
    }

    #[test]
    fn two_rows_for_one_order_are_permanent() {
        let row = json!({"status": "placed"});
        let fault = check(&mock::transaction("7"), &host(vec![row.clone(), row]).context());
        assert!(matches!(fault, Err(RuleError::Permanent(_))));
    }

    #[test]
    fn a_database_that_is_away_is_transient() {
        let host = Host::new().sql("orders", "order_status", |_| Err(RuleError::transient("no connection")));
        assert_eq!(check(&mock::transaction("7"), &host.context()), Err(RuleError::transient("no connection")));
    }

    #[test]
    fn a_statement_that_is_not_granted_is_denied() {
        assert!(matches!(check(&mock::transaction("7"), &Host::new().context()), Err(RuleError::Denied(_))));
    }
}
