//! Every route, whoever comes: what is not theirs is refused, and nothing is changed by trying.

use avouch_runtime::access::Role;
use avouch_runtime::admin::{Access, Route, openapi, routes};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{Served, send};

/// Whoever reaches the server may ask for these. A route that is to join them is added here by hand.
const OPEN: &[(&str, &str)] = &[
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/language"),
    ("GET", "/login/oidc"),
    ("GET", "/login/oidc/callback"),
    ("GET", "/assets/{name}"),
];
/// Nobody loses these by the tests of this file.
const VICTIM: &str = "victim";
/// Tables that change by themselves while a runtime is idle.
const RESTLESS: &str = "('instance', 'shard', 'sample')";

/// What is stored, but for when somebody was seen last.
const CONTENTS: &str = "select coalesce(jsonb_object_agg(name, contents), '{}')::text from avouch_contents()";

#[test]
fn only_the_login_the_health_and_the_assets_are_open() {
    let all = routes();
    let open: Vec<_> = all.iter().filter(|r| r.access == Access::Open).map(|r| (r.method.as_str(), &*r.path)).collect();
    for route in &open {
        assert!(OPEN.contains(route), "{route:?} is open to everybody");
    }
    for route in OPEN {
        assert!(open.contains(route), "{route:?} is not served, or not open");
    }
    for route in &all {
        let needs = match route.access {
            Access::Needs(role) => Some(role),
            Access::Open => None,
        };
        let changes = route.method != Method::GET && needs.is_some() && route.path != "/logout";
        assert!(!changes || needs >= Some(Role::Operate), "{route:?} changes something and needs no operator");
        let twice = all.iter().filter(|r| r.path == route.path && r.method == route.method).count();
        assert_eq!(twice, 1, "{route:?} is there twice");
    }
}

#[test]
fn every_operation_says_what_it_needs_and_what_it_answers() {
    let document = serde_json::to_value(openapi()).expect("it is plain data");
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("it has paths") {
        for (method, operation) in item.as_object().expect("a path has operations") {
            let what = format!("{method} {path}");
            assert!(operation["security"].as_array().is_some_and(|s| !s.is_empty()), "{what} names no role");
            assert!(operation["responses"].as_object().is_some_and(|r| r.len() > 1), "{what} names no answer");
            let refused = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(refused, "#/components/schemas/Problem", "{what}");
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{what} is not described"
            );
            assert!(ids.insert(operation["operationId"].to_string()), "{what}: its name is another's too");
        }
    }
    let references = document.to_string();
    for reference in references.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("it ends");
        assert!(!document["components"]["schemas"][name].is_null(), "{name} is named and not described");
    }
}

#[tokio::test]
async fn nobody_passes_a_door_that_is_not_theirs_and_trying_changes_nothing() {
    let served = Served::new().await;
    served.token(VICTIM, "admin").await;
    let of_role = [
        (Role::View, served.token("looks", "view").await),
        (Role::Operate, served.token("operates", "operate").await),
        (Role::Admin, served.token("administers", "admin").await),
    ];
    let expired = served.token_that("late", "admin", "expires_at = clock_timestamp() - interval '1 s'").await;
    let revoked = served.token_that("gone", "admin", "revoked_at = clock_timestamp()").await;
    let cookie = served.log_in(&of_role[2].1).await;
    // Once something was sent, the relay has written down all that it will.
    served.ground.insert("orders", 1, 0, 1).await;
    served.ground.drained().await;
    served.sql(&contents_function()).await;
    let before = contents(&served).await;
    for route in routes() {
        let Access::Needs(role) = route.access else { continue };
        let ask = || request(&served, &route);
        expect(&route, "no token", ask(), 401).await;
        expect(&route, "an expired token", ask().bearer_auth(&expired), 401).await;
        expect(&route, "a revoked token", ask().bearer_auth(&revoked), 401).await;
        expect(&route, "no secret of ours", ask().bearer_auth("avouch_'; drop table x"), 401).await;
        expect(&route, "a secret in another scheme", ask().header("authorization", &of_role[2].1), 401).await;
        expect(&route, "a cookie of nobody", ask().header("cookie", "avouch_session=x"), 401).await;
        for (less, token) in of_role.iter().filter(|(other, _)| *other < role) {
            expect(&route, less.name(), ask().bearer_auth(token), 403).await;
        }
        if route.method != Method::GET {
            refuses_foreign_pages(&served, &route, &of_role[2].1, &cookie).await;
        }
    }
    assert_eq!(contents(&served).await, before, "somebody was refused, and yet something changed");
    // And each of them is let in where they may: a server that refuses everybody would have passed until here.
    for route in routes().iter().filter(|route| route.path != "/logout") {
        let Access::Needs(role) = route.access else { continue };
        for (_, token) in of_role.iter().filter(|(other, _)| *other >= role) {
            let status = send(request(&served, route).bearer_auth(token)).await.status();
            assert!(![401, 403, 421, 500].contains(&status.as_u16()), "{route:?} answers {status} to somebody who may");
        }
    }
}

async fn refuses_foreign_pages(served: &Served, route: &Route, token: &str, cookie: &str) {
    let ask = || request(served, route);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        expect(route, origin, ask().bearer_auth(token).header("origin", origin), 403).await;
        expect(route, origin, ask().header("cookie", cookie).header("origin", origin), 403).await;
    }
    for site in ["cross-site", "same-site", "none"] {
        expect(route, site, ask().bearer_auth(token).header("sec-fetch-site", site), 403).await;
        let own = ask().header("cookie", cookie).header("origin", served.origin());
        expect(route, site, own.header("sec-fetch-site", site), 403).await;
    }
    let two = ask().header("cookie", cookie).header("origin", served.origin()).header("sec-fetch-site", "same-origin");
    expect(route, "two origins", two.header("origin", "https://evil.example"), 403).await;
    let two = ask().header("cookie", cookie).header("origin", served.origin()).header("sec-fetch-site", "same-origin");
    expect(route, "from two places", two.header("sec-fetch-site", "cross-site"), 403).await;
    expect(route, "a session and no word of where from", ask().header("cookie", cookie), 403).await;
}

async fn expect(route: &Route, who: &str, request: RequestBuilder, status: u16) {
    let answer = send(request).await;
    assert_eq!(answer.status(), status, "{} {} with {who}", route.method, route.path);
}

/// A request that would do something if it were let in.
fn request(served: &Served, route: &Route) -> RequestBuilder {
    let path = route.path.replace("{name}", VICTIM).replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057");
    let path = path
        .replace("{consumer}", VICTIM)
        .replace("{endpoint}", VICTIM)
        .replace("{who}", VICTIM)
        .replace("{key}", "k")
        .replace("{digest}", &"0".repeat(64));
    assert!(!path.contains('{'), "{path}: say here what stands in it");
    let request = served.ask(route.method.clone(), &path);
    match route.method {
        Method::GET => request,
        _ => request.header("content-type", "application/json").body("{}"),
    }
}

async fn contents(served: &Served) -> Value {
    let row = served.ground.client.query_one(CONTENTS, &[]).await.expect("the tables can be read");
    serde_json::from_str(row.get(0)).expect("it is JSON")
}

/// A function beside ours, because the tables are not known by name.
fn contents_function() -> String {
    format!(
        "create function avouch_contents() returns table (name text, contents text) language plpgsql as $$ begin
           for name in select relname from pg_class where relnamespace = 'avouch'::regnamespace and relkind in ('r', 'p')
             and relname not in {RESTLESS} order by 1 loop
             execute format('select md5(coalesce(string_agg(line, '','' order by line), '''')) from (
               select (to_jsonb(t) - ''last_used_at'' - ''seen_at'')::text as line from avouch.%I t) lines', name) into contents;
             return next;
           end loop;
         end $$"
    )
}
