//! Identical questions in flight cost one generation.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, CHAT, Client, Outrigger, Simulator, ask, chat, held, post, read, request, stream};

/// Asks `count` times at once, over HTTP/2 connections of 100 streams each.
async fn herd(outrigger: &Outrigger, count: usize, body: &Value) -> Vec<Answer> {
    let mut tasks = Vec::new();
    for start in (0..count).step_by(100) {
        let Client::Http2(sender) = Client::http2(outrigger.address).await else { unreachable!() };
        for _ in start..count.min(start + 100) {
            let (mut sender, address, body) = (sender.clone(), outrigger.address, body.to_string());
            tasks.push(tokio::spawn(async move {
                read(sender.send_request(request(address, CHAT, &[], body)).await.unwrap()).await
            }));
        }
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_identical_requests_start_one_generation() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    for (body, started) in [(stream(json!({ "gap_ms": 5, "tokens": 50 })), 1), (chat(json!({ "tokens": 50 })), 2)] {
        let answers = held(&simulator, &outrigger, started * 1_000, herd(&outrigger, 1_000, &body)).await;
        assert_eq!(simulator.stats().await["started"], started, "one more for all of them");
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.complete));
        assert!(answers.iter().all(|answer| answer.body == answers[0].body), "every client gets the same bytes");
        assert!(answers[0].text().contains(".49 "), "and all of them");
        let leaders = answers.iter().filter(|answer| answer.header("x-outrigger-dedup") == "leader").count();
        assert_eq!(leaders, 1);
    }
}

#[tokio::test]
async fn who_joins_late_gets_everything_from_the_start() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let body = stream(json!({ "gap_ms": 50, "tokens": 50 }));
    let mut client = Client::http1(outrigger.address).await;
    let mut first = client.send(request(outrigger.address, CHAT, &[], body.to_string())).await.unwrap();
    let mut begun = Vec::new();
    while !begun.windows(3).any(|text| text == b".5 ") {
        begun.extend_from_slice(first.frame().await.unwrap().unwrap().data_ref().unwrap());
    }
    let late = ask(outrigger.address, body.clone()).await;
    let first = [begun, read(first).await.body.to_vec()].concat();
    assert_eq!(late.header("x-outrigger-dedup"), "follower");
    assert_eq!(first, late.body);
    assert_eq!(simulator.stats().await["started"], 1);
}

#[tokio::test]
async fn the_first_to_come_may_leave_and_the_last_to_leave_cancels() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let body = stream(json!({ "gap_ms": 50, "tokens": 40 })).to_string();
    for (http2, started) in [(false, 1_u32), (true, 2)] {
        let mut first = match http2 {
            false => Client::http1(outrigger.address).await,
            true => Client::http2(outrigger.address).await,
        };
        let mut response = first.send(request(outrigger.address, CHAT, &[], body.clone())).await.unwrap();
        response.frame().await.unwrap().unwrap();
        let second = tokio::spawn(post_owned(outrigger.address, body.clone()));
        outrigger.until_boarded(started * 2).await;
        drop((response, first));
        let second = second.await.unwrap();
        assert!(second.complete && second.text().contains(".39 "), "nobody else loses a byte");
        let stats = simulator.stats().await;
        assert_eq!((&stats["started"], &stats["cancelled"]), (&started.into(), &0.into()));
    }
    let body = stream(json!({ "gap_ms": 10, "tokens": 10_000 })).to_string();
    for http2 in [false, true] {
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = match http2 {
                false => Client::http1(outrigger.address).await,
                true => Client::http2(outrigger.address).await,
            };
            let mut response = client.send(request(outrigger.address, CHAT, &[], body.clone())).await.unwrap();
            response.frame().await.unwrap().unwrap();
            clients.push((client, response));
        }
        let left = Instant::now();
        drop(clients);
        simulator.until("active", 0).await;
        assert!(left.elapsed() < Duration::from_secs(5), "the cancel took {:?}", left.elapsed());
    }
    assert_eq!(simulator.stats().await["cancelled"], 2);
}

async fn post_owned(address: std::net::SocketAddr, body: String) -> Answer {
    post(address, CHAT, &[], body).await
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_begins_cancels_it() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    for (body, cancelled) in [(stream(json!({ "fault": "stall_before" })), 1), (chat(json!({ "ttft_ms": 60_000 })), 2)]
    {
        let mut client = Client::http1(outrigger.address).await;
        let sent = request(outrigger.address, CHAT, &[], body.to_string());
        tokio::select! {
            answer = client.send(sent) => panic!("nothing was to be answered, and {answer:?} was"),
            _ = simulator.until("started", cancelled) => {}
        }
        drop(client);
        simulator.until("cancelled", cancelled).await;
    }
}

#[tokio::test]
async fn under_finish_an_abandoned_generation_goes_on() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[("DEDUP__WHEN_ABANDONED", "finish")]).await;
    let mut client = Client::http1(outrigger.address).await;
    let body = stream(json!({ "gap_ms": 5, "tokens": 20 })).to_string();
    let mut response = client.send(request(outrigger.address, CHAT, &[], body)).await.unwrap();
    response.frame().await.unwrap().unwrap();
    drop((response, client));
    let stats = simulator.until("finished", 1).await;
    assert_eq!(stats["cancelled"], 0);
}

#[tokio::test]
async fn tenants_and_opted_out_requests_stay_apart() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let body = Bytes::from(chat(json!({})).to_string());
    let asked = [
        ("authorization", "Bearer a"),
        ("authorization", "Bearer a"),
        ("authorization", "Bearer b"),
        ("x-api-key", "c"),
        ("x-outrigger-dedup", "off"),
        ("x-outrigger-dedup", "off"),
        ("openai-project", "p"),
    ]
    .map(|header| {
        let body = body.clone();
        async move { post(outrigger.address, CHAT, &[header], body).await }
    });
    let answers = held(&simulator, &outrigger, 7, futures::future::join_all(asked)).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(simulator.stats().await["started"], 6, "only the two of tenant a are one");
    assert_eq!(answers[4].header("x-outrigger-dedup"), "");
    let wrong = post(outrigger.address, CHAT, &[("x-outrigger-dedup", "maybe")], body).await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn the_same_meaning_in_other_words_is_one_flight() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let bodies = [
        r#"{"model":"sim","messages":[{"role":"user","content":"é"}],"sim":{"tokens":3}}"#,
        r#" {"sim" : {"tokens":3}, "messages":[{"content":"\u00e9","role":"user"}],"model":"sim"}"#,
    ];
    let asked = futures::future::join_all(bodies.map(|body| post(outrigger.address, CHAT, &[], body)));
    held(&simulator, &outrigger, 2, asked).await;
    assert_eq!(simulator.stats().await["started"], 1);
}

#[tokio::test]
async fn a_backends_error_reaches_every_follower_as_the_same_error() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let body = chat(json!({ "status": 429, "retry_after": "7" }));
    let asked = futures::future::join_all((0..20).map(|_| ask(outrigger.address, body.clone())));
    let answers = held(&simulator, &outrigger, 20, asked).await;
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"));
        assert_eq!(answer.body, answers[0].body);
    }
    let requests = simulator.stats().await["requests"].as_u64().unwrap();
    assert!(requests < 20, "they shared the answer: {requests} requests reached the backend");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_reader_holds_up_nobody() {
    let simulator = Simulator::start(&[]);
    let outrigger = Outrigger::before(&simulator, &[]).await;
    let body = stream(json!({ "ttft_ms": 200, "gap_ms": 2, "tokens": 500 }));
    let slow = {
        let (address, body) = (outrigger.address, body.to_string());
        tokio::spawn(async move {
            let mut client = Client::http1(address).await;
            let mut response = client.send(request(address, CHAT, &[], body)).await.unwrap();
            // Three seconds a frame: far slower than the tokens come.
            for _ in 0..3 {
                response.frame().await.unwrap().unwrap();
                sleep(Duration::from_secs(3)).await;
            }
            read(response).await
        })
    };
    let begun = Instant::now();
    let fast = ask(outrigger.address, body).await;
    let took = begun.elapsed();
    assert!(fast.complete && fast.text().contains(".499 "));
    assert!(took < Duration::from_secs(8), "the fast reader took {took:?}");
    let slow = slow.await.unwrap();
    assert!(slow.complete && slow.text().contains(".499 "), "the slow one loses nothing either");
    assert_eq!(simulator.stats().await["started"], 1);
}
