//! Keeps this process's plugins as they are deployed in the database: each change is followed at once, or with the next look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::alarm::{Alarms, Event, Kind};
use crate::rules::usage::Used;
use crate::rules::{self, File, Grants, Rules};
use crate::store::{self, Deployment, PluginCalls, Store};

/// Without a ring: the safety net.
const POLL: Duration = Duration::from_secs(1);
/// How often it is written down what was called.
const TELL: Duration = Duration::from_secs(10);

/// The loop.
pub struct Deployments {
    store: Arc<Store>,
    rules: Arc<Rules>,
    file_bytes_max: usize,
    rung: watch::Receiver<u64>,
    /// The deployment that each name's plugin, or its absence, comes from.
    known: HashMap<String, i64>,
    told_at: Instant,
    trouble: bool,
    alarms: Alarms,
}

impl Deployments {
    /// A loop that knows of none yet. `rung` changes when somebody deploys.
    pub fn new(
        store: Arc<Store>,
        rules: Arc<Rules>,
        file_bytes_max: usize,
        rung: watch::Receiver<u64>,
        alarms: Alarms,
    ) -> Self {
        Self {
            store,
            rules,
            file_bytes_max,
            rung,
            known: HashMap::new(),
            told_at: Instant::now(),
            trouble: false,
            alarms,
        }
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        self.follow_until(&stop).await;
        if let Err(e) = self.tell_usage().await {
            tracing::debug!(error = %e, "the last calls of plugins were not written down");
        }
    }

    async fn follow_until(&mut self, stop: &CancellationToken) {
        loop {
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = self.pass() => result,
            };
            let told = if self.told_at.elapsed() >= TELL { self.tell_usage().await } else { Ok(()) };
            match result.and(told) {
                Ok(()) => self.trouble = false,
                Err(e) if !std::mem::replace(&mut self.trouble, true) => {
                    tracing::warn!(error = %e, "deployed plugins cannot be read, or their calls not written down; trying again");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                // Its sender lives as long as the doorbell.
                Ok(()) = self.rung.changed() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Takes up what has changed. A version that cannot be used leaves the one before in its place.
    pub async fn pass(&mut self) -> Result<(), store::Error> {
        for deployment in self.store.deployments().await? {
            if self.known.get(&deployment.name) == Some(&deployment.number) {
                continue;
            }
            match self.follow(&deployment).await {
                Ok(()) => {
                    let Deployment { name, digest, .. } = &deployment;
                    tracing::info!(plugin = name, digest, "a plugin was deployed");
                }
                Err(Fault::Store(e)) => return Err(e),
                Err(Fault::Rules(rules::Error::Retry(why))) => {
                    tracing::warn!(plugin = deployment.name, why, "a plugin cannot be loaded now; trying again");
                    continue;
                }
                Err(Fault::Rules(e)) => self.alarms.raise(&Event {
                    kind: Kind::PluginRefused,
                    subject: &deployment.name,
                    id: deployment.digest.clone().unwrap_or_default(),
                    reference: None,
                    trace_id: None,
                    why: &e.to_string(),
                }),
            }
            self.known.insert(deployment.name, deployment.number);
        }
        Ok(())
    }

    /// Writes down what was called since the last time.
    async fn tell_usage(&mut self) -> Result<(), store::Error> {
        self.told_at = Instant::now();
        let used = self.rules.usage().take();
        if used.is_empty() {
            return Ok(());
        }
        let calls = |(digest, used): (&Arc<str>, &Used)| PluginCalls {
            name: used.name.clone(),
            digest: Arc::clone(digest),
            calls: used.calls,
            errors: used.errors,
            faults: used.faults,
            took: used.took,
            took_max: used.took_max,
        };
        let told = self.store.use_plugins(&used.iter().map(calls).collect::<Vec<_>>()).await;
        if told.is_err() {
            self.rules.usage().put_back(used);
        }
        told
    }

    async fn follow(&self, deployment: &Deployment) -> Result<(), Fault> {
        let Some(digest) = &deployment.digest else {
            self.rules.remove(&deployment.name);
            return Ok(());
        };
        let bytes = self.store.plugin_file(&deployment.name, digest).await.map_err(Fault::Store)?;
        let file = File::read(bytes, self.file_bytes_max).map_err(Fault::Rules)?;
        let refused = |why: String| Fault::Rules(rules::Error::Refused(why));
        if file.digest != *digest || file.manifest.name != deployment.name {
            return Err(refused(format!("its file is of {} {}: it was altered", file.manifest.name, file.digest)));
        }
        let grants: Grants =
            serde_json::from_str(&deployment.grants).map_err(|e| refused(format!("its grants: {e}")))?;
        let plugin = self.rules.load(&file, &grants).await.map_err(Fault::Rules)?;
        self.rules.install(plugin);
        Ok(())
    }
}

enum Fault {
    Store(store::Error),
    Rules(rules::Error),
}
