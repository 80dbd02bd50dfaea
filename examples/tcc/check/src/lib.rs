//! Does the transfer happen, whose coordinator has not said? It does if both banks have reserved their part: nothing but the
//! outcome of this transaction ends a reservation. It does not if one has none: a try that is still on its way will find the cancel.

use avouch_sdk::prelude::*;

avouch_sdk::manifest!("plugin.toml");

const BANKS: [&str; 2] = ["bank_a", "bank_b"];

#[check_back]
fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError> {
    let transfer = tx.reference()?;
    for bank in BANKS {
        match cx.nats("banks").request(&format!("{bank}.look"), transfer.as_bytes())?.as_slice() {
            b"reserved" => {}
            b"none" => return Ok(Verdict::rollback(format!("{bank} has reserved nothing"))),
            _ => return Err(RuleError::permanent(format!("{bank} neither holds a reservation nor has none"))),
        }
    }
    Ok(Verdict::Commit)
}

#[cfg(test)]
mod tests {
    use avouch_sdk::mock::{self, Host};

    use super::*;

    /// What both banks answer about transfer t-1.
    fn check_with(bank_a: &'static str, bank_b: &'static str) -> Result<Verdict, RuleError> {
        let host = Host::new().nats("banks", move |subject, transfer| {
            assert_eq!(transfer, b"t-1");
            Ok(if subject == "bank_a.look" { bank_a } else { bank_b }.into())
        });
        check(&mock::transaction("t-1"), &host.context())
    }

    #[test]
    fn a_transfer_that_both_banks_hold_commits() {
        assert_eq!(check_with("reserved", "reserved"), Ok(Verdict::Commit));
    }

    #[test]
    fn a_transfer_that_one_bank_does_not_hold_rolls_back() {
        for (a, b) in [("none", "none"), ("reserved", "none"), ("none", "reserved")] {
            assert!(matches!(check_with(a, b), Ok(Verdict::Rollback(_))), "{a} {b}");
        }
    }

    #[test]
    fn any_other_answer_decides_nothing() {
        for (a, b) in [("reserved", "confirmed"), ("cancelled", "none"), ("", "reserved")] {
            assert!(matches!(check_with(a, b), Err(RuleError::Permanent(_))), "{a} {b}");
        }
    }

    #[test]
    fn a_bank_that_is_away_is_transient() {
        let host = Host::new().nats("banks", |_, _| Err(RuleError::transient("no responders")));
        assert_eq!(check(&mock::transaction("t-1"), &host.context()), Err(RuleError::transient("no responders")));
    }
}
