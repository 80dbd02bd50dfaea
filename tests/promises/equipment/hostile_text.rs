//! Hostile texts: each does its harm where nothing keeps it from it, and none where it is text.

use avouch_tests::browser::Browser;
use avouch_tests::hostile_text::{Harm, HostileText, assert_inert, corpus, look};

use super::{document, site};

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Where a text of this name stands if it is taken for what it is not.
fn wrong_place(hostile: &HostileText) -> String {
    let place = match hostile.name {
        "out of an attribute" | "one more attribute" => "<input value=\"{}\">",
        "out of an attribute in single quotes" => "<input value='{}'>",
        "out of a title" => "<title>{}</title>",
        "out of a field" => "<textarea>{}</textarea>",
        "out of a script" => "<script type=application/json>{}</script>",
        "out of a style" => "<style>{}</style>",
        "out of a comment" => "<!-- {} -->",
        "out of a section" => "<svg><![CDATA[{}]]></svg>",
        _ => "<p>{}</p>",
    };
    // What an unclosed attribute ends with is the next quote.
    place.replace("{}", &hostile.text) + "<p title=\"beside\">beside</p>"
}

#[tokio::test]
async fn texts_that_are_escaped_and_isolated_are_inert() {
    let shown: String = corpus().iter().map(|t| format!("<p><bdi>{}</bdi> beside</p>", escaped(&t.text))).collect();
    let fields: String = corpus().iter().map(|t| format!("<input value=\"{}\">", escaped(&t.text))).collect();
    let web = site(vec![("/", "", document(&shown)), ("/fields", "", document(&fields))]).await;
    let page = Browser::start().await.page(&web.origin()).await;
    assert_inert(&page, &corpus()).await;
    // What a field shows is one line.
    page.goto(&format!("{}/fields", web.origin())).await;
    assert_inert(&page, &corpus()).await;
}

#[tokio::test]
async fn each_markup_that_is_not_escaped_is_found() {
    let markup: Vec<_> = corpus().into_iter().filter(|text| text.harm == Harm::Markup).collect();
    let pages = markup.iter().map(|text| {
        let path: &'static str = format!("/{}", text.name.replace(' ', "-")).leak();
        // Shown as it should be too, so that its absence is not what is found.
        (path, "", document(&format!("<p>{}</p>{}", escaped(&text.text), wrong_place(text))))
    });
    let pages: Vec<_> = pages.collect();
    let paths: Vec<_> = pages.iter().map(|(path, ..)| *path).collect();
    let web = site(pages).await;
    let browser = Browser::start().await;
    for (path, text) in paths.iter().zip(&markup) {
        let page = browser.page(&format!("{}{path}", web.origin())).await;
        let found = look(&page, text).await.expect_err(text.name);
        let is_found = ["something ran", "an element was made", "is a handler", "an address that runs"];
        assert!(is_found.iter().any(|what| found.contains(what)), "{found}");
    }
}

#[tokio::test]
async fn each_address_that_runs_is_found() {
    for text in corpus().iter().filter(|text| text.harm == Harm::Link) {
        let link = format!("<a href=\"{}\">{}</a>", escaped(&text.text), escaped(&text.text));
        let web = site(vec![("/", "", document(&link))]).await;
        let page = Browser::start().await.page(&web.origin()).await;
        let found = look(&page, text).await.expect_err(text.name);
        assert!(found.contains("an address that runs"), "{found}");
    }
}

#[tokio::test]
async fn texts_that_are_changed_or_hidden_are_missed() {
    let entities = corpus().into_iter().find(|text| text.name == "entities").expect("there is one");
    let twice = format!("<p>{}</p>", entities.text);
    let hidden = format!("<p hidden>{}</p>", escaped(&entities.text));
    let swallowed = "<p>alert(1)</p>".to_owned();
    for main in [twice, hidden, swallowed] {
        let web = site(vec![("/", "", document(&main))]).await;
        let page = Browser::start().await.page(&web.origin()).await;
        let found = look(&page, &entities).await.expect_err("it is not shown");
        assert!(found.contains("it is not shown"), "{found}");
    }
}

#[tokio::test]
async fn marks_of_direction_that_reach_further_are_found() {
    let overridden = corpus().into_iter().find(|text| text.name == "right to left override").expect("there is one");
    let shown = |beside: &str| document(&beside.replace("{}", &overridden.text));
    let pages = [
        ("<p>{} beside</p>", false),
        ("<p><b>{}</b> beside</p>", false),
        ("<p><bdi>{}</bdi> beside</p>", true),
        ("<p><b dir=auto>{}</b> beside</p>", true),
        ("<p>{}</p>", true),
        ("<table><tr><td>{}<td>beside</table>", true),
    ];
    let browser = Browser::start().await;
    for (main, is_good) in pages {
        let web = site(vec![("/", "", shown(main))]).await;
        let page = browser.page(&web.origin()).await;
        let found = look(&page, &overridden).await;
        assert_eq!(found.is_ok(), is_good, "{main}: {found:?}");
    }
}
