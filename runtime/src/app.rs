//! The only wiring: connects the edges, spawns the loops, waits for a signal, drains.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::alarm::{self, Alarms};
use crate::broker::{Broker, Feed, Stream};
use crate::checkback::Checkback;
use crate::config::Config;
use crate::control::{self, Control};
use crate::deployments::Deployments;
use crate::doorbell::{Doorbell, Mode};
use crate::inbox::{self, Desk, Inbox, Keeper};
use crate::meters::Scope;
use crate::notify::{self, Deliver, Record};
use crate::receipts::{self, Receipts};
use crate::receivers::{self, Receivers};
use crate::recovery::Recovery;
use crate::relay::{Parts, Relay};
use crate::rules::Rules;
use crate::shards::{Ownership, Progress, Shards};
use crate::store::notify::Contested;
use crate::store::{Error, Plans, Store};
use crate::trace::{self, Tracer};
use crate::upkeep::{self, Upkeep};
use crate::{schema, store};

/// Between two tries to reach a database at start.
const RETRY: Duration = Duration::from_secs(1);
/// Signing off is one statement.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// Runs until `stop`, then drains within the grace period. `ready` is told once each source works.
pub async fn run(config: Config, stop: CancellationToken, ready: impl FnOnce()) -> anyhow::Result<()> {
    let listener = config.admin.listen.map(admin::listen).transpose()?;
    run_on(listener, config, stop, ready).await
}

/// The same with the API and the console on a port that is taken already, if on any.
pub async fn run_on(
    listener: Option<TcpListener>,
    config: Config,
    stop: CancellationToken,
    ready: impl FnOnce(),
) -> anyhow::Result<()> {
    if config.source.is_empty() {
        bail!(
            "no database is configured: set [source.main] url in the file, AVOUCH_SOURCE__MAIN__URL, or --database-url"
        );
    }
    if !config.notify.is_on() && !config.endpoint.is_empty() {
        tracing::warn!(endpoints = config.endpoint.len(), "nobody is told anything: notify.topics is empty");
    }
    let (mut running, mut sinks) = (JoinSet::new(), JoinSet::new());
    // From the start, so that it tells what is waited for.
    let shown = listener.map(|listener| start_admin(&config, listener, stop.clone(), &mut running)).transpose()?;
    start_receivers(&config, stop.clone(), &mut running)?;
    let (alarms, configured) = alarm::sinks(&config.alarm, &instance_name(&config))?;
    let (tracer, exporter) = trace::start(&config.trace)?;
    let drained = CancellationToken::new();
    if let Some(exporter) = exporter {
        sinks.spawn(exporter.run(drained.clone()));
    }
    for sink in configured {
        sinks.spawn(sink.run(drained.clone()));
    }
    for (name, source) in &config.source {
        let shown = shown.as_ref().filter(|_| config.is_shown(name));
        let tell = (&alarms, &tracer);
        let started = start_source(&config, (name, source), shown, tell, stop.clone(), &mut running);
        tokio::select! {
            () = stop.cancelled() => {}
            result = started => result.with_context(|| format!("source {name}"))?,
        }
    }
    if !stop.is_cancelled() {
        tracing::info!(sources = config.source.len(), version = env!("CARGO_PKG_VERSION"), "avouch runs");
        ready();
    }
    while let Some(ended) = running.join_next().await {
        let is_early = !stop.is_cancelled();
        stop.cancel();
        ended.context("a loop of the runtime broke")?;
        if is_early {
            bail!("a loop of the runtime ended by itself");
        }
    }
    // What the last loop said reaches the sinks.
    drained.cancel();
    while let Some(ended) = sinks.join_next().await {
        ended.context("a sink of alarms or traces broke")?;
    }
    tracing::info!("avouch has stopped");
    Ok(())
}

/// Serves the API and the console of the shown source, over connections of their own.
fn start_admin(
    config: &Config,
    listener: TcpListener,
    stop: CancellationToken,
    running: &mut JoinSet<()>,
) -> anyhow::Result<admin::State> {
    let source = config.source.iter().find(|(name, _)| config.is_shown(name));
    let (name, source) = source.context("admin.source names a database that is not configured")?;
    let application = format!("avouch admin {}", instance_name(config));
    let store = Arc::new(Store::new(source, scope(config, name), &application, plans(config))?);
    let admin = Admin::new(&config.admin, listener, store)?;
    let state = admin.state();
    running.spawn(admin.run(stop, Duration::from_millis(config.grace_ms)));
    Ok(state)
}

/// Answers receivers, if they are to be, over connections of their own.
fn start_receivers(config: &Config, stop: CancellationToken, running: &mut JoinSet<()>) -> anyhow::Result<()> {
    let Some(at) = config.notify.listen else { return Ok(()) };
    if !config.notify.is_on() {
        tracing::warn!("receivers are not answered, because nobody is told anything: set notify.topics");
        return Ok(());
    }
    let source = config.source.iter().find(|(name, _)| config.notifies(name));
    let (name, source) = source.context("control.source names a database that is not configured")?;
    let application = format!("avouch receivers {}", instance_name(config));
    let store = Arc::new(Store::new(source, scope(config, name), &application, plans(config))?);
    let notify::Config { tls, asks_per_s, keep_hours, .. } = config.notify.clone();
    let settings = receivers::Settings { tls, asks_per_s, keep_hours };
    let keys = config.endpoint.iter().map(|(name, endpoint)| (name.clone(), endpoint.keys())).collect();
    let listener = receivers::listen(at).map_err(anyhow::Error::msg)?;
    let receivers = Receivers::new(&settings, listener, store, keys).map_err(anyhow::Error::msg)?;
    running.spawn(receivers.run(stop, Duration::from_millis(config.grace_ms)));
    Ok(())
}

/// How statements are planned: the doorbell's probe proves that the connection is direct; without it, it may be a pooler's.
pub fn plans(config: &Config) -> Plans {
    if config.doorbell.mode == Mode::On { Plans::Fixed } else { Plans::Free }
}

/// Where what is done with a database is counted.
pub fn scope(config: &Config, source: &str) -> Scope {
    Scope::new(source, config.metrics.labels_max, config.topic.keys().cloned())
}

async fn start_source(
    config: &Config,
    (name, source): (&str, &store::Config),
    shown: Option<&admin::State>,
    (alarms, tracer): (&Alarms, &Tracer),
    stop: CancellationToken,
    running: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let instance = instance_name(config);
    let scope = scope(config, name);
    let alarms = alarms.of(&scope);
    let store = Arc::new(Store::new(source, scope.clone(), &format!("avouch {instance}"), plans(config))?);
    until_it_answers(name, async || serve_schema(&store).await).await?;
    // In every database, for `avouch.inbox_once`: whoever asks over NATS is answered by the served one.
    let consumers = inbox::consumers(&config.consumer, &config.streams()[0].0);
    if !consumers.is_empty() {
        until_it_answers(name, async || store.consumers(&consumers).await).await?;
    }
    let doorbell = until_it_answers(name, async || {
        Doorbell::start(&config.doorbell, store.target().clone(), &scope, stop.clone()).await
    })
    .await?;
    let (broker, replies) = Broker::connect(&config.nats, &format!("avouch {instance}")).await?;
    let streams: Vec<_> =
        config.streams().iter().map(|(name, c)| broker.stream(name, c, config.consumers_of(name))).collect();
    let (progress, watched) = watch::channel(Progress::default());
    let connected = broker.connected();
    let (shards, ownership) = Shards::new(&config.shards, &instance, Arc::clone(&store), watched, doorbell.shards());
    let parts = upkeep::Parts {
        store: Arc::clone(&store),
        streams: streams.clone(),
        ownership: ownership.clone(),
        alarms: alarms.clone(),
    };
    let upkeep = Upkeep::new(config.upkeep.clone(), parts, config.inbox.keep_hours);
    let topics = config.topics()?;
    let rules = Arc::new(rules(config)?);
    let shared = Arc::clone(&rules);
    let rung = doorbell.deployments();
    let mut deployments =
        Deployments::new(Arc::clone(&store), Arc::clone(&rules), config.rules.file_bytes_max, rung, alarms.clone());
    // Compiled code comes from the cache in milliseconds: who is ready can judge.
    until_it_answers(name, async || deployments.pass().await).await?;
    let sizes = (config.rules.messages_max, config.rules.payload_bytes_max);
    let (settings, checkers) = (config.checkback.clone(), config.checker.clone());
    let checkback = Checkback::new(
        settings,
        checkers,
        Arc::clone(&store),
        Arc::clone(&rules),
        sizes,
        (alarms.clone(), tracer.clone()),
    );
    let grace = Duration::from_millis(config.grace_ms);
    if config.is_served(name) {
        let subjects = control::subjects(&config.control.subject_prefix);
        let service = broker.serve(control::NAME, control::DESCRIPTION, &subjects).await?;
        let control = Control::new(&config.control, service, Arc::clone(&store), grace);
        running.spawn(control.run(stop.clone()));
        if !config.consumer.is_empty() {
            let subjects = inbox::subjects(&config.control.subject_prefix);
            let service = broker.serve(inbox::NAME, inbox::DESCRIPTION, &subjects).await?;
            let seen = (Arc::clone(&rules), sizes.1);
            let keeper = keeper(config, &store, &broker);
            let kept = (keeper, Arc::clone(&store));
            let desk =
                Desk::new(config.inbox.clone(), config.consumer.clone(), kept, seen, (alarms.clone(), tracer.clone()));
            let inbox = Inbox::new(service, desk, grace);
            running.spawn(inbox.run(stop.clone()));
        }
    }
    let parts = receipts::Parts {
        store: Arc::clone(&store),
        streams: streams.clone(),
        durables: config.durables(),
        events: broker.events(&config.receipts.events_stream, config.receipts.events_bytes_max),
        connected: broker.connected(),
        ownership: ownership.clone(),
        alarms: alarms.clone(),
    };
    running.spawn(Receipts::new(config.receipts.clone(), parts).run(stop.clone()));
    let dead = config.dead_stream().map(|(name, c)| broker.stream(&name, &c, Vec::new()));
    let (resent, seen) = ((streams.clone(), dead), ownership.clone());
    let asked = config.topic.iter().filter(|(_, topic)| topic.recheck_before_resend).map(|(name, _)| name.clone());
    let checkers = (Arc::clone(&rules), asked.collect());
    let recovery = Recovery::new(
        config.recovery.clone(),
        Arc::clone(&store),
        resent,
        checkers,
        seen,
        (alarms.clone(), tracer.clone()),
    );
    running.spawn(recovery.run(stop.clone()));
    if config.notifies(name) {
        let seen = (ownership.clone(), alarms.clone());
        start_notifier(config, (&store, &streams), (&rules, seen), (stop.clone(), grace), running).await?;
    }
    if let Some(shown) = shown {
        shown.attach(admin::Parts {
            connected,
            versions: schema::SERVED,
            rules: shared,
            file_bytes_max: config.rules.file_bytes_max,
            streams: streams.clone(),
            configured: config.durables().into_keys().collect(),
            terms: config.notifies(name).then(|| config.notify.terms()).transpose().map_err(anyhow::Error::msg)?,
            endpoints: config.endpoint.keys().cloned().collect(),
        });
    }
    let keeps = config.upkeep.keeps();
    let parts = Parts {
        store,
        broker,
        replies,
        streams,
        topics,
        doorbell,
        ownership,
        progress,
        alarms,
        keeps,
        tracer: tracer.clone(),
    };
    let relay = Relay::new(config.relay.clone(), parts);
    running.spawn(upkeep.run(stop.clone()));
    running.spawn(deployments.run(stop.clone()));
    running.spawn(checkback.run(stop.clone()));
    running.spawn(async move {
        // Shards are given back after the last mark.
        let drained = CancellationToken::new();
        let beats = tokio::spawn(shards.run(drained.clone()));
        relay.run(stop, grace).await;
        drained.cancel();
        if tokio::time::timeout(LEAVE_LIMIT, beats).await.is_err() {
            tracing::info!("could not sign off in time: the shards are free when the lease has run out");
        }
    });
    Ok(())
}

/// The loops that tell outside parties.
async fn start_notifier(
    config: &Config,
    (store, streams): (&Arc<Store>, &[Stream]),
    (rules, (ownership, alarms)): (&Arc<Rules>, (watch::Receiver<Ownership>, Alarms)),
    (stop, grace): (CancellationToken, Duration),
    running: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let wanted: Vec<_> = config.endpoint.iter().map(|(name, endpoint)| endpoint.described(name)).collect();
    for known in until_it_answers(store.scope().source(), async || store.sync_endpoints(&wanted).await).await? {
        let Contested { name, origin, state } = known;
        tracing::warn!(endpoint = name, origin, state, "an endpoint's section is ignored: its name is taken");
    }
    let name = config.fed().unwrap_or_default();
    let stream = streams.iter().find(|s| s.name == name);
    let stream = stream.with_context(|| format!("notify.stream names a stream that is not configured: {name}"))?;
    let feed = Feed::new(stream.clone(), notify::CONSUMER);
    let outside = Arc::new(config.notify.outside().map_err(|e| anyhow::anyhow!(e))?);
    let (settings, recorded) = (Arc::new(config.notify.clone()), Arc::new(Notify::new()));
    let told = (Arc::clone(store), feed);
    let configured = config.endpoint.clone();
    let record =
        Record::new(&settings, configured, told, Arc::clone(&outside), ownership.clone(), Arc::clone(&recorded));
    running.spawn(record.run(stop.clone()));
    let payload_bytes_max = config.rules.payload_bytes_max;
    let desk = Arc::new(notify::Desk { outside, rules: Arc::clone(rules), payload_bytes_max });
    let parts = notify::Parts { store: Arc::clone(store), desk, ownership, recorded, alarms };
    running.spawn(Deliver::new(settings, config.endpoint.clone(), parts).run(stop, grace));
    Ok(())
}

/// Where it is recorded what consumers did.
fn keeper(config: &Config, store: &Arc<Store>, broker: &Broker) -> Keeper {
    match config.inbox.store {
        inbox::Store::Table => Keeper::Table(Arc::clone(store)),
        inbox::Store::Kv => {
            let records = broker.records(&config.inbox.kv, config.inbox.keep_hours);
            Keeper::Bucket(Arc::new(records), Arc::new(inbox::policies(&config.consumer)))
        }
    }
}

/// The engine for plugins, with this very program as its compiler.
pub fn rules(config: &Config) -> anyhow::Result<Rules> {
    let program = std::env::current_exe().context("this program's own file")?;
    Ok(Rules::new((&config.rules, config.metrics.labels_max), &config.binding, &config.nats, program)?)
}

/// Refuses a schema that cannot be served; says what differs otherwise.
async fn serve_schema(store: &Store) -> Result<(), Error> {
    let difference = schema::check(store.target()).await?;
    let fatal = difference.fatal();
    if !fatal.is_empty() {
        return Err(Error::Fatal(format!(
            "the avouch schema lacks: {}; run `avouch schema install`, and `avouch schema check` for all of it",
            fatal.join("; ")
        )));
    }
    if !difference.is_none() {
        tracing::warn!("the avouch schema differs from a fresh install: run `avouch schema check`");
    }
    Ok(())
}

/// Tries again while the database cannot be reached.
async fn until_it_answers<T>(source: &str, mut work: impl AsyncFnMut() -> Result<T, Error>) -> anyhow::Result<T> {
    let mut told = false;
    loop {
        match work().await {
            Ok(value) => return Ok(value),
            Err(Error::Fatal(text)) => bail!(text),
            Err(Error::Refused(refusal)) => bail!(refusal),
            Err(Error::Retry(why)) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(source, why, "the database does not answer; trying again");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// This process's name: the configured one, or host name and process id.
pub fn instance_name(config: &Config) -> String {
    if let Some(name) = &config.instance_name {
        return name.clone();
    }
    let host = nix::unistd::gethostname().ok().and_then(|h| h.into_string().ok()).unwrap_or_else(|| "host".into());
    format!("{host}/{}", std::process::id())
}
