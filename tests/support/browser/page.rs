//! One page: what a user does with it, what a user sees of it, and what it did beside that.
//!
//! Everything waits until it can be done, and fails with the page's address, the selector, the reason and a picture.

use std::future::Future;
use std::panic::Location;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::cdp::{Cdp, text};
use super::seen::{Seen, Sights};
use super::view::View;
use super::{Context, keys, picture};
use crate::wait::{POLL, secs};

/// Functions of the page that are called by their names.
const ASKED: &str = include_str!("page.js");
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = secs(30);

/// A page of a browser. Gone with the last page of its browser.
#[derive(Debug)]
pub struct Page {
    pub(super) context: Arc<Context>,
    pub(super) session: String,
    pub(super) seen: Arc<Seen>,
    pub(super) view: View,
    pub(super) patience: Duration,
}

impl Page {
    pub(super) fn new(context: Arc<Context>, session: String, seen: Arc<Seen>, view: View) -> Page {
        Page { context, session, seen, view, patience: PATIENCE }
    }

    /// How long it waits for anything, from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Goes there and waits until it is loaded; any status is good.
    #[track_caller]
    pub fn goto(&self, url: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.goto_from(at, url).await }
    }

    pub(super) async fn goto_from(&self, at: &'static Location<'static>, url: &str) {
        self.seen.forget_status();
        let gone = self.call("Page.navigate", json!({"url": url})).await;
        let failed = match &gone {
            Ok(gone) => text(&gone["errorText"]),
            Err(why) => why,
        };
        assert!(failed.is_empty(), "{url} cannot be opened: {failed} (at {at})");
        self.until(at, "the page to be loaded", async || self.ask("isLoaded", json!([])).await).await;
    }

    /// Loads it again.
    #[track_caller]
    pub fn reload(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.reload_from(at).await }
    }

    async fn reload_from(&self, at: &'static Location<'static>) {
        // Marked, because the old page too is loaded.
        self.expect(self.evaluate_raw("globalThis.avouchIsOld = true").await, at);
        self.expect(self.call("Page.reload", json!({})).await, at);
        self.until(at, "the page to be loaded anew", async || {
            match self.evaluate_raw("!globalThis.avouchIsOld && document.readyState === 'complete'").await? {
                Value::Bool(true) => Ok(()),
                _ => Err("it is the old one".to_owned()),
            }
        })
        .await;
    }

    /// Where it is.
    pub async fn url(&self) -> String {
        let url = self.evaluate_raw("location.href").await;
        url.map_or_else(|why| format!("a page that says nothing ({why})"), |url| text(&url).to_owned())
    }

    /// Presses and releases the mouse in the middle of an element, as soon as a user could.
    #[track_caller]
    pub fn click(&self, selector: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.click_from(at, selector).await }
    }

    async fn click_from(&self, at: &'static Location<'static>, selector: &str) {
        let what = format!("`{selector}` to be clicked");
        let point = self.until(at, &what, async || self.ask("target", json!([selector])).await).await;
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let mouse = json!({
                "type": kind, "x": point[0], "y": point[1], "button": "left", "buttons": buttons, "clickCount": 1
            });
            self.expect(self.call("Input.dispatchMouseEvent", mouse).await, at);
        }
    }

    /// Clicks into an element and types this, key by key, behind what is there.
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            self.click_from(at, selector).await;
            for letter in text.chars() {
                let key = if letter == '\n' { "Enter".to_owned() } else { letter.to_string() };
                self.press_from(at, &key).await;
            }
        }
    }

    /// Replaces what is in a field by this, as pasting does.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            self.click_from(at, selector).await;
            self.expect(self.ask("select", json!([selector])).await, at);
            self.expect(self.call("Input.insertText", json!({"text": text})).await, at);
        }
    }

    /// Chooses a file in a field, as the dialog that a click opens does.
    #[track_caller]
    pub fn choose_file(&self, selector: &str, file: &Path) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let what = format!("`{selector}` to be visible");
            self.until(at, &what, async || self.ask("isVisible", json!([selector])).await).await;
            let field = json!({"expression": format!("document.querySelector({})", json!(selector))});
            let field = self.call("Runtime.evaluate", field).await;
            let field = field.unwrap_or_else(|why| panic!("{selector}: {why} (at {at})"))["result"]["objectId"].take();
            let files = json!({"objectId": field, "files": [file.to_string_lossy()]});
            self.expect(self.call("DOM.setFileInputFiles", files).await, at);
        }
    }

    /// Presses a key, or several: `Enter`, `a`, `Shift+Tab`, `Control+k`.
    #[track_caller]
    pub fn press(&self, keys: &str) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move { self.press_from(at, keys).await }
    }

    async fn press_from(&self, at: &'static Location<'static>, keys: &str) {
        for event in keys::events(keys) {
            self.expect(self.call("Input.dispatchKeyEvent", event).await, at);
        }
    }

    /// Waits until such an element is visible.
    #[track_caller]
    pub fn wait_for(&self, selector: &str) -> impl Future<Output = ()> {
        self.wait_until(format!("`{selector}` to be visible"), "isVisible", json!([selector]))
    }

    /// Waits until no such element is visible.
    #[track_caller]
    pub fn wait_until_gone(&self, selector: &str) -> impl Future<Output = ()> {
        self.wait_until(format!("`{selector}` to be gone"), "isGone", json!([selector]))
    }

    /// Waits until the page shows this text.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) -> impl Future<Output = ()> {
        self.wait_until(format!("the text {text:?}"), "says", json!([text]))
    }

    /// Waits until the page's address contains this.
    #[track_caller]
    pub fn wait_for_url(&self, part: &str) -> impl Future<Output = ()> {
        self.wait_until(format!("an address with {part:?}"), "isAt", json!([part]))
    }

    #[track_caller]
    fn wait_until(&self, what: String, function: &'static str, args: Value) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            self.until(at, &what, async || self.ask(function, args.clone()).await).await;
        }
    }

    /// The text of the first such element that is visible, which is waited for.
    #[track_caller]
    pub fn text(&self, selector: &str) -> impl Future<Output = String> {
        let at = Location::caller();
        async move {
            let what = format!("the text of `{selector}`");
            let said = self.until(at, &what, async || self.ask("text", json!([selector])).await).await;
            text(&said).to_owned()
        }
    }

    /// The texts of all such elements, of which there may be none.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let said = self.ask("texts", json!([selector])).await;
        let said = said.unwrap_or_else(|why| panic!("the texts of `{selector}`: {why}"));
        said.as_array().into_iter().flatten().map(|said| text(said).to_owned()).collect()
    }

    /// An attribute of an element, which is waited for.
    #[track_caller]
    pub fn attribute(&self, selector: &str, name: &str) -> impl Future<Output = Option<String>> {
        let at = Location::caller();
        async move {
            let what = format!("the attribute {name} of `{selector}`");
            let args = json!([selector, name]);
            let said = self.until(at, &what, async || self.ask("attribute", args.clone()).await).await;
            said.as_str().map(str::to_owned)
        }
    }

    /// What a field holds; the field is waited for.
    #[track_caller]
    pub fn value(&self, selector: &str) -> impl Future<Output = String> {
        let at = Location::caller();
        async move {
            let what = format!("the value of `{selector}`");
            let said = self.until(at, &what, async || self.ask("value", json!([selector])).await).await;
            text(&said).to_owned()
        }
    }

    /// The element that keys go to, such as `<input#name>`; empty if none has them.
    pub async fn focused(&self) -> String {
        let said = self.ask("focused", json!([])).await;
        text(&said.unwrap_or_else(|why| panic!("what has the keys: {why}"))).to_owned()
    }

    /// What an expression is in the page, promises waited for. For what no function here tells.
    #[track_caller]
    pub fn evaluate(&self, expression: &str) -> impl Future<Output = Value> {
        let at = Location::caller();
        async move { self.evaluate_raw(expression).await.unwrap_or_else(|why| panic!("{expression}: {why} (at {at})")) }
    }

    /// What it said and did so far, once everything is drawn.
    pub async fn sights(&self) -> Sights {
        self.settle().await;
        self.seen.so_far()
    }

    /// Fails unless it said nothing on the console, broke no policy, and opened neither dialogs nor windows.
    #[track_caller]
    pub fn assert_quiet(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let Sights { errors, csp, dialogs, windows, .. } = self.sights().await;
            let said = [("errors", errors), ("csp", csp), ("dialogs", dialogs), ("windows", windows)];
            let said: Vec<_> = said.iter().filter(|(_, said)| !said.is_empty()).collect();
            assert!(said.is_empty(), "{} is not quiet (at {at}): {said:#?}", self.url().await);
        }
    }

    /// Fails if a user must scroll sideways.
    #[track_caller]
    pub fn assert_fits(&self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let what = "the page to be as wide as its window";
            let over = self.until(at, what, async || self.ask("overflow", json!([])).await).await;
            let screen = self.view.screen.name();
            assert!(over == 0, "{} is {over} pixels too wide for a {screen} (at {at})", self.url().await);
        }
    }

    /// Waits until what happened in the page so far is drawn and told.
    pub async fn settle(&self) {
        // A page that hangs is seen by whatever is asked next.
        self.ask("settle", json!([])).await.ok();
    }

    /// A function of `page.js`.
    pub(super) async fn ask(&self, function: &str, args: Value) -> Result<Value, String> {
        self.evaluate_raw(&format!("({ASKED}).{function}(...{args})")).await
    }

    async fn evaluate_raw(&self, expression: &str) -> Result<Value, String> {
        self.evaluate_in(&Value::Null, expression).await
    }

    /// In this world of the page, or in its own.
    pub(super) async fn evaluate_in(&self, world: &Value, expression: &str) -> Result<Value, String> {
        let mut params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        if !world.is_null() {
            params["contextId"] = world.clone();
        }
        let mut said = self.call("Runtime.evaluate", params).await?;
        match said.get("exceptionDetails") {
            Some(thrown) => Err(reason(thrown)),
            None => Ok(said["result"]["value"].take()),
        }
    }

    pub(super) async fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        self.cdp().call(Some(&self.session), method, params).await
    }

    fn cdp(&self) -> &Cdp {
        &self.context.chromium.cdp
    }

    fn expect(&self, done: Result<Value, String>, at: &Location<'_>) {
        done.map(drop).unwrap_or_else(|why| panic!("{why} (at {at})"));
    }

    /// Asks until the page answers well; a page that is just being replaced by another answers badly, and is asked again.
    async fn until<T>(
        &self,
        at: &'static Location<'static>,
        what: &str,
        mut ask: impl AsyncFnMut() -> Result<T, String>,
    ) -> T {
        let deadline = Instant::now() + self.patience;
        loop {
            match ask().await {
                Ok(found) => return found,
                Err(_) if Instant::now() < deadline => sleep(POLL).await,
                Err(why) => self.fail(at, what, &why).await,
            }
        }
    }

    async fn fail(&self, at: &'static Location<'static>, what: &str, why: &str) -> ! {
        let stem = std::path::Path::new(at.file()).file_stem().unwrap_or_default().to_string_lossy();
        let picture = picture::take(self, &format!("failed-{stem}-{}", at.line())).await;
        let picture = picture.map_or_else(|why| format!("no picture: {why}"), |file| file.display().to_string());
        let Sights { errors, csp, .. } = self.seen.so_far();
        let (url, patience) = (self.url().await, self.patience);
        let said = [errors, csp].concat();
        let said = if said.is_empty() { String::new() } else { format!("\nthe page has said: {said:#?}") };
        panic!("{url}: waited {patience:?} in vain for {what}: {why} (at {at}; {picture}){said}")
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.seen.end(self.cdp());
    }
}

/// The first line of what was thrown, without the name that all errors have.
fn reason(thrown: &Value) -> String {
    let said = text(&thrown["exception"]["description"]);
    let said = said.lines().next().unwrap_or_default();
    let said = said.strip_prefix("Error: ").unwrap_or(said);
    if said.is_empty() { text(&thrown["text"]).to_owned() } else { said.to_owned() }
}
