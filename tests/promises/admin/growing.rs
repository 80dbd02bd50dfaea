//! A group that grows while somebody looks at it: what was counted is dealt with, and nothing else.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Served, json_of, problem, send};

struct Operator<'a> {
    served: &'a Served,
    token: String,
}

impl<'a> Operator<'a> {
    async fn new(served: &'a Served) -> Self {
        // Nothing happens to these but what the test does.
        served.sql("select avouch.pause('topic', 'orders')").await;
        Self { served, token: served.token("ann", "operate").await }
    }

    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let request = self.served.ask(Method::POST, path).bearer_auth(&self.token);
        request.header("content-type", "application/json").body(body.to_string())
    }

    async fn does(&self, path: &str, body: &Value) -> Value {
        let answer = send(self.post(path, body)).await;
        assert_eq!(answer.status(), 200, "{path} {body}: {:?}", answer.text().await);
        json_of(answer).await
    }

    /// Messages `from..to`, dead for a reason of one group.
    async fn die(&self, from: i32, to: i32) {
        self.served.ground.insert("orders", 5, from, to).await;
        let change = "update avouch.outbox set state = 'dead', reason = 'no order ' || seq where state = 'ready' and topic = 'orders'";
        self.served.sql(change).await;
    }

    async fn count(&self, sql: &str) -> i64 {
        let sql = format!("select count(*) from avouch.outbox where {sql}");
        self.served.ground.client.query_one(&sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }
}

/// The group's fields with these.
fn group(more: Value) -> Value {
    let mut body = json!({ "topic": "orders", "failure": "no order ?" });
    body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
    body
}

#[tokio::test]
async fn what_died_after_the_count_does_not_refuse_the_confirmation_and_is_not_touched() {
    let served = Served::new().await;
    let ann = Operator::new(&served).await;
    ann.die(0, 600).await;
    let told = ann.does("/v1/dead/resend", &group(json!({ "dry_run": true }))).await;
    assert_eq!((&told["matched"], &told["has_more"]), (&json!(600), &json!(false)), "{told}");
    let counted = told["counted"].as_str().expect("it says which").to_owned();
    // One that is older than all of them dies last; two of those that were counted are given up by somebody else.
    served.sql("update avouch.outbox set state = 'discarded' where payload in ('0:5', '1:1')").await;
    served.sql("insert into avouch.outbox (topic, key, payload, seq) overriding system value values ('orders', 'old', 'old', -1)").await;
    ann.die(600, 700).await;
    let again = "update avouch.outbox set state = 'ready' where payload = '2:2'";
    served.sql(again).await;
    served.sql("update avouch.outbox set state = 'dead', reason = 'no order 7' where payload = '2:2'").await;
    problem(ann.post("/v1/dead/resend", &group(json!({ "confirm": 600 }))), 409).await;
    problem(ann.post("/v1/dead/resend", &group(json!({ "confirm": 500, "counted": counted }))), 409).await;
    problem(ann.post("/v1/dead/resend", &group(json!({ "confirm": 600, "counted": "x" }))), 422).await;
    let done = ann.does("/v1/dead/resend", &group(json!({ "confirm": 600, "counted": counted }))).await;
    assert_eq!(done, json!({ "matched": 597, "done": 597, "has_more": false }), "without the three that changed");
    assert_eq!(ann.count("state = 'dead'").await, 102, "a hundred and the old one, and the one that died again");
    assert_eq!(ann.count("state = 'dead' and payload in ('old', '2:2')").await, 2);
    let touched = "generation > 0 and substring(payload from ':(.*)')::int >= 600";
    assert_eq!(ann.count(touched).await, 0, "nothing that was not counted");
}

#[tokio::test]
async fn group_is_sent_again_oldest_first_so_that_keys_keep_their_order() {
    let served = Served::new().await;
    let ann = Operator::new(&served).await;
    ann.die(0, 450).await;
    let told = ann.does("/v1/dead/resend", &group(json!({ "dry_run": true }))).await;
    ann.does("/v1/dead/resend", &group(json!({ "confirm": 450, "counted": told["counted"] }))).await;
    let sql = "select bool_and(place = seen) from (select row_number() over (order by a.id) as place, \
               row_number() over (order by o.seq) as seen from avouch.audit a join avouch.outbox o on o.id::text = a.subject) q";
    let is_ordered: bool = served.ground.client.query_one(sql, &[]).await.expect("is valid").get(0);
    assert!(is_ordered, "a younger message of a key was ready before an older one");
}

#[tokio::test]
async fn of_more_than_one_request_takes_those_behind_the_last_that_was_counted_are_left() {
    let served = Served::new().await;
    let ann = Operator::new(&served).await;
    ann.die(0, 10_300).await;
    let told = ann.does("/v1/dead/discard", &group(json!({ "dry_run": true }))).await;
    assert_eq!((&told["matched"], &told["has_more"]), (&json!(10_000), &json!(true)), "{told}");
    // Room among the newest: it must not be filled with older ones that nobody counted.
    served.sql("update avouch.outbox set state = 'discarded', reason = 'by hand' where payload like '%:10200'").await;
    ann.die(10_300, 10_500).await;
    let body = group(json!({ "confirm": 10_000, "counted": told["counted"] }));
    let done = ann.does("/v1/dead/discard", &body).await;
    assert_eq!(done, json!({ "matched": 9_999, "done": 9_999, "has_more": true }));
    assert_eq!(ann.count("state = 'dead'").await, 500, "three hundred older ones, and two hundred younger ones");
    let oldest = "state = 'dead' and substring(payload from ':(.*)')::int < 300";
    assert_eq!(ann.count(oldest).await, 300);
}

#[tokio::test]
async fn of_more_than_one_replay_takes_the_oldest_go_first_and_it_says_where_to_go_on() {
    let served = Served::with("[consumer.billing]\ntopics = [\"sold\"]").await;
    let ann = Operator::new(&served).await;
    served.ground.insert("sold", 5, 0, 10_300).await;
    served.ground.drained().await;
    served.sql("select avouch.pause('consumer', 'billing')").await;
    let place = "/v1/consumers/billing/replay";
    let told = ann.does(place, &json!({ "topic": "sold", "dry_run": true })).await;
    assert_eq!((&told["matched"], &told["has_more"]), (&json!(10_000), &json!(true)), "{told}");
    let done = ann.does(place, &json!({ "topic": "sold", "confirm": 10_000, "counted": told["counted"] })).await;
    assert_eq!((&done["done"], &done["next"], &done["has_more"]), (&json!(10_000), &told["next"], &json!(true)));
    let sql = "select count(*) from avouch.recovery r join avouch.outbox o on o.id = r.message_id \
               where o.id > (select id from avouch.outbox where topic = 'sold' order by id offset 9999 limit 1)";
    let younger: i64 = served.ground.client.query_one(sql, &[]).await.expect("is valid").get(0);
    assert_eq!(younger, 0, "the oldest go first");
    let rest = ann.does(place, &json!({ "topic": "sold", "after": done["next"], "dry_run": true })).await;
    assert_eq!((&rest["matched"], &rest["has_more"], &rest["next"]), (&json!(300), &json!(false), &Value::Null));
    let last = ann.does(place, &json!({ "after": done["next"], "confirm": 300, "counted": rest["counted"] })).await;
    assert_eq!(last["done"], 300, "{last}");
    let all: i64 =
        served.ground.client.query_one("select count(*) from avouch.recovery", &[]).await.expect("is valid").get(0);
    assert_eq!(all, 10_300);
}

#[tokio::test]
async fn what_was_sent_after_the_count_is_not_replayed_with_the_rest() {
    let served = Served::with("[consumer.billing]\ntopics = [\"sold\"]").await;
    let ann = Operator::new(&served).await;
    served.ground.insert("sold", 2, 0, 40).await;
    served.ground.drained().await;
    let place = "/v1/consumers/billing/replay";
    let told = ann.does(place, &json!({ "topic": "sold", "dry_run": true })).await;
    assert_eq!(told["matched"], 40, "{told}");
    served.ground.insert("sold", 2, 40, 60).await;
    served.ground.drained().await;
    problem(ann.post(place, &json!({ "topic": "sold", "confirm": 40 })), 409).await;
    let done = ann.does(place, &json!({ "topic": "sold", "confirm": 40, "counted": told["counted"] })).await;
    assert_eq!(done, json!({ "matched": 40, "done": 40, "has_more": false }));
    let sql = "select array_agg(distinct r.message_id) from avouch.audit a join avouch.outbox o on o.id::text = a.subject \
               join avouch.recovery r on r.message_id = o.id where a.action = 'replay' and substring(o.payload from ':(.*)')::int >= 40";
    let later: Option<Vec<Uuid>> = served.ground.client.query_one(sql, &[]).await.expect("is valid").get(0);
    assert_eq!(later, None, "these were not counted");
}
