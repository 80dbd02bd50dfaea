//! What follows from what is known of a message that a consumer has not finished. Pure.

use crate::consumers::{Consumer, Receipt};
use crate::lifecycle::Death;
use crate::store::Awaited;

/// Where the broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// It holds the message, and will deliver it or has delivered it.
    Holds,
    /// It is done with it: acknowledged, terminated, or delivered too often.
    Settled,
    /// It does not hold it any more and was not seen to settle it: expired, purged, deleted, or the stream was made anew.
    Lost,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a receipt.
    Received,
    /// There will never be one.
    Dead(Death, String),
    /// It is sent to this consumer again.
    Again {
        /// Why.
        reason: String,
        /// Whether that counts against `generations_max`.
        counts: bool,
    },
    /// Nothing, now.
    Wait,
}

/// What follows for this consumer.
pub fn decide(consumer: &Consumer, row: &Awaited, broker: Broker) -> Outcome {
    let recovery = row.recovery.as_deref();
    if consumer.receipt == Receipt::Inbox {
        match row.record.as_deref() {
            Some("done") => return Outcome::Received,
            Some(state @ ("rejected" | "parked")) if recovery != Some("dead") => {
                let why = row.why.as_deref().unwrap_or("no reason given");
                return match state {
                    "parked" => Outcome::Dead(Death::Parked, format!("parked: {why}")),
                    _ => Outcome::Dead(Death::Rejected, why.to_owned()),
                };
            }
            _ => {}
        }
    }
    let is_followed_elsewhere = matches!(recovery, Some("pending" | "sent" | "dead"));
    if is_followed_elsewhere || row.age < consumer.deadline {
        return Outcome::Wait;
    }
    match broker {
        Broker::Holds => Outcome::Wait,
        Broker::Lost => Outcome::Again { reason: "the broker does not hold it any more".into(), counts: false },
        Broker::Settled if consumer.trust_settled => Outcome::Received,
        Broker::Settled if row.tries >= consumer.generations_max => {
            let why = format!("settled without a receipt, {} times", u64::from(row.tries) + 1);
            Outcome::Dead(Death::Unreceipted, why)
        }
        Broker::Settled => Outcome::Again { reason: "settled without a receipt".into(), counts: true },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn consumer(receipt: Receipt) -> Consumer {
        Consumer {
            id: 1,
            name: "billing".into(),
            stream: Some("A".into()),
            topics: vec![">".into()],
            is_required: true,
            receipt,
            trust_settled: false,
            deadline: Duration::from_secs(60),
            generations_max: 2,
            start_seq: Some(1),
            is_changing: false,
            is_paused: false,
        }
    }

    fn row(age_s: u64, record: Option<&str>, recovery: Option<&str>, tries: u32) -> Awaited {
        Awaited {
            id: Uuid::nil(),
            stream_seq: 1,
            age: Duration::from_secs(age_s),
            record: record.map(str::to_owned),
            why: Some("why".into()),
            recovery: recovery.map(str::to_owned),
            tries,
            topic: "t".into(),
        }
    }

    #[test]
    fn record_in_the_inbox_is_the_receipt_of_who_asks_and_of_nobody_else() {
        let (inbox, ack) = (consumer(Receipt::Inbox), consumer(Receipt::Ack));
        assert_eq!(decide(&inbox, &row(0, Some("done"), None, 0), Broker::Holds), Outcome::Received);
        assert_eq!(decide(&inbox, &row(0, Some("done"), Some("dead"), 0), Broker::Lost), Outcome::Received);
        assert_eq!(
            decide(&inbox, &row(0, Some("rejected"), None, 0), Broker::Holds),
            Outcome::Dead(Death::Rejected, "why".into())
        );
        assert_eq!(
            decide(&inbox, &row(0, Some("parked"), None, 0), Broker::Holds),
            Outcome::Dead(Death::Parked, "parked: why".into())
        );
        assert_eq!(decide(&inbox, &row(99, Some("rejected"), Some("dead"), 0), Broker::Settled), Outcome::Wait);
        assert_eq!(decide(&inbox, &row(99, Some("running"), None, 0), Broker::Holds), Outcome::Wait);
        assert_eq!(decide(&ack, &row(0, Some("done"), None, 0), Broker::Holds), Outcome::Wait);
    }

    #[test]
    fn nothing_is_missed_before_its_deadline_or_while_the_broker_will_deliver_it() {
        let ack = consumer(Receipt::Ack);
        for broker in [Broker::Holds, Broker::Settled, Broker::Lost] {
            assert_eq!(decide(&ack, &row(59, None, None, 0), broker), Outcome::Wait);
        }
        assert_eq!(decide(&ack, &row(1_000_000, None, None, 0), Broker::Holds), Outcome::Wait);
    }

    #[test]
    fn what_the_broker_lost_is_sent_again_without_limit_and_what_it_settled_so_many_times() {
        let ack = consumer(Receipt::Ack);
        let lost = Outcome::Again { reason: "the broker does not hold it any more".into(), counts: false };
        assert_eq!(decide(&ack, &row(60, None, None, 0), Broker::Lost), lost);
        assert_eq!(decide(&ack, &row(60, None, Some("again"), 99), Broker::Lost), lost);
        let again = Outcome::Again { reason: "settled without a receipt".into(), counts: true };
        assert_eq!(decide(&ack, &row(60, None, None, 0), Broker::Settled), again);
        assert_eq!(decide(&ack, &row(60, None, Some("again"), 1), Broker::Settled), again);
        let dead = Outcome::Dead(Death::Unreceipted, "settled without a receipt, 3 times".into());
        assert_eq!(decide(&ack, &row(60, None, Some("again"), 2), Broker::Settled), dead);
    }

    #[test]
    fn first_place_is_left_alone_once_it_is_sent_again() {
        let ack = consumer(Receipt::Ack);
        for recovery in ["pending", "sent", "dead"] {
            assert_eq!(decide(&ack, &row(60, None, Some(recovery), 0), Broker::Settled), Outcome::Wait);
        }
    }

    #[test]
    fn trusted_settlement_is_a_receipt_and_a_loss_is_not() {
        let trusting = Consumer { trust_settled: true, ..consumer(Receipt::Ack) };
        assert_eq!(decide(&trusting, &row(60, None, None, 0), Broker::Settled), Outcome::Received);
        assert_ne!(decide(&trusting, &row(60, None, None, 0), Broker::Lost), Outcome::Received);
    }
}
