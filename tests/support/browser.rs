//! A browser for tests: one headless Chromium for this process, and in it a context for each test, which shares nothing with the others.
//!
//! ```ignore
//! let browser = Browser::start().await;
//! let page = browser.page("http://127.0.0.1:9180/").await;
//! page.click("nav a.messages").await;
//! page.wait_for_text("42 messages").await;
//! page.assert_quiet().await;
//! ```

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use serde_json::{Value, json};

mod axe;
mod cdp;
mod chromium;
mod keys;
mod page;
mod picture;
mod seen;
mod view;

pub use page::Page;
pub use seen::Sights;
pub use view::{Screen, Theme, View};

use cdp::text;
use chromium::Chromium;
use seen::Seen;

/// Cookies, storage and pages of one test. Gone when it and its pages are dropped.
#[derive(Debug)]
pub struct Browser {
    context: Arc<Context>,
    view: View,
}

/// What Chromium knows as a browser context.
#[derive(Debug)]
struct Context {
    chromium: &'static Chromium,
    id: String,
}

impl Browser {
    /// A fresh one: an English desktop, light, in UTC.
    pub async fn start() -> Browser {
        Browser::with(View::default()).await
    }

    /// A fresh one whose pages are shown so.
    pub async fn with(view: View) -> Browser {
        let chromium = chromium::shared();
        let made = expect(chromium.cdp.call(None, "Target.createBrowserContext", json!({})).await);
        let id = text(&made["browserContextId"]).to_owned();
        Browser { context: Arc::new(Context { chromium, id }), view }
    }

    /// A new page, at this address, loaded.
    #[track_caller]
    pub fn page(&self, url: &str) -> impl Future<Output = Page> {
        let at = Location::caller();
        async move {
            let page = self.blank().await;
            page.goto_from(at, url).await;
            page
        }
    }

    /// The cookies, as the protocol describes them: `name`, `value`, `httpOnly`, `secure`, `sameSite`, `path`, …
    pub async fn cookies(&self) -> Vec<Value> {
        let of = json!({"browserContextId": self.context.id});
        let mut found = expect(self.context.chromium.cdp.call(None, "Storage.getCookies", of).await);
        serde_json::from_value(found["cookies"].take()).expect("cookies are a list")
    }

    /// The process id of Chromium, which all browsers of this process share.
    pub fn pid(&self) -> u32 {
        self.context.chromium.pid()
    }

    /// A new page, watched from its beginning.
    async fn blank(&self) -> Page {
        let cdp = &self.context.chromium.cdp;
        let blank = json!({"url": "about:blank", "browserContextId": self.context.id});
        let target = expect(cdp.call(None, "Target.createTarget", blank).await)["targetId"].take();
        let attach = json!({"targetId": target, "flatten": true});
        let attached = expect(cdp.call(None, "Target.attachToTarget", attach).await);
        let session = text(&attached["sessionId"]).to_owned();
        let seen = Arc::new(Seen::of(text(&target)));
        seen.watch(cdp, &session);
        let mut page = Page::new(Arc::clone(&self.context), session, seen, self.view.clone());
        for (method, params) in seen::watching() {
            expect(page.call(method, params).await);
        }
        // Each page behaves as the one in front.
        expect(page.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true})).await);
        page.show(self.view.clone()).await;
        page
    }
}

impl Drop for Context {
    /// Best effort, and not waited for: the whole browser goes at the end.
    fn drop(&mut self) {
        let (chromium, id) = (self.chromium, std::mem::take(&mut self.id));
        chromium.runtime.spawn(async move {
            let gone = chromium.cdp.call(None, "Target.disposeBrowserContext", json!({"browserContextId": id})).await;
            gone.map(drop).unwrap_or_else(|why| eprintln!("{why}"));
        });
    }
}

fn expect(done: Result<Value, String>) -> Value {
    done.unwrap_or_else(|why| panic!("Chromium does not do it: {why}"))
}
