//! Check-back: transactions whose producer has not decided in time are judged by the plugin that they name.
//!
//! One task owns the books. Claims, calls and settling run beside it and come back as *done*; a slow checker holds up
//! nobody but itself, and a transaction is only ever settled while it is still undecided.

mod ask;
mod breaker;
mod decide;
mod settings;
mod settle;

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::ask::{message, report, transaction};
use self::breaker::Breakers;
use self::decide::{Facts, Move, decide};
pub use self::settings::{CheckerConfig, Config, OnExhausted};
use self::settle::{Settled, settle};
use crate::alarm::{Alarms, Event, Kind};
use crate::killpoint::{self, Point};
use crate::lifecycle::Backoff;
use crate::rules::{Answer, Fault, Message, Rules};
use crate::store::{Claim, Doubt, Due, Error, Held, LogLine, Store};
use crate::trace::{Tracer, trace_id};

/// Answers wait this long for others, so that they are settled by one statement.
const GATHER: Duration = Duration::from_millis(5);
/// The first wait after trouble with the database, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Lines of plugins' logs that are kept with one batch of answers; what is beyond is in the runtime's log alone.
const LOG_LINES_MAX: usize = 256;
/// Transactions in doubt that are told with one look.
const DOUBTS_MAX: i64 = 100;
/// How often a checker that has nothing due is looked at again at the soonest.
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// The loop. See the module's documentation.
pub struct Checkback {
    config: Config,
    checkers: BTreeMap<String, CheckerConfig>,
    store: Arc<Store>,
    rules: Arc<Rules>,
    sizes: (usize, usize),
    work: JoinSet<Done>,
    /// Transactions in memory, by checker.
    busy: HashMap<String, usize>,
    breakers: Breakers,
    looking: bool,
    look_at: Instant,
    doubts_at: Instant,
    /// With the look under way, it is told which checkers are broken.
    tells: bool,
    settling: bool,
    answers: Vec<(Claim, Move)>,
    /// What plugins said, kept with the next answers that are settled.
    log: Vec<LogLine>,
    answered_at: Option<Instant>,
    backoff: Backoff,
    trouble: bool,
    random: RandomState,
    alarms: Alarms,
    tracer: Tracer,
}

/// Who has something to do, what was claimed of it, and the messages that it holds.
struct Look {
    due: Vec<Due>,
    claims: Vec<Claim>,
    held: Vec<Held>,
    /// Those that a person must decide, and was not told of.
    doubts: Vec<Doubt>,
}

enum Done {
    Looked(Result<Look, Error>),
    /// Without an answer, its breaker opened before its turn.
    Answered(Box<(Claim, Option<String>, Option<Answer>)>),
    Settled(Settled),
}

impl Checkback {
    /// A loop that asks `rules` about the transactions of `store`. `sizes`: messages of a transaction that a checker sees, and
    /// bytes of a payload.
    pub fn new(
        config: Config,
        checkers: BTreeMap<String, CheckerConfig>,
        store: Arc<Store>,
        rules: Arc<Rules>,
        sizes: (usize, usize),
        (alarms, tracer): (Alarms, Tracer),
    ) -> Self {
        let ms = Duration::from_millis;
        let breakers = Breakers::new(ms(config.broken_first_ms), ms(config.broken_max_ms));
        Self {
            config,
            checkers,
            store,
            rules,
            sizes,
            work: JoinSet::new(),
            busy: HashMap::new(),
            breakers,
            looking: false,
            look_at: Instant::now(),
            doubts_at: Instant::now(),
            tells: false,
            settling: false,
            answers: Vec::new(),
            log: Vec::new(),
            answered_at: None,
            backoff: Backoff::new(RETRY.0, RETRY.1),
            trouble: false,
            random: RandomState::new(),
            alarms,
            tracer,
        }
    }

    /// Runs until `stop`, then settles what was answered. What is still being judged is claimed again by whoever is next.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.step(&stop).await;
        }
        while self.settling || (!self.answers.is_empty() && !self.trouble) {
            self.start_settling(true);
            match self.work.join_next().await {
                Some(Ok(done)) => self.take(done),
                _ => break,
            }
        }
    }

    /// Starts what can be started, then takes whatever comes first.
    async fn step(&mut self, stop: &CancellationToken) {
        let now = Instant::now();
        self.start_settling(self.answered_at.is_some_and(|at| now >= at + GATHER));
        self.start_looking(now);
        let mut wake_at = now + Duration::from_secs(1);
        if !self.looking {
            wake_at = wake_at.min(self.look_at);
        }
        if let Some(at) = self.answered_at.filter(|_| !self.settling) {
            wake_at = wake_at.min(at + GATHER);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = self.work.join_next() => match ended {
                Ok(done) => self.take(done),
                Err(e) => tracing::error!(error = %e, "a task of check-back broke: its transactions are claimed again later"),
            },
            () = tokio::time::sleep_until(wake_at.max(now + Duration::from_micros(200)).into()) => {}
        }
    }

    fn take(&mut self, done: Done) {
        match done {
            Done::Looked(result) => self.looked(result),
            Done::Answered(answered) => {
                let (claim, trace, answer) = *answered;
                self.answered(claim, trace, answer);
            }
            Done::Settled(settled) => self.settled(settled),
        }
    }

    /// Claims what is due, as far as there is room for it: fair, because each checker has its own.
    fn start_looking(&mut self, now: Instant) {
        let in_memory: usize = self.busy.values().sum();
        if self.looking
            || now < self.look_at
            || in_memory >= self.config.rows_max
            || self.trouble && !self.answers.is_empty()
        {
            return;
        }
        self.looking = true;
        let room = self.config.rows_max - in_memory;
        let rooms: HashMap<String, usize> = self.busy.iter().map(|(n, busy)| (n.clone(), *busy)).collect();
        let open = self.breakers.rooms(now);
        let (store, config, sizes) = (Arc::clone(&self.store), self.config.clone(), self.sizes);
        let is_time = now >= self.doubts_at;
        self.tells |= is_time;
        if is_time {
            self.doubts_at = now + Duration::from_millis(self.config.poll_max_ms);
        }
        self.work.spawn(async move {
            let work = async {
                let doubts = if is_time { store.untold(DOUBTS_MAX).await? } else { Vec::new() };
                let due = store.due_checkers().await?;
                let now: Vec<&Due> = due.iter().filter(|d| d.due_in_ms == 0).collect();
                let share = (room / now.len().max(1)).max(1);
                let ask = |d: &&Due| {
                    let busy = rooms.get(&d.checker).copied().unwrap_or(0);
                    let own = config.checker_rows_max.saturating_sub(busy);
                    // A breaker that lets one try lets no second one beside it.
                    let tries = open.get(&d.checker).copied().unwrap_or(usize::MAX).saturating_sub(busy);
                    (d.checker.clone(), own.min(share).min(tries))
                };
                let asks: Vec<(String, usize)> = now.iter().map(ask).filter(|(_, rows)| *rows > 0).collect();
                if asks.is_empty() {
                    return Ok(Look { due, claims: Vec::new(), held: Vec::new(), doubts });
                }
                let claims = store.claim_checks(&asks, config.claim_ms).await?;
                let ids: Vec<Uuid> = claims.iter().filter(|c| c.messages > 0).map(|c| c.id).collect();
                let held =
                    if ids.is_empty() { Vec::new() } else { store.held_messages(&ids, sizes.0, sizes.1).await? };
                Ok(Look { due, claims, held, doubts })
            };
            Done::Looked(work.await)
        });
    }

    fn looked(&mut self, result: Result<Look, Error>) {
        self.looking = false;
        let now = Instant::now();
        let Some(Look { due, claims, held, doubts }) = self.database(result) else {
            self.look_at = now + self.backoff.failed();
            return;
        };
        if std::mem::take(&mut self.tells) {
            self.tell_broken(&due);
        }
        for doubt in doubts {
            self.alarms.raise(&Event {
                kind: Kind::InDoubt,
                subject: &doubt.checker,
                id: doubt.id.to_string(),
                reference: doubt.reference.as_deref(),
                trace_id: None,
                why: &doubt.reason,
            });
        }
        let poll_max = Duration::from_millis(self.config.poll_max_ms);
        let next_ms = due.iter().map(|d| d.due_in_ms).filter(|ms| *ms > 0).min();
        let next = next_ms.map_or(poll_max, Duration::from_millis).clamp(PAUSE_MIN, poll_max);
        self.look_at = now + if claims.is_empty() { next } else { PAUSE_MIN };
        let mut messages: HashMap<Uuid, Vec<Message>> = HashMap::new();
        for row in held {
            messages.entry(row.tx_id).or_default().push(message(row));
        }
        for claim in claims {
            *self.busy.entry(claim.checker.clone()).or_default() += 1;
            let held = messages.remove(&claim.id).unwrap_or_default();
            let carriers = held.iter().map(|message| &message.headers);
            let span = self.tracer.span_of_all("avouch check-back", carriers, SystemTime::now());
            let (tracer, trace) = (self.tracer.clone(), held.iter().find_map(|m| trace_id(&m.headers)));
            let tx = transaction(&claim, held);
            let (rules, off) = (Arc::clone(&self.rules), self.breakers.off(&claim.checker));
            self.work.spawn(async move {
                let answer = rules.check_unless(&tx, &off).await;
                if let (Some(span), Some(answer)) = (span, &answer) {
                    let (digest, fault) = (answer.digest.as_deref(), answer.verdict.as_ref().err());
                    let why = fault.map(|fault| (fault.class(), fault.to_string()));
                    tracer.end(span.judged((claim.id, &claim.checker), digest, answer.said(), why));
                }
                Done::Answered(Box::new((claim, trace, answer)))
            });
        }
    }

    fn answered(&mut self, mut claim: Claim, trace_id: Option<String>, answer: Option<Answer>) {
        let now = Instant::now();
        let verdict = match answer {
            Some(answer) => {
                claim.checked_by = answer.digest.as_deref().map(Into::into);
                let lines = report(&claim, trace_id.as_deref(), &answer);
                self.log.extend(lines.into_iter().take(LOG_LINES_MAX.saturating_sub(self.log.len())));
                self.count(&claim.checker, answer.said());
                let opened = self.breakers.answered(&claim.checker, &answer.verdict, now);
                if let (Err(fault), Some(wait)) = (&answer.verdict, opened) {
                    self.alarms.raise(&Event {
                        kind: Kind::CheckerBroken,
                        subject: &claim.checker,
                        id: claim.id.to_string(),
                        reference: claim.reference.as_deref(),
                        trace_id,
                        why: &format!("{fault}; asked again in {} ms", wait.as_millis()),
                    });
                }
                answer.verdict
            }
            None => Err(Fault::Broken("not asked: the calls before failed".into())),
        };
        let facts = Facts {
            age_ms: claim.age_ms,
            checking_ms: claim.checking_ms,
            checks: claim.checks,
            unknowns: claim.unknowns,
        };
        let usual = CheckerConfig::default();
        let checker = self.checkers.get(&claim.checker).unwrap_or(&usual);
        let moved = decide(verdict, facts, &self.config, checker);
        self.answered_at.get_or_insert(now);
        self.answers.push((claim, moved));
        killpoint::reached(Point::Decided);
    }

    fn count(&self, checker: &str, said: &'static str) {
        let scope = self.store.scope();
        let checker = scope.checker(checker);
        scope.counter("avouch_verdicts_total", &[("checker", &checker), ("verdict", said)]).increment(1);
    }

    /// A checker is broken as long as transactions wait for it in vain.
    fn tell_broken(&self, due: &[Due]) {
        let scope = self.store.scope();
        let mut broken: BTreeMap<String, bool> = BTreeMap::new();
        for (checker, is_open) in self.breakers.each() {
            *broken.entry(scope.checker(checker)).or_default() |= is_open && due.iter().any(|d| d.checker == checker);
        }
        for (checker, is_broken) in broken {
            scope.gauge("avouch_checker_broken", &[("checker", &checker)]).set(f64::from(u8::from(is_broken)));
        }
    }

    /// Writes down what was answered, one statement for each kind.
    fn start_settling(&mut self, is_time: bool) {
        // A full batch does not wait, unless the database just refused it.
        let is_full = self.answers.len() >= self.config.settle_rows_max && !self.trouble;
        if self.settling || self.answers.is_empty() || !(is_time || is_full) {
            return;
        }
        self.settling = true;
        let rest = self.answers.split_off(self.answers.len().min(self.config.settle_rows_max));
        let batch = std::mem::replace(&mut self.answers, rest);
        self.answered_at = (!self.answers.is_empty()).then(Instant::now);
        for (claim, _) in &batch {
            if let Some(busy) = self.busy.get_mut(&claim.checker) {
                *busy = busy.saturating_sub(1);
            }
        }
        self.busy.retain(|_, busy| *busy > 0);
        // There is room again for what was due and had none.
        self.look_at = self.look_at.min(Instant::now());
        let (store, random, log) = (Arc::clone(&self.store), self.random.clone(), std::mem::take(&mut self.log));
        self.work.spawn(async move { Done::Settled(settle(&store, batch, &log, &random).await) });
    }

    fn settled(&mut self, settled: Settled) {
        self.settling = false;
        if self.database(settled.result).is_none() {
            for (claim, _) in &settled.left {
                *self.busy.entry(claim.checker.clone()).or_default() += 1;
            }
            self.answers.splice(0..0, settled.left);
            self.answered_at = Some(Instant::now() + self.backoff.failed());
        }
    }

    /// A result of the database; trouble with it is logged when it begins and ends.
    fn database<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                self.backoff.succeeded();
                self.trouble = false;
                Some(value)
            }
            Err(e) => {
                if !std::mem::replace(&mut self.trouble, true) {
                    tracing::warn!(error = %e, "check-back has trouble with the database; trying again");
                }
                None
            }
        }
    }
}
