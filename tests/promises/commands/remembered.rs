//! What is looked for is found, and what happened is told to its end, however much there is beside it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Desk;

impl Desk {
    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }

    async fn events(&self, of: &[&str]) -> Vec<Value> {
        self.json(of).await["timeline"].as_array().expect("it is a list").clone()
    }
}

fn ids(list: &Value) -> Vec<Uuid> {
    let ids = list.as_array().expect("it is a list").iter();
    ids.map(|m| m["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")).collect()
}

#[tokio::test]
async fn history_is_told_to_its_end_however_often_a_checker_was_asked() {
    let desk = Desk::new().await;
    let (tx, asked) = (desk.tx, "jsonb_build_object('verdict', 'in progress', 'checks', n)");
    desk.sql(&format!(
        "delete from avouch.event where subject = '{tx}'; \
         insert into avouch.event (subject, what, detail) select '{tx}', 'asked', {asked} from generate_series(1, 1300) n; \
         insert into avouch.event (subject, what, actor, detail) values ('{tx}', 'in_doubt', null, '{{}}')"
    ))
    .await;
    let events = desk.events(&["tx", "show", &tx.to_string()]).await;
    let count = |what: &str| events.iter().filter(|e| e["what"] == what).count();
    assert_eq!((count("prepared"), count("asked"), count("asked_before")), (1, 500, 1));
    let before = events.iter().find(|e| e["what"] == "asked_before").expect("it is told");
    assert_eq!(before["detail"]["checks"], 800, "how many are not shown: {before:#}");
    assert_eq!(events.last().expect("there are some")["what"], "in_doubt", "the end is there");
    assert_eq!(events[events.len() - 2]["detail"]["checks"], 1300, "and the last answer");
    desk.at(&["tx", "show", &tx.to_string()]).await.succeeds().says("asked_before");
}

/// A consumer whose plugin says that messages are about one order: the first attempt fails, the second never ends.
#[tokio::test]
async fn each_attempt_under_a_plugins_key_is_told_shown_and_lifted_by_a_resend() {
    let desk = Desk::new().await;
    let id = desk.waiting;
    desk.sql("delete from avouch.inbox").await;
    let begin = format!("select decision from avouch.inbox_begin('billing', 'order-17', message_id => '{id}')");
    assert_eq!(desk.one::<String>(&begin).await, "run");
    desk.sql(
        "select avouch.inbox_fail('billing', 'order-17', (select token from avouch.inbox), 'the card declined', retry_after => '0 s')",
    )
    .await;
    assert_eq!(desk.one::<String>(&begin).await, "run");
    desk.sql("update avouch.inbox set until = clock_timestamp() - interval '1 s'").await;
    assert_eq!(desk.one::<String>(&begin).await, "reject", "whoever ran may have had its effect");

    let events = desk.events(&["messages", "show", &id.to_string()]).await;
    let of = |what: &str| {
        let found: Vec<_> = events.iter().filter(|e| e["what"] == what).collect();
        assert_eq!(found.len(), 1, "{what}: {events:#?}");
        found[0].clone()
    };
    let failed = of("attempt_failed");
    assert_eq!(failed["consumer"], "billing");
    assert_eq!(failed["detail"], json!({"attempt": 1, "key": "order-17", "reason": "the card declined"}));
    assert_eq!(of("attempt_lost")["detail"], json!({"attempt": 2, "key": "order-17"}));
    assert_eq!(of("inbox_parked")["detail"]["key"], "order-17");
    let shown = desk.json(&["consumers", "show", "billing"]).await;
    assert_eq!(shown["records"][0]["key"], "order-17", "the key that `avouch inbox retry` wants: {shown:#}");

    desk.sql(&format!(
        "insert into avouch.recovery (message_id, consumer, state, reason) select '{id}', id, 'dead', 'parked' from avouch.consumer; \
         update avouch.outbox set state = 'dead' where id = '{id}'"
    ))
    .await;
    desk.at(&["resend", &id.to_string()]).await.succeeds();
    assert_eq!(desk.one::<String>("select state from avouch.inbox").await, "waiting", "or it would be rejected again");
    desk.sql(&format!(
        "update avouch.inbox set state = 'done'; update avouch.outbox set state = 'sent' where id = '{id}'"
    ))
    .await;
    desk.sql(&format!("select avouch.replay('billing', array['{id}']::uuid[], forget => true)")).await;
    assert_eq!(desk.one::<i64>("select count(*) from avouch.inbox").await, 0, "what is forgotten runs again");
}

#[tokio::test]
async fn consumer_whose_work_stands_behind_that_of_others_is_not_told_to_have_none() {
    let desk = Desk::new().await;
    desk.sql(
        "insert into avouch.consumer (name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms, stream, topics, is_required, receipt) \
         values ('shipping', 30000, 'park', 16, 1000, 300000, 'AVOUCH', '{orders.>}', true, 'inbox')",
    )
    .await;
    let of = async |name: &str| {
        let all = desk.json(&["consumers", "list"]).await;
        let consumers = all["consumers"].as_array().expect("a list").clone();
        consumers.into_iter().find(|c| c["name"] == name).expect("it is there")
    };
    assert_eq!(of("shipping").await["is_least"], false);
    desk.sql(
        "set session_replication_role = replica; \
         insert into avouch.outbox (id, topic, payload, state, stream, stream_seq, sent_at, awaiting) \
         select avouch.uuid_v7(), 'orders.new', '', 'sent', s.id, n, now(), array[(select id from avouch.consumer where name = 'billing')] \
         from avouch.stream s, generate_series(10, 20020) n; \
         insert into avouch.outbox (id, topic, payload, state, stream, stream_seq, sent_at, awaiting) \
         select avouch.uuid_v7(), 'orders.new', '', 'sent', s.id, 30000, now(), array[(select id from avouch.consumer where name = 'shipping')] \
         from avouch.stream s; \
         reset session_replication_role",
    )
    .await;
    assert_eq!(of("shipping").await["is_least"], true, "what it has not finished was not looked at");
    let text = desk.at(&["consumers", "list"]).await.succeeds().text;
    let line = |name: &str| text.lines().find(|l| l.starts_with(name)).expect("it has a line").to_owned();
    assert!(line("shipping").contains(" 0+ ") && line("billing").contains(" 10000+ "), "{text}");
}

#[tokio::test]
async fn delayed_messages_are_found_with_their_key_and_without_one() {
    let desk = Desk::new().await;
    let insert = "insert into avouch.outbox (topic, key, payload, not_before) \
                  select 'later', case when n > 1 then 'k' end, n::text, now() + n * interval '1 min' from generate_series(1, 3) n";
    desk.sql(insert).await;
    let list = async |args: &[&str]| desk.json(&[&["messages", "list"], args].concat()).await;
    let all: Vec<Uuid> = {
        let sql = "select id from avouch.outbox where topic = 'later' order by not_before";
        desk.client.query(sql, &[]).await.expect("is valid").iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(ids(&list(&["--state", "delayed", "--topic", "later"]).await["messages"]), all, "soonest first");
    let first = list(&["--state", "delayed", "--topic", "later", "--limit", "2"]).await;
    assert_eq!(ids(&first["messages"]), all[..2]);
    let cursor = first["cursor"].as_str().expect("there is more");
    let rest = list(&["--state", "delayed", "--topic", "later", "--cursor", cursor]).await;
    assert_eq!((ids(&rest["messages"]), &rest["cursor"]), (all[2..].to_vec(), &Value::Null));
    let mut keyed = ids(&list(&["--state", "delayed", "--key", "k"]).await["messages"]);
    keyed.sort_unstable();
    let mut wanted = all[1..].to_vec();
    wanted.sort_unstable();
    assert_eq!(keyed, wanted);
    assert_eq!(ids(&list(&["--state", "ready", "--topic", "later"]).await["messages"]), [] as [Uuid; 0]);
}
