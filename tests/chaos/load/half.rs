//! Half messages: one for each outcome, a business action in between, and a producer that dies at any of its steps.

use uuid::Uuid;

use super::message::Message;
use super::producers::Producer;
use super::topics;
use super::transaction::{End, Session};
use crate::facts::{Deed, Fate, Place};

/// Then the checker is asked; slow producers race it.
const CHECK_AFTER: &str = "1 s";

/// What the producer does after it has prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The order and the commit in one transaction: the fence.
    Commit,
    Rollback,
    /// It dies, and nothing was ordered.
    Die,
    /// The order was there before; it dies before it can say so.
    DieOrdered,
}

/// Prepares, acts, and writes down which of the two messages it must be.
pub async fn act(producer: &mut Producer, session: &Session) {
    let way = *producer.rng.pick(&[Way::Commit, Way::Commit, Way::Commit, Way::Rollback, Way::Die, Way::DieOrdered]);
    let (tx, order, key) = (Uuid::now_v7(), producer.order(), producer.pick_key());
    let yes = producer.next(topics::SETTLED, key, Place::Held);
    let no = producer.next(topics::REFUSED, key, Place::Held);
    producer.ledger.intend(&[yes.written.clone(), no.written.clone()]).await;
    let prepared = session.run(&prepare(tx, order, way, &yes, &no), End::Commit).await;
    let both = (yes.written.number, no.written.number);
    if prepared == Fate::Never {
        return producer.ledger.know(&[(both.0, Fate::Never), (both.1, Fate::Never)]).await;
    }
    let is_certain = prepared == Fate::Must;
    producer.ledger.prepared(Deed { tx, commit: both.0, rollback: both.1, is_certain }).await;
    if !is_certain {
        // If there is such a transaction its checker decides: either outcome is right.
        return;
    }
    producer.think().await;
    let fates = match decide(session, tx, order, way).await {
        Fate::Must => (Fate::Must, Fate::Never),
        Fate::Never => (Fate::Never, Fate::Must),
        Fate::May => (Fate::May, Fate::May),
    };
    producer.ledger.know(&[(both.0, fates.0), (both.1, fates.1)]).await;
}

fn prepare(tx: Uuid, order: u64, way: Way, yes: &Message, no: &Message) -> String {
    let of = ("tx_id", format!("'{tx}'"));
    let yes = yes.insert(&[of.clone(), ("release_on", "'commit'".to_owned())]);
    let no = no.insert(&[of, ("release_on", "'rollback'".to_owned())]);
    let ordered = if way == Way::DieOrdered { place(order) + "; " } else { String::new() };
    format!("{ordered}select avouch.prepare('order-check', '{CHECK_AFTER}', '{order}', '{tx}'); {yes}; {no}")
}

fn place(order: u64) -> String {
    format!("insert into shop.orders values ({order}, 'placed')")
}

/// Whether the business action happened. Without an order the checker says rollback, whatever else was lost on the way.
async fn decide(session: &Session, tx: Uuid, order: u64, way: Way) -> Fate {
    match way {
        Way::Commit => session.run(&format!("{}; select avouch.commit('{tx}')", place(order)), End::Commit).await,
        Way::Rollback => {
            drop(session.ask(&format!("select avouch.rollback('{tx}', 'declined')")).await);
            Fate::Never
        }
        Way::Die => Fate::Never,
        Way::DieOrdered => Fate::Must,
    }
}
