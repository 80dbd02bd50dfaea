//! What a page said and did besides showing something: errors, violations of its content security policy, dialogs, windows, requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::cdp::{Cdp, Watcher, text};

/// What one page was seen to do since it was opened, frames and workers included.
#[derive(Debug)]
pub struct Seen {
    main_frame: String,
    all: Mutex<Sights>,
}

/// In the order in which they happened.
#[derive(Debug, Default, Clone)]
pub struct Sights {
    /// `console.error`, exceptions that nobody caught, resources that could not be loaded.
    pub errors: Vec<String>,
    /// What the content security policy has stopped, or would have if it did more than report.
    pub csp: Vec<String>,
    /// `alert`, `confirm`, `prompt`: all are dismissed.
    pub dialogs: Vec<String>,
    /// The addresses of windows that the page opened.
    pub windows: Vec<String>,
    /// The addresses of all that was asked for.
    pub requests: Vec<String>,
    /// The status of the last document.
    pub status: Option<u16>,
    sessions: Vec<String>,
}

impl Seen {
    /// Of the page with this frame.
    pub fn of(main_frame: &str) -> Seen {
        Seen { main_frame: main_frame.to_owned(), all: Mutex::default() }
    }

    /// Watches this session, and what will be attached to it.
    pub fn watch(self: &Arc<Seen>, cdp: &Cdp, session: &str) {
        self.all().sessions.push(session.to_owned());
        cdp.watch(session, self.watcher());
    }

    /// Watches nothing any more.
    pub fn end(&self, cdp: &Cdp) {
        for session in self.all().sessions.drain(..) {
            cdp.forget(&session);
        }
    }

    /// A copy of what was seen so far.
    pub fn so_far(&self) -> Sights {
        self.all().clone()
    }

    /// The next document has no status yet.
    pub fn forget_status(&self) {
        self.all().status = None;
    }

    fn watcher(self: &Arc<Seen>) -> Watcher {
        let seen = Arc::clone(self);
        Arc::new(move |cdp, session, method, params| seen.see(cdp, session, method, params))
    }

    fn see(self: &Arc<Seen>, cdp: &Cdp, session: &str, method: &str, params: &Value) {
        match method {
            "Target.attachedToTarget" => self.attached(cdp, params),
            "Page.javascriptDialogOpening" => {
                self.all().dialogs.push(format!("{}: {}", text(&params["type"]), text(&params["message"])));
                // To leave a page is what the test wants; everything else is refused.
                let leave = params["type"] == "beforeunload";
                tell(cdp, session, vec![("Page.handleJavaScriptDialog", json!({"accept": leave}))]);
            }
            "Network.responseReceived" if params["type"] == "Document" && params["frameId"] == *self.main_frame => {
                self.all().status = params["response"]["status"].as_u64().and_then(|status| status.try_into().ok());
            }
            _ => self.all().add(method, params),
        }
    }

    /// A frame of another origin, or a worker: it waits until it is watched.
    fn attached(self: &Arc<Seen>, cdp: &Cdp, params: &Value) {
        let session = text(&params["sessionId"]);
        self.watch(cdp, session);
        let go = ("Runtime.runIfWaitingForDebugger", json!({}));
        tell(cdp, session, watching().into_iter().chain([go]).collect());
    }

    fn all(&self) -> MutexGuard<'_, Sights> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sights {
    fn add(&mut self, method: &str, params: &Value) {
        match method {
            "Runtime.consoleAPICalled" if matches!(text(&params["type"]), "error" | "assert") => {
                self.errors.push(format!("console: {}", arguments(&params["args"])));
            }
            "Runtime.exceptionThrown" => self.errors.push(exception(&params["exceptionDetails"])),
            "Inspector.targetCrashed" => self.errors.push("the page has crashed".to_owned()),
            "Log.entryAdded" => self.log(&params["entry"]),
            "Page.windowOpen" => self.windows.push(text(&params["url"]).to_owned()),
            "Network.requestWillBeSent" => self.requests.push(text(&params["request"]["url"]).to_owned()),
            _ => {}
        }
    }

    fn log(&mut self, entry: &Value) {
        let (what, url) = (text(&entry["text"]), text(&entry["url"]));
        let is_csp = entry["source"] == "security" || what.contains("Content Security Policy");
        if is_csp {
            self.csp.push(format!("{what} ({url})"));
        } else if entry["level"] == "error" {
            self.errors.push(format!("{}: {what} ({url})", text(&entry["source"])));
        }
    }
}

/// The commands after which a session tells what happens in it.
pub fn watching() -> Vec<(&'static str, Value)> {
    // Not all of them are known to workers, which is no matter.
    let attach = json!({"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true});
    let enable = ["Runtime.enable", "Log.enable", "Network.enable", "Page.enable", "Inspector.enable"];
    let enable = enable.map(|method| (method, json!({})));
    enable.into_iter().chain([("Target.setAutoAttach", attach)]).collect()
}

/// Says these, one after another, without anybody waiting for it: what watches must not hold up what it watches.
fn tell(cdp: &Cdp, session: &str, commands: Vec<(&'static str, Value)>) {
    let (cdp, session) = (cdp.clone(), session.to_owned());
    tokio::spawn(async move {
        for (method, params) in commands {
            // What is attached may be gone by now, and a dialog with its page.
            cdp.call(Some(&session), method, params).await.ok();
        }
    });
}

fn arguments(args: &Value) -> String {
    let said = args.as_array().into_iter().flatten().map(|arg| match (&arg["value"], &arg["description"]) {
        (Value::String(value), _) => value.clone(),
        (Value::Null, Value::String(description)) => description.clone(),
        (value, _) => value.to_string(),
    });
    said.collect::<Vec<_>>().join(" ")
}

fn exception(details: &Value) -> String {
    let said = text(&details["exception"]["description"]);
    let value = &details["exception"]["value"];
    let what = if said.is_empty() && !value.is_null() { value.to_string() } else { said.to_owned() };
    format!("{}: {what} ({}:{})", text(&details["text"]), text(&details["url"]), details["lineNumber"])
}
