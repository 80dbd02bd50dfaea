//! What every page looks like: accessible, and fitting on any screen, in both schemes.

use std::path::Path;

use avouch_tests::browser::{Browser, Page, Screen, Theme, View};
use avouch_tests::plugins;

use super::{Desk, deploy, next_version};

/// A page that is there, as it is seen and heard.
async fn look(page: &Page, name: &str, on: &str) {
    page.screenshot(&format!("console-{name}-{on}")).await;
    page.assert_accessible().await;
    page.assert_fits().await;
}

/// Two versions of a plugin, and a line of its log.
async fn with_plugin(desk: &Desk) {
    let page = desk.page("admin", View::default()).await;
    deploy(desk, &page, &plugins::file("fingerprint"), "release 1").await;
    deploy(desk, &page, Path::new(next_version("fingerprint").path()), "release 2").await;
    desk.served
        .sql("insert into avouch.plugin_log (plugin, level, line) values ('fingerprint', 'warn', 'it takes long')")
        .await;
}

/// The page that shows a secret once, which no address leads to.
async fn made(desk: &Desk, page: &Page, endpoint: &str) {
    page.goto(&desk.at("/endpoints")).await;
    page.click("details.deed summary").await;
    page.fill("details[open] input[name=name]", endpoint).await;
    page.fill("details[open] input[name=url]", "http://127.0.0.1:9/hook").await;
    page.fill("details[open] [name=topics]", "payments.never").await;
    page.click("details[open] form > button").await;
    page.wait_for_text("whsec_").await;
}

#[tokio::test]
async fn every_page_is_quiet_accessible_and_fits_on_any_screen_in_both_schemes() {
    let desk = Desk::new().await;
    with_plugin(&desk).await;
    let mut places = desk.places();
    places.push(("plugin-deployed", "/plugins/fingerprint".into()));
    for screen in Screen::ALL {
        for theme in Theme::ALL {
            let on = format!("{}-{}", screen.name(), theme.name());
            let view = View { screen, theme, ..View::default() };
            let door = Browser::with(view.clone()).await.page(&desk.at("/login")).await;
            look(&door, "login", &on).await;
            door.assert_quiet().await;
            let page = desk.page("admin", view).await;
            for (name, path) in &places {
                page.goto(&desk.at(path)).await;
                look(&page, name, &on).await;
                page.assert_quiet().await;
            }
            made(&desk, &page, &format!("own-{on}")).await;
            look(&page, "secret", &on).await;
            page.assert_quiet().await;
            // Browsers say on their console that a page is answered with 404.
            page.goto(&desk.at("/messages/00000000-0000-7000-8000-000000000000")).await;
            look(&page, "problem", &on).await;
        }
    }
}
