//! Questions of those who mean it ill, and of more than can be answered: refused, and the next one is answered.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use uuid::Uuid;

use super::super::{LIMIT, Receiver};
use super::{Answering, problem, send};
use avouch_tests::wait::until;

/// Of `GET /v1/notify/…`: what is answered with.
const HOSTILE: &[(&str, u16)] = &[
    ("messages", 400),
    ("messages?topic=payments.settled", 400),
    ("messages?key=1", 400),
    ("messages?topic=a&key=1&since=2026-01-01T00:00:00Z", 400),
    ("messages?topic=a&key=1&until=2026-01-01T00:00:00Z", 400),
    ("messages?until=2026-01-01T00:00:00Z", 400),
    ("messages?topic=a&key=1&key=2", 400),
    ("messages?topic=a&key=1&endpoint=2", 400),
    ("messages?topic=a&key=%00", 422),
    ("messages?topic=a%00&key=1", 422),
    ("messages?topic=a&key=%FF%FE", 400),
    ("messages?topic=a&key=1&limit=0", 422),
    ("messages?topic=a&key=1&limit=501", 422),
    ("messages?topic=a&key=1&limit=-1", 422),
    ("messages?topic=a&key=1&limit=99999999999999999999", 400),
    ("messages?topic=a&key=1&after=x", 400),
    ("messages?since=yesterday", 400),
    ("messages?since=", 400),
    ("messages?since=2026-02-30T00:00:00Z", 400),
    ("messages?since=2026-01-01T00:00:00+01:00", 400),
    ("messages?since=1969-12-31T23:59:59Z", 422),
    ("messages?since=0000-01-01T00:00:00Z", 422),
    ("messages?since=-9999-01-01T00:00:00Z", 400),
    ("messages/%00", 400),
    ("messages/'%20or%201=1", 400),
    ("messages/00000000-0000-0000-0000-000000000000", 404),
    ("messages/ffffffff-ffff-ffff-ffff-ffffffffffff", 404),
    ("windows", 400),
    ("windows?from=2026-11-20T00:00:00Z", 400),
    ("windows?from=1969-01-01T00:00:00Z&to=2026-11-20T00:00:00Z", 422),
    ("windows?from=1970-01-01T00:00:00Z&to=2026-11-20T00:00:00Z", 422),
    ("windows?from=9999-01-01T00:00:00Z&to=9999-12-31T00:00:00Z&step_s=1", 422),
    ("windows?from=9999-12-31T00:00:00Z&to=9999-01-01T00:00:00Z&step_s=1", 422),
    ("windows?from=9998-12-31T00:00:00Z&to=9999-01-01T00:00:00Z&step_s=0", 422),
    ("windows?from=9998-12-31T00:00:00Z&to=9999-01-01T00:00:00Z&step_s=-5", 400),
    ("windows?from=9998-12-31T00:00:00Z&to=9999-01-01T00:00:00Z&step_s=4294967296", 400),
    ("windows?from=9998-12-31T00:00:00Z&to=9999-01-01T00:00:00Z&step_s=1e3", 400),
];

#[tokio::test]
async fn hostile_questions_are_refused_and_the_next_one_is_answered() {
    let receiver = Receiver::new(200).await;
    let answering = Answering::new(&receiver.section("merchant", "")).await;
    let message = answering.notified.insert("1", "{}").await;
    answering.notified.until_count("merchant", "delivered", 1).await;
    let token = answering.token("merchant").await;
    for (question, status) in HOSTILE {
        let refused = send(answering.get(&format!("/v1/notify/{question}"), &token)).await;
        assert_eq!(refused.status().as_u16(), *status, "{question}");
        assert_eq!(refused.headers()["content-type"], "application/problem+json", "{question}");
    }
    let long = "x".repeat(1_025);
    problem(answering.get(&format!("/v1/notify/messages?topic=a&key={long}"), &token), 422).await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let refused = answering.ask(method, "/v1/notify/windows").bearer_auth(&token).body("x".repeat(1_000));
        problem(refused, 405).await;
    }
    // A key of a megabyte is more than a head may have: the connection ends with its answer, if it could still be written.
    let huge = format!("GET /v1/notify/messages?topic=a&key={} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 20));
    let answer = raw(&answering, huge.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = raw(&answering, format!("GET /v1/notify/windows HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    for garbage in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET / SPDY/9\r\n\r\n", b"\r\n\r\n\r\n", &[0xff; 64]] {
        let mut socket = TcpStream::connect(answering.address).await.expect("it listens");
        socket.write_all(garbage).await.ok();
    }
    // Times to come are empty, however far.
    let far = "/v1/notify/windows?from=9999-01-01T00:00:00Z&to=9999-12-31T00:00:00Z&step_s=4294967295";
    assert_eq!(answering.json(far, &token).await["windows"][0]["count"], 0);
    let path = "/v1/notify/messages?since=9999-12-31T23:59:59.999Z";
    assert_eq!(answering.ids(path, &token).await, [] as [Uuid; 0]);
    assert_eq!(answering.ids("/v1/notify/messages?topic=payments.settled&key=1", &token).await, [message]);
    assert!(!answering.notified.avouch.log().contains("ERROR"), "none of it is our fault");
}

/// Sends bytes and reads what comes, until the server ends it.
async fn raw(answering: &Answering, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(answering.address).await.expect("it listens");
    socket.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn endpoint_that_asks_too_often_is_told_when_and_the_others_are_answered() {
    let receiver = Receiver::new(200).await;
    let two = format!("{}{}", receiver.section("eager", ""), receiver.section("calm", ""));
    let answering = Answering::with("asks_per_s = 1\n", &two).await;
    let (eager, calm) = (answering.token("eager").await, answering.token("calm").await);
    let path = "/v1/notify/messages?since=2026-01-01T00:00:00Z";
    let mut refused = None;
    for _ in 0..100 {
        let response = send(answering.get(path, &eager)).await;
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("a hundred questions take less than a hundred seconds");
    assert!(refused.headers().contains_key("retry-after") && refused.headers().contains_key("webhook-signature"));
    answering.json(path, &calm).await;
    until("the eager one is answered again", LIMIT, async || {
        (send(answering.get(path, &eager)).await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_callers_at_once_are_all_answered_in_the_end() {
    const ENDPOINTS: usize = 30;
    const QUESTIONS: usize = 10;
    let receiver = Receiver::new(200).await;
    let sections: String = (0..ENDPOINTS).map(|n| receiver.section(&format!("e{n}"), "")).collect();
    let answering = Answering::with("asks_per_s = 50\n", &sections).await;
    let message = answering.notified.insert("1", "{}").await;
    let path = "/v1/notify/messages?topic=payments.settled&key=1";
    let mut tokens = Vec::new();
    for n in 0..ENDPOINTS {
        answering.notified.until_count(&format!("e{n}"), "delivered", 1).await;
        tokens.push(answering.token(&format!("e{n}")).await);
    }
    let ask = async |token: &str| {
        loop {
            let response = send(answering.get(path, token)).await;
            match response.status().as_u16() {
                200 => return response.text().await.expect("it has a body"),
                429 | 503 => {
                    assert!(response.headers().contains_key("retry-after"), "it is told when");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => panic!("{other}: {}", response.text().await.unwrap_or_default()),
            }
        }
    };
    let answers = tokens.iter().flat_map(|token| std::iter::repeat_n(token, QUESTIONS)).map(|token| ask(token));
    for answer in tokio::time::timeout(4 * LIMIT, join_all(answers)).await.expect("all are answered") {
        assert!(answer.contains(&message.to_string()), "{answer}");
    }
}

#[tokio::test]
async fn receiver_that_does_not_take_its_answers_holds_up_nobody_else() {
    let receiver = Receiver::new(200).await;
    let two = format!("{}{}", receiver.section("slow", ""), receiver.section("quick", ""));
    let answering = Answering::new(&two).await;
    let message = answering.notified.insert("1", &"x".repeat(900_000)).await;
    answering.notified.until_count("slow", "delivered", 1).await;
    answering.notified.until_count("quick", "delivered", 1).await;
    let (slow, quick) = (answering.token("slow").await, answering.token("quick").await);
    let path = format!("/v1/notify/messages/{message}");
    let question = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {slow}\r\n\r\n");
    // More than the kernel keeps for a connection.
    let questions = question.repeat(12);
    // They ask and never read: nothing but their own room is taken.
    let mut held = Vec::new();
    until("it has no room left", LIMIT, async || {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.set_recv_buffer_size(4_096).expect("it can be small");
        let mut socket = socket.connect(answering.address).await.expect("it listens");
        socket.write_all(questions.as_bytes()).await.expect("it is asked");
        held.push(socket);
        (send(answering.get(&path, &slow)).await.status() == 429).then_some(())
    })
    .await;
    for _ in 0..5 {
        let answer = answering.json(&path, &quick).await;
        assert_eq!(answer["payload"]["data"].as_str().map(str::len), Some(900_000));
    }
    drop(held);
    until("it has room again", LIMIT, async || (send(answering.get(&path, &slow)).await.status() == 200).then_some(()))
        .await;
}
