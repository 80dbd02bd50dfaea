//! The command line: what it says, when it fails and with which remedy, and that it never shows a secret.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use avouch_tests::database::Database;
use avouch_tests::process::{Avouch, binary};
use avouch_tests::servers::{OwnPostgres, Sync, shared};
use avouch_tests::stream::{Names, jetstream};
use avouch_tests::wait::until;
use nix::unistd::{User, geteuid};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;

use crate::producers::url_of;
use crate::relayed::{LIMIT, Relayed, config};
use crate::schema::File;

/// How a command ended and all that it said.
#[derive(Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub text: String,
}

impl Told {
    #[track_caller]
    pub fn succeeds(self) -> Told {
        self.ends_with(0)
    }

    #[track_caller]
    pub fn fails_with(self, code: i32) -> Told {
        self.ends_with(code)
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Told {
        assert!(self.text.contains(text), "no {text:?} in:\n{}", self.text);
        self
    }

    #[track_caller]
    fn ends_with(self, code: i32) -> Told {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }
}

/// Runs `avouch` with these arguments and variables until it ends.
pub async fn avouch(args: &[&str], env: &[(&str, &str)]) -> Told {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AVOUCH_")) {
        command.env_remove(name);
    }
    command.args(args).envs(env.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(LIMIT, command.output()).await.unwrap_or_else(|_| panic!("avouch {args:?} does not end"));
    let output = ended.expect("the binary can be started");
    let text = [output.stdout, output.stderr].concat();
    Told { code: output.status.code(), text: String::from_utf8(text).expect("avouch writes UTF-8") }
}

async fn run(config: &str) -> Told {
    avouch(&["run", "--config", File::new("avouch.toml", config).path()], &[]).await
}

/// A port on which nobody listens.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

#[tokio::test]
async fn config_check_explains_a_good_file_and_names_every_fault() {
    let good = File::new(
        "good.toml",
        "[source.main]\nurl = \"postgres://localhost/x\"\n\
         [stream.A]\nsubject_prefix = \"a.b\"\n[topic.\"t.u\"]\nrate_per_s = 5\n",
    );
    let check = ["config", "check", "--config", good.path()];
    avouch(&check, &[]).await.succeeds().says("is valid").says("stream A: subjects a.b.>").says("topic t.u");
    let told = avouch(&[&check[..], &["--json"]].concat(), &[]).await.succeeds().text;
    let told: serde_json::Value = serde_json::from_str(&told).expect("is one document");
    assert_eq!((&told["is_valid"], &told["streams"][0]["subjects"]), (&true.into(), &"a.b.>".into()), "{told:#}");
    assert!(!told.to_string().contains("localhost"), "secrets show only where they come from: {told:#}");
    avouch(&check, &[("AVOUCH_RELAY__ROWS_MAX", "12345")]).await.succeeds().says("rows_max: 12345");
    avouch(&check, &[("AVOUCH_RELAY__ROWS_MAX", "1")]).await.fails_with(1).says("relay.rows_max: at least 64");
    avouch(&check, &[("AVOUCH_RELAY__ROWS", "100")]).await.fails_with(1).says("AVOUCH_").says("relay").says("rows");
    let faults = [
        ("strict_topic = true", "strict_topic"),
        ("[relay]\nrows_maximum = 100", "rows_maximum"),
        ("[source.main]\nurl = \"x\"\nuser = \"y\"", "user"),
        ("[relay]\nrows_max = \"many\"", "rows_max"),
        ("[topic.t]\non_dead = \"burn\"", "on_dead"),
        ("[topic.t]\nstream = \"B\"", "[stream.B]"),
        ("[relay\n", "TOML"),
    ];
    for (text, named) in faults {
        let file = File::new("bad.toml", text);
        avouch(&["config", "check", "--config", file.path()], &[]).await.fails_with(1).says(named);
    }
    avouch(&["config", "check", "--config", "/no/such.toml"], &[])
        .await
        .fails_with(1)
        .says("/no/such.toml")
        .says("AVOUCH_CONFIG");
}

#[tokio::test]
async fn secrets_are_never_printed() {
    const SECRET: &str = "hunter2-never-shown";
    let database = Database::create().await;
    let (port, names) = (shared().postgres.port(), Names::unique());
    let url = |port: u16, name: &str| format!("postgres://postgres:{SECRET}@127.0.0.1:{port}/{name}");
    let nats = shared().nats.url().replace("nats://", &format!("nats://user:{SECRET}@"));
    let (url_file, nats_file) =
        (File::new("url", &format!("{}\n", url(port, database.name()))), File::new("nats", &nats));
    let stream = format!("[stream.{}]\nsubject_prefix = {:?}\n", names.stream, names.prefix);
    let with = |url: &str, nats: &str| format!("[source.main]\nurl = {url:?}\n[nats]\nurl = {nats:?}\n{stream}");
    let by_file = with(&format!("file:{}", url_file.path()), &format!("file:{}", nats_file.path()));
    let literally = with(&url(port, database.name()), &nats);
    let mut said = Vec::new();
    for text in [&by_file, &literally, &with("env:TEST_URL", "env:TEST_URL")] {
        let file = File::new("avouch.toml", text);
        let env = [("TEST_URL", &*url(port, database.name()))];
        said.push(avouch(&["config", "check", "--config", file.path()], &env).await.succeeds().text);
        said.push(avouch(&["status", "--log", "trace", "--config", file.path()], &env).await.succeeds().text);
    }
    assert!(
        said[0].contains(url_file.path()) && said[4].contains("env:TEST_URL"),
        "where a secret is from may be told"
    );
    for text in [by_file, literally] {
        let mut running = Avouch::run(&format!("{text}[log]\nfilter = \"trace\"\n")).await;
        running.wait_for_log("avouch runs", LIMIT).await;
        running.terminate(LIMIT).await;
        said.push(running.log());
    }
    let unknown = "postgres://postgres:hunter2-never-shown@[broken";
    let unreachable = url(free_port().await, "x");
    for (failing, nats) in [
        (url(port, "nowhere"), &*nats),
        (unknown.to_owned(), &nats),
        (url(port, database.name()), "nats://u:hunter2-never-shown@[x"),
    ] {
        let told = run(&format!("{}[log]\nfilter = \"trace\"\n", with(&failing, nats))).await;
        assert_ne!(told.code, Some(0));
        said.push(told.text);
    }
    said.push(avouch(&["status", "--database-url", &unreachable], &[]).await.fails_with(1).text);
    let misplaced = File::new("bad.toml", &format!("[source.main]\nurl = {{ {} = 1 }}", "password"));
    said.push(avouch(&["config", "check", "--config", misplaced.path()], &[]).await.fails_with(1).text);
    let both = File::new("bad.toml", &format!("[source]\nmain = {:?}", url(port, "x")));
    said.push(avouch(&["config", "check", "--config", both.path()], &[]).await.fails_with(1).text);
    let shown: Vec<_> = said.iter().flat_map(|text| text.lines()).filter(|line| line.contains(SECRET)).collect();
    assert!(shown.is_empty(), "secrets are shown:\n{}", shown.join("\n"));
}

#[tokio::test]
async fn run_fails_with_the_remedy_when_the_database_cannot_serve() {
    let run_on = async |database: &Database| run(&config(database, &shared().nats.url(), &Names::unique(), "")).await;
    run("").await.fails_with(1).says("no database is configured").says("--database-url");
    run_on(&Database::create_empty().await).await.fails_with(1).says("avouch schema install");
    let damages = [
        ("alter table avouch.outbox drop column reason", "column outbox.reason", "avouch schema check"),
        ("update avouch.meta set version = 99", "version 99", "use the newer runtime"),
        ("drop function avouch.release(uuid[], text)", "avouch.release(uuid[],text)", "avouch schema install"),
        ("alter table avouch.outbox disable trigger doorbell", "trigger outbox.doorbell", "avouch schema install"),
    ];
    for (damage, named, remedy) in damages {
        let database = Database::create().await;
        database.client().await.batch_execute(damage).await.expect("damage can be done");
        run_on(&database).await.fails_with(1).says(named).says(remedy);
    }
    let nowhere = format!("[source.main]\nurl = {:?}\n", shared().postgres.url("nowhere"));
    run(&nowhere).await.fails_with(1).says("nowhere");
}

#[tokio::test]
async fn run_waits_for_a_database_that_is_down_at_start() {
    let mut server = OwnPostgres::start(Sync::Off).await;
    let (database, names) = (Database::create_on(&server).await, Names::unique());
    server.stop().await.expect("the server stops");
    let avouch = Avouch::run(&config(&database, &shared().nats.url(), &names, "")).await;
    avouch.wait_for_log("the database does not answer", LIMIT).await;
    server.start_again().await.expect("the server starts");
    avouch.wait_for_log("avouch runs", LIMIT).await;
    let relayed = Relayed { client: database.client().await, database, names, jetstream: jetstream().await, avouch };
    relayed.insert("t", "k", "x").await;
    relayed.arrived(1).await;
}

#[tokio::test]
async fn transaction_pooler_is_refused_at_start_by_name() {
    let (database, pooler) = (Database::create().await, Pooler::start(shared().postgres.port()).await);
    let pooled = format!("postgres://postgres@127.0.0.1:{}/{}", pooler.port, database.name());
    let told = run(&format!("[source.main]\nurl = {pooled:?}\n")).await;
    assert_eq!(told.code, Some(1), "{}", told.text);
    told.says("transaction pooler").says("direct address").says("mode = \"off\"");
    let told = avouch(&["doctor", "--database-url", &pooled, "--nats-url", &shared().nats.url()], &[]).await;
    told.fails_with(1)
        .says("PROBLEM  source main, doorbell [doorbell]")
        .says("transaction pooler")
        .says("schema avouch: as");
}

#[tokio::test]
async fn doorbell_that_is_off_polls() {
    let relayed = Relayed::start("[doorbell]\nmode = \"off\"\n").await;
    for n in 1..=3 {
        relayed.insert("t", "k", "x").await;
        relayed.arrived(n).await;
    }
    let listening =
        "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
    let listening: i64 = relayed.client.query_one(listening, &[]).await.expect("it can be counted").get(0);
    assert_eq!(listening, 0);
}

#[tokio::test]
async fn role_of_the_runtime_is_enough_to_run() {
    let database = Database::create().await;
    let role = format!("role_{}", Uuid::now_v7().simple());
    let create = format!("create role {role} login in role avouch_runtime");
    database.client().await.batch_execute(&create).await.expect("a role can be made");
    let names = Names::unique();
    let text = config(&database, &shared().nats.url(), &names, "strict_topics = true\n[topic.t]");
    let avouch = Avouch::run(&text.replace(database.url(), &url_of(&database, &role))).await;
    let relayed = Relayed { client: database.client().await, database, names, jetstream: jetstream().await, avouch };
    let delayed =
        "insert into avouch.outbox (topic, payload, not_before) values ('t', '', clock_timestamp() + interval '50 ms')";
    relayed.client.execute(delayed, &[]).await.expect("it is accepted");
    let (dead, sent) = (relayed.insert("unknown", "k", "").await, relayed.insert("t", "l", "").await);
    relayed.in_state(sent, "sent").await;
    relayed.in_state(dead, "dead").await;
    relayed.arrived(2).await;
    let url = url_of(&relayed.database, &role);
    avouch_at(&url, &["status"]).await.succeeds().says("1 dead");
    avouch_at(&url, &["resend", &dead.to_string()]).await.succeeds();
    assert!(!relayed.avouch.log().contains("permission denied"), "{}", relayed.avouch.log());
}

#[tokio::test]
async fn sigterm_ends_it_with_everything_in_flight_marked() {
    let mut relayed = Relayed::start("").await;
    let many = "insert into avouch.outbox (topic, key, payload) \
                select 't', (n % 100)::text, '' from generate_series(1, 30000) n";
    relayed.client.execute(many, &[]).await.expect("rows are accepted");
    relayed.arrived(1).await;
    let ended = relayed.avouch.terminate(LIMIT).await;
    assert_eq!(ended.code(), Some(0), "{}", relayed.avouch.log());
    assert!(!relayed.avouch.log().contains("stopped before everything was marked"), "{}", relayed.avouch.log());
    let mut stream = relayed.jetstream.get_stream(&relayed.names.stream).await.expect("the stream is there");
    let stored = stream.info().await.expect("it answers").state.messages;
    let sql = "select (select count(*) from avouch.outbox where state = 'sent'), (select count(*) from avouch.instance), \
               (select count(*) from avouch.shard where owner is not null)";
    let row = relayed.client.query_one(sql, &[]).await.expect("it can be counted");
    assert_eq!(row.get::<_, i64>(0) as u64, stored);
    assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (0, 0), "it signs off");
}

async fn avouch_at(url: &str, args: &[&str]) -> Told {
    avouch(&[args, &["--database-url", url]].concat(), &[]).await
}

#[tokio::test]
async fn status_shows_backlog_owners_trouble_and_what_is_held() {
    let (database, nats) = (Database::create().await, format!("nats://127.0.0.1:{}", free_port().await));
    let client = database.client().await;
    let status = async |args: &[&str]| avouch_at(database.url(), &[&["status"], args].concat()).await.succeeds();
    status(&[]).await.says("0 ready").says("runtime      none").says("8 without an owner");
    let rows = "insert into avouch.outbox (topic, key, payload) select 't', 'k', '' from generate_series(1, 4);
                insert into avouch.outbox (topic, payload, not_before) values ('t', '', now() + interval '1 h');
                update avouch.outbox set state = 'dead', reason = 'too big' where seq = (select min(seq) from avouch.outbox);
                insert into avouch.hold (kind, name, message_id, reason)
                  select 'key', E'k\\n', id, 'too big' from avouch.outbox where state = 'dead';
                select avouch.pause('topic', 'held', 'for the test')";
    client.batch_execute(rows).await.expect("rows can be made");
    let settings = "instance_name = \"the-one\"\n";
    let running = Avouch::run(&config(&database, &nats, &Names::unique(), settings)).await;
    let json: Value = until("the runtime tells its trouble", LIMIT, async || {
        let json: Value = serde_json::from_str(&status(&["--json"]).await.text).expect("--json is JSON");
        (json["instances"][0]["trouble"].is_string() && json["shards_without_owner"] == 0).then_some(json)
    })
    .await;
    assert_eq!((&json["ready"], &json["delayed"], &json["dead"]), (&3.into(), &1.into(), &1.into()), "{json}");
    assert_eq!(json["instances"][0]["shards"].as_array().map(Vec::len), Some(8), "{json}");
    assert!(json["oldest_unsent_s"].as_f64().is_some_and(|age| age > 0.0), "{json}");
    let told = status(&[]).await.says("3 ready").says("1 delayed").says("1 dead").says("0 without an owner");
    let told = told.says("the-one").says("(alive): 8 shards").says("NATS").says("topic held (paused): for the test");
    told.says("key k\\n (parked behind dead message").says(": too big");
    drop(running);
}

#[tokio::test]
async fn operator_commands_do_what_they_say() {
    let database = Database::create().await;
    let client = database.client().await;
    let dead = "insert into avouch.outbox (topic, key, payload) values ('t', E'k\\x1b[2J', '') returning id";
    let id: Uuid = client.query_one(dead, &[]).await.expect("it is accepted").get(0);
    let (text, unknown) = (id.to_string(), Uuid::now_v7().to_string());
    let at = async |args: &[&str]| avouch_at(database.url(), args).await;
    let count = async |sql: &str| client.query_one(sql, &[]).await.expect("it can be counted").get::<_, i64>(0);
    for (kind, name) in [("topic", "t"), ("key", "k 1"), ("consumer", "c")] {
        at(&["pause", kind, name, "--reason", "a test"]).await.succeeds().says(name);
        assert_eq!(count("select count(*) from avouch.hold where reason = 'a test'").await, 1);
        at(&["resume", kind, name]).await.succeeds().says("goes on");
        assert_eq!(count("select count(*) from avouch.hold").await, 0);
        at(&["resume", kind, name]).await.fails_with(1).says("was not paused");
    }
    at(&["pause", "shard", "x"]).await.fails_with(2);
    at(&["dead"]).await.succeeds().says("no message is dead");
    at(&["resend", &text]).await.fails_with(1).says("is not dead");
    let bury = format!(
        "update avouch.outbox set state = 'dead', reason = 'too big'; \
         insert into avouch.hold (kind, name, message_id) values ('key', 'k', '{id}')"
    );
    client.batch_execute(&bury).await.expect("it can be buried");
    let told = at(&["dead"]).await.succeeds().says(&text).says("too big");
    assert!(!told.text.contains('\u{1b}'), "a key reaches the terminal: {}", told.text);
    at(&["resend", &text, &unknown]).await.fails_with(1).says(&format!("{text}: is sent again"));
    assert_eq!(count("select count(*) from avouch.outbox where state = 'ready' and generation = 1").await, 1);
    assert_eq!(count("select count(*) from avouch.hold").await, 0);
    client.batch_execute(&bury).await.expect("it can be buried again");
    at(&["resend", &text]).await.succeeds();
    at(&["discard", &text, "--reason", "given up"]).await.succeeds().says("is discarded");
    assert_eq!(count("select count(*) from avouch.outbox where state = 'discarded' and reason = 'given up'").await, 1);
    at(&["discard", &text]).await.fails_with(1).says("nothing done");
    let audited = "select count(*) from avouch.audit \
                   where actor like 'cli:%@%' and action in ('pause', 'resume', 'resend', 'discard')";
    assert_eq!(count(audited).await, 9);
}

/// A pgbouncer in transaction mode, for one test.
struct Pooler {
    port: u16,
    _process: Child,
    _files: [File; 1],
}

impl Pooler {
    async fn start(postgres: u16) -> Pooler {
        let port = free_port().await;
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={postgres} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        );
        // In /tmp, because the target directory may lie where an unprivileged user cannot read.
        let file = File(std::env::temp_dir().join(format!("avouch-{}.ini", Uuid::now_v7().simple())));
        std::fs::write(&file.0, text).expect("a temporary file can be written");
        std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o644)).expect("it is ours");
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|path| std::path::Path::new(path).exists());
        let mut command = Command::new(program.unwrap_or("pgbouncer"));
        command.arg("-q").arg(&file.0).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        if geteuid().is_root() {
            // It refuses to run as root.
            let user = User::from_name("postgres").ok().flatten().expect("Postgres's package makes the user postgres");
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let process = command.spawn().expect("no pgbouncer: run `.ci/setup test`");
        until("pgbouncer listens", LIMIT, async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        Pooler { port, _process: process, _files: [file] }
    }
}
