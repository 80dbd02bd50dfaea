//! Transactions in doubt: one prepare, one outcome, and no half message that is left behind, whoever is faster.

use std::time::Duration;

use avouch_tests::database::Database;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::input::refusal;
use crate::producers::{connect, login, prepare};

#[tokio::test]
async fn retried_prepare_makes_one_transaction() {
    let database = Database::create().await;
    let producer = login(&database, "avouch_producer").await;
    let id = Uuid::now_v7();
    let sql = "select avouch.prepare($1, '5 minutes', $2, $3)";
    for _ in 0..3 {
        let row = producer.query_one(sql, &[&"payments", &"payment-42", &id]).await.expect("a prepare may be repeated");
        assert_eq!(row.get::<_, Uuid>(0), id);
    }
    for (checker, reference) in [("other", "payment-42"), ("payments", "payment-43")] {
        let error =
            refusal(producer.query_one(sql, &[&checker, &reference, &id]).await, "another prepare with that id");
        assert_eq!(error.code(), &SqlState::UNIQUE_VIOLATION);
        assert!(error.hint().is_some_and(|hint| hint.contains("take another id")), "{error:?}");
    }
    let count = database.client().await.query_one("select count(*) from avouch.tx", &[]).await;
    assert_eq!(count.expect("transactions can be counted").get::<_, i64>(0), 1);
    for (arguments, code) in [
        ("'c', '-1 s'", SqlState::INVALID_PARAMETER_VALUE),
        ("'c', null", SqlState::INVALID_PARAMETER_VALUE),
        ("'no blanks', '1 s'", SqlState::CHECK_VIOLATION),
        ("null, '1 s'", SqlState::NOT_NULL_VIOLATION),
    ] {
        let sql = format!("select avouch.prepare({arguments})");
        assert_eq!(refusal(producer.query_one(&sql, &[]).await, &sql).code(), &code, "{sql}");
    }
}

#[tokio::test]
async fn settled_transaction_releases_its_outcomes_messages_in_order_and_cancels_the_others() {
    for (outcome, other) in [("commit", "rollback"), ("rollback", "commit")] {
        let database = Database::create().await;
        let (client, producer) = (database.client().await, login(&database, "avouch_producer").await);
        let tx = prepare(&producer).await;
        // Without release_on it is for commit.
        let by_default = (outcome == "commit").then_some("default");
        for payload in ["1", "2", "3"] {
            insert_half(&producer, tx, Some(outcome), payload).await.expect("a prepared transaction takes messages");
            insert_half(&producer, tx, Some(other), &format!("not {payload}")).await.expect("of both outcomes");
        }
        if let Some(payload) = by_default {
            insert_half(&producer, tx, None, payload).await.expect("release_on is optional");
        }
        assert!(messages(&client).await.iter().all(|(_, state, _)| state == "prepared"));
        let last_seq: i64 =
            client.query_one("select max(seq) from avouch.outbox", &[]).await.expect("it has rows").get(0);
        for _ in 0..2 {
            // The second time changes nothing.
            producer.execute(&format!("select avouch.{outcome}($1)"), &[&tx]).await.expect("it settles");
            let mut released = Vec::new();
            for (payload, state, seq) in messages(&client).await {
                let expected = if payload.starts_with("not ") { "cancelled" } else { "ready" };
                assert_eq!(state, expected, "{payload} after {outcome}");
                released.extend((state == "ready").then_some((seq, payload)));
            }
            released.sort();
            assert!(released[0].0 > last_seq, "a released message takes a new seq");
            let order: Vec<_> = released.iter().map(|(_, payload)| &**payload).collect();
            assert_eq!(order, ["1", "2", "3"].into_iter().chain(by_default).collect::<Vec<_>>());
        }
        let contradiction = format!("select avouch.{other}($1)");
        let error = refusal(producer.execute(&contradiction, &[&tx]).await, &contradiction);
        assert_eq!(error.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        assert!(error.hint().is_some());
        let error = refusal(insert_half(&producer, tx, None, "late").await, "a message after the end");
        assert_eq!(error.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
        assert!(error.hint().is_some_and(|hint| hint.contains("before avouch.commit or avouch.rollback")), "{error:?}");
    }
    let database = Database::create().await;
    let producer = login(&database, "avouch_producer").await;
    let error = refusal(insert_half(&producer, Uuid::now_v7(), None, "x").await, "a message of no transaction");
    assert!(error.message().contains("unknown"), "{error}");
    let sql = "insert into avouch.outbox (topic, payload, release_on) values ('t', '', 'rollback')";
    assert_eq!(refusal(producer.execute(sql, &[]).await, sql).constraint(), Some("release_on_needs_tx"));
}

#[tokio::test]
async fn commit_after_a_rollback_aborts_the_business_transaction() {
    let database = Database::create().await;
    let (client, mut producer) = (database.client().await, login(&database, "avouch_producer").await);
    let table = "create table payment (id int); grant insert on payment to avouch_producer";
    client.batch_execute(table).await.expect("a business table can be made");
    let tx = prepare(&producer).await;
    insert_half(&producer, tx, None, "settled").await.expect("a prepared transaction takes messages");
    client.execute("select avouch.rollback($1, 'the checker said so')", &[&tx]).await.expect("it settles");
    let business = producer.transaction().await.expect("a transaction can be begun");
    business.execute("insert into payment values (42)", &[]).await.expect("the business action works");
    let error = refusal(business.execute("select avouch.commit($1)", &[&tx]).await, "commit after rollback");
    assert_eq!(error.code(), &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert!(error.message().contains("rolled_back") && error.hint().is_some(), "{error:?}");
    // Postgres turns the COMMIT of an aborted transaction into a rollback.
    business.commit().await.expect("COMMIT is answered");
    let paid: i64 = client.query_one("select count(*) from payment", &[]).await.expect("it can be counted").get(0);
    assert_eq!(paid, 0);
    assert_eq!(messages(&client).await[0].1, "cancelled");
}

#[tokio::test]
async fn late_word_of_the_producer_settles_a_transaction_in_doubt() {
    let database = Database::create().await;
    let (client, producer) = (database.client().await, login(&database, "avouch_producer").await);
    for (word, state, fate) in [("commit", "committed", "ready"), ("rollback", "rolled_back", "cancelled")] {
        let tx = prepare(&producer).await;
        insert_half(&producer, tx, None, word).await.expect("a prepared transaction takes messages");
        client.execute("update avouch.tx set state = 'in_doubt' where id = $1", &[&tx]).await.expect("it is parked");
        producer.execute(&format!("select avouch.{word}($1)"), &[&tx]).await.expect("the word counts");
        assert_eq!(tx_state(&client, tx).await, state);
        let messages = messages(&client).await;
        let (_, found, _) = messages.iter().find(|(payload, ..)| payload == word).expect("it was inserted");
        assert_eq!(found, fate);
    }
}

/// How many rounds the race has: `AVOUCH_TEST_ROUNDS=10000` is the full number.
const ROUNDS: u64 = 300;
/// Rounds that run beside each other.
const LANES: u64 = 4;
/// Each try waits for the other side's lock at most, so the second one sees the outcome.
const TRIES_MAX: u32 = 10;

/// What became of the insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Insert {
    Accepted,
    Refused,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_message_is_never_left_prepared_by_a_race_with_its_settling() {
    let rounds =
        std::env::var("AVOUCH_TEST_ROUNDS").map_or(ROUNDS, |n| n.parse().expect("AVOUCH_TEST_ROUNDS is a number"));
    let database = Database::create().await;
    let lanes = (0..LANES).map(|lane| {
        let (url, seed) = (database.url().to_owned(), Uuid::now_v7().as_u64_pair().1 ^ lane);
        tokio::spawn(async move { race(&url, Dice(seed | 1), rounds.div_ceil(LANES)).await })
    });
    let lanes: Vec<_> = lanes.collect();
    let (mut accepted, mut refused) = (0, 0);
    for lane in lanes {
        let (a, r) = lane.await.expect("a lane of the race ends well");
        (accepted, refused) = (accepted + a, refused + r);
    }
    assert!(accepted > 0 && refused > 0, "no race: {accepted} accepted, {refused} refused");
}

/// Races so many times; returns how many inserts were accepted and refused.
async fn race(url: &str, mut dice: Dice, rounds: u64) -> (u64, u64) {
    let (inserting, settling) = (connect(url).await, connect(url).await);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..rounds {
        let what = format!("round {round} from {dice:?}");
        let tx = prepare(&inserting).await;
        let (outcome, release_on) =
            (dice.of(["commit", "rollback"]), dice.of([None, Some("commit"), Some("rollback")]));
        let (mut theirs, mut ours) = (Dice(dice.next() | 1), Dice(dice.next() | 1));
        let (insert, ()) = tokio::join!(
            insert_retrying(&inserting, &mut ours, tx, release_on),
            settle_retrying(&settling, &mut theirs, tx, outcome)
        );
        let rows = inserting.query("select state from avouch.outbox where tx_id = $1", &[&tx]).await;
        let states: Vec<String> = rows.expect("the outbox can be read").iter().map(|row| row.get(0)).collect();
        let fate = if release_on.unwrap_or("commit") == outcome { "ready" } else { "cancelled" };
        let expected = match insert {
            Insert::Accepted => vec![fate],
            Insert::Refused => vec![],
        };
        assert_eq!(states, expected, "{what}: {insert:?}, {outcome}, release_on {release_on:?}");
        let sql = "select state, messages from avouch.tx where id = $1";
        let row = inserting.query_one(sql, &[&tx]).await.expect("the transaction is known");
        let settled = if outcome == "commit" { "committed" } else { "rolled_back" };
        assert_eq!((row.get(0), row.get::<_, i32>(1) as usize), (settled, states.len()), "{what}");
        match insert {
            Insert::Accepted => accepted += 1,
            Insert::Refused => refused += 1,
        }
    }
    (accepted, refused)
}

async fn insert_retrying(client: &Client, dice: &mut Dice, tx: Uuid, release_on: Option<&str>) -> Insert {
    for _ in 0..TRIES_MAX {
        match insert_once(client, dice, tx, release_on).await {
            Ok(()) => return Insert::Accepted,
            Err(error) => {
                client.batch_execute("rollback").await.expect("a transaction can be left");
                match error.code() {
                    Some(code) if code == &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => return Insert::Refused,
                    Some(code) if code == &SqlState::T_R_SERIALIZATION_FAILURE => {}
                    _ => panic!("an insert is accepted, refused or loses a race, but: {error:?}"),
                }
            }
        }
    }
    panic!("an insert lost {TRIES_MAX} races against one settling");
}

async fn insert_once(client: &Client, dice: &mut Dice, tx: Uuid, release_on: Option<&str>) -> Result<(), Error> {
    client.batch_execute(dice.of(BEGIN)).await?;
    dice.pause().await;
    if dice.of([true, false]) {
        client.batch_execute("savepoint before").await?;
        // The first of these is undone, and its share of the count with it.
        if dice.of([true, false]) {
            insert_half(client, tx, release_on, "undone").await?;
            dice.pause().await;
            client.batch_execute("rollback to before").await?;
        }
    }
    insert_half(client, tx, release_on, "half").await?;
    dice.pause().await;
    client.batch_execute("commit").await
}

async fn settle_retrying(client: &Client, dice: &mut Dice, tx: Uuid, outcome: &str) {
    for _ in 0..TRIES_MAX {
        match settle_once(client, dice, tx, outcome).await {
            Ok(()) => return,
            Err(error) => {
                client.batch_execute("rollback").await.expect("a transaction can be left");
                assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}");
            }
        }
    }
    panic!("settling lost {TRIES_MAX} races against one insert");
}

async fn settle_once(client: &Client, dice: &mut Dice, tx: Uuid, outcome: &str) -> Result<(), Error> {
    client.batch_execute(dice.of(BEGIN)).await?;
    // In REPEATABLE READ this takes the snapshot, before the insert or after it.
    client.batch_execute(dice.of(["select 1", ""])).await?;
    dice.pause().await;
    client.execute(&format!("select avouch.{outcome}($1)"), &[&tx]).await?;
    dice.pause().await;
    client.batch_execute("commit").await
}

const BEGIN: [&str; 2] = ["begin isolation level read committed", "begin isolation level repeatable read; select 1"];

/// Chances of one round, the same for the same number.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn of<T: Copy, const N: usize>(&mut self, faces: [T; N]) -> T {
        faces[usize::try_from(self.next()).expect("64 bits") % N]
    }

    /// Mixes who comes first; nothing is waited for.
    async fn pause(&mut self) {
        let us = self.of([0, 0, 100, 500, 2_000]);
        if us > 0 {
            sleep(Duration::from_micros(us)).await;
        }
    }
}

async fn insert_half(client: &Client, tx: Uuid, release_on: Option<&str>, payload: &str) -> Result<Uuid, Error> {
    let sql =
        "insert into avouch.outbox (tx_id, topic, key, payload, release_on) values ($1, 't', 'k', $2, $3) returning id";
    Ok(client.query_one(sql, &[&tx, &payload, &release_on]).await?.get(0))
}

/// `(payload, state, seq)` of all messages, by payload.
async fn messages(client: &Client) -> Vec<(String, String, i64)> {
    let rows = client.query("select payload, state, seq from avouch.outbox order by payload", &[]).await;
    rows.expect("the outbox can be read").iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn tx_state(client: &Client, tx: Uuid) -> String {
    client
        .query_one("select state from avouch.tx where id = $1", &[&tx])
        .await
        .expect("the transaction is known")
        .get(0)
}
