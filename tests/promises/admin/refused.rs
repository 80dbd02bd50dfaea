//! What the database refuses: the rule is named, the remedy too, nothing is changed, and nobody is told to try it again.

use std::collections::{BTreeMap, BTreeSet};

use avouch_runtime::endpoints::{Described, Settings};
use avouch_runtime::meters::Scope;
use avouch_runtime::secret::Secret;
use avouch_runtime::store::operate::{By, Earlier, Forget, NewVersion};
use avouch_runtime::store::{self, Error, Plans, Store};
use avouch_tests::database::Database;
use reqwest::Method;
use reqwest::header::{ACCEPT, COOKIE};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Served, problem, send};
use crate::cli::avouch;
use crate::docs::files;

/// The character that Postgres cannot keep.
const ZERO: &str = "because\0";
const BY: By<'_> = By { who: "ann", why: Some("because") };
const HARD_TO_SAY: By<'_> = By { who: "ann", why: Some(ZERO) };
/// What operators must not do here, in the words of whoever owns the database.
const HOUSE_RULE: &str = "create function no_pauses() returns trigger language plpgsql as $$ begin \
    raise exception 'nothing is paused on fridays' using errcode = 'check_violation', constraint = 'no_pauses', hint = 'wait'; \
    end $$; create trigger no_pauses before insert on avouch.hold for each row execute function no_pauses()";

/// The rule that each statement of `store/operate` is refused for, one that its own function raises if it raises any.
async fn refusals(store: &Store, id: Uuid) -> Vec<(&'static str, Error, &'static str)> {
    let grants = json!({});
    let version = |digest| NewVersion { name: "check", digest, version: "1", file: b"x", grants: &grants };
    let mut told = Vec::new();
    let mut is_refused = |name, error: Option<Error>, rule| {
        told.push((name, error.unwrap_or_else(|| panic!("{name} is not refused")), rule));
    };
    let headers: [(String, String); 0] = [];
    let described = Described {
        name: "merchant".into(),
        tenant: ZERO.into(),
        url: "https://x.example/".into(),
        topics: vec![">".into()],
        filter: BTreeMap::new(),
        is_ordered: false,
        settings: Settings::default(),
    };
    let made = store.create_endpoint(BY, &described, "whsec_x", &headers).await.err();
    is_refused("create_endpoint", made, "text_without_zero");
    let changed = store.change_endpoint(BY, &described, None).await.err();
    is_refused("change_endpoint", changed, "text_without_zero");
    let token = store.create_endpoint_token(HARD_TO_SAY, "merchant", &[0; 32], None).await.err();
    is_refused("create_endpoint_token", token, "text_without_zero");
    let revoked = store.revoke_endpoint_tokens(HARD_TO_SAY, "merchant").await.err();
    is_refused("revoke_endpoint_tokens", revoked, "text_without_zero");
    let rotated = store.rotate_secret(HARD_TO_SAY, "merchant", "whsec_x", 1).await.err();
    is_refused("rotate_secret", rotated, "text_without_zero");
    is_refused("ping_endpoint", store.ping_endpoint(HARD_TO_SAY, "merchant").await.err(), "text_without_zero");
    is_refused("set_endpoint", store.set_endpoint(BY, "nobody", "enabled").await.err(), "endpoint_known");
    is_refused("remove_endpoint", store.remove_endpoint(BY, "nobody").await.err(), "endpoint_known");
    is_refused("notify_again", store.notify_again(BY, "nobody", &[id]).await.err(), "endpoint_known");
    let given_up = store.notify_given_up_again(BY, "nobody", OffsetDateTime::now_utc(), 1).await.err();
    is_refused("notify_given_up_again", given_up, "endpoint_known");
    let unknown = store.decide_record(BY, "nobody", "k", "retry").await.err();
    is_refused("decide_record", unknown, "consumer_known");
    is_refused("decide_record", store.decide_record(BY, "idle", "k", "maybe").await.err(), "inbox_outcome_known");
    is_refused("decide_tx", store.decide_tx(BY, "maybe", &[id]).await.err(), "tx_outcome_known");
    is_refused("deploy", store.deploy(BY, version("no digest")).await.err(), "plugin_digest");
    is_refused("discard", store.discard(HARD_TO_SAY, &[id]).await.err(), "text_without_zero");
    is_refused("pause", store.pause(BY, "colour", "red").await.err(), "hold_kind_known");
    is_refused("recheck", store.recheck(HARD_TO_SAY, &[id]).await.err(), "text_without_zero");
    is_refused("remove_consumer", store.remove_consumer(BY, "nobody").await.err(), "consumer_known");
    is_refused("remove_plugin", store.remove_plugin(BY, ZERO).await.err(), "text_without_zero");
    let replay = async |consumer| store.replay(BY, consumer, &[id], Forget::Nothing).await.err();
    is_refused("replay", replay("nobody").await, "consumer_known");
    is_refused("replay", replay("idle").await, "consumer_has_topics");
    is_refused("resend", store.resend(HARD_TO_SAY, &[id]).await.err(), "text_without_zero");
    is_refused("resume", store.resume(BY, "topic", ZERO).await.err(), "text_without_zero");
    is_refused("roll_back_plugin", store.roll_back_plugin(BY, ZERO, Earlier::Before).await.err(), "text_without_zero");
    told
}

#[tokio::test]
async fn each_statement_of_operators_is_refused_with_its_rule_and_a_remedy() {
    let database = Database::create().await;
    let client = database.client().await;
    let furnish = "insert into avouch.consumer (name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms) \
                   values ('idle', 1, 'rerun', 1, 1, 1); \
                   insert into avouch.tx (id, checker, state, check_at) values (avouch.uuid_v7(), 'pay', 'in_doubt', now())";
    client.batch_execute(furnish).await.expect("is valid");
    let id: Uuid = client.query_one("select id from avouch.tx", &[]).await.expect("it is there").get(0);
    let source = store::Config::of(Secret::new(database.url()));
    let store = Store::new(&source, Scope::new("main", 8, []), "avouch test", Plans::Fixed).expect("is valid");
    let refusals = refusals(&store, id).await;
    for (name, error, rule) in &refusals {
        let Error::Refused(refusal) = error else { panic!("{name}: {error:?} is no refusal") };
        assert_eq!(refusal.rule, *rule, "{name}: {refusal:?}");
        assert!(!refusal.what.is_empty() && !refusal.remedy.is_empty(), "{name}: {refusal:?}");
    }
    let tried: BTreeSet<String> = refusals.iter().map(|(name, ..)| format!("{name}.sql")).collect();
    let all: BTreeSet<String> = files("runtime/src/store/operate", &["sql"]).into_iter().collect();
    assert_eq!(tried, all, "each statement has a refusal here");
    let left = "select (select count(*) from avouch.audit) + (select count(*) from avouch.hold) + (select count(*) from avouch.deployment), \
                (select state from avouch.tx)";
    let left = client.query_one(left, &[]).await.expect("is valid");
    assert_eq!((left.get::<_, i64>(0), left.get::<_, &str>(1)), (0, "in_doubt"), "what is refused changes nothing");
}

#[tokio::test]
async fn what_the_database_refuses_is_a_problem_of_the_request_and_names_the_rule() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let id = Uuid::now_v7();
    served.sql(HOUSE_RULE).await;
    served
        .sql(&format!(
            "insert into avouch.tx (id, checker, state, check_at) values ('{id}', 'pay', 'in_doubt', clock_timestamp())"
        ))
        .await;
    let post = |path: &str, body: serde_json::Value| {
        let request = served.ask(Method::POST, path).bearer_auth(&admin);
        request.header("content-type", "application/json").body(body.to_string())
    };
    let hold = json!({ "kind": "topic", "name": "orders" });
    let refused = problem(post("/v1/holds/pause", hold), 422).await;
    assert_eq!((&refused["rule"], &refused["remedy"]), (&json!("no_pauses"), &json!("wait")), "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|text| text.contains("fridays") && text.contains("no_pauses")));
    for (path, body) in [
        (format!("/v1/transactions/{id}/commit"), json!({ "reason": ZERO })),
        (format!("/v1/transactions/{id}/rollback"), json!({ "reason": ZERO })),
        (format!("/v1/transactions/{id}/recheck"), json!({ "reason": ZERO })),
        ("/v1/holds/pause".to_owned(), json!({ "kind": "key", "name": ZERO })),
        ("/v1/holds/resume".to_owned(), json!({ "kind": "key", "name": ZERO })),
        ("/v1/plugins/check/remove".to_owned(), json!({ "reason": ZERO })),
        ("/v1/plugins/check/rollback".to_owned(), json!({ "reason": ZERO })),
        ("/v1/tokens".to_owned(), json!({ "name": ZERO, "role": "view" })),
        ("/v1/tokens/nobody/revoke".to_owned(), json!({ "reason": ZERO })),
        ("/v1/dead/resend".to_owned(), json!({ "topic": ZERO, "dry_run": true })),
    ] {
        let refused = problem(post(&path, body), 422).await;
        assert_eq!(refused["rule"], "text_without_zero", "{path}: {refused}");
    }
    for path in ["/v1/messages?key=%00", "/v1/transactions?checker=%00", "/v1/plugins?name=%00"] {
        let refused = problem(served.ask(Method::GET, path).bearer_auth(&admin), 422).await;
        assert_eq!(refused["rule"], "text_without_zero", "{path}: {refused}");
    }
    // In what is there, not in what was said: the same request may be taken later.
    served.sql("create or replace function no_pauses() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$").await;
    let refused = problem(post("/v1/holds/pause", json!({ "kind": "topic", "name": "orders" })), 409).await;
    assert_eq!(refused["rule"], "SQLSTATE P0001", "{refused}");
    let cookie = served.log_in(&admin).await;
    let form = served.form("/pause", "kind=topic&name=orders&why=&next=%2Fholds").header(COOKIE, cookie);
    let page = send(form.header(ACCEPT, "text/html")).await;
    assert_eq!(page.status(), 409);
    assert!(page.text().await.expect("it is a page").contains("not now"), "the page says what the database says");
}

#[tokio::test]
async fn commands_tell_the_rule_and_the_remedy_and_do_not_say_that_it_be_repeated() {
    let database = Database::create().await;
    database.client().await.batch_execute(HOUSE_RULE).await.expect("is valid");
    let id = Uuid::now_v7().to_string();
    let at = async |args: &[&str]| avouch(&[args, &["--database-url", database.url()]].concat(), &[]).await;
    let told = at(&["replay", "nobody", &id]).await.fails_with(1);
    let told = told.says("there is no consumer nobody (rule consumer_known)").says("add [consumer.nobody]");
    assert!(!told.text.contains("repeat"), "{}", told.text);
    let told = at(&["pause", "topic", "orders"]).await.fails_with(1);
    told.says("nothing is paused on fridays (rule no_pauses): wait");
    at(&["consumers", "remove", "nobody"]).await.fails_with(1).says("no consumer nobody");
}
