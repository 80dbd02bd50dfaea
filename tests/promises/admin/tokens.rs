//! Tokens: made and revoked on the command line and over the API, stored as hashes, valid as long as they say.

use avouch_tests::wait::{secs, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Served, json_of, problem, send};
use crate::cli::Told;
use crate::cli::avouch;

async fn token(served: &Served, args: &[&str]) -> Told {
    let url = served.ground.database.url();
    avouch(&[&["token"][..], args, &["--database-url", url][..]].concat(), &[]).await
}

#[tokio::test]
async fn token_of_the_command_line_is_let_in_until_it_is_revoked() {
    let served = Served::new().await;
    let made = token(&served, &["create", "ci.deploy", "--role", "operate", "--json"]).await.succeeds();
    // What is said to people follows on the error output.
    let mut documents = serde_json::Deserializer::from_str(&made.text).into_iter::<Value>();
    let made = documents.next().and_then(Result::ok).expect("the output is one JSON document");
    let secret = made["secret"].as_str().expect("the secret is told").to_owned();
    assert_eq!(served.json("/v1/me", &secret).await, json!({ "who": "ci.deploy", "role": "operate" }));
    token(&served, &["list"]).await.succeeds().says("LAST USED").says("ci.deploy  operate  valid  20");
    token(&served, &["create", "ci.deploy"]).await.fails_with(1).says("token revoke ci.deploy");
    token(&served, &["revoke", "ci.deploy", "--reason", "leaked"]).await.succeeds();
    assert_eq!(served.get("/v1/me", &secret).await.status(), 401, "it is revoked");
    token(&served, &["revoke", "ci.deploy"]).await.fails_with(1);
    token(&served, &["list"]).await.succeeds().says("ci.deploy  operate  revoked");
    token(&served, &["create", "ci.deploy", "--never", "--reason", "rotated"])
        .await
        .succeeds()
        .says("until it is revoked");
    let sql = "select string_agg(concat_ws(' ', action, subject, detail, why), '; ' order by id) from avouch.audit";
    let audit: String = served.ground.client.query_one(sql, &[]).await.expect("it can be read").get(0);
    assert!(
        audit.contains("create token ci.deploy role operate") && audit.contains("revoke token ci.deploy leaked"),
        "{audit}"
    );
    assert!(audit.ends_with("until it is revoked rotated"), "{audit}");
}

#[tokio::test]
async fn token_is_valid_for_ninety_days_unless_it_says_otherwise() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let days = "select coalesce(round(extract(epoch from expires_at - created_at) / 86400)::int, -1) from avouch.token where name = $1";
    for (name, body, wanted) in
        [("a", json!({}), 90), ("b", json!({ "days": 1 }), 1), ("c", json!({ "never_expires": true }), -1)]
    {
        let mut body = body;
        (body["name"], body["role"]) = (json!(name), json!("view"));
        let made = send(
            served
                .ask(Method::POST, "/v1/tokens")
                .bearer_auth(&admin)
                .body(body.to_string())
                .header("content-type", "application/json"),
        )
        .await;
        assert_eq!(made.status(), 201, "{body}");
        assert_eq!(served.ground.client.query_one(days, &[&name]).await.expect("it is there").get::<_, i32>(0), wanted);
    }
    for wrong in [
        json!({ "name": "d", "role": "view", "days": 0 }),
        json!({ "name": "d", "role": "view", "days": 4000 }),
        json!({ "name": "d", "role": "view", "days": 5, "never_expires": true }),
        json!({ "name": "d e", "role": "view" }),
        json!({ "name": "", "role": "view" }),
        json!({ "name": "d", "role": "root" }),
        json!({ "name": "d" }),
        json!({ "name": "d", "role": "view", "owner": "x" }),
    ] {
        let request = served.ask(Method::POST, "/v1/tokens").bearer_auth(&admin).body(wrong.to_string());
        problem(request.header("content-type", "application/json"), 422).await;
    }
    let taken = json!({ "name": "a", "role": "view" }).to_string();
    let request = served.ask(Method::POST, "/v1/tokens").bearer_auth(&admin).body(taken);
    problem(request.header("content-type", "application/json"), 409).await;
}

#[tokio::test]
async fn token_made_over_the_api_is_audited_with_its_maker_and_revoked_with_a_reason() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let body = json!({ "name": "dash", "role": "view", "reason": "for the wall" }).to_string();
    let post = |path: &str, body: String| {
        served.ask(Method::POST, path).bearer_auth(&admin).header("content-type", "application/json").body(body)
    };
    let made = json_of(send(post("/v1/tokens", body)).await).await;
    let secret = made["secret"].as_str().expect("the secret is told").to_owned();
    assert_eq!(served.json("/v1/me", &secret).await["who"], "dash");
    let listed = served.json("/v1/tokens", &admin).await;
    assert!(!listed.to_string().contains(&secret[7..]), "the secret is told once");
    assert_eq!(listed[0]["name"], "dash");
    assert_eq!(listed[0]["created_by"], "root");
    let why = post("/v1/tokens/dash/revoke", "{}".into()).header("avouch-reason", "moved%20%C3%BCber");
    assert_eq!(send(why).await.status(), 204);
    assert_eq!(served.get("/v1/me", &secret).await.status(), 401);
    problem(post("/v1/tokens/dash/revoke", "{}".into()), 404).await;
    let sql = "select array_agg(concat_ws(' ', actor, action, subject, detail, why) order by id) from avouch.audit where subject = 'dash'";
    let audit: Vec<String> = served.ground.client.query_one(sql, &[]).await.expect("it can be read").get(0);
    assert!(
        audit[0].starts_with("root create token dash role view") && audit[0].ends_with(" for the wall"),
        "{audit:?}"
    );
    assert_eq!(audit[1], "root revoke token dash moved über");
}

#[tokio::test]
async fn of_a_token_only_its_hash_is_stored_and_viewers_of_the_database_do_not_see_it() {
    let served = Served::new().await;
    let made = token(&served, &["create", "deploy"]).await.succeeds();
    let secret = made.text.lines().next().expect("the secret is the first line").to_owned();
    let cookie = served.log_in(&secret).await;
    let id = cookie.split_once('=').expect("it has a value").1.to_owned();
    let everything =
        "select string_agg(to_jsonb(t)::text, '') || (select string_agg(to_jsonb(s)::text, '') from avouch.session s)
                      || (select string_agg(to_jsonb(a)::text, '') from avouch.audit a) from avouch.token t";
    let everything: String = served.ground.client.query_one(everything, &[]).await.expect("it can be read").get(0);
    assert!(!everything.contains(&secret[7..]) && !everything.contains(&id), "a secret is stored");
    assert!(!served.avouch.log().contains(&secret[7..]) && !served.avouch.log().contains(&id), "a secret is logged");
    for table in ["token", "session"] {
        let sql = format!("set role avouch_viewer; select from avouch.{table}");
        let refused = served.ground.client.batch_execute(&sql).await.expect_err("viewers do not see it");
        assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{refused:?}");
        served.sql("reset role").await;
    }
}

#[tokio::test]
async fn when_a_token_was_used_is_written_at_most_once_a_minute() {
    let served = Served::new().await;
    let looks = served.token("looks", "view").await;
    let used = async || -> (i64, bool) {
        let sql = "select xmin::text::bigint, last_used_at > clock_timestamp() - interval '10 s' from avouch.token where name = 'looks'";
        let row = served.ground.client.query_one(sql, &[]).await.expect("it is there");
        (row.get(0), row.get::<_, Option<bool>>(1).unwrap_or_default())
    };
    served.json("/v1/me", &looks).await;
    let (written, is_recent) = used().await;
    assert!(is_recent);
    for _ in 0..5 {
        served.json("/v1/me", &looks).await;
    }
    assert_eq!(used().await.0, written, "no other write within the minute");
    served.sql("update avouch.token set last_used_at = clock_timestamp() - interval '61 s'").await;
    until("the next use to be written", secs(10), async || {
        served.json("/v1/me", &looks).await;
        used().await.1.then_some(())
    })
    .await;
}
