//! Using a page: clicks, keys, screens, pictures, and failures that help.

use std::io::{BufRead, BufReader, Read};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use avouch_tests::browser::{Browser, Page, Screen, Theme, View};
use avouch_tests::wait::{secs, until};
use futures_util::FutureExt;

use super::{document, site};
use crate::schema::File;

/// For what never comes.
const SHORT: Duration = Duration::from_millis(200);

/// One page of a site of its own.
async fn page(main: &str) -> (avouch_tests::web::Web, Page) {
    let web = site(vec![("/", "", document(main))]).await;
    let page = Browser::start().await.page(&web.origin()).await;
    (web, page)
}

/// The text of its panic.
async fn failure(failing: impl Future<Output = ()>) -> String {
    let panic = AssertUnwindSafe(failing).catch_unwind().await.expect_err("it fails");
    panic.downcast_ref::<String>().cloned().expect("it says why")
}

#[tokio::test]
async fn click_is_what_a_mouse_does() {
    let (_web, page) = page(
        "<div style='height:3000px'></div><button id=b>Go</button><output id=o></output><script>\
         for (const kind of ['pointerdown', 'mousedown', 'mouseup', 'click'])\
         b.addEventListener(kind, e => o.textContent += `${kind}:${e.isTrusted} `)</script>",
    )
    .await;
    page.click("#b").await;
    page.wait_for_text("click:true").await;
    assert_eq!(page.text("#o").await.trim(), "pointerdown:true mousedown:true mouseup:true click:true");
    page.assert_quiet().await;
}

#[tokio::test]
async fn click_waits_for_what_a_user_would_wait_for() {
    let late = "<button id=b disabled>Go</button><output id=o></output><script>\
                b.onclick = () => o.textContent += 'clicked';\
                addEventListener('go', () => b.disabled = false);\
                setTimeout(() => dispatchEvent(new Event('go')), 300)</script>";
    let (_web, page) = page(late).await;
    page.click("#b").await;
    page.wait_for_text("clicked").await;
    assert_eq!(page.text("#o").await, "clicked", "once");
}

#[tokio::test]
async fn chosen_file_is_what_the_page_gets() {
    let (_web, page) = page(
        "<input type=file id=f><output id=o></output><script>\
         f.onchange = async () => o.textContent = `${f.files[0].name}: ${await f.files[0].text()}`</script>",
    )
    .await;
    let file = File::new("chosen.txt", "what is in it");
    page.choose_file("#f", Path::new(file.path())).await;
    page.wait_for_text("what is in it").await;
    assert!(page.text("#o").await.ends_with("chosen.txt: what is in it"));
    page.assert_quiet().await;
}

#[tokio::test]
async fn covered_element_is_not_clicked() {
    let (_web, mut page) = page(
        "<button id=b onclick='document.title = 1'>Go</button>\
         <div id=veil class='a b' style='position:fixed;inset:0'></div>",
    )
    .await;
    page.set_patience(SHORT);
    let said = failure(page.click("#b")).await;
    assert!(said.contains("`#b` to be clicked: <div#veil.a.b> lies above it"), "{said}");
    assert_eq!(page.evaluate("document.title").await, "A page");
}

#[tokio::test]
async fn absent_element_fails_with_the_page_the_selector_and_a_picture() {
    let (web, mut page) = page("<p>Here</p><p id=hidden hidden>There</p><script>console.error('why')</script>").await;
    page.set_patience(SHORT);
    let said = failure(page.wait_for("#absent")).await;
    for part in [&web.origin(), "`#absent` to be visible", "there is none", "equipment/browser.rs:", "console: why"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let picture = said.split(['(', ')', ';', ' ']).find(|word| word.ends_with(".png")).expect("it names a picture");
    assert!(std::fs::read(picture).expect("it is there").starts_with(b"\x89PNG"));
    let said = failure(page.click("#hidden")).await;
    assert!(said.contains("it is there and not visible"), "{said}");
    let said = failure(page.wait_for_text("There")).await;
    assert!(said.contains(r#"the page says "A page\n\nHere""#), "{said}");
    let said = failure(page.wait_until_gone("p")).await;
    assert!(said.contains("<p> is still there"), "{said}");
}

#[tokio::test]
async fn keys_type_submit_and_move() {
    let (web, page) = page(
        "<form action=/said><label>Name <input id=n name=n value=a></label><label>More <textarea id=m name=m></textarea></label>\
         <button id=b>Send</button></form><output id=o></output><script>\
         addEventListener('keydown', e => { if (e.ctrlKey && e.key === 'k') { e.preventDefault(); o.textContent = 'found' } })</script>",
    )
    .await;
    page.type_into("#n", "b é文").await;
    assert_eq!(page.value("#n").await, "ab é文");
    page.press("Tab").await;
    assert_eq!(page.focused().await, "<textarea#m>");
    page.type_into("#m", "x\ny").await;
    assert_eq!(page.value("#m").await, "x\ny");
    page.press("Shift+Tab").await;
    assert_eq!(page.focused().await, "<input#n>");
    page.press("Control+k").await;
    assert_eq!(page.text("#o").await, "found");
    page.fill("#n", "other").await;
    page.press("Enter").await;
    page.wait_for_url("/said?n=other").await;
    assert!(web.asked().iter().any(|asked| asked.path() == "/said?n=other&m=x%0D%0Ay"), "{:?}", web.asked());
    assert_eq!(page.sights().await.status, Some(404));
}

#[tokio::test]
async fn reloaded_page_is_the_new_one() {
    let (_web, page) = page("<p>Here</p><script>document.title = 'old'</script>").await;
    page.evaluate("document.querySelector('p').textContent = 'Changed'").await;
    page.reload().await;
    assert_eq!(page.text("p").await, "Here");
}

#[tokio::test]
async fn page_is_shown_on_the_screen_in_the_colours_and_in_the_language_of_its_view() {
    let web = site(vec![("/", "", document("<p>Here</p>"))]).await;
    let told = "JSON.stringify([innerWidth, innerHeight, matchMedia('(prefers-color-scheme: dark)').matches, \
                navigator.language, Intl.DateTimeFormat().resolvedOptions().timeZone, \
                new Date(Date.UTC(2026, 0, 2, 3)).toLocaleString(), navigator.maxTouchPoints > 0])";
    let english = Browser::start().await.page(&web.origin()).await;
    let view = View {
        screen: Screen::Phone,
        theme: Theme::Dark,
        locale: "zh-CN".to_owned(),
        timezone: "Asia/Shanghai".to_owned(),
    };
    let chinese = Browser::with(view).await.page(&web.origin()).await;
    let said = english.evaluate(told).await;
    assert_eq!(said, r#"[1280,800,false,"en-US","UTC","1/2/2026, 3:00:00 AM",false]"#);
    let said = chinese.evaluate(told).await;
    assert_eq!(said, r#"[390,844,true,"zh-CN","Asia/Shanghai","2026/1/2 11:00:00",true]"#);
    let asked: Vec<_> =
        web.asked().iter().filter_map(|asked| asked.header("accept-language").map(str::to_owned)).collect();
    assert_eq!(asked, ["en-US,en;q=0.9", "zh-CN,zh;q=0.9"]);
}

#[tokio::test]
async fn pictures_are_taken_on_each_screen_and_in_each_theme() {
    let style = "<style>:root { color-scheme: light dark }</style><p>Here 这里</p>";
    let (_web, mut page) = page(style).await;
    let pictures = page.screenshots("equipment").await;
    let names: Vec<_> = pictures.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    let all =
        ["desktop-light", "desktop-dark", "phone-light", "phone-dark"].map(|name| format!("equipment-{name}.png"));
    assert_eq!(names, all);
    let pictures = pictures.iter().map(|file| std::fs::read(file).expect("it is there")).collect::<Vec<_>>();
    // A PNG begins with its width and height.
    let sizes =
        pictures.iter().map(|png| [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().expect("four"))));
    assert_eq!(sizes.collect::<Vec<_>>(), [[1280, 800], [1280, 800], [780, 1688], [780, 1688]]);
    assert!(pictures[0] != pictures[1] && pictures[2] != pictures[3], "the dark is not the light");
    assert_eq!(page.evaluate("innerWidth").await, 1280, "the page is left as it was");
}

#[tokio::test]
async fn page_that_is_too_wide_does_not_fit() {
    let wide = "<div style='width:600px'>Wide</div>";
    let web = site(vec![("/", "", document(wide))]).await;
    Browser::start().await.page(&web.origin()).await.assert_fits().await;
    let view = View { screen: Screen::Phone, ..View::default() };
    let page = Browser::with(view).await.page(&web.origin()).await;
    let said = failure(page.assert_fits()).await;
    assert!(said.contains("pixels too wide for a phone"), "{said}");
}

#[tokio::test]
async fn browsers_share_no_cookies() {
    let cookie = "set-cookie: session=1; HttpOnly; SameSite=Strict\r\n";
    let web = site(vec![("/", cookie, document("")), ("/other", "", document(""))]).await;
    let (one, other) = (Browser::start().await, Browser::start().await);
    one.page(&web.origin()).await;
    let page = other.page(&format!("{}/other", web.origin())).await;
    page.reload().await;
    let cookies = one.cookies().await;
    assert_eq!((cookies.len(), &cookies[0]["name"], &cookies[0]["httpOnly"]), (1, &"session".into(), &true.into()));
    assert!(other.cookies().await.is_empty());
    assert!(web.asked().iter().all(|asked| asked.header("cookie").is_none()), "{:?}", web.asked());
}

#[tokio::test]
async fn browser_ends_with_the_process_that_started_it() {
    let test = std::env::current_exe().expect("the path of the running test is known");
    let mut holder = Command::new(test);
    holder.args(["--exact", "equipment::browser::browser_is_held_until_the_end_of_input", "--ignored", "--nocapture"]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it can be started");
    let output = BufReader::new(holder.stdout.take().expect("it is piped"));
    let mut lines = output.lines().map(|line| line.expect("it prints text"));
    let pid: u32 = lines.find_map(|line| line.split_once("chromium ")?.1.parse().ok()).expect("it starts a browser");
    let family = family(pid);
    assert!(family.len() > 2, "a browser is several processes: {family:?}");
    holder.kill().expect("it can be killed");
    holder.wait().expect("it can be waited for");
    until("all of them to have ended", secs(30), async || family.iter().all(|pid| has_ended(*pid)).then_some(())).await;
}

#[tokio::test]
#[ignore = "started, and killed, by browser_ends_with_the_process_that_started_it"]
async fn browser_is_held_until_the_end_of_input() {
    let browser = Browser::start().await;
    let _page = browser.page("about:blank").await;
    println!("\nchromium {}", browser.pid());
    std::io::stdin().read_to_end(&mut Vec::new()).expect("it can be read");
}

/// A process and all that come from it.
fn family(pid: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux tells").flatten();
    let processes = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<_> = processes.filter_map(|pid| Some((pid, status(pid)?.1))).collect();
    let mut family = vec![pid];
    for at in 0.. {
        let Some(parent) = family.get(at).copied() else { break };
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
    }
    family
}

/// Nobody may have waited for it yet.
fn has_ended(pid: u32) -> bool {
    status(pid).is_none_or(|(state, _)| state == "Z")
}

/// Its state and its parent.
fn status(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}
