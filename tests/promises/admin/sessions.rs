//! Sessions of the console: begun with a token, kept from scripts and other sites, ended in every way that they must end.

use avouch_tests::wait::{secs, until};
use reqwest::Method;
use serde_json::json;

use super::issuer::Issuer;
use super::known::{log_in, served_with};
use super::{Served, cookie_of, json_of, problem, send};
use crate::cli::avouch;

async fn status_of(served: &Served, cookie: &str) -> u16 {
    send(served.ask(Method::GET, "/v1/me").header("cookie", cookie)).await.status().as_u16()
}

#[tokio::test]
async fn login_sets_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let served = Served::new().await;
    let token = served.token("ann", "operate").await;
    let response = send(served.login(&token)).await;
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["location"], "/v1/me");
    let set = response.headers()["set-cookie"].to_str().expect("it is text").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(set.contains(part), "{part} in {set}");
    }
    assert!(!set.contains("Secure") && !set.contains(&token[7..]), "{set}");
    let cookie = cookie_of(&response, "avouch_session").expect("it is set");
    assert_eq!(status_of(&served, &cookie).await, 200);
    let page = send(served.ask(Method::GET, "/").header("cookie", &cookie)).await;
    assert!(page.text().await.expect("it is a page").contains("ann"));
}

#[tokio::test]
async fn behind_https_the_cookie_never_goes_out_unencrypted() {
    let served = Served::with("public_url = \"https://avouch.example\"").await;
    let token = served.token("ann", "view").await;
    let foreign = served.form("/login", &format!("token={token}")).header("host", "avouch.example");
    assert_eq!(
        send(foreign).await.status(),
        403,
        "a page that was loaded from the address is not one of the public host"
    );
    let body = format!("token={token}");
    let login =
        served.ask(Method::POST, "/login").header("host", "avouch.example").header("origin", "https://avouch.example");
    let response = send(login.header("content-type", "application/x-www-form-urlencoded").body(body)).await;
    assert_eq!(response.status(), 303);
    let set = response.headers()["set-cookie"].to_str().expect("it is text").to_owned();
    assert!(set.starts_with("__Host-avouch_session=") && set.contains("; Secure"), "{set}");
}

#[tokio::test]
async fn session_ends_by_logout_by_idleness_by_age_and_with_its_token() {
    let served = Served::new().await;
    let token = served.token("ann", "view").await;
    let ends: [(&str, Option<&str>); 5] = [
        ("logout", None),
        ("idleness", Some("update avouch.session set seen_at = clock_timestamp() - interval '1801 s'")),
        ("age", Some("update avouch.session set ends_at = clock_timestamp() - interval '1 s'")),
        ("the token's expiry", Some("update avouch.token set expires_at = clock_timestamp() - interval '1 s'")),
        ("the token's revocation", Some("update avouch.token set expires_at = null, revoked_at = clock_timestamp()")),
    ];
    for (what, sql) in ends {
        served.sql("update avouch.token set expires_at = null").await;
        let cookie = served.log_in(&token).await;
        assert_eq!(status_of(&served, &cookie).await, 200, "before {what}");
        match sql {
            Some(sql) => served.sql(sql).await,
            None => {
                let response = send(served.form("/logout", "").header("cookie", &cookie)).await;
                assert_eq!(response.status(), 303);
                assert!(response.headers()["set-cookie"].to_str().expect("it is text").contains("Max-Age=0"));
            }
        }
        assert_eq!(status_of(&served, &cookie).await, 401, "after {what}");
    }
}

#[tokio::test]
async fn whoever_logs_in_again_has_one_session() {
    let served = Served::new().await;
    let (ann, root) = (served.token("ann", "view").await, served.token("root", "admin").await);
    let former = served.log_in(&ann).await;
    let response = send(served.login(&root).header("cookie", &former)).await;
    let cookie = cookie_of(&response, "avouch_session").expect("it is set");
    assert_ne!(cookie, former);
    assert_eq!((status_of(&served, &former).await, status_of(&served, &cookie).await), (401, 200));
}

#[tokio::test]
async fn used_session_goes_on_and_ended_ones_are_forgotten() {
    let served = Served::new().await;
    let token = served.token("ann", "view").await;
    let cookie = served.log_in(&token).await;
    served.sql("update avouch.session set seen_at = clock_timestamp() - interval '1700 s'").await;
    assert_eq!(status_of(&served, &cookie).await, 200);
    served.sql("update avouch.session set seen_at = seen_at - interval '1700 s'").await;
    assert_eq!(status_of(&served, &cookie).await, 200, "its use was written");
    served.sql("update avouch.session set ends_at = clock_timestamp() - interval '1 s'").await;
    served.log_in(&token).await;
    let count = "select count(*) from avouch.session";
    let count: i64 = served.ground.client.query_one(count, &[]).await.expect("it can be counted").get(0);
    assert_eq!(count, 1, "the ended one is gone");
}

#[tokio::test]
async fn page_that_stays_open_keeps_no_session_alive() {
    let served = Served::new().await;
    let cookie = served.log_in(&served.token("ann", "view").await).await;
    let status = async |path: &str, mode: Option<&str>| {
        let asked = served.ask(Method::GET, path).header("cookie", &cookie);
        let asked = match mode {
            Some(mode) => asked.header("sec-fetch-mode", mode),
            None => asked,
        };
        send(asked).await.status().as_u16()
    };
    let idle_s = async || {
        let sql = "select extract(epoch from clock_timestamp() - seen_at)::int from avouch.session";
        served.ground.client.query_one(sql, &[]).await.expect("it is there").get::<_, i32>(0)
    };
    // The first four by whatever browser; any page that is fetched, and not gone to.
    let renewals = [
        ("/v1/events", None),
        ("/live", None),
        ("/charts", None),
        ("/instances/live", None),
        ("/messages", Some("cors")),
    ];
    served.sql("update avouch.session set seen_at = clock_timestamp() - interval '1000 s'").await;
    for (path, mode) in renewals {
        assert_eq!(status(path, mode).await, 200, "{path}");
        assert!(idle_s().await >= 1000, "{path} counts as a use");
    }
    served.sql("update avouch.session set seen_at = clock_timestamp() - interval '1801 s'").await;
    for (path, mode) in renewals {
        assert_eq!(status(path, mode).await, 401, "{path}");
    }
    served.sql("update avouch.session set seen_at = clock_timestamp() - interval '1000 s'").await;
    assert_eq!(status("/messages", Some("navigate")).await, 200);
    assert!(idle_s().await < 1000, "somebody went there");
}

#[tokio::test]
async fn sessions_of_a_person_are_listed_and_ended_by_an_administrator() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    let admin = served.token("root", "admin").await;
    let of_root = served.log_in(&admin).await;
    let come = async || {
        let response = log_in(&served, &issuer, json!(["staff"]), json!({})).await;
        cookie_of(&response, "avouch_session").expect("a session begins")
    };
    let cookies = [come().await, come().await];
    let listed = served.json("/v1/sessions", &admin).await;
    let listed: Vec<_> = listed.as_array().expect("it is a list").iter().collect();
    let of = |who: &str| listed.iter().filter(|s| s["who"] == who).map(|s| (&s["by"], &s["role"])).collect::<Vec<_>>();
    assert_eq!(of("ann@shop.example"), [(&json!("oidc"), &json!("view")); 2]);
    assert_eq!(of("root"), [(&json!("token"), &json!("admin"))]);
    let end = |who: &str| {
        let asked = served.ask(Method::POST, &format!("/v1/sessions/{who}/end")).bearer_auth(&admin);
        asked.header("content-type", "application/json").body(json!({ "reason": "left" }).to_string())
    };
    assert_eq!(json_of(send(end("ann%40shop.example")).await).await, json!({ "ended": 2 }));
    problem(end("ann%40shop.example"), 404).await;
    for cookie in &cookies {
        assert_eq!(status_of(&served, cookie).await, 401);
    }
    assert_eq!(status_of(&served, &of_root).await, 200, "another's goes on");
    let idle = "update avouch.session set seen_at = now() - interval '1 day', created_at = now() - interval '1 day' where who = 'root'";
    served.sql(idle).await;
    assert_eq!(served.json("/v1/sessions", &admin).await, json!([]), "who was idle is over");
    // And at the command line.
    let cookie = come().await;
    let at = async |args: &[&str]| {
        avouch(&[&["session"][..], args, &["--database-url", served.ground.database.url()]].concat(), &[]).await
    };
    at(&["list"]).await.succeeds().says("ann@shop.example").says("oidc");
    at(&["end", "ann@shop.example", "--reason", "on leave"]).await.succeeds().says("1 sessions have ended");
    at(&["end", "ann@shop.example"]).await.fails_with(1).says("has no session");
    assert_eq!(status_of(&served, &cookie).await, 401);
    let sql = "select array_agg(concat_ws(' ', subject, detail, why) order by id) from avouch.audit where action = 'end sessions'";
    let audit: Vec<String> = served.ground.client.query_one(sql, &[]).await.expect("it can be read").get(0);
    assert_eq!(audit, ["ann@shop.example sessions: 2 left", "ann@shop.example sessions: 1 on leave"]);
}

#[tokio::test]
async fn session_of_a_person_ends_with_the_issuer_that_knew_them() {
    // What it would be after a restart without the issuer.
    let served = Served::new().await;
    let cookie = served.log_in(&served.token("ann", "view").await).await;
    assert_eq!(status_of(&served, &cookie).await, 200);
    served.sql("update avouch.session set token_id = null").await;
    assert_eq!(status_of(&served, &cookie).await, 401);
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down_and_knowing_one_is_not() {
    let served = Served::new().await;
    let token = served.token("ann", "view").await;
    let wrong = avouch_runtime::access::new_token();
    for _ in 0..20 {
        served.log_in(&token).await;
    }
    let mut refused = 0;
    let last = loop {
        let response = send(served.login(&wrong)).await;
        match response.status().as_u16() {
            401 => refused += 1,
            _ => break response,
        }
        assert!(refused <= 100, "nobody is slowed down");
    };
    assert_eq!(last.status(), 429);
    assert!(refused >= 5, "a person may mistype");
    let seconds: u64 = last.headers()["retry-after"].to_str().expect("it is text").parse().expect("it is a number");
    assert!((1..=60).contains(&seconds));
    assert_eq!(served.get("/v1/me", &token).await.status(), 200, "programs are not held up by it");
}

#[tokio::test]
async fn whoever_is_known_gets_in_behind_the_address_of_somebody_who_guesses() {
    let issuer = Issuer::start().await;
    let served = served_with(&issuer).await;
    let token = served.token("ann", "view").await;
    let statuses = async |logins: usize| {
        let wrong = || send(served.login(&avouch_runtime::access::new_token()));
        let all = futures_util::future::join_all((0..logins).map(|_| wrong())).await;
        all.iter().map(|response| response.status().as_u16()).collect::<Vec<_>>()
    };
    until("guesses to be refused", secs(60), async || statuses(10).await.iter().all(|s| *s == 429).then_some(())).await;
    // One after the other, and among the guesses.
    for _ in 0..20 {
        let (cookie, guesses) = tokio::join!(served.log_in(&token), statuses(5));
        assert_eq!(status_of(&served, &cookie).await, 200);
        assert!(guesses.contains(&429), "{guesses:?}");
    }
    let forged = "/login/oidc/callback?code=x&state=a";
    for _ in 0..30 {
        let answer = served.ask(Method::GET, forged).header("cookie", "avouch_login=a.b.c.Lw");
        assert_eq!(send(answer).await.status(), 401, "the issuer knows no such code");
    }
    for _ in 0..20 {
        assert_eq!(log_in(&served, &issuer, json!(["staff"]), json!({})).await.status(), 200);
    }
}

#[tokio::test]
async fn whoever_is_not_logged_in_gets_the_form_and_it_leads_nowhere_else() {
    let served = Served::new().await;
    let asked = served.ask(Method::GET, "/?a=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").header("accept", "text/html");
    let response = send(asked).await;
    assert_eq!(response.status(), 401);
    let page = response.text().await.expect("it is a page");
    assert!(page.contains("action=\"/login\"") && !page.contains("<script>"), "{page}");
    problem(served.ask(Method::GET, "/"), 401).await;
    let token = served.token("ann", "view").await;
    for next in ["//evil.example", "https:%2F%2Fevil.example", "%2F%5Cevil.example", "%2F%0d%0aset-cookie:x=y"] {
        let response = send(served.form("/login", &format!("token={token}&next={next}"))).await;
        assert_eq!(response.headers()["location"], "/", "{next}");
    }
}

#[tokio::test]
async fn without_tokens_whoever_is_on_the_machine_is_let_in_and_foreign_pages_are_not() {
    let mut served = Served::with("auth = \"none\"").await;
    assert_eq!(send(served.ask(Method::GET, "/v1/tokens")).await.status(), 200);
    let make = || served.ask(Method::POST, "/v1/tokens").header("content-type", "application/json").body("{}");
    problem(make(), 422).await;
    problem(make().header("origin", "https://evil.example"), 403).await;
    problem(make().header("sec-fetch-site", "cross-site"), 403).await;
    let login = send(served.ask(Method::GET, "/login")).await;
    assert_eq!((login.status().as_u16(), &login.headers()["location"]), (303, &"/".parse().expect("it is a value")));
    assert!(served.avouch.terminate(secs(30)).await.success());
}
