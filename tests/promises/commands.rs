//! What people do at the command line: each command on a real database, for people and for programs.

mod acted;
mod acting;
mod history;
mod listing;
mod remembered;
mod shell;

use std::process::Stdio;

use avouch_tests::database::Database;
use avouch_tests::process::binary;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::cli::{Told, avouch};
use crate::relayed::LIMIT;

/// Clears a terminal, turns text around, and begins a sequence in eight bits.
const HOSTILE: &str = "\u{1b}[2J\u{202e}\u{9b}31m<b>";

/// A database with something of everything in it.
struct Desk {
    database: Database,
    client: Client,
    /// A dead message that was never sent; one that is dead for billing; one that billing has not finished.
    dead: Uuid,
    dead_for_billing: Uuid,
    waiting: Uuid,
    /// A transaction in doubt.
    tx: Uuid,
}

impl Desk {
    async fn new() -> Desk {
        let database = Database::create().await;
        let client = database.client().await;
        client.batch_execute(&FURNITURE.replace("@HOSTILE@", HOSTILE)).await.expect("is valid");
        let id = async |sql: &str| client.query_one(sql, &[]).await.expect("it is there").get::<_, Uuid>(0);
        let message = async |key: &str| id(&format!("select id from avouch.outbox where topic like '%{key}'")).await;
        let (dead, dead_for_billing) = (message(".never").await, message(".dead").await);
        let (waiting, tx) = (message(".waiting").await, id("select id from avouch.tx where state = 'in_doubt'").await);
        Desk { dead, dead_for_billing, waiting, tx, database, client }
    }

    async fn at(&self, args: &[&str]) -> Told {
        avouch(&[args, &["--database-url", self.database.url()]].concat(), &[]).await
    }

    /// What programs are told.
    async fn json(&self, args: &[&str]) -> Value {
        let told = self.at(&[args, &["--json"]].concat()).await.succeeds();
        serde_json::from_str(&told.text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", told.text))
    }

    /// In a terminal so many columns wide, whose keyboard says this.
    async fn in_terminal(&self, columns: usize, keys: &str, args: &[&str]) -> Told {
        self.in_terminal_after("true", columns, keys, args).await
    }

    /// The same after this, in the shell.
    async fn in_terminal_after(&self, before: &str, columns: usize, keys: &str, args: &[&str]) -> Told {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let program = binary();
        let program = program.to_str().expect("a UTF-8 path");
        let words = [&[program], args, &["--database-url", self.database.url()]].concat();
        let line: Vec<String> = words.into_iter().map(quoted).collect();
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{before}; stty cols {columns} rows 50; exec {}", line.join(" ")), "/dev/null"]);
        command.env("TERM", "xterm").env_remove("NO_COLOR").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("no `script`: install bsdutils (util-linux)");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(keys.as_bytes()).await.expect("it can be typed");
        let output = timeout(LIMIT, child.wait_with_output()).await.expect("it ends").expect("it runs");
        drop(stdin);
        let text = String::from_utf8(output.stdout).expect("a terminal gets UTF-8").replace('\r', "");
        Told { code: output.status.code(), text }
    }

    /// All that could have been changed.
    async fn everything(&self) -> String {
        let sql = "select md5(string_agg(t, '' order by t)) from ( \
                   select o::text from avouch.outbox o union all select a::text from avouch.audit a \
                   union all select e::text from avouch.event e union all select r::text from avouch.recovery r \
                   union all select x::text from avouch.tx x union all select h::text from avouch.hold h) as all_of_it (t)";
        self.client.query_one(sql, &[]).await.expect("is valid").get(0)
    }

    async fn count(&self, what: &str) -> i64 {
        let sql = format!("select count(*) from {what}");
        self.client.query_one(&sql, &[]).await.expect("is valid").get(0)
    }

    /// So many more dead messages of one failure, which were never sent.
    async fn dead(&self, count: i32, failure: &str) {
        let sql = "insert into avouch.outbox (topic, key, payload) select 'bulk', n::text, '' from generate_series(1, $1::int) n";
        self.client.execute(sql, &[&count]).await.expect("is valid");
        let sql = "update avouch.outbox set state = 'dead', reason = $1 where topic = 'bulk' and state = 'ready' and generation = 0";
        self.client.execute(sql, &[&failure]).await.expect("is valid");
    }
}

const FURNITURE: &str = r#"
insert into avouch.consumer (name, lease_ms, takeover, attempts_max, retry_first_ms, retry_max_ms, stream, topics, is_required, receipt)
  values ('billing', 30000, 'park', 16, 1000, 300000, 'AVOUCH', '{orders.>}', true, 'inbox');
insert into avouch.stream (name, incarnation) values ('AVOUCH', now());
insert into avouch.outbox (topic, key, payload) select 'orders.' || t, '@HOSTILE@', 'a payload @HOSTILE@'
  from unnest(array['ready', 'never', 'dead', 'waiting', 'consumed', 'discarded']) t;
insert into avouch.outbox (topic, payload_bytes, not_before) values ('orders.delayed', '\x00ff', now() + interval '1 h');
update avouch.outbox o set state = 'sent', sent_at = clock_timestamp(), stream = s.id, stream_seq = o.seq, awaiting = array[c.id]
  from avouch.stream s, avouch.consumer c where o.topic in ('orders.dead', 'orders.waiting', 'orders.consumed');
insert into avouch.recovery (message_id, consumer, state, reason)
  select o.id, c.id, 'dead', 'no order 17 @HOSTILE@' from avouch.outbox o, avouch.consumer c where o.topic = 'orders.dead';
update avouch.outbox set state = 'dead', reason = 'billing: no order 17 @HOSTILE@' where topic = 'orders.dead';
update avouch.outbox o set state = 'consumed', awaiting = null, received_by = array[c.id], received_at = array[clock_timestamp()]
  from avouch.consumer c where o.topic = 'orders.consumed';
update avouch.outbox set state = 'dead', reason = 'too big @HOSTILE@' where topic = 'orders.never';
insert into avouch.hold (kind, name, message_id, reason) select 'key', key, id, reason from avouch.outbox where topic = 'orders.never';
insert into avouch.inbox (consumer, key, state, message_id, reason)
  select c.id, o.id::text, 'parked', o.id, '@HOSTILE@' from avouch.outbox o, avouch.consumer c where o.topic = 'orders.waiting';
insert into avouch.session (hash, who, role, ends_at) values (sha256('x'), '@HOSTILE@', 'view', now() + interval '1 h');
select avouch.discard(id, '@HOSTILE@') from avouch.outbox where topic = 'orders.discarded';
select avouch.pause('topic', '@HOSTILE@', '@HOSTILE@');
insert into avouch.outbox (tx_id, topic, payload) values (avouch.prepare('check', '1 h', '@HOSTILE@'), 'orders.prepared', '');
select avouch.prepare('check', '1 h', 'in doubt @HOSTILE@');
update avouch.tx set state = 'in_doubt', reason = '@HOSTILE@', checks = 3, unknowns = 2 where ref like 'in doubt%';
insert into avouch.plugin (name, digest, version, file) select 'check', repeat(n, 64), '@HOSTILE@', '\x00' from unnest(array['a', 'b']) n;
insert into avouch.deployment (name, digest, grants, actor)
  select 'check', repeat(n, 64), '{"bindings": ["sql:orders"], "settings": {"grace_s": "30"}}', '@HOSTILE@' from unnest(array['a', 'b']) n;
insert into avouch.plugin_log (plugin, digest, level, line) values ('check', repeat('b', 64), 'info', '@HOSTILE@');
insert into avouch.instance (id, name, version, lease_until, trouble)
  values (gen_random_uuid(), 'the-one', '1', now() + interval '1 h', '@HOSTILE@');
insert into avouch.endpoint (name, tenant, url, topics, filter, settings, origin, reason)
  values ('m17', '@HOSTILE@', 'https://m17.example/@HOSTILE@', '{payments.>}', jsonb_build_object('merchant', '@HOSTILE@'), '{}', 'api', '@HOSTILE@');
insert into avouch.notice (message_id, topic, key, payload, created_at)
  values ('018c0000-0000-7000-8000-000000000017', 'payments.settled', '@HOSTILE@', '', now());
insert into avouch.delivery (endpoint, message_id, state, attempts, status, reason, ended_at)
  select e.id, n.message_id, 'given_up', 9, 503, '@HOSTILE@', now() from avouch.endpoint e, avouch.notice n;
insert into avouch.attempt (endpoint, message_id, round, number, at, took_ms, outcome, status, reason, excerpt)
  select d.endpoint, d.message_id, 1, 9, now(), 15, 'given_up', 503, '@HOSTILE@', '@HOSTILE@' from avouch.delivery d;
insert into avouch.sample (at, ready, waiting, dead, in_doubt, oldest_s, inserted_per_s, sent_per_s, received_per_s)
  values (now() - interval '1 min', 1, 2, 3, 4, 5.5, 6, 7, 8);
"#;
