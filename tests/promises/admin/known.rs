//! People who are known elsewhere: let in with the role of their group, and with nothing less than all that proves them.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::issuer::{CLIENT, Issuer, SECRET};
use super::{Served, cookie_of, json_of, send};

/// A console that asks this issuer.
pub async fn served_with(issuer: &Issuer) -> Served {
    let groups = "view_groups = [\"staff\"]\noperate_groups = [\"sre\"]\nadmin_groups = [\"leads\"]";
    let client = format!("client_id = \"{CLIENT}\"\nclient_secret = \"{SECRET}\"");
    Served::with(&format!("[admin.oidc]\nissuer = \"{}\"\n{client}\n{groups}", issuer.url())).await
}

/// A login that the issuer has not answered yet.
struct Begun {
    cookie: String,
    state: String,
    nonce: String,
    challenge: String,
}

async fn begin(served: &Served) -> Begun {
    let response = send(served.ask(Method::GET, "/login/oidc?next=%2Fv1%2Fme")).await;
    assert_eq!(response.status(), 303);
    let cookie = cookie_of(&response, "avouch_login").expect("the browser remembers what it has begun");
    let set = response.headers()["set-cookie"].to_str().expect("it is text").to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
    let place: reqwest::Url =
        response.headers()["location"].to_str().expect("it is text").parse().expect("it is a URL");
    let get = |name: &str| place.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(get("response_type").as_deref(), Some("code"));
    assert_eq!(get("code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(get("redirect_uri"), Some(format!("{}/login/oidc/callback", served.origin())));
    assert!(get("scope").is_some_and(|scope| scope.split(' ').any(|s| s == "openid")));
    let [state, nonce, challenge] = ["state", "nonce", "code_challenge"].map(|name| get(name).expect("it is there"));
    Begun { cookie, state, nonce, challenge }
}

fn claims(issuer: &Issuer, nonce: &str, groups: &Value) -> Value {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    json!({
        "iss": issuer.url(), "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 300, "nonce": nonce,
        "email": "ann@shop.example", "email_verified": true, "groups": groups,
    })
}

async fn come_back(served: &Served, begun: &Begun, query: &str) -> Response {
    let path = format!("/login/oidc/callback?{query}");
    send(served.ask(Method::GET, &path).header("cookie", &begun.cookie)).await
}

/// The whole way, with these claims changed.
pub async fn log_in(served: &Served, issuer: &Issuer, groups: Value, change: Value) -> Response {
    let begun = begin(served).await;
    let mut claims = claims(issuer, &begun.nonce, &groups);
    for (name, value) in change.as_object().expect("changes are claims") {
        claims[name] = value.clone();
    }
    issuer.tells(claims, &begun.challenge);
    come_back(served, &begun, &format!("code=the-code&state={}", begun.state)).await
}

#[tokio::test]
async fn person_of_a_known_group_is_let_in_with_its_role() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    for (groups, role) in
        [(json!(["staff"]), "view"), (json!("sre"), "operate"), (json!(["staff", "other", "leads"]), "admin")]
    {
        let response = log_in(&served, &issuer, groups, json!({})).await;
        assert_eq!(response.status(), 200);
        let cookie = cookie_of(&response, "avouch_session").expect("a session begins");
        assert!(
            response.text().await.expect("it is a page").contains("url=/v1/me"),
            "it leads to where they wanted to go"
        );
        let me = json_of(send(served.ask(Method::GET, "/v1/me").header("cookie", cookie)).await).await;
        assert_eq!(me, json!({ "who": "ann@shop.example", "role": role }));
    }
}

#[tokio::test]
async fn address_that_the_issuer_has_not_verified_is_nobodys_name() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    for change in [json!({ "email_verified": false }), json!({ "email_verified": null }), json!({ "email": null })] {
        let response = log_in(&served, &issuer, json!(["staff"]), change).await;
        let cookie = cookie_of(&response, "avouch_session").expect("a session begins");
        let me = json_of(send(served.ask(Method::GET, "/v1/me").header("cookie", cookie)).await).await;
        assert_eq!(me["who"], "u-1");
    }
}

#[tokio::test]
async fn person_of_no_known_group_is_refused() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    for groups in [json!(["other"]), json!([]), json!("Staff"), json!({ "staff": true })] {
        let response = log_in(&served, &issuer, groups.clone(), json!({})).await;
        assert_eq!(response.status(), 403, "{groups}");
        assert_eq!(cookie_of(&response, "avouch_session"), None);
    }
    no_session(&served).await;
}

#[tokio::test]
async fn id_token_that_is_not_for_this_login_is_refused() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    for change in [json!({ "nonce": "another" }), json!({ "nonce": null })] {
        let response = log_in(&served, &issuer, json!(["leads"]), change.clone()).await;
        assert_eq!(response.status(), 401, "{change}");
    }
    no_session(&served).await;
}

#[tokio::test]
async fn id_token_that_is_not_for_this_client_or_not_valid_any_more_is_refused() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    for change in [
        json!({ "aud": "another" }),
        json!({ "aud": ["another", "third"] }),
        json!({ "iss": "https://evil.example" }),
        json!({ "exp": now - 60, "iat": now - 360 }),
    ] {
        let response = log_in(&served, &issuer, json!(["leads"]), change.clone()).await;
        assert_eq!(response.status(), 401, "{change}");
    }
    no_session(&served).await;
}

#[tokio::test]
async fn id_token_must_be_signed_by_a_key_of_the_issuer() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    for algorithm in ["none", "HS256", "RS256"] {
        issuer.says_algorithm(algorithm);
        assert_eq!(log_in(&served, &issuer, json!(["leads"]), json!({})).await.status(), 401, "{algorithm}");
    }
    issuer.says_algorithm("ES256");
    issuer.is_forged();
    assert_eq!(log_in(&served, &issuer, json!(["leads"]), json!({})).await.status(), 401, "another key has signed it");
    no_session(&served).await;
}

#[tokio::test]
async fn login_that_this_browser_has_not_begun_is_refused_before_the_issuer_is_asked() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    let (begun, other) = (begin(&served).await, begin(&served).await);
    issuer.tells(claims(&issuer, &begun.nonce, &json!(["leads"])), &begun.challenge);
    let right = format!("code=the-code&state={}", begun.state);
    for query in [
        format!("code=the-code&state={}", other.state),
        "code=the-code&state=".to_owned(),
        "code=the-code".to_owned(),
        format!("state={}", begun.state),
        format!("error=access_denied&state={}", begun.state),
        format!("code=the-code&state={}&iss=https%3A%2F%2Fevil.example", begun.state),
    ] {
        assert_eq!(come_back(&served, &begun, &query).await.status(), 401, "{query}");
    }
    let path = format!("/login/oidc/callback?{right}");
    assert_eq!(send(served.ask(Method::GET, &path)).await.status(), 401, "another browser");
    assert_eq!(issuer.codes(), 0, "nobody asked for tokens");
    no_session(&served).await;
}

#[tokio::test]
async fn code_is_bound_to_the_browser_that_began_the_login() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    let (mine, theirs) = (begin(&served).await, begin(&served).await);
    // Somebody else's code, with my state.
    issuer.tells(claims(&issuer, &mine.nonce, &json!(["leads"])), &theirs.challenge);
    let response = come_back(&served, &mine, &format!("code=the-code&state={}", mine.state)).await;
    assert_eq!(response.status(), 401);
    assert_eq!(issuer.codes(), 1);
    no_session(&served).await;
}

#[tokio::test]
async fn issuer_that_does_not_answer_leaves_tokens_as_a_way_in() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    drop(issuer);
    let page = send(served.ask(Method::GET, "/login/oidc").header("accept", "text/html")).await;
    assert_eq!(page.status(), 503);
    let token = served.token("ann", "view").await;
    served.log_in(&token).await;
}

async fn no_session(served: &Served) {
    let count = "select count(*) from avouch.session";
    let count: i64 = served.ground.client.query_one(count, &[]).await.expect("it can be counted").get(0);
    assert_eq!(count, 0);
}
