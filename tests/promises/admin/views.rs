//! What the API shows and does: the same as the database says, bounded, confirmed, audited.

use avouch_tests::plugins::file;
use avouch_tests::wait::{secs, until};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Served, json_of, problem, send};

/// A request with a body of JSON.
pub(super) fn post(served: &Served, token: &str, path: &str, body: &Value) -> RequestBuilder {
    let request = served.ask(Method::POST, path).bearer_auth(token);
    request.header("content-type", "application/json").body(body.to_string())
}

pub(super) async fn done(request: RequestBuilder) -> Value {
    let response = send(request).await;
    let status = response.status();
    assert!(status.is_success(), "{status}: {:?}", response.text().await);
    match status.as_u16() {
        204 => Value::Null,
        _ => json_of(response).await,
    }
}

/// Messages of a topic that is held, so that nothing happens to them but what the test does.
async fn held(served: &Served, topic: &str, count: i32) -> Vec<Uuid> {
    served.sql(&format!("select avouch.pause('topic', '{topic}')")).await;
    served.ground.insert(topic, 5, 0, count).await;
    let sql = "select array_agg(id order by id) from avouch.outbox where topic = $1";
    served.ground.client.query_one(sql, &[&topic]).await.expect("they are there").get(0)
}

async fn audit_of(served: &Served, action: &str) -> Vec<(String, Option<String>)> {
    let sql = "select actor, why from avouch.audit where action = $1 order by id";
    let rows = served.ground.client.query(sql, &[&action]).await.expect("it can be read");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn messages_are_found_page_by_page_and_shown_whole() {
    let served = Served::new().await;
    let looks = served.token("looks", "view").await;
    let ids = held(&served, "orders.created", 120).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = served.json(&format!("/v1/messages?topic=orders.>&limit=50{cursor}"), &looks).await;
        let messages = page["messages"].as_array().expect("it is a list");
        seen.extend(messages.iter().map(|m| m["id"].as_str().expect("it has an id").to_owned()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        assert!(seen.len() < 200, "it goes in circles");
    }
    let wanted: Vec<String> = ids.iter().rev().map(Uuid::to_string).collect();
    assert_eq!(seen, wanted, "newest first, none twice, none left out");
    let first = "select id from avouch.outbox where payload = '0:0'";
    let id: Uuid = served.ground.client.query_one(first, &[]).await.expect("it is there").get(0);
    let message = served.json(&format!("/v1/messages/{id}"), &looks).await;
    assert_eq!((&message["key"], &message["state"]), (&json!("0"), &json!("ready")));
    let payload = served.json(&format!("/v1/messages/{id}/payload"), &looks).await;
    assert_eq!((&payload["text"], &payload["is_cut"]), (&json!("0:0"), &json!(false)));
    let cut = served.json(&format!("/v1/messages/{id}/payload?bytes_max=2"), &looks).await;
    assert_eq!((&cut["text"], &cut["bytes"], &cut["is_cut"]), (&json!("0:"), &json!(3), &json!(true)));
    let timeline = served.json(&format!("/v1/messages/{id}/timeline"), &looks).await;
    assert_eq!(timeline[0]["what"], "inserted");
    let get = |path: &str| served.ask(Method::GET, path).bearer_auth(&looks);
    let none = Uuid::now_v7();
    for path in [
        format!("/v1/messages/{none}"),
        format!("/v1/messages/{none}/payload"),
        format!("/v1/messages/{none}/timeline"),
    ] {
        problem(get(&path), 404).await;
    }
    for path in [
        "/v1/messages?state=lost",
        "/v1/messages?limit=0",
        "/v1/messages?limit=x",
        "/v1/messages?colour=red",
        "/v1/messages?since=yesterday",
        "/v1/messages/x",
        "/v1/samples?minutes=0",
        "/v1/audit?limit=501",
        "/v1/transactions?state=lost",
        &format!("/v1/messages/{id}/payload?bytes_max=2000000"),
    ] {
        problem(get(path), 400).await;
    }
}

#[tokio::test]
async fn payloads_are_shown_to_those_roles_alone_that_may_see_them() {
    let cases: [(&str, &[&str]); 3] = [("operate", &["operate", "admin"]), ("admin", &["admin"]), ("nobody", &[])];
    for (setting, may) in cases {
        let served = Served::with(&format!("payloads = \"{setting}\"")).await;
        let id = held(&served, "secrets", 1).await[0];
        for role in ["view", "operate", "admin"] {
            let token = served.token(role, role).await;
            let path = format!("/v1/messages/{id}/payload");
            let response = served.get(&path, &token).await;
            assert_eq!(response.status(), if may.contains(&role) { 200 } else { 403 }, "{setting} {role}");
            let shown = served.json(&format!("/v1/messages/{id}"), &token).await;
            assert!(!shown.to_string().contains("0:0"), "{shown}");
        }
    }
}

#[tokio::test]
async fn group_of_dead_messages_is_counted_confirmed_and_only_then_sent_again() {
    let served = Served::new().await;
    let operator = served.token("ann", "operate").await;
    let ids = held(&served, "orders", 700).await;
    served.sql("update avouch.outbox set state = 'dead', reason = 'no order ' || seq where topic = 'orders'").await;
    let groups = served.json("/v1/dead", &operator).await;
    assert_eq!((&groups[0]["topic"], &groups[0]["messages"]), (&json!("orders"), &json!(700)), "{groups}");
    let group = json!({ "topic": "orders", "failure": groups[0]["failure"] });
    let with = |more: Value| {
        let mut body = group.clone();
        body.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
        post(&served, &operator, "/v1/dead/resend", &body)
    };
    let mut counted = done(with(json!({ "dry_run": true }))).await;
    assert!(counted["counted"].take().is_string(), "which they are");
    assert_eq!(counted, json!({ "matched": 700, "done": 0, "has_more": false, "counted": null }));
    problem(with(json!({})), 409).await;
    problem(with(json!({ "confirm": 699 })), 409).await;
    problem(with(json!({ "ids": [ids[0]], "confirm": 1 })), 422).await;
    problem(post(&served, &operator, "/v1/dead/resend", &json!({})), 422).await;
    assert_eq!(served.ground.count("dead").await, 700, "nothing is done before it is confirmed");
    let resent = done(with(json!({ "confirm": 700, "reason": "fixed" }))).await;
    assert_eq!(resent, json!({ "matched": 700, "done": 700, "has_more": false }));
    assert_eq!(served.ground.count("ready").await, 700);
    let audit = audit_of(&served, "resend").await;
    assert_eq!(audit.len(), 700);
    assert!(audit.iter().all(|entry| *entry == ("ann".to_owned(), Some("fixed".to_owned()))), "{:?}", audit[0]);
}

#[tokio::test]
async fn named_messages_are_discarded_and_those_that_are_not_as_supposed_are_left() {
    let served = Served::new().await;
    let operator = served.token("ann", "operate").await;
    let ids = held(&served, "orders", 3).await;
    served.sql(&format!("update avouch.outbox set state = 'dead', reason = 'x' where id = '{}'", ids[0])).await;
    served.sql(&format!("update avouch.outbox set state = 'cancelled' where id = '{}'", ids[1])).await;
    let body = json!({ "ids": [ids[0], ids[1], ids[2], Uuid::now_v7()], "reason": "by hand" });
    let told = done(post(&served, &operator, "/v1/dead/discard", &body)).await;
    assert_eq!(told, json!({ "matched": 2, "done": 2, "has_more": false }));
    assert_eq!(served.ground.count("discarded").await, 2);
    assert_eq!(served.ground.count("cancelled").await, 1);
}

#[tokio::test]
async fn person_decides_a_transaction_once_and_the_audit_says_who_and_why() {
    let served = Served::new().await;
    let operator = served.token("ann", "operate").await;
    let sql = "insert into avouch.tx (id, checker, state, check_at) select avouch.uuid_v7(), 'pay', s, clock_timestamp() + interval '1 h' \
               from unnest(array['in_doubt', 'in_doubt', 'prepared', 'committed']) s returning id";
    let rows = served.ground.client.query(sql, &[]).await.expect("transactions can be made");
    let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let listed = served.json("/v1/transactions", &operator).await;
    assert_eq!(listed["transactions"].as_array().map(Vec::len), Some(3), "the undecided ones");
    assert_eq!(
        served.json("/v1/transactions?state=in_doubt,committed", &operator).await["transactions"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    let page = served.json("/v1/transactions?limit=2", &operator).await;
    let rest = format!("/v1/transactions?limit=2&cursor={}", page["cursor"].as_str().expect("there is one more"));
    assert_eq!(served.json(&rest, &operator).await["transactions"].as_array().map(Vec::len), Some(1));
    let decide = |id: Uuid, outcome: &str| {
        post(&served, &operator, &format!("/v1/transactions/{id}/{outcome}"), &json!({ "reason": "asked the bank" }))
    };
    assert_eq!(done(decide(ids[0], "commit")).await["state"], "committed");
    problem(decide(ids[0], "rollback"), 409).await;
    assert_eq!(done(decide(ids[1], "recheck")).await["state"], "prepared");
    // Its checker may be asked at this very moment; then a person tries again.
    until("it to be rolled back", secs(30), async || {
        (send(decide(ids[1], "rollback")).await.status() == 200).then_some(())
    })
    .await;
    let rolled_back = served.json(&format!("/v1/transactions/{}", ids[1]), &operator).await;
    assert_eq!(rolled_back["state"], "rolled_back");
    problem(decide(ids[3], "recheck"), 409).await;
    problem(decide(Uuid::now_v7(), "commit"), 404).await;
    let timeline = served.json(&format!("/v1/transactions/{}/timeline", ids[0]), &operator).await;
    let last = timeline.as_array().and_then(|events| events.last()).expect("something happened").clone();
    assert_eq!(last["what"], "committed", "{timeline}");
    let sql = "select count(*) from avouch.audit where actor = 'ann' and coalesce(why, detail) like '%asked the bank%'";
    let audited: i64 = served.ground.client.query_one(sql, &[]).await.expect("it can be counted").get(0);
    assert!(audited >= 3, "{audited}");
}

#[tokio::test]
async fn what_is_paused_over_the_api_waits_until_it_is_resumed() {
    let served = Served::new().await;
    let operator = served.token("ann", "operate").await;
    let what = json!({ "kind": "topic", "name": "orders", "reason": "billing is down" });
    done(post(&served, &operator, "/v1/holds/pause", &what)).await;
    served.ground.insert("orders", 1, 0, 3).await;
    served.ground.insert("others", 1, 0, 3).await;
    until("the others to be sent", secs(30), async || (served.ground.count("ready").await == 3).then_some(())).await;
    let holds = served.json("/v1/holds", &operator).await;
    assert_eq!((&holds[0]["name"], &holds[0]["reason"]), (&json!("orders"), &json!("billing is down")));
    assert_eq!(served.json("/v1/overview", &operator).await["ready"], 3);
    done(post(&served, &operator, "/v1/holds/resume", &what)).await;
    served.ground.drained().await;
    problem(post(&served, &operator, "/v1/holds/resume", &what), 409).await;
    problem(post(&served, &operator, "/v1/holds/pause", &json!({ "kind": "colour", "name": "x" })), 422).await;
    let consumer = json!({ "kind": "consumer", "name": "nobody" });
    problem(post(&served, &operator, "/v1/holds/pause", &consumer), 404).await;
    let audit = served.json("/v1/audit?limit=1", &operator).await;
    assert_eq!((&audit[0]["actor"], &audit[0]["action"]), (&json!("ann"), &json!("resume")));
}

#[tokio::test]
async fn consumers_are_shown_replayed_decided_for_and_removed() {
    let ground = "[consumer.billing]\ntopics = [\"orders\"]\n[consumer.gone]\nlease_ms = 1000\n";
    let served = Served::with(ground).await;
    let (operator, admin) = (served.token("ann", "operate").await, served.token("root", "admin").await);
    served.ground.insert("orders", 1, 0, 4).await;
    served.ground.drained().await;
    let consumers = served.json("/v1/consumers", &operator).await;
    assert_eq!(consumers[0]["name"], "billing", "{consumers}");
    let again = |body: Value| post(&served, &operator, "/v1/consumers/billing/replay", &body);
    problem(again(json!({ "topic": "orders" })), 409).await;
    assert_eq!(done(again(json!({ "topic": "orders", "dry_run": true }))).await["matched"], 4);
    assert_eq!(done(again(json!({ "topic": "orders", "confirm": 4 }))).await["done"], 4);
    let nobodys =
        post(&served, &operator, "/v1/consumers/nobody/replay", &json!({ "topic": "orders", "dry_run": true }));
    problem(nobodys, 404).await;
    let without = post(&served, &operator, "/v1/consumers/gone/replay", &json!({ "topic": "orders", "dry_run": true }));
    problem(without, 409).await;
    served
        .sql(
            "insert into avouch.inbox (consumer, key, state, reason) \
             select id, E'k/\u{e4} 1', 'parked', 'lease ended' from avouch.consumer where name = 'billing'",
        )
        .await;
    let record = served.json("/v1/consumers/billing/record?key=k%2F%C3%A4%201", &operator).await;
    assert_eq!(record["state"], "parked");
    let word = json!({ "key": "k/\u{e4} 1", "decision": "done", "reason": "it was" });
    assert_eq!(done(post(&served, &operator, "/v1/consumers/billing/record", &word)).await["state"], "done");
    problem(post(&served, &operator, "/v1/consumers/billing/record", &word), 409).await;
    problem(post(&served, &admin, "/v1/consumers/billing/remove", &json!({})), 409).await;
    problem(post(&served, &admin, "/v1/consumers/nobody/remove", &json!({})), 404).await;
    served.sql("update avouch.consumer set is_required = true where name = 'gone'").await;
    served.sql("update avouch.outbox set awaiting = (select array[id] from avouch.consumer where name = 'gone') where state = 'sent'").await;
    let remove = |body: Value| post(&served, &admin, "/v1/consumers/gone/remove", &body);
    let unfinished = served.json("/v1/consumers", &admin).await[1]["unfinished"].as_i64().expect("it is a number");
    assert!(unfinished > 0);
    for fewer in [json!({}), json!({ "confirm": unfinished - 1 })] {
        let refused = problem(remove(fewer), 409).await;
        assert!(refused["remedy"].as_str().is_some_and(|text| text.contains(&format!("confirm = {unfinished}"))));
    }
    assert!(done(remove(json!({ "reason": "moved", "confirm": unfinished }))).await["durable"].is_string());
    let sql = "select is_required from avouch.consumer where name = 'gone'";
    assert!(!served.ground.client.query_one(sql, &[]).await.expect("it is known").get::<_, bool>(0));
}

#[tokio::test]
async fn plugin_is_uploaded_rolled_back_and_removed() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let bytes = std::fs::read(file("fingerprint")).expect("it is built");
    let send_as = |kind: &str, bytes: Vec<u8>, query: &str| {
        let request = served.ask(Method::POST, &format!("/v1/plugins{query}")).bearer_auth(&admin).body(bytes);
        request.header("content-type", kind).header("avouch-reason", "release%201")
    };
    let upload = |bytes: Vec<u8>, query: &str| send_as("application/wasm", bytes, query);
    let deployed = done(upload(bytes.clone(), "")).await;
    assert_eq!(deployed["name"], "fingerprint");
    let shown = served.json("/v1/plugins?name=fingerprint", &admin).await;
    assert_eq!((&shown[0]["digest"], &shown[0]["actor"]), (&deployed["digest"], &json!("root")));
    assert_eq!(audit_of(&served, "deploy").await, [("root".to_owned(), Some("release 1".to_owned()))]);
    problem(upload(b"\0asm\x01\0\0\0".to_vec(), ""), 422).await;
    problem(upload(bytes.clone(), "?grants=colour:red"), 400).await;
    problem(upload(bytes.clone(), "?settings=[]"), 400).await;
    problem(send_as("text/plain", bytes.clone(), ""), 415).await;
    problem(post(&served, &admin, "/v1/plugins/fingerprint/rollback", &json!({ "to": "ffff" })), 404).await;
    assert_eq!(done(post(&served, &admin, "/v1/plugins/fingerprint/remove", &json!({}))).await, Value::Null);
    assert_eq!(served.json("/v1/plugins?name=fingerprint", &admin).await[0]["digest"], Value::Null);
    let back = done(post(&served, &admin, "/v1/plugins/fingerprint/rollback", &json!({}))).await;
    assert_eq!(back[0]["digest"], deployed["digest"]);
    problem(post(&served, &admin, "/v1/plugins/nobody/remove", &json!({})), 404).await;
}

/// The document of the next event.
async fn next(stream: &mut Response, read: &mut String) -> Option<Value> {
    loop {
        if let Some((event, rest)) = read.split_once("\n\n") {
            let (event, rest) = (event.to_owned(), rest.to_owned());
            *read = rest;
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                assert!(event.lines().any(|line| line == "event: overview"), "{event}");
                return Some(serde_json::from_str(data).expect("it is a document"));
            }
            continue;
        }
        let chunk = stream.chunk().await.expect("the stream is whole")?;
        read.push_str(std::str::from_utf8(&chunk).expect("it is text"));
    }
}

#[tokio::test]
async fn overview_is_told_to_all_who_watch_by_one_look() {
    let served = Served::new().await;
    let looks = served.token("looks", "view").await;
    let mut watchers = Vec::new();
    for _ in 0..2 {
        let stream = served.get("/v1/events", &looks).await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        watchers.push((stream, String::new(), Vec::new()));
    }
    for (stream, read, told) in &mut watchers {
        for _ in 0..4 {
            told.push(next(stream, read).await.expect("it goes on"));
        }
    }
    // Leases run, so that no two looks are the same.
    let shared = watchers[0].2.iter().filter(|document| watchers[1].2.contains(document)).count();
    assert!(shared >= 2, "each was told something else: {:?} {:?}", watchers[0].2, watchers[1].2);
}

#[tokio::test]
async fn stream_tells_what_is_new_and_ends_with_the_process() {
    let mut served = Served::new().await;
    let looks = served.token("looks", "view").await;
    held(&served, "orders", 7).await;
    let (mut stream, mut read) = (served.get("/v1/events", &looks).await, String::new());
    assert_eq!(next(&mut stream, &mut read).await.expect("it goes on")["ready"], 7);
    served.avouch.signal(nix::sys::signal::Signal::SIGTERM);
    while next(&mut stream, &mut read).await.is_some() {}
    assert!(served.avouch.wait_for_end(secs(30)).await.success(), "streams do not hold up the end");
}

#[tokio::test]
async fn those_who_watch_have_seats_and_leave_them() {
    let served = Served::new().await;
    let looks = served.token("looks", "view").await;
    let (mut streams, watch) = (Vec::new(), || served.ask(Method::GET, "/v1/events").bearer_auth(&looks));
    // On a slow machine the first ones end before the last seat is taken.
    until("all seats to be taken", secs(120), async || {
        let response = send(watch()).await;
        let is_refused = response.status() == 503;
        streams.push(response);
        is_refused.then_some(())
    })
    .await;
    assert!(streams.len() > 64, "{} are too few", streams.len());
    drop(streams);
    until("a seat to be free", secs(60), async || (send(watch()).await.status() == 200).then_some(())).await;
}
