//! What changes deployed plugins: deploy, roll back, remove; and a file that is deployed whenever it changes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::operator::Operator;
use super::plugin::read;
use super::tell::usage;
use crate::app;
use crate::config::Config;
use crate::rules::{File, Grants};
use crate::store::operate::{Earlier, NewVersion, NotBack};

/// What programs are told.
#[derive(Debug, Serialize)]
pub struct Moved<'a> {
    /// deploy, roll back plugin, remove plugin.
    pub action: &'a str,
    /// The name.
    pub plugin: &'a str,
    /// What answers to it now.
    pub digest: Option<&'a str>,
}

/// Stores a plugin and lets it answer to its name.
pub async fn deploy(
    config: &Config,
    operator: &Operator,
    file: &File,
    grants: &Grants,
    why: Option<&str>,
) -> anyhow::Result<()> {
    // In the production engine, with the bindings of this configuration: what would be refused there is refused here.
    let rules = app::rules(config)?;
    rules.load(file, grants).await?;
    rules.vet(file).await?;
    let (name, version, digest) = (&*file.manifest.name, &*file.manifest.version, &*file.digest);
    let grants = serde_json::to_value(grants)?;
    operator
        .store
        .deploy(operator.by(why), NewVersion { name, digest, version, file: &file.bytes, grants: &grants })
        .await?;
    operator.tell(&Moved { action: "deploy", plugin: name, digest: Some(digest) }, || {
        format!("{name} {version} is deployed: sha256 {digest}")
    })
}

/// How often a watched file is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Deploys a file, and again whenever it changes, with everything that it asks for: for development. What is refused is
/// told, and the version before goes on.
pub async fn watch(config: Config, operator: Operator, path: PathBuf, stop: CancellationToken) {
    let mut known: Option<(SystemTime, u64)> = None;
    let mut settling = None;
    let mut deployed = String::new();
    while !stop.is_cancelled() {
        let seen = std::fs::metadata(&path).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        // A compiler writes for a while: the file is taken when two looks agree.
        if seen.is_some() && seen != known && seen == std::mem::replace(&mut settling, seen) {
            known = seen;
            match redeploy(&config, &operator, &path, &deployed).await {
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

async fn redeploy(
    config: &Config,
    operator: &Operator,
    path: &PathBuf,
    deployed: &str,
) -> anyhow::Result<Option<String>> {
    let file = read(path, config.rules.file_bytes_max)?;
    if file.digest == deployed {
        return Ok(None);
    }
    let grants = Grants { bindings: file.manifest.requests(), ..Grants::default() };
    deploy(config, operator, &file, &grants, Some("its file changed")).await?;
    Ok(Some(file.digest))
}

/// What answered before the current version was deployed first does again, or the version that is given, with its own grants.
pub async fn roll_back(
    operator: &Operator,
    name: &str,
    to: Option<&str>,
    why: Option<&str>,
) -> anyhow::Result<ExitCode> {
    if to.is_some_and(|to| to.trim().is_empty()) {
        return usage("--to is empty: give a version or how its digest begins, or leave it out to go back by one");
    }
    let earlier = to.map_or(Earlier::Before, Earlier::Version);
    let digest = match operator.store.roll_back_plugin(operator.by(why), name, earlier).await? {
        Ok(digest) => digest,
        Err(NotBack::Several) => bail!("--to may mean several versions of {name}: give more of the digest"),
        Err(NotBack::Nowhere) if to.is_none() => {
            bail!(
                "{name} has no such version to go back to, which answered before the current one was deployed first: avouch plugin show {name}"
            )
        }
        Err(NotBack::Nowhere) => bail!("{name} has no such version to go back to: avouch plugin show {name}"),
    };
    let moved = Moved { action: "roll back plugin", plugin: name, digest: Some(&digest) };
    operator.tell(&moved, || format!("{name} is back at sha256 {digest}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Nobody answers to it any more.
pub async fn remove(operator: &Operator, name: &str, why: Option<&str>) -> anyhow::Result<ExitCode> {
    if !operator.store.remove_plugin(operator.by(why), name).await? {
        bail!("no plugin {name} was ever deployed: avouch plugin list");
    }
    let moved = Moved { action: "remove plugin", plugin: name, digest: None };
    operator.tell(&moved, || format!("nobody answers to {name} any more"))?;
    Ok(ExitCode::SUCCESS)
}
