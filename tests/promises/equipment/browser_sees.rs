//! What a page did besides showing something is seen: errors, violations, dialogs, and what keeps people from using it.

use avouch_tests::browser::{Browser, Page, Sights};
use avouch_tests::wait::{secs, until};
use avouch_tests::web::Web;

use super::{document, site};

const STRICT: &str = "content-security-policy: default-src 'none'; connect-src 'self'\r\n";

async fn seen(page: &Page, what: &str, is_seen: impl Fn(&Sights) -> bool) -> Sights {
    until(what, secs(30), async || Some(page.sights().await).filter(|sights| is_seen(sights))).await
}

async fn opened(pages: Vec<(&'static str, &'static str, String)>) -> (Web, Page) {
    let web = site(pages).await;
    let page = Browser::start().await.page(&web.origin()).await;
    (web, page)
}

#[tokio::test]
async fn errors_of_scripts_are_seen() {
    let script = "<script>console.error('said', {a: 1}, 2); console.warn('no error');\
                  setTimeout(() => { throw new Error('thrown') });\
                  Promise.reject(new TypeError('rejected')); fetch('/nothing')</script>";
    let (_web, page) = opened(vec![("/", "", document(script))]).await;
    let Sights { errors, csp, .. } = seen(&page, "four errors", |sights| sights.errors.len() == 4).await;
    for part in ["console: said Object 2", "Error: thrown", "TypeError: rejected", "404"] {
        assert!(errors.iter().any(|error| error.contains(part)), "no {part:?} in {errors:?}");
    }
    assert!(csp.is_empty(), "{csp:?}");
}

#[tokio::test]
async fn errors_of_frames_and_workers_are_seen() {
    let main = "<iframe title=f src=/frame></iframe><script>new Worker('/worker')</script>";
    let worker = "throw new Error('of a worker')".to_owned();
    let frame = document("<script>throw new Error('of a frame')</script>");
    let script = "content-type: text/javascript\r\nx-content-type: ";
    let (_web, page) =
        opened(vec![("/", "", document(main)), ("/frame", "", frame), ("/worker", script, worker)]).await;
    seen(&page, "both errors", |sights| {
        let has = |part| sights.errors.iter().any(|error| error.contains(part));
        has("of a frame") && has("of a worker")
    })
    .await;
}

#[tokio::test]
async fn violations_of_a_policy_are_seen() {
    let bad = document("<p style='color:red'>Red</p><script>alert(1)</script><img alt='' src=/x.png>");
    let (_web, page) = opened(vec![("/", STRICT, bad)]).await;
    let Sights { csp, dialogs, .. } = seen(&page, "three violations", |sights| sights.csp.len() >= 3).await;
    for part in ["inline style", "inline script", "/x.png"] {
        assert!(csp.iter().any(|text| text.contains(part)), "no {part:?} in {csp:?}");
    }
    assert!(dialogs.is_empty(), "the policy is obeyed: {dialogs:?}");
}

#[tokio::test]
async fn page_without_faults_is_quiet() {
    let (_web, page) = opened(vec![("/", STRICT, document("<p>Here</p>"))]).await;
    page.assert_quiet().await;
    assert_eq!(page.sights().await.status, Some(200));
}

#[tokio::test]
async fn dialogs_are_dismissed_and_seen() {
    let main = "<button id=b>Go</button><script>alert('one'); b.onclick = () => { \
                b.textContent = String(confirm('two')); open('/elsewhere') }</script>";
    let (_web, page) = opened(vec![("/", "", document(main))]).await;
    page.click("#b").await;
    page.wait_for_text("false").await;
    let sights = seen(&page, "a window", |sights| !sights.windows.is_empty()).await;
    assert_eq!(sights.dialogs, ["alert: one", "confirm: two"]);
    assert!(sights.windows[0].ends_with("/elsewhere"), "{:?}", sights.windows);
}

#[tokio::test]
async fn pages_reach_no_other_machine() {
    let (_web, page) = opened(vec![("/", "", document(""))]).await;
    for elsewhere in ["http://example.com/", "http://192.0.2.1/", "http://[2001:db8::1]/"] {
        let tried = format!("fetch('{elsewhere}').then(() => 'reached', () => 'not reached')");
        assert_eq!(page.evaluate(&tried).await, "not reached", "{elsewhere}");
        let why =
            |sights: &Sights| sights.errors.iter().any(|e| e.contains("NAME_NOT_RESOLVED") && e.contains(elsewhere));
        seen(&page, "why not", why).await;
    }
}

#[tokio::test]
async fn axe_finds_what_is_wrong_and_nothing_on_a_good_page() {
    let bad = document(
        "<img src=data:, ><input id=n><p id=faint style='color:#ccc;background:#fff'>Faint</p><button></button>",
    );
    let good = document("<img alt=Logo src=data:,><label>Name <input></label><p>Plain</p><button>Go</button>");
    let (web, page) = opened(vec![("/", "", bad), ("/good", STRICT, good)]).await;
    let found = page.axe().await;
    for (rule, element) in
        [("image-alt", "<img"), ("label", "#n"), ("color-contrast", "#faint"), ("button-name", "<button")]
    {
        let is_found = |text: &&String| text.starts_with(&format!("{rule} (")) && text.contains(element);
        assert!(found.iter().any(|text| is_found(&text)), "no {rule} in {found:#?}");
    }
    // Under a policy that allows no script at all.
    page.goto(&format!("{}/good", web.origin())).await;
    assert_eq!(page.axe().await, Vec::<String>::new());
    page.assert_accessible().await;
}
