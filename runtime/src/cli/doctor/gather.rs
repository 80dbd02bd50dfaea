//! Asks the databases, the broker and the plugins, each within its time, and hands what they say to the judges.

use std::time::Duration;

use super::broker::Stream;
use super::clock::{self, Clock, now_ms};
use super::durables::Durable;
use super::finding::{Area, Finding};
use super::plugins::{Binding, Deployed, Facts as PluginFacts, Loads, Rule};
use super::settings::resent_ms;
use super::{books, broker, database, endpoints, plugins};
use crate::app;
use crate::broker::permissions::Uses;
use crate::broker::survey::{Found, Survey as BrokerSurvey};
use crate::config::Config;
use crate::doorbell::{self, Mode};
use crate::inbox;
use crate::meters::Scope;
use crate::notify;
use crate::rules::{self, File, Grants, Rules};
use crate::schema;
use crate::secret::Secret;
use crate::store::connect::{Target, Tls};
use crate::store::survey::{Answer, Books, Survey, Unanswered};
use crate::store::{self, Deployment, Error, Plans, Store};

/// What the databases say that others are compared with.
type Read = (Vec<Finding>, Option<Books>);

/// One database.
pub async fn source(config: &Config, name: &str, limit: Duration) -> Read {
    let whole = format!("source {name}");
    let (findings, books) = match config.source.get(name).map(|source| target(&source.url, &source.tls, limit)) {
        None => return (Vec::new(), None),
        Some(Err(e)) => (vec![unreachable(&e.to_string())], None),
        Some(Ok(target)) => match Survey::open(&target, limit).await {
            Err(e) => (vec![unreachable(&e.to_string())], None),
            Ok(survey) => ask(config, name, (&target, &survey), limit).await,
        },
    };
    (findings.into_iter().map(|f| f.within(&whole)).collect(), books)
}

fn target(url: &Secret, tls: &Tls, limit: Duration) -> Result<Target, Error> {
    Target::new(url, tls, "avouch doctor", limit)
}

fn unreachable(why: &str) -> Finding {
    let remedy = "correct the url, the network or pg_hba.conf, or start the server";
    Area::Postgres.problem("unreachable", "", &format!("Postgres cannot be used: {why}"), remedy)
}

async fn ask(config: &Config, name: &str, (target, survey): (&Target, &Survey), limit: Duration) -> Read {
    let older_than = Duration::from_secs(database::snapshot_max_s(config));
    let installed = match survey.refused {
        None => within(limit, schema::check(target)).await,
        Some(_) => within(limit, schema::check_anywhere(target)).await,
    };
    // Who may not look at the schema may not look at what is in it either, and is told so question by question.
    let is_installed = installed.as_ref().err().is_none_or(is_denied);
    let facts = database::Facts {
        server: survey.server().await,
        commits: survey.commits().await,
        roles: if is_installed { survey.roles().await } else { Err(not_installed()) },
        tables: if is_installed { survey.tables().await } else { Err(not_installed()) },
        pins: if is_installed { survey.pins(older_than).await } else { Err(not_installed()) },
        prepared: survey.prepared().await,
        slots: survey.slots().await,
        age: survey.age().await,
    };
    let mut findings = database::judge(config, name, &facts);
    findings.retain(|f| is_installed || !f.meaning.contains(NOT_INSTALLED));
    findings.extend(clock_of(survey).await.map(|clock| clock::judge(Area::Postgres, clock)));
    findings.push(match &installed {
        Ok(difference) => books::schema(difference),
        Err(e) if is_denied(e) => {
            let why = Unanswered { why: e.to_string(), is_denied: true };
            Area::Postgres.unknown("schema", "schema avouch", &why)
        }
        Err(e) => Area::Postgres.problem("schema", "schema avouch", &e.to_string(), "avouch schema install"),
    });
    match &survey.refused {
        None => findings.push(pooler(config, target, limit).await),
        Some(_) if facts.server.as_ref().is_ok_and(|s| s.is_replica || s.is_read_only) => {}
        Some(why) => findings.push(unreachable(why)),
    }
    let books = if is_installed { survey.books().await } else { Err(not_installed()) };
    match books {
        Ok(books) => {
            findings.extend(books::judge(config, &books));
            findings.extend(endpoints::judge(config, &books));
            (findings, Some(books))
        }
        Err(why) if is_installed => {
            findings.push(Area::Postgres.unknown("books", "tables of avouch", &why));
            (findings, None)
        }
        Err(_) => (findings, None),
    }
}

/// Its text ends with Postgres's code.
fn is_denied(e: &Error) -> bool {
    e.to_string().contains("(42501")
}

/// What consists of several questions.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::Retry(format!("no answer within {} ms", limit.as_millis() * 2));
    tokio::time::timeout(limit * 2, work).await.map_err(late)?
}

/// How long a notification is waited for, beside the connections.
const PROBE: Duration = Duration::from_secs(3);
/// Told once, by the check of the schema.
const NOT_INSTALLED: &str = "the schema is not installed";

fn not_installed() -> Unanswered {
    Unanswered { why: NOT_INSTALLED.into(), is_denied: false }
}

async fn clock_of(survey: &Survey) -> Option<Clock> {
    let before = now_ms();
    let server = survey.now_ms().await.ok()?;
    Some(Clock::seen(before, server, now_ms()))
}

async fn pooler(config: &Config, target: &Target, limit: Duration) -> Finding {
    if config.doorbell.mode == Mode::Off {
        let meaning = "doorbell.mode = \"off\": the runtime polls, so each message waits for up to relay.poll_max_ms";
        return Area::Postgres.note(
            "doorbell",
            "doorbell",
            meaning,
            "switch it on where the database has a direct address",
        );
    }
    match within(limit + PROBE, doorbell::probe(target)).await {
        Ok(()) => Area::Postgres.fine("doorbell", "doorbell", "notifications arrive: the connection is direct"),
        Err(e) => {
            let remedy = "give the database's direct address as url, or [doorbell] mode = \"off\" to poll instead";
            Area::Postgres.problem("doorbell", "doorbell", &e.to_string(), remedy)
        }
    }
}

// ── NATS ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// The broker, compared with these databases.
pub async fn nats(config: &Config, books: &[Books], limit: Duration) -> Vec<Finding> {
    let mut survey = match BrokerSurvey::open(&config.nats, limit).await {
        Ok(survey) => survey,
        Err(e) => {
            let meaning = format!("NATS cannot be used: {e}");
            let remedy = "correct [nats], or start the server: until then messages wait in the outbox";
            return vec![Area::Nats.problem("unreachable", "nats", &meaning, remedy)];
        }
    };
    let uses = uses(config, &survey);
    let denied = match survey.denied(uses.needs()).await {
        Ok(denied) => denied,
        Err(e) => {
            let meaning = format!("what the login may do could not be tried: {e}");
            return vec![Area::Nats.problem(
                "unreachable",
                "nats",
                &meaning,
                "see to the server, and run avouch doctor again",
            )];
        }
    };
    let mut facts = broker::Facts {
        server: survey.server(),
        denied,
        account: Found::Missing,
        streams: Vec::new(),
        events: None,
        bucket: None,
        dead: None,
    };
    let mut clock = None;
    if facts.server.has_jetstream {
        facts.account = survey.account().await;
        if let Some((bucket, _)) = &uses.bucket {
            facts.bucket = Some(survey.stream(&format!("KV_{bucket}")).await);
        }
        if let Some((name, wanted)) = config.dead_stream() {
            facts.dead = Some(stream(config, &survey, (&name, &wanted), &[]).await);
        }
        for (name, wanted, consumers) in &uses.streams {
            let before = now_ms();
            let stream = stream(config, &survey, (name, wanted), consumers).await;
            clock = clock.or(server_time(&stream).map(|server| Clock::seen(before, server, now_ms())));
            facts.streams.push(stream);
        }
        if let Some(name) = uses.events {
            let found = survey.stream(&name).await;
            facts.events = Some((name, found));
        }
    }
    let mut findings = broker::judge(config, &facts, books);
    findings.extend(clock.map(|clock| clock::judge(Area::Nats, clock)));
    findings
}

fn uses(config: &Config, survey: &BrokerSurvey) -> Uses {
    let with_consumers = |(name, stream): (String, _)| {
        let consumers = config.consumers_of(&name);
        (name, stream, consumers)
    };
    let keeps_in_bucket =
        config.control.enabled && !config.consumer.is_empty() && config.inbox.store == inbox::Store::Kv;
    Uses {
        api: survey.api().to_owned(),
        streams: config.streams().into_iter().map(with_consumers).collect(),
        fed: config.fed().map(|stream| (stream, notify::CONSUMER.to_owned())),
        events: (!config.durables().is_empty()).then(|| config.receipts.events_stream.clone()),
        bucket: keeps_in_bucket.then(|| (config.inbox.kv.bucket.clone(), config.inbox.kv.manage)),
        dead: config.dead_stream().map(|(name, stream)| (name, stream.subject_prefix)),
        control: config.control.enabled.then(|| config.control.subject_prefix.clone()),
        inbox: survey.inbox().to_owned(),
    }
}

async fn stream(
    config: &Config,
    survey: &BrokerSurvey,
    (name, wanted): (&str, &crate::broker::streams::Config),
    consumers: &[String],
) -> Stream {
    let found = survey.stream(name).await;
    let subject = format!("{}.>", wanted.subject_prefix);
    let is_odd = match &found {
        Found::There(there) => !there.config.takes(&subject),
        Found::Missing => true,
        Found::Denied | Found::Unknown(_) => false,
    };
    let takers = if is_odd { survey.takers(&subject).await } else { Found::Missing };
    let mut durables = Vec::new();
    for (consumer, wanted) in config.durables().into_iter().filter(|(c, _)| consumers.contains(c)) {
        let resent_ms = config.consumer.get(&consumer).map_or(0, resent_ms);
        let found =
            if matches!(found, Found::There(_)) { survey.durable(name, &consumer).await } else { Found::Missing };
        durables.push(Durable { wanted: wanted.durable, resent_ms, found });
    }
    Stream { name: name.to_owned(), wanted: wanted.clone(), durables, found, takers }
}

fn server_time(stream: &Stream) -> Option<i64> {
    match &stream.found {
        Found::There(there) => i64::try_from(there.now?.unix_timestamp_nanos() / 1_000_000).ok(),
        Found::Missing | Found::Denied | Found::Unknown(_) => None,
    }
}

// ── Plugins ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// What is deployed in one database, with the checkers that its transactions name.
pub async fn plugins(config: &Config, name: &str, books: &Books, limit: Duration) -> Vec<Finding> {
    let whole = format!("source {name}");
    let told = |why: &str| {
        let remedy = "see to what it says, and run avouch doctor again";
        vec![Area::Plugins.warning(
            "plugins",
            &whole,
            &format!("deployed plugins could not be looked at: {why}"),
            remedy,
        )]
    };
    let Some(source) = config.source.get(name) else { return Vec::new() };
    let rules = match app::rules(config) {
        Ok(rules) => rules,
        Err(e) => return told(&e.to_string()),
    };
    let (store, deployments) = match within(limit, deployments(source, app::scope(config, name), limit)).await {
        Ok(asked) => asked,
        Err(e) => return told(&e.to_string()),
    };
    let shapers = endpoints::shapers(config, name, books);
    let mut facts = PluginFacts { deployed: Vec::new(), checkers: books.checkers.clone(), shapers };
    for deployment in deployments {
        facts.deployed.extend(deployed(config, (&store, &rules), deployment, limit).await);
    }
    plugins::judge(config, &facts).into_iter().map(|f| f.within(&whole)).collect()
}

async fn deployments(source: &store::Config, scope: Scope, limit: Duration) -> Result<(Store, Vec<Deployment>), Error> {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    let source = store::Config { connect_timeout_ms: limit_ms, statement_timeout_ms: limit_ms, ..source.clone() };
    // It may be a pooler's session.
    let store = Store::new(&source, scope, "avouch doctor", Plans::Free)?;
    let deployments = store.deployments().await?;
    Ok((store, deployments))
}

/// None: nobody answers to this name any more.
async fn deployed(
    config: &Config,
    (store, rules): (&Store, &Rules),
    deployment: Deployment,
    limit: Duration,
) -> Option<Deployed> {
    let (name, digest) = (deployment.name, deployment.digest?);
    let refused = |loads| Deployed { name: name.clone(), loads, ..Deployed::default() };
    let grants: Grants = match serde_json::from_str(&deployment.grants) {
        Ok(grants) => grants,
        Err(e) => return Some(refused(Loads::Refused(format!("its grants cannot be read: {e}")))),
    };
    let bytes = match store.plugin_file(&name, &digest).await {
        Ok(bytes) => bytes,
        Err(e) => return Some(refused(Loads::Refused(format!("its file cannot be read: {e}")))),
    };
    let file = match File::read(bytes, config.rules.file_bytes_max) {
        Ok(file) if file.digest == digest && file.manifest.name == name => file,
        Ok(_) => return Some(refused(Loads::Refused("its file is not what was deployed: it was altered".into()))),
        Err(e) => return Some(refused(Loads::Refused(e.to_string()))),
    };
    let requests = file.manifest.requests();
    let is_complete = requests.iter().all(|g| grants.bindings.contains(g) && plugins::is_configured(config, g));
    let loads = if is_complete { loads(rules, &file, &grants, limit).await } else { Loads::NotTried };
    Some(Deployed { name, requests, granted: grants.bindings, loads })
}

async fn loads(rules: &Rules, file: &File, grants: &Grants, limit: Duration) -> Loads {
    let plugin = match rules.load(file, grants).await {
        Ok(plugin) => plugin,
        Err(e) => return Loads::Refused(e.to_string()),
    };
    let vetted = tokio::time::timeout(limit * 2, rules.vet(file)).await;
    match vetted.unwrap_or_else(|_| Err(rules::Error::Retry("its binding did not answer in time".into()))) {
        Ok(()) => {
            let has = [
                (Rule::CheckBack, plugin.answers_for_transactions()),
                (Rule::Idempotency, plugin.recognises_repeated_work()),
                (Rule::Notification, plugin.tells_outside_parties()),
            ];
            Loads::Fine(has.into_iter().filter(|(_, has)| *has).map(|(rule, _)| rule).collect())
        }
        Err(e) => Loads::StatementsRefused(e.to_string()),
    }
}

/// The roles of all databases that plugins may be granted.
pub async fn bindings(config: &Config, limit: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, binding) in &config.binding.sql {
        let role = role_of(binding, limit).await;
        findings.push(plugins::binding(&Binding { name: name.clone(), role }));
    }
    findings
}

async fn role_of(binding: &rules::sql::Config, limit: Duration) -> Answer<crate::store::survey::BindingRole> {
    let away = |e: Error| Unanswered { why: e.to_string(), is_denied: false };
    let target = target(&binding.url, &binding.tls, limit).map_err(away)?;
    Survey::open(&target, limit).await.map_err(away)?.binding_role().await
}
