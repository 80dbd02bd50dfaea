//! Pictures of pages: `target/screenshots/NAME.png`, on each screen and in each theme.

use std::path::PathBuf;

use data_encoding::BASE64;
use serde_json::json;

use super::cdp::text;
use super::page::Page;
use super::view::{Screen, Theme, View};
use crate::scratch;

impl Page {
    /// Takes a picture of the window: `target/screenshots/<name>.png`, which is returned.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        match take(self, name).await {
            Ok(file) => file,
            Err(why) => panic!("no picture {name} of {}: {why}", self.url().await),
        }
    }

    /// Takes four: `<name>-desktop-light.png`, and so on for the phone and the dark. Leaves the page as it was.
    pub async fn screenshots(&mut self, name: &str) -> Vec<PathBuf> {
        let before = self.view.clone();
        let mut taken = Vec::new();
        for (screen, theme) in Screen::ALL.into_iter().flat_map(|screen| Theme::ALL.map(|theme| (screen, theme))) {
            self.show(View { screen, theme, ..before.clone() }).await;
            taken.push(self.screenshot(&format!("{name}-{}-{}", screen.name(), theme.name())).await);
        }
        self.show(before).await;
        taken
    }

    /// Shows it so from now on. What a server or a script made of the language before stays as it is until the page is loaded again.
    pub async fn show(&mut self, view: View) {
        for (method, params) in view.commands(&self.context.chromium.user_agent) {
            self.call(method, params).await.unwrap_or_else(|why| panic!("{view:?} cannot be shown: {why}"));
        }
        self.view = view;
    }
}

/// Takes a picture; a page that crashed or hangs has none.
pub async fn take(page: &Page, name: &str) -> Result<PathBuf, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert!(!name.is_empty() && name.chars().all(is_plain), "{name:?} is no name for a picture");
    page.settle().await;
    let taken = page.call("Page.captureScreenshot", json!({"format": "png"})).await?;
    let png = BASE64.decode(text(&taken["data"]).as_bytes()).map_err(|error| format!("it is no base64: {error}"))?;
    let dir = scratch::target_dir().join("screenshots");
    let file = dir.join(name).with_extension("png");
    let written = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&file, png));
    written.map(|()| file.clone()).map_err(|error| format!("cannot write {}: {error}", file.display()))
}
