//! What the tests of the HTTP API and of the console stand on: each piece finds what it is there to find, and nothing else.

mod browser;
mod browser_sees;
mod hostile_text;
mod population;
mod schemathesis;

use avouch_tests::web::{Web, reply};

const HTML: &str = "content-type: text/html; charset=utf-8\r\n";

/// A server of these pages: a path, more headers, what stands in the body. Everything else is not found.
async fn site(pages: Vec<(&'static str, &'static str, String)>) -> Web {
    Web::start(move |asked, socket| {
        let path = asked.path().split('?').next().unwrap_or_default();
        let found = pages.iter().find(|(at, ..)| *at == path);
        let (status, headers, body) = match found {
            Some((_, headers, body)) => (200, format!("{HTML}{headers}"), body.clone()),
            None => (404, HTML.to_owned(), "<!doctype html><title>Not found</title>".to_owned()),
        };
        reply(socket, status, headers, body.into_bytes())
    })
    .await
}

/// A whole page with this in its main part: it has all that a good page has.
fn document(main: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>A page</title><main><h1>A page</h1>{main}</main></html>"
    )
}
