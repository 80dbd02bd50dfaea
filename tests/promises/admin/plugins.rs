//! Which version of a plugin answers again over the API.

use serde_json::{Value, json};

use super::views::{done, post};
use super::{Served, problem};

#[tokio::test]
async fn each_rollback_goes_back_by_one_and_what_may_mean_several_is_refused() {
    let served = Served::new().await;
    let admin = served.token("root", "admin").await;
    let deploy = async |digest: &str, grants: &str| {
        let digest = format!("{digest}{}", "0".repeat(64 - digest.len()));
        let sql = format!(
            "insert into avouch.plugin (name, digest, version, file) values ('check', '{digest}', 'v-' || left('{digest}', 2), '') \
             on conflict do nothing; \
             insert into avouch.deployment (name, digest, grants, actor) values ('check', '{digest}', '{{\"bindings\": [{grants}]}}', 'ann')"
        );
        served.sql(&sql).await;
    };
    for (digest, grants) in [("a1", "\"sql:a\""), ("a2", ""), ("a2", "\"sql:b\""), ("b3", "")] {
        deploy(digest, grants).await;
    }
    let back = |body: Value| post(&served, &admin, "/v1/plugins/check/rollback", &body);
    let now =
        |told: &Value| (told[0]["digest"].as_str().map(|d| d[..2].to_owned()), told[0]["grants"]["bindings"].clone());
    let is = |digest: &str, grants: Value| (Some(digest.to_owned()), grants);
    assert_eq!(now(&done(back(json!({}))).await), is("a2", json!(["sql:b"])));
    assert_eq!(now(&done(back(json!({}))).await), is("a1", json!(["sql:a"])), "not forth again");
    problem(back(json!({})), 404).await;
    for unclear in
        [json!({ "to": "" }), json!({ "to": " " }), json!({ "to": "a" }), json!({ "to": "b3", "deployment": 1 })]
    {
        problem(back(unclear), 422).await;
    }
    problem(back(json!({ "to": "c" })), 404).await;
    problem(back(json!({ "deployment": 0 })), 404).await;
    assert_eq!(now(&done(back(json!({ "to": "b" }))).await), is("b3", json!([])));
    assert_eq!(now(&done(back(json!({ "to": "v-a2" }))).await), is("a2", json!(["sql:b"])), "as it was deployed last");
    let all = served.json("/v1/plugins?name=check", &admin).await;
    let older = all.as_array().and_then(|all| all.iter().rev().nth(1)).expect("it is the second").clone();
    let there = done(back(json!({ "deployment": older["id"] }))).await;
    assert_eq!(now(&there), is("a2", json!([])), "with what it was granted then");
}
