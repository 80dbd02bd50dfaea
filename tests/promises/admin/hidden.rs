//! Contents of topics that are hidden from those who only look: wherever they look, they see neither payloads nor values of headers.

use avouch_runtime::access::Role;
use avouch_runtime::admin::{Access, routes};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Served, problem, send};

/// Whoever sees one of these has seen contents.
const SECRETS: [&str; 4] = ["card-4111", "Y2FyZC00MTEx", "63 61 72 64 2d 34 31 31 31", "bearer-4111"];
const HIDDEN: &str = "payloads_hidden = [\"payments.>\"]\n[consumer.billing]\ntopics = [\"payments.>\"]";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Messages in every state, as text and as bytes, each with a header that holds a secret: of a topic that is hidden, and of one that is not.
async fn messages(served: &Served) -> (Uuid, Uuid, Uuid) {
    let furnish = format!(
        "select avouch.pause('topic', t) from unnest(array['payments.settled', 'orders']) t; \
         do $$ declare tx uuid; headers jsonb := '{{\"authorization\": \"bearer-4111\", \"traceparent\": \"{TRACE}\"}}'; \
         begin tx := avouch.prepare('pay', '1 day'); \
         insert into avouch.outbox (tx_id, topic, key, payload, headers) values (tx, 'payments.settled', 'k', 'card-4111', headers); \
         insert into avouch.outbox (topic, key, payload, headers) \
         select t, 'k', 'card-4111', headers from unnest(array['payments.settled', 'orders']) t, generate_series(1, 8); \
         insert into avouch.outbox (topic, key, payload_bytes, headers) values ('payments.settled', 'k', 'card-4111', headers); end $$; \
         update avouch.outbox o set state = (array['ready', 'dead', 'discarded', 'cancelled', 'sent', 'consumed'])[1 + o.seq % 6], \
         reason = case when o.seq % 6 = 1 then 'refused' end, sent_at = case when o.seq % 6 in (4, 5) then clock_timestamp() end \
         where o.state = 'ready' and o.payload is not null"
    );
    served.sql(&furnish).await;
    // They were told to somebody who answers with what he was told.
    let told = "insert into avouch.endpoint (name, url, topics, settings, origin) values ('merchant', 'https://m.example/', '{payments.>}', '{}', 'api'); \
                insert into avouch.notice (message_id, topic, key, payload, headers, created_at) \
                select id, topic, key, convert_to('card-4111', 'UTF8'), headers, created_at from avouch.outbox; \
                insert into avouch.delivery (endpoint, message_id) select e.id, n.message_id from avouch.endpoint e, avouch.notice n; \
                insert into avouch.attempt (endpoint, message_id, round, number, at, took_ms, outcome, excerpt) \
                select e.id, n.message_id, 1, 1, now(), 1, 'retry', 'no card-4111 here' from avouch.endpoint e, avouch.notice n";
    served.sql(told).await;
    let one = async |which: &str| {
        let sql = format!("select id from avouch.outbox where {which} order by seq limit 1");
        served.ground.client.query_one(&sql, &[]).await.unwrap_or_else(|e| panic!("{which}: {e:?}")).get(0)
    };
    let text = one("topic like 'payments%' and payload is not null and state <> 'prepared'").await;
    let bytes = one("topic like 'payments%' and payload is null").await;
    (text, bytes, one("topic = 'orders'").await)
}

/// Everything that somebody who looks may look at, with these in its places.
fn places(message: Uuid, tx: Uuid) -> Vec<String> {
    let mut places = Vec::new();
    for route in routes() {
        let is_looked_at = route.method == Method::GET && matches!(route.access, Access::Needs(Role::View));
        if !is_looked_at || route.path.ends_with("/events") {
            continue;
        }
        let id = if route.path.contains("transactions") { tx } else { message };
        let path = route
            .path
            .replace("{id}", &id.to_string())
            .replace("{consumer}", "billing")
            .replace("{endpoint}", "merchant");
        let path = path.replace("{name}", if path.contains("consumers") { "billing" } else { "pay" });
        assert!(!path.contains('{'), "{path}: say here what stands in it");
        places.push(path);
    }
    for query in [
        "topic=payments.>",
        "key=k",
        "state=dead",
        "state=ready",
        "state=prepared",
        "consumer=billing",
        "state=dead&failure=refused",
    ] {
        places.push(format!("/v1/messages?{query}"));
        places.push(format!("/messages?{query}"));
    }
    places
}

async fn text_of(served: &Served, place: &str, token: &str) -> String {
    let accept = if place.starts_with("/v1/") { "application/json" } else { "text/html" };
    let answer = send(served.ask(Method::GET, place).bearer_auth(token).header("accept", accept)).await;
    assert!(answer.status().as_u16() < 500, "{place}: {}", answer.status());
    answer.text().await.expect("it has a body")
}

#[tokio::test]
async fn contents_of_hidden_topics_are_nowhere_for_those_who_only_look() {
    let served = Served::with(HIDDEN).await;
    let (text, bytes, shown) = messages(&served).await;
    let tx: Uuid = served.ground.client.query_one("select id from avouch.tx", &[]).await.expect("it is there").get(0);
    // Without what is not hidden: any secret that is seen then is one too many.
    served.sql("delete from avouch.outbox where topic = 'orders'").await;
    let (looks, operates) = (served.token("looks", "view").await, served.token("operates", "operate").await);
    let mut seen_by_operators = 0;
    for message in [text, bytes] {
        for place in places(message, tx) {
            let told = text_of(&served, &place, &looks).await;
            let secret = SECRETS.iter().find(|secret| told.contains(**secret));
            assert_eq!(secret, None, "{place} tells it: {told}");
            let told = text_of(&served, &place, &operates).await;
            seen_by_operators += usize::from(SECRETS.iter().any(|secret| told.contains(secret)));
        }
    }
    assert!(seen_by_operators >= 8, "the places are where contents are: {seen_by_operators}");
    problem(served.ask(Method::GET, &format!("/v1/messages/{text}/payload")).bearer_auth(&looks), 403).await;
    let page = text_of(&served, &format!("/messages/{text}"), &looks).await;
    assert!(
        page.contains("hidden from your role") && page.contains("authorization"),
        "it is said, and names stay: {page}"
    );
    assert!(page.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "the trace is followed by all: {page}");
    assert_eq!(send(served.ask(Method::GET, &format!("/v1/messages/{shown}")).bearer_auth(&looks)).await.status(), 404);
}

#[tokio::test]
async fn contents_of_other_topics_are_shown_beside_hidden_ones() {
    let served = Served::with(HIDDEN).await;
    let (text, _, shown) = messages(&served).await;
    let looks = served.token("looks", "view").await;
    let payload = served.json(&format!("/v1/messages/{shown}/payload"), &looks).await;
    assert_eq!(payload["text"], "card-4111");
    let found = served.json("/v1/messages?key=k&limit=500", &looks).await;
    let all = found["messages"].as_array().expect("a list");
    assert_eq!(all.len(), 18, "{found}");
    for message in all {
        let is_hidden = message["topic"] == "payments.settled";
        let wanted = if is_hidden { Value::Null } else { json!("bearer-4111") };
        assert_eq!(
            (&message["headers"]["authorization"], &message["headers"]["traceparent"]),
            (&wanted, &json!(TRACE))
        );
    }
    let hidden = served.json(&format!("/v1/messages/{text}"), &looks).await;
    assert_eq!((&hidden["key"], &hidden["bytes"]), (&json!("k"), &json!(9)), "what is not contents is shown: {hidden}");
}
