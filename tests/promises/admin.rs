//! The HTTP API and the console: who is let in, what is answered to whom, and how it bears those who mean it ill.

mod doors;
mod fuzzed;
mod growing;
mod hidden;
mod https;
mod issuer;
mod known;
mod large;
mod limits;
mod many;
mod pages;
mod parties;
mod plugins;
mod refused;
mod sessions;
mod tokens;
mod views;

use std::net::SocketAddr;

use avouch_runtime::access::{hash_token, new_token};
use avouch_runtime::store::connect::system_tls;
use avouch_tests::process::Avouch;
use avouch_tests::wait::secs;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use serde_json::Value;

use crate::ground::Ground;

pub use self::https::trusting;

/// A runtime whose API and console are served.
pub struct Served {
    pub ground: Ground,
    pub avouch: Avouch,
    pub address: SocketAddr,
    http: Client,
}

impl Served {
    /// With every setting at its default.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// `more` are lines of `[admin]`, and may open further tables.
    pub async fn with(more: &str) -> Self {
        let ground = Ground::new().await;
        let avouch = ground.runtime(&format!("[admin]\nlisten = \"127.0.0.1:0\"\n{more}")).await;
        let address = address_of(&avouch).await;
        // It answers before its source runs: some routes say so.
        avouch.wait_for_log("avouch runs", secs(60)).await;
        Self { ground, avouch, address, http: client() }
    }

    /// What browsers would call it.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request by somebody unknown. Redirects are not followed.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.origin()))
    }

    /// What is at this path, for this token.
    pub async fn get(&self, path: &str, token: &str) -> Response {
        send(self.ask(Method::GET, path).bearer_auth(token)).await
    }

    /// The same as JSON; it must be there.
    pub async fn json(&self, path: &str, token: &str) -> Value {
        let response = self.get(path, token).await;
        assert_eq!(response.status(), 200, "{path}");
        json_of(response).await
    }

    /// A token of this name and role that is valid for an hour, made as `avouch token create` makes one.
    pub async fn token(&self, name: &str, role: &str) -> String {
        self.token_that(name, role, "expires_at = clock_timestamp() + interval '1 hour'").await
    }

    /// The same, then changed like this.
    pub async fn token_that(&self, name: &str, role: &str, change: &str) -> String {
        let token = new_token();
        let hash = hash_token(&token).expect("it is one");
        let insert = "insert into avouch.token (hash, name, role) values ($1, $2, $3)";
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&hash.as_slice(), &name, &role];
        self.ground.client.execute(insert, &params).await.expect("a token can be made");
        let change = format!("update avouch.token set {change} where name = $1");
        self.ground.client.execute(&change, &[&name]).await.expect("it can be changed");
        token
    }

    /// Logs in with this token. Returns the cookie, as a request brings it.
    pub async fn log_in(&self, token: &str) -> String {
        let response = send(self.login(token)).await;
        assert_eq!(response.status(), 303, "{token} is valid");
        cookie_of(&response, "avouch_session").expect("it comes with a cookie")
    }

    /// The form of the login page.
    pub fn login(&self, token: &str) -> RequestBuilder {
        self.form("/login", &format!("token={token}&next=%2Fv1%2Fme"))
    }

    /// A form of a page of ours.
    pub fn form(&self, path: &str, body: &str) -> RequestBuilder {
        let request =
            self.ask(Method::POST, path).header("origin", self.origin()).header("sec-fetch-site", "same-origin");
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.to_owned())
    }

    /// Runs a statement of the owner.
    pub async fn sql(&self, sql: &str) {
        self.ground.client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

/// Where the log says that it is served.
pub async fn address_of(avouch: &Avouch) -> SocketAddr {
    let line = avouch.wait_for_log("the API and the console are served", secs(30)).await;
    let line: Value = serde_json::from_str(&line).expect("the log is JSON lines");
    let address = line["fields"]["address"].as_str().or_else(|| line["address"].as_str());
    address.unwrap_or_else(|| panic!("no address in {line}")).parse().expect("it is one")
}

pub fn client() -> Client {
    let tls = system_tls().expect("the system has authorities");
    let builder = Client::builder()
        .no_proxy()
        .pool_idle_timeout(secs(2))
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(tls);
    builder.timeout(secs(60)).build().expect("a client can be made")
}

pub async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap_or_else(|e| panic!("it must be answered: {e:?}"))
}

pub async fn json_of(response: Response) -> Value {
    let bytes = response.bytes().await.expect("it has a body");
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)))
}

/// The problem that is answered, which must be of this status and say what to do.
pub async fn problem(request: RequestBuilder, status: u16) -> Value {
    let response = send(request).await;
    assert_eq!(response.status(), status, "{}", response.url());
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json", "{}", response.url());
    let problem = json_of(response).await;
    assert_eq!(problem["status"], status);
    for field in ["type", "title", "detail", "remedy"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
    }
    problem
}

/// `name=value` of a cookie that an answer sets.
pub fn cookie_of(response: &Response, name: &str) -> Option<String> {
    let set = response.headers().get_all("set-cookie").into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = set.filter_map(|text| text.split(';').next());
    pairs.find(|pair| pair.starts_with(&format!("{name}=")) && pair.len() > name.len() + 1).map(str::to_owned)
}
