//! Files for browsers, compiled in. A name holds the hash of its contents, so that it may be kept for good.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::body::Path;
use super::guard::Access;
use super::page::Pages;
use super::problem::Problem;
use crate::access::hex;

/// One file: its name, its type, what is in it.
type File = (&'static str, &'static str, &'static [u8]);

/// All of them.
const FILES: &[File] = &[
    ("console.css", CSS, include_bytes!("assets/console.css")),
    ("console.js", SCRIPT, include_bytes!("assets/console.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
    ("uplot.css", CSS, include_bytes!("assets/uplot.css")),
    ("uplot.js", SCRIPT, include_bytes!("assets/uplot.js")),
];
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// So much of the SHA-256 tells versions of one file apart.
const HASH_CHARS: usize = 12;

/// The names under which they are served, in the order of `FILES`.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(hashed).collect());

/// Where a file is served. Panics if there is none of this name, which a test of any page that uses it shows.
pub fn href(name: &str) -> String {
    let at = FILES.iter().position(|file| file.0 == name);
    format!("/assets/{}", NAMES[at.unwrap_or_else(|| panic!("{name} is no file of admin/assets"))])
}

/// Their route.
pub fn pages() -> Pages {
    Pages::default().get("/assets/{name}", Access::Open, serve)
}

async fn serve(Path(name): Path<String>) -> Result<Response, Problem> {
    let none = || Problem::not_found(format!("there is no {name} in this version"), "load the page again");
    let at = NAMES.iter().position(|known| *known == name).ok_or_else(none)?;
    let (_, kind, bytes) = FILES[at];
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, bytes).into_response())
}

fn hashed((name, _, bytes): &File) -> String {
    let hash = hex(&Sha256::digest(bytes));
    let (stem, kind) = name.rsplit_once('.').expect("each has an ending");
    format!("{stem}.{}.{kind}", &hash[..HASH_CHARS])
}
