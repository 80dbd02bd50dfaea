//! What changes or shows deployed plugins: deploy, roll back, remove, their logs; and a file that is deployed whenever it changes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::inspect::escape;
use super::operate::connect;
use super::plugin::read;
use crate::app;
use crate::config::Config;
use crate::rules::{File, Grants};
use crate::store::Error;
use crate::store::connect::Target;

/// Stores a plugin and lets it answer to its name. Returns what to tell.
pub async fn deploy(config: &Config, target: &Target, file: &File, grants: &Grants) -> anyhow::Result<String> {
    // In the production engine, with the bindings of this configuration: what would be refused there is refused here.
    let rules = app::rules(config)?;
    rules.load(file, grants).await?;
    rules.vet(file).await?;
    let (name, version) = (&file.manifest.name, &file.manifest.version);
    let mut client = connect(target).await?;
    let transaction = client.transaction().await.map_err(Error::from)?;
    let store =
        "insert into avouch.plugin (name, digest, version, file) values ($1, $2, $3, $4) on conflict do nothing";
    transaction.execute(store, &[name, &file.digest, version, &&*file.bytes]).await.map_err(Error::from)?;
    let grants = serde_json::to_value(grants)?;
    let point = "insert into avouch.deployment (name, digest, grants) values ($1, $2, $3)";
    transaction.execute(point, &[name, &file.digest, &grants]).await.map_err(Error::from)?;
    let audit = "insert into avouch.audit (action, subject, detail) values ('deploy', $1, $2)";
    transaction.execute(audit, &[name, &file.digest]).await.map_err(Error::from)?;
    transaction.commit().await.map_err(Error::from)?;
    Ok(format!("{name} {version} is deployed: sha256 {}", file.digest))
}

/// How often a watched file is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Deploys a file, and again whenever it changes, with everything that it asks for: for development. What is refused is
/// told, and the version before goes on.
pub async fn watch(config: Config, target: Target, path: PathBuf, stop: CancellationToken) {
    let mut known: Option<(SystemTime, u64)> = None;
    let mut settling = None;
    let mut deployed = String::new();
    while !stop.is_cancelled() {
        let seen = std::fs::metadata(&path).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        // A compiler writes for a while: the file is taken when two looks agree.
        if seen.is_some() && seen != known && seen == std::mem::replace(&mut settling, seen) {
            known = seen;
            match redeploy(&config, &target, &path, &deployed).await {
                Ok(None) => {}
                Ok(Some(digest)) => deployed = digest,
                Err(e) => println!("{}: {e:#}", path.display()),
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn redeploy(config: &Config, target: &Target, path: &PathBuf, deployed: &str) -> anyhow::Result<Option<String>> {
    let file = read(path, config.rules.file_bytes_max)?;
    if file.digest == deployed {
        return Ok(None);
    }
    let grants = Grants { bindings: file.manifest.requests(), ..Grants::default() };
    println!("{}", deploy(config, target, &file, &grants).await?);
    Ok(Some(file.digest))
}

/// How often new lines are looked for.
const FOLLOW: Duration = Duration::from_millis(500);

/// Prints the newest lines, and with `follow` those that come.
pub async fn logs(target: &Target, name: Option<&str>, limit: i64, follow: bool) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    let newest = "select * from (select id, to_char(at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), plugin, left(digest, 12), \
                  tx_id::text, level, line from avouch.plugin_log where $1::text is null or plugin = $1 order by id desc limit $2) l order by id";
    let newer = "select id, to_char(at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), plugin, left(digest, 12), \
                 tx_id::text, level, line from avouch.plugin_log where ($1::text is null or plugin = $1) and id > $2 order by id limit 1000";
    let mut last = 0i64;
    let mut rows = client.query(newest, &[&name, &limit]).await.map_err(Error::from)?;
    if rows.is_empty() && !follow {
        println!("no plugin said anything");
    }
    loop {
        for row in &rows {
            let (at, plugin, digest): (&str, &str, Option<&str>) = (row.get(1), row.get(2), row.get(3));
            let (tx, level, line): (Option<&str>, &str, &str) = (row.get(4), row.get(5), row.get(6));
            let (digest, tx) = (digest.unwrap_or("-"), tx.unwrap_or("-"));
            println!("{at} {level:<5} {} {digest} tx {tx}  {}", escape(plugin), escape(line));
            last = last.max(row.get(0));
        }
        if !follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(FOLLOW).await;
        rows = client.query(newer, &[&name, &last]).await.map_err(Error::from)?;
    }
}

pub async fn roll_back(target: &Target, name: &str, to: Option<String>) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    // The newest deployment of another version than the current one, or of the one that is asked for; with its own grants.
    let sql = "insert into avouch.deployment (name, digest, grants) \
               select d.name, d.digest, d.grants from avouch.deployment d \
               where d.name = $1 and d.digest is not null and case when $2::text is null \
                 then d.digest is distinct from (select l.digest from avouch.deployment l where l.name = $1 order by l.id desc limit 1) \
                 else starts_with(d.digest, $2) end \
               order by d.id desc limit 1 returning digest";
    let Some(row) = client.query_opt(sql, &[&name, &to]).await.map_err(Error::from)? else {
        bail!("{name} has no such version to go back to: avouch plugin list");
    };
    let digest: String = row.get(0);
    let audit = "insert into avouch.audit (action, subject, detail) values ('roll back plugin', $1, $2)";
    client.execute(audit, &[&name, &digest]).await.map_err(Error::from)?;
    println!("{name} is back at sha256 {digest}");
    Ok(ExitCode::SUCCESS)
}

pub async fn remove(target: &Target, name: &str) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    let sql = "insert into avouch.deployment (name) select $1 where exists (select from avouch.plugin where name = $1)";
    if client.execute(sql, &[&name]).await.map_err(Error::from)? == 0 {
        bail!("no plugin {name} was ever deployed: avouch plugin list");
    }
    println!("nobody answers to {name} any more");
    Ok(ExitCode::SUCCESS)
}
