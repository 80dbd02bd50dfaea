//! What is said to Chromium, and what it says: commands with their answers, and events for whoever watches the session.
//!
//! JSON over a pair of pipes, a zero byte behind each message. It stays JSON here: types are made for one version of the protocol,
//! and an event of another version that does not fit them would be lost, an error of a page among them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How many commands may wait to be written.
const COMMANDS_MAX: usize = 64;
/// Longer than any command takes on a busy machine. A page that hangs in a script answers nothing.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Told of the events of a session, in their order: its id, the method, the parameters.
pub type Watcher = Arc<dyn Fn(&Cdp, &str, &str, &Value) + Send + Sync>;

/// A connection to Chromium. Clones share it.
#[derive(Clone)]
pub struct Cdp {
    commands: mpsc::Sender<Vec<u8>>,
    last_id: Arc<AtomicU64>,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    is_over: bool,
    calls: HashMap<u64, oneshot::Sender<Value>>,
    watchers: HashMap<String, Watcher>,
}

impl fmt::Debug for Cdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cdp").finish_non_exhaustive()
    }
}

impl Cdp {
    /// Over these pipes, served by the runtime of the caller.
    pub fn over(answers: Receiver, commands: Sender) -> Cdp {
        let (sender, queue) = mpsc::channel(COMMANDS_MAX);
        let cdp = Cdp { commands: sender, last_id: Arc::default(), open: Arc::default() };
        tokio::spawn(write(commands, queue));
        tokio::spawn(cdp.clone().read(answers));
        cdp
    }

    /// Sends a command, to the browser or to a session, and waits for its result. An error says which command, and why.
    pub async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value, String> {
        let answer = timeout(ANSWER_MAX, self.answer(session, method, params)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {ANSWER_MAX:?}")));
        answer.map_err(|why| format!("{method}: {why}"))
    }

    /// From now on, what happens in this session is told to this watcher.
    pub fn watch(&self, session: &str, watcher: Watcher) {
        self.open().watchers.insert(session.to_owned(), watcher);
    }

    /// The session is watched no more.
    pub fn forget(&self, session: &str) {
        self.open().watchers.remove(session);
    }

    async fn answer(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value, String> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let waiting = Waiting { id, open: &self.open };
        let answer = waiting.begin()?;
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        let gone = || "Chromium has ended".to_owned();
        self.commands.send(bytes).await.map_err(|_| gone())?;
        let mut answer = answer.await.map_err(|_| gone())?;
        match answer.get("error") {
            Some(error) => Err(format!("{} {}", text(&error["message"]), text(&error["data"])).trim_end().to_owned()),
            None => Ok(answer["result"].take()),
        }
    }

    async fn read(self, answers: Receiver) {
        let (mut answers, mut bytes) = (BufReader::new(answers), Vec::new());
        while matches!(answers.read_until(0, &mut bytes).await, Ok(1..)) {
            if bytes.pop_if(|last| *last == 0).is_some() {
                match serde_json::from_slice(&bytes) {
                    Ok(message) => self.take(message),
                    Err(error) => eprintln!("Chromium said what is no JSON ({error})"),
                }
            }
            bytes.clear();
        }
        // Whoever waits learns it by the end of its channel.
        let mut open = self.open();
        *open = Open { is_over: true, ..Open::default() };
    }

    fn take(&self, message: Value) {
        if let Some(id) = message["id"].as_u64() {
            let call = self.open().calls.remove(&id);
            // Whoever asked may have given up.
            call.map(|call| call.send(message).ok());
            return;
        }
        let (session, method) = (text(&message["sessionId"]), text(&message["method"]));
        // Not called under the lock: it may watch further sessions.
        let watcher = self.open().watchers.get(session).cloned();
        if let Some(watcher) = watcher {
            watcher(self, session, method, &message["params"]);
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call whose answer is waited for; forgotten when nobody does any more.
struct Waiting<'a> {
    id: u64,
    open: &'a Mutex<Open>,
}

impl Waiting<'_> {
    fn begin(&self) -> Result<oneshot::Receiver<Value>, String> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_over {
            return Err("Chromium has ended".to_owned());
        }
        let (sender, receiver) = oneshot::channel();
        open.calls.insert(self.id, sender);
        Ok(receiver)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).calls.remove(&self.id);
    }
}

async fn write(mut pipe: Sender, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(command) = queue.recv().await {
        if pipe.write_all(&command).await.is_err() {
            return;
        }
    }
}

/// A string of a message, or nothing.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
