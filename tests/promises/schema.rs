//! The schema: installing, checking, mending, and what cannot be installed.

use std::path::PathBuf;

use avouch_runtime::schema::{DESCRIBE, SCHEMA};
use avouch_tests::database::Database;
use avouch_tests::servers::shared;
use tokio::process::Command;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::cli::{Told, avouch};

async fn schema(action: &str, url: &str) -> Told {
    avouch(&["schema", action, "--database-url", url], &[]).await
}

async fn describe(client: &Client) -> Vec<String> {
    client.query(DESCRIBE, &[]).await.expect("the schema can be described").iter().map(|row| row.get(0)).collect()
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// To make `runtime/src/store/expected.txt` anew: run `runtime/src/store/describe.sql` on a fresh install.
#[tokio::test]
async fn schema_check_knows_every_object() {
    let database = Database::create_empty().await;
    schema("install", database.url()).await.succeeds();
    schema("check", database.url()).await.succeeds().says("as it should be");
}

#[tokio::test]
async fn second_install_changes_nothing() {
    let database = Database::create().await;
    let client = database.client().await;
    let rows = "insert into avouch.outbox (topic, key, payload, headers, dedup_key)
                values ('t', 'k', 'x', '{\"a\": \"b\"}', 'd'), ('t', 'k', 'y', null, null);
                update avouch.outbox set state = 'sent' where payload = 'y';
                select avouch.pause('topic', 't'), avouch.prepare('c', '1 h');
                update avouch.shard set epoch = 7 where shard = 3";
    client.batch_execute(rows).await.expect("rows can be made");
    // xmin: not even rewritten with the same values.
    let contents = "select concat((select json_agg(to_json(o)::text || o.xmin) from avouch.outbox o),
                                  (select json_agg(to_json(s)::text || s.xmin) from avouch.shard s),
                                  (select json_agg(to_json(h)::text || h.xmin) from avouch.hold h),
                                  (select json_agg(to_json(m)::text || m.xmin) from avouch.meta m),
                                  (select json_agg(to_json(x)::text || x.xmin) from avouch.tx x))";
    let before = (describe(&client).await, one::<String>(&client, contents).await);
    for _ in 0..2 {
        schema("install", database.url()).await.succeeds();
        assert_eq!((describe(&client).await, one::<String>(&client, contents).await), before);
    }
}

#[tokio::test]
async fn check_names_what_is_missing_and_install_mends_it() {
    let database = Database::create().await;
    let client = database.client().await;
    let mut damages = vec![
        ("drop index avouch.outbox_ready", "outbox_ready".to_owned()),
        ("drop index avouch.hold_pause", "hold_pause".to_owned()),
        ("drop trigger ring_holds on avouch.hold", "hold.ring_holds".to_owned()),
        ("drop function avouch.resend(uuid)", "avouch.resend(uuid)".to_owned()),
        (
            "revoke execute on function avouch.commit(uuid) from avouch_producer",
            "grant avouch_producer execute on avouch.commit(uuid)".to_owned(),
        ),
        (
            "revoke insert (key) on avouch.outbox from avouch_producer",
            "grant avouch_producer insert on outbox.key".to_owned(),
        ),
        ("revoke delete on avouch.outbox from avouch_runtime", "grant avouch_runtime delete on outbox".to_owned()),
        (
            "create or replace function avouch.resume(kind text, name text) returns boolean language sql as 'select true'",
            "avouch.resume(text,text)".to_owned(),
        ),
        ("alter function avouch.release(uuid[], text) reset search_path", "avouch.release(uuid[],text)".to_owned()),
        ("alter function avouch.discard(uuid, text) security invoker", "avouch.discard(uuid,text)".to_owned()),
    ];
    let triggers =
        "select c.relname || '.' || t.tgname, format('alter table avouch.%I disable trigger %I', c.relname, t.tgname)
                    from pg_trigger t join pg_class c on c.oid = t.tgrelid
                    where c.relnamespace = 'avouch'::regnamespace and not t.tgisinternal";
    let triggers = client.query(triggers, &[]).await.expect("triggers can be listed");
    assert!(!triggers.is_empty());
    damages.extend(triggers.iter().map(|row| (row.get(1), row.get(0))));
    let public = "grant execute on function avouch.release(uuid[], text) to public";
    damages.push((public, "grant public execute on avouch.release(uuid[],text)".to_owned()));
    for (damage, named) in damages {
        client.batch_execute(damage).await.unwrap_or_else(|error| panic!("{damage}: {error:?}"));
        schema("check", database.url()).await.fails_with(1).says(&named).says("avouch schema install");
        schema("install", database.url()).await.succeeds();
        let told = schema("check", database.url()).await;
        assert_eq!(told.code, Some(0), "after {damage} and an install: {}", told.text);
    }
    client.batch_execute("alter table avouch.outbox drop column reason").await.expect("a column can be dropped");
    schema("check", database.url()).await.fails_with(1).says("column outbox.reason").says("restore it by hand");
}

#[tokio::test]
async fn check_of_an_empty_database_says_what_to_do() {
    let database = Database::create_empty().await;
    schema("check", database.url()).await.fails_with(1).says("avouch schema install").says(database.name());
}

#[tokio::test]
async fn database_that_is_not_utf8_is_refused_with_the_remedy() {
    let server = &shared().postgres;
    let admin = Database::create_empty().await;
    let name = format!("latin_{}", Uuid::now_v7().simple());
    let create = format!("create database {name} encoding 'LATIN1' locale 'C' template template0");
    admin.client().await.batch_execute(&create).await.expect("a LATIN1 database can be made");
    schema("install", &server.url(&name)).await.fails_with(1).says("UTF8").says("create database");
    let drop = format!("drop database {name} with (force)");
    admin.client().await.batch_execute(&drop).await.expect("it can be dropped");
}

#[tokio::test]
async fn printed_schema_installs_with_psql() {
    let database = Database::create_empty().await;
    let file = File::new("schema.sql", &avouch(&["schema", "print"], &[]).await.succeeds().text);
    for _ in 0..2 {
        let mut psql = Command::new("psql");
        psql.args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file.0).arg(database.url());
        let output = psql.output().await.expect("no psql: run `.ci/setup test`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    schema("check", database.url()).await.succeeds();
    assert_eq!(std::fs::read_to_string(&file.0).expect("it is still there"), SCHEMA);
}

#[tokio::test]
async fn installs_at_the_same_time_all_succeed() {
    let databases = [Database::create_empty().await, Database::create_empty().await];
    let (one, other) = (databases[0].url(), databases[1].url());
    let told =
        tokio::join!(schema("install", one), schema("install", one), schema("install", other), schema("install", one));
    for told in [told.0, told.1, told.2, told.3] {
        told.succeeds();
    }
    for database in &databases {
        schema("check", database.url()).await.succeeds();
    }
}

#[tokio::test]
async fn number_of_shards_is_fixed_by_the_first_install() {
    let database = Database::create_empty().await;
    avouch(&["schema", "install", "--shards", "4", "--database-url", database.url()], &[]).await.succeeds();
    let client = database.client().await;
    let shard_of = "select array_agg(avouch.shard_of(n::text, null) order by n) from generate_series(1, 100) n";
    let before: Vec<i32> = one(&client, shard_of).await;
    assert_eq!((before.iter().min(), before.iter().max()), (Some(&0), Some(&3)));
    for arguments in [&["--shards", "16"][..], &[]] {
        let all = [&["schema", "install", "--database-url", database.url()][..], arguments].concat();
        let told = avouch(&all, &[]).await;
        if arguments.is_empty() {
            told.succeeds();
        } else {
            told.fails_with(1).says("--shards changed nothing");
        }
        assert_eq!(one::<i64>(&client, "select count(*) from avouch.shard").await, 4);
        assert_eq!(one::<i32>(&client, "select shards from avouch.meta").await, 4);
        assert_eq!(one::<Vec<i32>>(&client, shard_of).await, before);
    }
    for wrong in ["0", "1025", "x"] {
        avouch(&["schema", "install", "--shards", wrong, "--database-url", database.url()], &[]).await.fails_with(2);
    }
}

#[tokio::test]
async fn newer_schema_is_not_taken_back() {
    let database = Database::create().await;
    database.client().await.batch_execute("update avouch.meta set version = 99").await.expect("it can be set");
    schema("install", database.url()).await.fails_with(1).says("version 99").says("newer avouch");
    schema("check", database.url()).await.fails_with(1).says("version 99").says("newer runtime");
}

/// A file in cargo's directory for tests, removed when this is dropped.
pub struct File(pub PathBuf);

impl File {
    pub fn new(name: &str, text: &str) -> File {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", Uuid::now_v7().simple()));
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        File(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("the target directory has a UTF-8 name")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
