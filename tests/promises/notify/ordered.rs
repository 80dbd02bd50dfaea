//! Messages of one key are told one after the other where the endpoint asks for it.

use std::collections::HashMap;

use super::{LIMIT, Notified, Receiver, id};
use avouch_tests::wait::until;

#[tokio::test]
async fn messages_of_a_key_are_told_in_order_and_a_failing_one_holds_its_key_alone() {
    let receiver = Receiver::new(200).await;
    let ordered = receiver.section("ordered", "ordered = true\nschedule_s = [0, 3600]\n");
    let notified = Notified::new(&ordered).await;
    // The first of key 0 is not taken: it is known by its payload.
    receiver.answers(500);
    let stuck = notified.insert("0", "stuck").await;
    notified.tried("ordered", stuck, 2).await;
    receiver.answers(200);
    let count = 300;
    let ids = notified.insert_many(count, 10).await;
    let others = i64::from(count) / 10 * 9;
    notified.until_count("ordered", "delivered", others).await;
    let told: Vec<_> = receiver.web.asked().iter().filter(|a| a.header("avouch-key") == Some("0")).map(id).collect();
    assert!(told.iter().all(|id| *id == stuck), "somebody overtook the one that is stuck");
    notified.sql("select avouch.notify_again('ordered', array(select message_id from avouch.notice where payload = 'stuck'))").await;
    notified.until_count("ordered", "delivered", i64::from(count) + 1).await;
    let mut last: HashMap<String, i32> = HashMap::new();
    for asked in receiver.web.asked().iter().filter(|asked| ids.contains(&id(asked))) {
        let number: i32 = String::from_utf8_lossy(&asked.body).parse().expect("its number");
        let key = asked.header("avouch-key").expect("it has one").to_owned();
        let before = last.insert(key.clone(), number);
        assert!(before.is_none_or(|before| before < number), "key {key}: {number} after {before:?}");
    }
    until("each has come", LIMIT, async || (last.len() == 10).then_some(())).await;
}
