//! The queues of the inbox: what many ask goes to the database together, one statement a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::judge::{Judge, Question, Reply};
use super::lane::Lane;
use super::{Config, ConsumerConfig, Endpoint, request};
use crate::alarm::Alarms;
use crate::answer::{self, Code, Fault};
use crate::broker::Request;
use crate::rules::Rules;
use crate::store::{Begin, Begun, Error, Finish, Finished, InboxClaim, Store};

/// When somebody holds the record in an open transaction.
pub const HELD_RETRY_MS: u32 = 100;
/// Judges that wait for the loop; more wait for a place.
const QUESTIONS: usize = 1_024;

/// What was asked and is not answered.
pub struct Desk {
    config: Config,
    consumers: BTreeMap<String, ConsumerConfig>,
    store: Arc<Store>,
    begins: Lane<To, Begin>,
    claims: Lane<Reply, InboxClaim>,
    finishes: Lane<Request, Finish>,
    work: JoinSet<Ended>,
    judge: Arc<Judge>,
    judging: JoinSet<()>,
    questions: mpsc::Receiver<Question>,
}

/// Who is told.
enum To {
    /// The consumer that asked.
    Asker(Request),
    /// The judge of its message.
    Judge(Reply),
}

/// Which lane's batch.
enum Ended {
    Begins,
    Claims,
    Finishes,
}

impl Desk {
    /// An empty one. Plugins of `rules` see payloads of at most so many bytes.
    pub fn new(
        config: Config,
        consumers: BTreeMap<String, ConsumerConfig>,
        store: Arc<Store>,
        (rules, payload_bytes_max): (Arc<Rules>, usize),
        alarms: Alarms,
    ) -> Self {
        let (begins, claims, finishes) = (Lane::new(), Lane::new(), Lane::new());
        let (asked, questions) = mpsc::channel(QUESTIONS);
        let judge = Arc::new(Judge::new(rules, payload_bytes_max, asked, alarms));
        let (work, judging) = (JoinSet::new(), JoinSet::new());
        Self { config, consumers, store, begins, claims, finishes, work, judge, judging, questions }
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
            },
            Some(ended) = self.judging.join_next() => if let Err(e) = ended {
                tracing::error!(error = %e, "a judge broke and its consumer was not answered: report it as a fault of avouch");
            },
        }
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Begins) => self.begins.ended(),
            Ok(Ended::Claims) => self.claims.ended(),
            Ok(Ended::Finishes) => self.finishes.ended(),
            Err(e) => {
                tracing::error!(error = %e, "a batch of the inbox broke and was not answered: report it as a fault of avouch");
                // Which one is not told: two batches side by side do no harm.
                self.begins.ended();
                self.claims.ended();
                self.finishes.ended();
            }
        }
    }

    /// Reads one and lets it wait, or refuses it.
    pub async fn take(&mut self, endpoint: Endpoint, request: Request) {
        let waiting = self.begins.len() + self.finishes.len() + self.judging.len();
        if waiting >= self.config.requests_max {
            let many = format!("{waiting} requests wait here: repeat it soon");
            return answer::send(&request, Err(Fault::new(Code::Unavailable, many))).await;
        }
        if let Err(fault) = self.read(endpoint, request) {
            answer::send(&fault.0, Err(fault.1)).await;
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
        let finish = match endpoint {
            Endpoint::Begin => match request::begin(&consumer, request.header("Avouch-Id"), &body) {
                Ok(begin) => {
                    match settings.plugin.clone() {
                        None => self.begins.push(To::Asker(request), begin),
                        Some(plugin) => {
                            let judge = Arc::clone(&self.judge);
                            self.judging.spawn(async move {
                                let answer = judge.judge(&consumer, &plugin, begin, &request).await;
                                answer::send(&request, answer).await;
                            });
                        }
                    }
                    return Ok(());
                }
                Err(fault) => Err(fault),
            },
            Endpoint::Renew => request::renew(&consumer, &body),
            Endpoint::Complete => request::complete(&consumer, &body, self.config.result_bytes_max),
            Endpoint::Fail => request::fail(&consumer, &body),
        };
        match finish {
            Ok(finish) => self.finishes.push(request, finish),
            Err(fault) => return Err(Box::new((request, fault))),
        }
        Ok(())
    }

    /// Starts the batches that can be started.
    pub fn start(&mut self) {
        if let Some(batch) = self.begins.next(self.config.batch_rows_max) {
            let store = Arc::clone(&self.store);
            self.work.spawn(async move {
                let (to, asked): (Vec<To>, Vec<Begin>) = batch.into_iter().unzip();
                let answers = each(&store, &asked).await;
                for ((to, asked), answer) in to.into_iter().zip(&asked).zip(answers) {
                    match to {
                        To::Judge(reply) => drop(reply.send(answer)),
                        To::Asker(request) => {
                            let held = || json!({ "decision": "busy", "retry_after_ms": HELD_RETRY_MS, "reason": "somebody is changing its record" });
                            let answer = answer.map(|a| a.map_or_else(held, |begun| begun_json(&asked.key, begun)));
                            answer::send(&request, answer).await;
                        }
                    }
                }
                Ended::Begins
            });
        }
        if let Some(batch) = self.claims.next(self.config.batch_rows_max) {
            let store = Arc::clone(&self.store);
            self.work.spawn(async move {
                let (replies, claims): (Vec<Reply>, Vec<InboxClaim>) = batch.into_iter().unzip();
                for (reply, answer) in replies.into_iter().zip(each(&store, &claims).await) {
                    drop(reply.send(answer));
                }
                Ended::Claims
            });
        }
        if let Some(batch) = self.finishes.next(self.config.batch_rows_max) {
            let store = Arc::clone(&self.store);
            self.work.spawn(async move {
                let (requests, said): (Vec<Request>, Vec<Finish>) = batch.into_iter().unzip();
                let answers = each(&store, &said).await;
                for (request, answer) in requests.iter().zip(answers) {
                    let held =
                        || Fault::new(Code::Unavailable, "somebody is changing its record: repeat it soon".into());
                    answer::send(request, answer.and_then(|a| a.map(finished_json).ok_or_else(held))).await;
                }
                Ended::Finishes
            });
        }
    }
}

/// What is asked of the store, many at a time.
trait Asked: Sync + Sized {
    type Answer: Send;
    /// One answer each, in order; none if somebody holds one of the records.
    fn ask(store: &Store, batch: &[&Self]) -> impl Future<Output = Result<Option<Vec<Self::Answer>>, Error>> + Send;
}

impl Asked for Begin {
    type Answer = Begun;
    async fn ask(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Begun>>, Error> {
        store.inbox_begin(batch).await
    }
}

impl Asked for InboxClaim {
    type Answer = Begun;
    async fn ask(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Begun>>, Error> {
        store.inbox_claim(batch).await
    }
}

impl Asked for Finish {
    type Answer = Finished;
    async fn ask(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Finished>>, Error> {
        store.inbox_finish(batch).await
    }
}

/// One answer each. Those of a batch in which somebody held a record are asked one by one: only its own waits.
async fn each<T: Asked>(store: &Store, batch: &[T]) -> Vec<Result<Option<T::Answer>, Fault>> {
    let all: Vec<&T> = batch.iter().collect();
    let mut answers = Vec::with_capacity(batch.len());
    match T::ask(store, &all).await {
        Ok(Some(found)) if found.len() == batch.len() => answers.extend(found.into_iter().map(|a| Ok(Some(a)))),
        Ok(_) => {
            for one in batch {
                let found = T::ask(store, &[one]).await;
                answers.push(found.map(|f| f.and_then(|mut a| a.pop())).map_err(Fault::from));
            }
        }
        Err(e) => {
            let fault = Fault::from(e);
            answers.extend(batch.iter().map(|_| Err(fault.clone())));
        }
    }
    answers
}

/// What a consumer is told.
pub fn begun_json(key: &str, begun: Begun) -> Value {
    let mut answer = Map::new();
    let Begun { decision, token, attempt, lease_ms, retry_after_ms, result, reason, seen: _ } = begun;
    answer.insert("decision".into(), decision.into());
    answer.insert("key".into(), key.into());
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            answer.insert(name.into(), value);
        }
    };
    put("token", token.map(Value::from));
    put("attempt", attempt.map(Value::from));
    put("lease_ms", lease_ms.map(Value::from));
    put("retry_after_ms", retry_after_ms.map(Value::from));
    // What came over NATS is JSON; what was written with SQL may be any text.
    put("result", result.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))));
    put("reason", reason.map(Value::from));
    Value::Object(answer)
}

fn finished_json(finished: Finished) -> Value {
    match finished.state.as_str() {
        "done" => json!({ "decision": "done" }),
        "running" => json!({ "decision": "run", "lease_ms": finished.ms }),
        "waiting" => json!({ "decision": "busy", "retry_after_ms": finished.ms }),
        "rejected" => json!({ "decision": "reject" }),
        _ => {
            json!({ "decision": "fenced", "reason": "the token is stale: another attempt has begun, or the record has ended" })
        }
    }
}
