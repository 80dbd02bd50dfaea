//! The queues of the inbox: what many ask goes to where it is recorded together, a batch at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::confirms::confirm;
use super::judge::{Judge, Question, Reply};
use super::keeper::Keeper;
use super::lane::Lane;
use super::request::Confirm;
use super::tally::{Tally, UNANSWERED, decided, finished};
use super::told::Told;
use super::{Config, ConsumerConfig, Endpoint, Receipt, request, spans};
use crate::alarm::Alarms;
use crate::answer::{self, Code, Fault};
use crate::broker::Request;
use crate::idempotency::{Begin, Claim, Finish};
use crate::rules::Rules;
use crate::store::Store;
use crate::trace::{Span, Tracer};

/// When somebody holds the record in an open transaction.
pub const HELD_RETRY_MS: u32 = 100;
/// What is told then.
pub const HELD: &str = "somebody is changing its record";
/// Judges that wait for the loop; more wait for a place.
const QUESTIONS: usize = 1_024;

/// What was asked and is not answered.
pub struct Desk {
    config: Config,
    consumers: BTreeMap<String, ConsumerConfig>,
    keeper: Keeper,
    begins: Lane<To, Begin>,
    claims: Lane<Reply, Claim>,
    finishes: Lane<(Request, Option<Span>), Finish>,
    confirms: Lane<Option<Box<Request>>, Confirm>,
    store: Arc<Store>,
    work: JoinSet<Ended>,
    judge: Arc<Judge>,
    judging: JoinSet<()>,
    questions: mpsc::Receiver<Question>,
    tracer: Tracer,
}

/// Who is told.
enum To {
    /// The consumer that asked.
    Asker(Box<Request>, Option<Span>),
    /// The judge of its message.
    Judge(Reply),
}

impl To {
    fn is_asker(&self) -> bool {
        matches!(self, Self::Asker(..))
    }
}

/// What of the work has ended: a look at where records are kept, or a lane's batch.
enum Ended {
    Opening,
    Begins,
    Claims,
    Finishes,
    Confirms,
}

impl Desk {
    /// An empty one. Plugins of `rules` see payloads of at most so many bytes.
    pub fn new(
        config: Config,
        consumers: BTreeMap<String, ConsumerConfig>,
        (keeper, store): (Keeper, Arc<Store>),
        (rules, payload_bytes_max): (Arc<Rules>, usize),
        (alarms, tracer): (Alarms, Tracer),
    ) -> Self {
        let (begins, claims, finishes) = (Lane::new(), Lane::new(), Lane::new());
        let (asked, questions) = mpsc::channel(QUESTIONS);
        let judge = Arc::new(Judge::new(rules, payload_bytes_max, asked, alarms));
        let (mut work, judging) = (JoinSet::new(), JoinSet::new());
        let opened = keeper.clone();
        work.spawn(async move {
            opened.open().await;
            Ended::Opening
        });
        let confirms = Lane::new();
        Self {
            config,
            consumers,
            keeper,
            begins,
            claims,
            finishes,
            confirms,
            store,
            work,
            judge,
            judging,
            questions,
            tracer,
        }
    }

    /// True if everything is answered.
    pub fn is_empty(&self) -> bool {
        self.work.is_empty() && self.judging.is_empty()
    }

    /// Takes what comes back first: a batch, a judge's question, or the end of a judge. Losing the future loses nothing.
    pub async fn step(&mut self) {
        tokio::select! {
            Some(ended) = self.work.join_next() => self.ended(ended),
            Some(question) = self.questions.recv() => match question {
                Question::Begin(begin, reply) => self.begins.push(To::Judge(reply), begin),
                Question::Claim(claim, reply) => self.claims.push(reply, claim),
                Question::Confirm(confirm) => self.confirms.push(None, confirm),
            },
            Some(ended) = self.judging.join_next() => if let Err(e) = ended {
                tracing::error!(error = %e, "a judge broke and its consumer was not answered: report it as a fault of avouch");
            },
        }
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Opening) => {}
            Ok(Ended::Begins) => self.begins.ended(),
            Ok(Ended::Claims) => self.claims.ended(),
            Ok(Ended::Finishes) => self.finishes.ended(),
            Ok(Ended::Confirms) => self.confirms.ended(),
            Err(e) => {
                tracing::error!(error = %e, "a batch of the inbox broke and was not answered: report it as a fault of avouch");
                // Which one is not told: two batches side by side do no harm.
                self.begins.ended();
                self.claims.ended();
                self.finishes.ended();
                self.confirms.ended();
            }
        }
    }

    /// Reads one and lets it wait, or refuses it.
    pub async fn take(&mut self, endpoint: Endpoint, request: Request) {
        let waiting = self.begins.len() + self.finishes.len() + self.confirms.len() + self.judging.len();
        if waiting >= self.config.requests_max {
            let many = format!("{waiting} requests wait here: repeat it soon");
            return answer::refuse(&request, &Fault::new(Code::Unavailable, many)).await;
        }
        if let Err(fault) = self.read(endpoint, request) {
            answer::refuse(&fault.0, &fault.1).await;
        }
    }

    fn read(&mut self, endpoint: Endpoint, request: Request) -> Result<(), Box<(Request, Fault)>> {
        let consumer = request.last_token().to_owned();
        let Some(settings) = self.consumers.get(&consumer) else {
            let none = format!(
                "there is no consumer {consumer:?}: add [consumer.{consumer}] to the configuration of avouch run"
            );
            return Err(Box::new((request, Fault::new(Code::NotFound, none))));
        };
        let body = request.payload();
        let span = spans::begin(&self.tracer, endpoint, &consumer, &request);
        let finish = match endpoint {
            Endpoint::Begin => match request::begin(&consumer, request.header("Avouch-Id"), &body) {
                Ok(begin) => {
                    match settings.plugin.clone() {
                        None => self.begins.push(To::Asker(Box::new(request), span), begin),
                        Some(plugin) => {
                            let judge = Arc::clone(&self.judge);
                            let (message, confirms) = (begin.message, settings.receipt == Receipt::Inbox);
                            let (scope, tracer) = (self.store.scope().clone(), self.tracer.clone());
                            self.judging.spawn(async move {
                                let answer = judge.judge(&consumer, &plugin, begin, &request).await;
                                let decision = answer.as_ref().map_or(UNANSWERED, |told| told.begun.decision.name());
                                let mut tally = Tally::of("avouch_inbox_decisions_total", &scope);
                                tally.add(&consumer, decision);
                                tally.count();
                                let span = span.map(|span| span.text("avouch.plugin", plugin));
                                spans::end(&tracer, span, decision, &answer);
                                if let Some(told) = answer.as_ref().ok().filter(|_| confirms) {
                                    judge.confirm(&consumer, message, told).await;
                                }
                                answer::send(&request, answer).await;
                            });
                        }
                    }
                    return Ok(());
                }
                Err(fault) => Err(fault),
            },
            Endpoint::Confirm => match request::confirm(&consumer, request.header("Avouch-Id"), &body) {
                Ok(confirm) => {
                    self.confirms.push(Some(Box::new(request)), confirm);
                    return Ok(());
                }
                Err(fault) => Err(fault),
            },
            Endpoint::Renew => request::renew(&consumer, &body),
            Endpoint::Complete => request::complete(&consumer, &body, self.config.result_bytes_max),
            Endpoint::Fail => request::fail(&consumer, &body),
        };
        match finish {
            Ok(finish) => self.finishes.push((request, span), finish),
            Err(fault) => {
                spans::refused(&self.tracer, span, &fault);
                return Err(Box::new((request, fault)));
            }
        }
        Ok(())
    }

    /// Starts the batches that can be started.
    pub fn start(&mut self) {
        if let Some(batch) = self.begins.next(self.config.batch_rows_max) {
            let (keeper, scope, tracer) = (self.keeper.clone(), self.store.scope().clone(), self.tracer.clone());
            self.work.spawn(async move {
                let (to, asked): (Vec<To>, Vec<Begin>) = batch.into_iter().unzip();
                let answers = keeper.each(&asked).await;
                let mut tally = Tally::of("avouch_inbox_decisions_total", &scope);
                // What a judge is told is not what its consumer is told in the end.
                for ((_, begin), answer) in to.iter().zip(&asked).zip(&answers).filter(|((to, _), _)| to.is_asker()) {
                    tally.add(&begin.consumer, decided(answer));
                }
                tally.count();
                for ((to, asked), answer) in to.into_iter().zip(asked).zip(answers) {
                    match to {
                        To::Judge(reply) => drop(reply.send(answer)),
                        To::Asker(request, span) => {
                            spans::end(&tracer, span, decided(&answer), &answer);
                            let held = || Told::busy(HELD_RETRY_MS, HELD);
                            let told = answer.map(|a| a.map_or_else(held, |begun| Told::of(asked.key, begun)));
                            answer::send(&request, told).await;
                        }
                    }
                }
                Ended::Begins
            });
        }
        if let Some(batch) = self.claims.next(self.config.batch_rows_max) {
            let keeper = self.keeper.clone();
            self.work.spawn(async move {
                let (replies, claims): (Vec<Reply>, Vec<Claim>) = batch.into_iter().unzip();
                for (reply, answer) in replies.into_iter().zip(keeper.each(&claims).await) {
                    drop(reply.send(answer));
                }
                Ended::Claims
            });
        }
        if let Some(batch) = self.finishes.next(self.config.batch_rows_max) {
            let (keeper, scope, tracer) = (self.keeper.clone(), self.store.scope().clone(), self.tracer.clone());
            self.work.spawn(async move {
                let (requests, said): (Vec<(Request, Option<Span>)>, Vec<Finish>) = batch.into_iter().unzip();
                let answers = keeper.each(&said).await;
                let mut tally = Tally::of("avouch_inbox_finishes_total", &scope);
                for (finish, answer) in said.iter().zip(&answers) {
                    tally.add(&finish.consumer, finished(answer));
                }
                tally.count();
                for ((request, span), answer) in requests.into_iter().zip(answers) {
                    spans::end(&tracer, span, finished(&answer), &answer);
                    let held =
                        || Fault::new(Code::Unavailable, "somebody is changing its record: repeat it soon".into());
                    answer::send(&request, answer.and_then(|a| a.ok_or_else(held))).await;
                }
                Ended::Finishes
            });
        }
        if let Some(batch) = self.confirms.next(self.config.batch_rows_max) {
            let store = Arc::clone(&self.store);
            self.work.spawn(async move {
                confirm(&store, batch).await;
                Ended::Confirms
            });
        }
    }
}
