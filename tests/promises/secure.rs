//! TLS and credentials to both servers: what is encrypted, who is believed, and what is said when something is wrong.

pub mod identities;
pub mod permissions;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use async_nats::ConnectOptions;
use avouch_runtime::dev::nats_server::Options;
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::{OwnNats, OwnPostgres, Sync, shared};
use avouch_tests::stream::jetstream;
use avouch_tests::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nkeys::KeyPair;
use serde_json::json;

use self::identities::{Authority, Certificate, account_claims, credentials, jwt, seed};
use crate::cli::avouch;
use crate::ground::Ground;
use crate::relayed::LIMIT;
use crate::schema::File;

/// In every secret, right or wrong, that has no form of its own.
const SECRET: &str = "hunter2-never-shown";
/// Only certificates know this host.
const HOST: &str = "db.avouch.test";
const NATS_REMEDY: &str = "correct creds_file, nkey, token, or user and password in [nats]";

// ── Starting ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Everything is logged, so that a secret which is ever shown is found.
fn config(ground: &Ground, source: &str, nats: &str) -> String {
    let (stream, prefix) = (&ground.names.stream, &ground.names.prefix);
    format!(
        "[source.main]\n{source}\n[nats]\n{nats}\n[stream.{stream}]\nsubject_prefix = {prefix:?}\n\
         [relay]\nretry_max_ms = 200\n[log]\nfilter = \"trace\"\n"
    )
}

/// Waits for the complaint, and sees to it that it names the remedy and that nothing was sent.
async fn refused(ground: &Ground, config: &str, because: &str, remedy: &str) -> Avouch {
    let avouch = Avouch::run(config).await;
    let line = avouch.wait_for_log("trying again\"", LIMIT).await;
    assert!(line.contains(because) && line.contains(remedy), "{line}");
    assert_eq!(ground.count("sent").await, 0);
    avouch
}

/// A Postgres that takes TLS alone from everyone but the tests' superuser.
async fn postgres(authority: &Authority, name: &str) -> (OwnPostgres, Ground) {
    let server = OwnPostgres::start(Sync::Off).await;
    let ground = Ground::with(Database::create_on(&server).await, shared().nats.url(), jetstream().await).await;
    let roles = format!(
        "create role relay login password '{SECRET}' in role avouch_runtime; \
         create role keyholder login in role avouch_runtime"
    );
    ground.client.batch_execute(&roles).await.expect("roles can be made");
    present(&server, &authority.certificate(name));
    write(&server, "root.crt", &authority.pem);
    let access = "hostnossl all postgres 127.0.0.1/32 trust\nhostssl all relay 127.0.0.1/32 scram-sha-256\n\
                  hostssl all keyholder 127.0.0.1/32 cert\n";
    write(&server, "pg_hba.conf", access);
    for setting in ["alter system set ssl = on", "alter system set ssl_ca_file = 'root.crt'"] {
        ground.client.execute(setting, &[]).await.expect("is allowed");
    }
    reload(&ground).await;
    until("new sessions find ssl switched on", LIMIT, async || {
        let client = ground.database.client().await;
        let row = client.query_one("select current_setting('ssl')", &[]).await.expect("the server runs");
        (row.get::<_, &str>(0) == "on").then_some(())
    })
    .await;
    (server, ground)
}

/// The certificate that the server shows after the next reload.
fn present(server: &OwnPostgres, certificate: &Certificate) {
    write(server, "server.crt", &certificate.pem);
    write(server, "server.key", &certificate.key);
}

/// A file of the server's, which may run as another user.
fn write(server: &OwnPostgres, name: &str, text: &str) {
    let data = server.dir().join("data");
    let (file, owner) = (data.join(name), std::fs::metadata(&data).expect("it was made by initdb"));
    std::fs::write(&file, text).expect("the directory is ours");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("the file is ours");
    chown(&file, Some(owner.uid()), Some(owner.gid())).expect("it was ours, or we are root");
}

async fn reload(ground: &Ground) {
    ground.client.execute("select pg_reload_conf()", &[]).await.expect("is allowed");
}

/// The lines of `[source.main]` for a role at this host, wherever that would be.
fn source(server: &OwnPostgres, ground: &Ground, login: &str, host: &str, tls: &str) -> String {
    let (port, name) = (server.port(), ground.database.name());
    // A weaker sslmode in the URL does not count.
    let url = format!("postgres://{login}@{host}:{port}/{name}?hostaddr=127.0.0.1&sslmode=disable");
    format!("url = {url:?}\ntls = {{ {tls} }}\n")
}

fn shared_nats() -> String {
    format!("url = {:?}", shared().nats.url())
}

/// A nats-server with this certificate, and with these lines inside `tls {}` and after it.
struct Nats {
    server: OwnNats,
    ground: Ground,
    certificate: File,
    key: File,
}

async fn nats(authority: &Authority, tls: &str, lines: &str, connect: ConnectOptions) -> Nats {
    let shown = authority.certificate("127.0.0.1");
    let (certificate, key) = (File::new("server.crt", &shown.pem), File::new("server.key", &shown.key));
    let extra_config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {tls} }}\n{lines}",
        certificate.path(),
        key.path(),
        authority.path()
    );
    let connect = connect.add_root_certificates(authority.path().into());
    let server = OwnNats::start_with(Options { extra_config, connect: connect.clone(), ..Options::default() }).await;
    let client = connect.connect(server.url()).await.expect("it has just let the same options in");
    let jetstream = async_nats::jetstream::new(client);
    let ground = Ground::with(Database::create().await, server.url(), jetstream).await;
    Nats { server, ground, certificate, key }
}

impl Nats {
    /// A configuration that reaches it with these lines in `[nats]`.
    fn config(&self, tls: &str, login: &str) -> String {
        let nats = format!("url = {:?}\ntls = {{ {tls} }}\n{login}", self.server.url());
        config(&self.ground, &format!("url = {:?}", self.ground.database.url()), &nats)
    }

    async fn present(&self, certificate: &Certificate) {
        let log = self.server.dir().join("nats-server.log");
        let reloads = || std::fs::read_to_string(&log).expect("it logs").matches("Reloaded: tls").count();
        let before = reloads();
        std::fs::write(&self.certificate.0, &certificate.pem).expect("the file is ours");
        std::fs::write(&self.key.0, &certificate.key).expect("the file is ours");
        let pid = self.server.pid().expect("it runs").cast_signed();
        kill(Pid::from_raw(pid), Signal::SIGHUP).expect("it runs");
        until("the server shows its new certificate", LIMIT, async || (reloads() > before).then_some(())).await;
    }
}

// ── Postgres ───────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn every_session_to_a_postgres_elsewhere_is_encrypted_and_its_certificate_verified() {
    let authority = Authority::new();
    let (server, ground) = postgres(&authority, HOST).await;
    let tls = format!("ca_file = {:?}", authority.path());
    let source = |login: &str| source(&server, &ground, login, HOST, &tls);
    let mut running = Avouch::run(&config(&ground, &source(&format!("relay:{SECRET}")), &shared_nats())).await;
    ground.insert("orders", 3, 0, 30).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 30);
    let sql =
        "select count(*), bool_and(ssl) from pg_stat_activity join pg_stat_ssl using (pid) where usename = 'relay'";
    let row = ground.client.query_one(sql, &[]).await.expect("the server runs");
    assert!(row.get::<_, i64>(0) >= 2 && row.get::<_, bool>(1), "the store's sessions and the doorbell's: {row:?}");
    assert!(running.terminate(LIMIT).await.success());
    assert!(!running.log().contains(SECRET));
    let wrong = config(&ground, &source(&format!("relay:{SECRET}-not")), &shared_nats());
    let file = File::new("avouch.toml", &wrong);
    let told = avouch(&["run", "--config", file.path()], &[]).await.fails_with(1);
    assert!(!told.says("password authentication failed for user \"relay\"").text.contains(SECRET));
}

#[tokio::test]
async fn postgres_of_another_authority_or_name_is_refused_until_its_certificate_is_right() {
    const REMEDY: &str =
        "write the host as the certificate does, and give its authority as ca_file in [source.NAME.tls]";
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, ground) = postgres(&other, HOST).await;
    let login = format!("relay:{SECRET}");
    let tls = format!("ca_file = {:?}", authority.path());
    let strict = config(&ground, &source(&server, &ground, &login, HOST, &tls), &shared_nats());
    ground.insert("orders", 3, 0, 30).await;
    let waiting = refused(&ground, &strict, "UnknownIssuer", REMEDY).await;
    let file = File::new("avouch.toml", &strict);
    avouch(&["status", "--config", file.path()], &[]).await.fails_with(1).says("UnknownIssuer").says(REMEDY);
    // Without an authority of our own it is the system's, which did not sign it either.
    let system = config(&ground, &source(&server, &ground, &login, HOST, ""), &shared_nats());
    drop(refused(&ground, &system, "UnknownIssuer", REMEDY).await);
    let named = "certificate is only valid for DnsName";
    let renamed = source(&server, &ground, &login, "other.avouch.test", &format!("ca_file = {:?}", other.path()));
    drop(refused(&ground, &config(&ground, &renamed, &shared_nats()), named, REMEDY).await);
    let seen = "select count(*) from pg_stat_activity where usename = 'relay'";
    assert_eq!(ground.client.query_one(seen, &[]).await.expect("the server runs").get::<_, i64>(0), 0);
    present(&server, &authority.certificate(HOST));
    reload(&ground).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 30);
    waiting.wait_for_log("avouch runs", LIMIT).await;
}

#[tokio::test]
async fn require_encrypts_without_looking_at_the_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, ground) = postgres(&other, "other.avouch.test").await;
    let tls = format!("mode = \"require\", ca_file = {:?}", authority.path());
    let source = source(&server, &ground, &format!("relay:{SECRET}"), HOST, &tls);
    // Only TLS is let in.
    let _avouch = Avouch::run(&config(&ground, &source, &shared_nats())).await;
    ground.insert("orders", 3, 0, 30).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 30);
}

#[tokio::test]
async fn certificate_of_the_runtime_is_its_login_to_postgres() {
    let authority = Authority::new();
    let (server, ground) = postgres(&authority, HOST).await;
    let own = authority.certificate("keyholder");
    let (cert, key) = (File::new("own.crt", &own.pem), File::new("own.key", &own.key));
    let files = format!("cert_file = {:?}, key_file = {:?}", cert.path(), key.path());
    let tls = format!("ca_file = {:?}, {files}", authority.path());
    let _avouch =
        Avouch::run(&config(&ground, &source(&server, &ground, "keyholder", HOST, &tls), &shared_nats())).await;
    ground.insert("orders", 3, 0, 30).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 30);
}

#[tokio::test]
async fn postgres_elsewhere_without_tls_is_refused_with_the_remedy() {
    let ground = Ground::new().await;
    let url = ground.database.url().replacen("127.0.0.1", HOST, 1) + "?hostaddr=127.0.0.1&sslmode=prefer";
    let config = config(&ground, &format!("url = {url:?}"), &shared_nats());
    refused(&ground, &config, "server does not support TLS", "mode = \\\"disable\\\" in [source.NAME.tls]").await;
}

// ── NATS ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// What is expected of each kind of login.
async fn only_the_right_login_opens(lines: &str, connect: ConnectOptions, right: &str, wrong: &str, secrets: &[&str]) {
    let authority = Authority::new();
    let nats = nats(&authority, "", lines, connect).await;
    let tls = format!("required = true, ca_file = {:?}", authority.path());
    nats.ground.insert("orders", 3, 0, 30).await;
    let config = nats.config(&tls, wrong);
    let mut refused = refused(&nats.ground, &config, "authorization violation", NATS_REMEDY).await;
    assert!(refused.terminate(LIMIT).await.success());
    let mut running = Avouch::run(&nats.config(&tls, right)).await;
    nats.ground.drained().await;
    assert_eq!(nats.ground.balance().await, 30);
    assert!(running.terminate(LIMIT).await.success());
    let said = refused.log() + &running.log();
    for secret in secrets {
        assert!(!said.contains(secret), "{secret} was shown");
    }
}

#[tokio::test]
async fn nats_opens_to_the_right_user_and_password_over_tls() {
    let lines = format!("authorization {{ user: relay, password: {SECRET:?} }}");
    let connect = ConnectOptions::with_user_and_password("relay".into(), SECRET.into());
    let login = |password: &str| format!("user = \"relay\"\npassword = {password:?}");
    only_the_right_login_opens(&lines, connect, &login(SECRET), &login("hunter2-not"), &["hunter2"]).await;
}

#[tokio::test]
async fn nats_opens_to_the_right_token_over_tls() {
    let lines = format!("authorization {{ token: {SECRET:?} }}");
    let connect = ConnectOptions::with_token(SECRET.into());
    let login = |token: &str| format!("token = {token:?}");
    only_the_right_login_opens(&lines, connect, &login(SECRET), &login("hunter2-not"), &["hunter2"]).await;
}

#[tokio::test]
async fn nats_opens_to_the_right_nkey_over_tls() {
    let (user, other) = (KeyPair::new_user(), KeyPair::new_user());
    let (seed, wrong) = (seed(&user), seed(&other));
    let lines = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key());
    let login = |seed: &str| format!("nkey = {seed:?}");
    let connect = ConnectOptions::with_nkey(seed.clone());
    only_the_right_login_opens(&lines, connect, &login(&seed), &login(&wrong), &[&seed, &wrong]).await;
}

#[tokio::test]
async fn nats_opens_to_the_right_credentials_file_over_tls() {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let (system, stranger) = (KeyPair::new_account(), KeyPair::new_account());
    let (user, other) = (KeyPair::new_user(), KeyPair::new_user());
    let lines = format!(
        "operator: {}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{ {account}: {}, {system}: {} }}",
        jwt(&operator, &operator, json!({ "type": "operator", "version": 2 })),
        jwt(&account, &operator, account_claims(-1)),
        jwt(&system, &operator, account_claims(0)),
        account = account.public_key(),
        system = system.public_key(),
    );
    let (right, wrong) = (credentials(&user, &account), credentials(&other, &stranger));
    let connect = ConnectOptions::with_credentials(&right).expect("they are well formed");
    let (right, wrong) = (File::new("right.creds", &right), File::new("wrong.creds", &wrong));
    let login = |file: &File| format!("creds_file = {:?}", file.path());
    let secrets = [&*seed(&user), &seed(&other)];
    only_the_right_login_opens(&lines, connect, &login(&right), &login(&wrong), &secrets).await;
}

#[tokio::test]
async fn nats_of_another_authority_or_name_is_refused_until_its_certificate_is_right() {
    const REMEDY: &str = "write the host as the certificate does, and give its authority as ca_file in [nats.tls]";
    let (authority, other) = (Authority::new(), Authority::new());
    let nats = nats(&authority, "", "", ConnectOptions::new()).await;
    nats.ground.insert("orders", 3, 0, 30).await;
    let foreign = nats.config(&format!("ca_file = {:?}", other.path()), "");
    drop(refused(&nats.ground, &foreign, "UnknownIssuer", REMEDY).await);
    nats.present(&authority.certificate(HOST)).await;
    let config = nats.config(&format!("ca_file = {:?}", authority.path()), "");
    let waiting = refused(&nats.ground, &config, "certificate not valid for name", REMEDY).await;
    nats.present(&authority.certificate("127.0.0.1")).await;
    nats.ground.drained().await;
    waiting.wait_for_log("connected to NATS", LIMIT).await;
    let missing = File::new("avouch.toml", &nats.config("ca_file = \"/no/such.pem\"", ""));
    avouch(&["run", "--config", missing.path()], &[]).await.fails_with(1).says("nats.tls.ca_file /no/such.pem");
}

#[tokio::test]
async fn nats_may_speak_tls_first_and_ask_for_the_runtimes_certificate() {
    let authority = Authority::new();
    let own = authority.certificate("relay");
    let (cert, key) = (File::new("own.crt", &own.pem), File::new("own.key", &own.key));
    let connect = ConnectOptions::new().tls_first().add_client_certificate(cert.0.clone(), key.0.clone());
    let nats = nats(&authority, "verify: true, handshake_first: true", "", connect).await;
    nats.ground.insert("orders", 3, 0, 30).await;
    let first = format!("first = true, ca_file = {:?}", authority.path());
    drop(refused(&nats.ground, &nats.config(&first, ""), "CertificateRequired", "").await);
    let complete = format!("{first}, cert_file = {:?}, key_file = {:?}", cert.path(), key.path());
    let _avouch = Avouch::run(&nats.config(&complete, "")).await;
    nats.ground.drained().await;
    assert_eq!(nats.ground.balance().await, 30);
}

#[tokio::test]
async fn nats_without_tls_is_refused_when_tls_is_required() {
    let ground = Ground::new().await;
    ground.insert("orders", 3, 0, 30).await;
    let source = format!("url = {:?}", ground.database.url());
    let url = shared().nats.url();
    for nats in
        [format!("url = {url:?}\ntls = {{ required = true }}"), format!("url = {:?}", url.replace("nats:", "tls:"))]
    {
        drop(refused(&ground, &config(&ground, &source, &nats), "IO error", "").await);
    }
}
