//! A receiver's own list and ours: the same numbers, the same digests, until something is missing.

use std::process::Stdio;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use uuid::Uuid;

use super::super::Receiver;
use super::{Answering, json_of, problem, send};
use crate::docs::{blocks, read, section};
use crate::schema::File;

/// A window of an answer.
pub struct Counted {
    pub from: String,
    pub count: i64,
    pub states: [i64; 3],
    pub digest: String,
}

/// Times of the tests' day; what they insert is of now.
fn stretch() -> (String, String) {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    let begin = now_s - now_s % 3_600;
    let text = |at_s: u64| {
        let at = time::OffsetDateTime::from_unix_timestamp(i64::try_from(at_s).expect("is small")).expect("is one");
        at.format(&time::format_description::well_known::Rfc3339).expect("it can be written")
    };
    (text(begin - 3_600), text(begin + 2 * 3_600))
}

/// Around what the tests insert.
pub fn path(step_s: u32) -> String {
    let (from, to) = stretch();
    format!("/v1/notify/windows?from={from}&to={to}&step_s={step_s}")
}

pub async fn counted(answering: &Answering, token: &str, step_s: u32) -> Vec<Counted> {
    let answer = answering.json(&path(step_s), token).await;
    assert_eq!(answer["next"], Value::Null);
    let number = |window: &Value, name: &str| window[name].as_i64().unwrap_or_else(|| panic!("{name} of {window}"));
    let counted = |window: &Value| Counted {
        from: window["from"].as_str().expect("it begins").to_owned(),
        count: number(window, "count"),
        states: ["delivered", "waiting", "given_up"].map(|state| number(window, state)),
        digest: window["digest"].as_str().expect("it has one").to_owned(),
    };
    answer["windows"].as_array().expect("there are windows").iter().map(counted).collect()
}

/// What docs/notifications.md gives receivers to run, on an answer and a list of ids: the windows that differ.
async fn compared(answer: &Value, ids: &[Uuid]) -> Vec<String> {
    let page = read("docs/notifications.md");
    let example = blocks_as_written(section(&page, "## Reconciling yesterday"));
    let script = File::new("compare.py", &example);
    let answer = File::new("answer.json", &answer.to_string());
    let list: String = ids.iter().map(|id| format!("{id}\n")).collect();
    let list = File::new("ids.txt", &list);
    let mut command = Command::new("python3");
    command.args([script.path(), answer.path(), list.path()]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Python needs its indentation, which `blocks` takes away.
fn blocks_as_written(section: &str) -> String {
    assert_eq!(blocks(section, "python").len(), 1, "one example");
    let (_, rest) = section.split_once("```python\n").expect("it begins");
    rest.split_once("```").expect("it ends").0.to_owned()
}

#[tokio::test]
async fn digests_agree_with_the_receivers_own_list_until_something_is_missing() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    answering.notified.insert_many(50, 7).await;
    answering.notified.until_count("merchant", "delivered", 50).await;
    let token = answering.token("merchant").await;
    let answer = json_of(send(answering.get(&path(60), &token)).await).await;
    assert_eq!(answer["windows"].as_array().map(Vec::len), Some(180));
    let mut heard = receiver.ids();
    assert_eq!(compared(&answer, &heard).await, [] as [&str; 0], "what it heard is what it was told");
    // Whatever order they came in, and one that came twice.
    heard.reverse();
    heard.push(heard[0]);
    assert_eq!(compared(&answer, &heard).await, [] as [&str; 0]);
    let lost = heard.remove(20);
    let differing = compared(&answer, &heard).await;
    assert_eq!(differing.len(), 1, "{differing:?}");
    heard.push(lost);
    heard.push(Uuid::now_v7());
    assert_eq!(compared(&answer, &heard).await.len(), 1, "what nobody has told it");
}

#[tokio::test]
async fn windows_count_each_state_and_digest_them_all() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "schedule_s = [3600]\n")).await;
    let delivered = answering.notified.insert_many(4, 4).await;
    answering.notified.until_count("merchant", "delivered", 4).await;
    receiver.answers(500);
    let waiting = answering.notified.insert_many(3, 3).await;
    answering.notified.until_count("merchant", "waiting", 3).await;
    let given_up = answering.notified.insert_many(2, 2).await;
    answering.notified.until_count("merchant", "waiting", 5).await;
    let ids: Vec<Uuid> = given_up.iter().copied().collect();
    let give_up = "update avouch.delivery set state = 'given_up', ended_at = now() where message_id = any ($1)";
    answering.notified.ground.client.execute(give_up, &[&ids]).await.expect("is valid");
    let token = answering.token("merchant").await;
    let windows = counted(&answering, &token, 10_800).await;
    assert_eq!(windows.len(), 1);
    let [window] = &windows[..] else { panic!("one") };
    assert_eq!((window.count, window.states), (9, [4, 3, 2]), "from {}", window.from);
    let all: std::collections::BTreeSet<Uuid> = delivered.into_iter().chain(waiting).chain(given_up).collect();
    let lines: String = all.iter().map(|id| format!("{id}\n")).collect();
    let digest: String = Sha256::digest(lines.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(window.digest, digest);
}

#[tokio::test]
async fn more_messages_than_one_answer_counts_are_told_in_parts_that_fit_together() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    answering.notified.sql("select avouch.set_endpoint('merchant', 'disabled')").await;
    // 130,000 in an hour: one in 27 ms.
    let (from, to) = stretch();
    let sql = format!(
        "insert into avouch.delivery (endpoint, message_id) \
         select e.id, (lpad(to_hex((extract(epoch from '{from}'::timestamptz) * 1000)::bigint + n * 27), 12, '0') || '7000' || \
           '8' || substr(md5(n::text), 1, 15))::uuid from generate_series(0, 129999) n, avouch.endpoint e"
    );
    answering.notified.sql(&sql).await;
    let token = answering.token("merchant").await;
    let (mut begin, mut count, mut answers) = (from.clone(), 0, 0);
    loop {
        let path = format!("/v1/notify/windows?from={begin}&to={to}&step_s=60");
        let answer = answering.json(&path, &token).await;
        answers += 1;
        let windows = answer["windows"].as_array().expect("there are windows");
        assert_eq!(windows[0]["from"].as_str(), Some(&*begin), "they lie one behind another");
        count += windows.iter().filter_map(|window| window["count"].as_i64()).sum::<i64>();
        match answer["next"].as_str() {
            Some(next) => begin = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((count, answers), (130_000, 2));
    let refused =
        problem(answering.get(&format!("/v1/notify/windows?from={from}&to={to}&step_s=10800"), &token), 422).await;
    assert!(refused["remedy"].as_str().is_some_and(|remedy| remedy.contains("step_s")), "{refused}");
}
