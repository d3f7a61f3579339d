//! The room alone, before scripted backends, with paused time.

mod pressing;

use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::reply::degraded;
use crate::testing::{Script, Scripted, Step, ask, ask_by};
use crate::{Body, Broken, Call, Chain, Reason};

/// Scripted backends in the place of real ones.
struct Several(Vec<Scripted>);

#[async_trait]
impl crate::Backend for Several {
    async fn call(&self, ask: &Ask, call: &Call) -> Result<Reply, Refusal> {
        let mut reply = self.0[call.backend].call(ask, call).await?;
        let name = HeaderValue::from_str(&format!("{} {}", call.backend, ask.question.model.as_deref().unwrap_or("")));
        reply.headers.insert("backend", name.unwrap());
        Ok(reply)
    }
}

struct House {
    chain: Chain,
    fleet: Arc<Fleet>,
    backends: Vec<Scripted>,
}

fn house_of(room: Value, members: &[Backend], scripts: &[&[Script]]) -> House {
    let meter = opentelemetry::global::meter("test");
    let fleet = Fleet::new(&serde_json::from_value(room).unwrap(), members, &meter);
    let backends: Vec<_> = scripts.iter().map(|scripts| Scripted::new(scripts.iter().cloned())).collect();
    let room: Arc<dyn Filter> = Arc::new(Breaker::new(fleet.clone()));
    let chain = Chain::new(vec![room], Arc::new(Several(backends.clone())), &meter);
    House { chain, fleet, backends }
}

fn house(room: Value, scripts: &[&[Script]]) -> House {
    let members: Vec<_> = ["a", "b", "c", "d"].into_iter().take(scripts.len()).map(Backend::named).collect();
    house_of(room, &members, scripts)
}

impl House {
    async fn ask(&self) -> Result<Reply, Refusal> {
        self.ask_with(&[], PLAIN).await
    }

    async fn ask_with(&self, headers: &[(&'static str, &str)], body: &str) -> Result<Reply, Refusal> {
        let mut ask = ask(body);
        ask.steer(headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect());
        self.chain.run(Arc::new(ask)).await
    }

    /// The stream read to its end, and how it broke if it did.
    async fn stream(&self) -> Result<Option<Broken>, Refusal> {
        let Body::Events(mut events) = self.ask_with(&[], STREAM).await?.body else { panic!("a stream was expected") };
        while let Some(batch) = events.next().await {
            if let Err(broken) = batch {
                return Ok(Some(broken));
            }
        }
        Ok(None)
    }

    fn calls(&self) -> Vec<usize> {
        self.backends.iter().map(Scripted::calls).collect()
    }

    fn state(&self, place: usize) -> String {
        self.fleet.report(None).unwrap()["backends"][place]["state"].as_str().unwrap().to_owned()
    }
}

const PLAIN: &str = r#"{"model":"m"}"#;
const STREAM: &str = r#"{"model":"m","stream":true}"#;

fn ok() -> Script {
    Script::Whole(StatusCode::OK, "{}")
}

fn fails() -> Script {
    Script::Whole(StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":{}}"#)
}

fn status(status: u16) -> Script {
    Script::Whole(StatusCode::from_u16(status).unwrap(), r#"{"error":{}}"#)
}

fn header<'reply>(headers: &'reply HeaderMap, name: &str) -> &'reply str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_in_any_way_is_out_after_five_and_clients_know_at_once() {
    let ways = [
        vec![fails()],
        vec![status(503)],
        vec![Script::Refuse(Reason::Unreachable)],
        vec![Script::Refuse(Reason::BackendCut)],
        vec![Script::Refuse(Reason::FirstTokenTimeout)],
    ];
    for way in ways {
        let house = house(json!({ "retries": 0 }), &[&way]);
        for _ in 0..5 {
            house.ask().await.ok();
        }
        assert_eq!(house.state(0), "open", "{way:?}");
        let asked = Instant::now();
        let refusal = house.ask().await.err().expect("it is open");
        assert_eq!(refusal.reason, Reason::Unavailable);
        assert!(asked.elapsed() < Duration::from_millis(5));
        let headers = refusal.headers.unwrap();
        assert!(["1", "2"].contains(&header(&headers, "retry-after")), "{headers:?}");
        assert_eq!(house.calls(), [5], "nothing more was asked of it: {way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_judged_by_its_end() {
    let breaks = Script::Stream(vec![Step::Data("one"), Step::Break(Broken::BackendCut)]);
    let stalls = Script::Stream(vec![Step::Data("one"), Step::Break(Broken::TokenGap)]);
    let tells =
        Script::Stream(vec![Step::Data(r#"{"error":{"message":"out of memory","code":500}}"#), Step::Data("[DONE]")]);
    for script in [breaks, stalls, tells] {
        let house = house(json!({}), &[std::slice::from_ref(&script)]);
        for _ in 0..5 {
            house.stream().await.unwrap();
        }
        assert_eq!(house.state(0), "open", "{script:?}");
        assert_eq!(house.calls(), [5], "what has begun is never asked again: {script:?}");
    }
    let blames_us =
        Script::Stream(vec![Step::Data(r#"{"error":{"message":"too long","code":400}}"#), Step::Data("[DONE]")]);
    let house = house(json!({}), &[&[blames_us]]);
    for _ in 0..20 {
        house.stream().await.unwrap();
    }
    assert_eq!(house.state(0), "closed", "the question was at fault");
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_and_clients_that_err_trip_nothing() {
    let slow = Script::Stream(vec![Step::Wait(Duration::from_secs(1)), Step::Data("one")]);
    let house = house(json!({}), &[&[slow]]);
    for _ in 0..50 {
        let asked = tokio::time::timeout(Duration::from_millis(10), house.stream()).await;
        assert!(asked.is_err(), "the client left");
    }
    assert_eq!((house.state(0), house.backends[0].cancelled()), ("closed".to_owned(), 50));
    for error in [400, 401, 403, 404, 422] {
        let house = self::house(json!({}), &[&[status(error)]]);
        for _ in 0..100 {
            assert_eq!(house.ask().await.unwrap().status, error);
        }
        assert_eq!((house.state(0), house.calls()), ("closed".to_owned(), vec![100]), "{error} is nobody's fault here");
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_asked_again_elsewhere_at_once_and_nobody_notices() {
    let mut dies = vec![ok(); 100];
    dies.push(fails());
    let house = house(json!({}), &[&dies, &[ok()]]);
    for _ in 0..160 {
        house.ask().await.unwrap();
        advance(Duration::from_millis(20)).await;
    }
    for _ in 0..100 {
        let asked = Instant::now();
        let reply = house.ask().await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);
        assert!(asked.elapsed() < Duration::from_millis(5), "there was somebody else to ask");
        advance(Duration::from_millis(20)).await;
    }
    assert_eq!(house.state(0), "open");
    let calls = house.calls();
    assert!(calls[0] <= 100 + 8, "five until it was out, and a probe now and then: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn alone_it_is_asked_again_after_a_wait_that_grows() {
    let house = house(json!({}), &[&[fails(), fails(), ok()]]);
    let asked = Instant::now();
    let reply = house.ask().await.unwrap();
    assert_eq!((reply.status, header(&reply.headers, "x-outrigger-attempts")), (StatusCode::OK, "3"));
    let waited = asked.elapsed().as_millis();
    assert!((225..=375).contains(&waited), "about 100 and 200 ms: {waited}");
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_ends_the_repeating_here_and_in_the_sdks() {
    let settings = json!({ "consecutive_failures": 1_000_000, "success_ratio": 0.0, "retries": 5 });
    let house = house(settings, &[&[fails()]]);
    let asks: Vec<_> = (0..200).map(|_| house.ask()).collect();
    let replies = futures::future::join_all(asks).await;
    let calls = house.calls()[0];
    assert!(calls <= 240, "{calls} calls for 200 requests");
    let told = replies
        .iter()
        .filter(|reply| reply.as_ref().is_ok_and(|reply| header(&reply.headers, "x-should-retry") == "false"));
    assert!(told.count() >= 160, "whoever could not be asked for again is told so");
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_be_left_alone_is_obeyed() {
    // The scripted backend sends no headers, so the pause is put where a Retry-After would put it.
    let house = house(json!({}), &[&[ok()], &[ok()]]);
    let pause = |place: usize, seconds| {
        let lane = &house.fleet.plan(Some("m")).unwrap().stages[0].pool.seats[place].lane.clone();
        lane.known.cooling.pause(None, Duration::from_secs(seconds), Instant::now());
    };
    pause(0, 30);
    for _ in 0..10 {
        assert_eq!(header(&house.ask().await.unwrap().headers, "backend"), "1 m");
    }
    pause(1, 7);
    let refusal = house.ask().await.err().unwrap();
    assert_eq!(
        (refusal.reason.clone(), refusal.reason.status()),
        (Reason::BackendPaused, StatusCode::TOO_MANY_REQUESTS)
    );
    assert_eq!(header(&refusal.headers.unwrap(), "retry-after"), "7", "the first that is over");
    advance(Duration::from_secs(7)).await;
    assert!(house.ask().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn our_own_key_refused_is_not_the_clients_affair() {
    let own = Backend { own_key: true, ..Backend::named("a") };
    let house = house_of(json!({}), &[own], &[&[status(401)]]);
    let refusal = house.ask().await.err().unwrap();
    assert_eq!(
        (refusal.reason.clone(), refusal.reason.status()),
        (Reason::BackendUnauthorized, StatusCode::BAD_GATEWAY)
    );
    assert_eq!(house.calls(), [1], "the same key is not shown twice");
    let other = Backend { own_key: true, ..Backend::named("b") };
    let house =
        house_of(json!({}), &[Backend { own_key: true, ..Backend::named("a") }, other], &[&[status(403)], &[ok()]]);
    for _ in 0..30 {
        assert_eq!(house.ask().await.unwrap().status, StatusCode::OK);
        advance(Duration::from_millis(400)).await;
    }
    let calls = house.calls();
    assert!((5..=10).contains(&calls[0]), "five, and a probe now and then: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn half_open_under_a_thousand_callers_exactly_the_probes_are_asked() {
    for probes in [1, 3] {
        let mut scripts = vec![fails(); 5];
        scripts.push(Script::late(Duration::from_millis(200), "{}"));
        let house = house(json!({ "probes": probes, "retries": 0 }), &[&scripts]);
        for _ in 0..5 {
            house.ask().await.ok();
        }
        advance(Duration::from_secs(2)).await;
        let asked = Instant::now();
        let refused = futures::future::join_all((0..1000).map(|_| async {
            let refused = house.ask().await.is_err();
            (refused, asked.elapsed())
        }))
        .await;
        assert_eq!(house.calls(), [5 + probes], "{probes} probes");
        let in_time = refused.iter().filter(|(refused, took)| *refused && *took < Duration::from_millis(5));
        assert_eq!(in_time.count(), 1000 - probes);
        assert_eq!(house.state(0), "closed");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_that_are_cancelled_do_not_leave_it_half_open_for_ever() {
    let mut scripts = vec![fails(); 5];
    scripts.push(Script::late(Duration::from_secs(1), "{}"));
    let house = house(json!({ "retries": 0 }), &[&scripts]);
    for _ in 0..5 {
        house.ask().await.ok();
    }
    advance(Duration::from_secs(2)).await;
    for _ in 0..20 {
        assert!(tokio::time::timeout(Duration::from_millis(10), house.ask()).await.is_err(), "a client that left");
    }
    assert_eq!(house.state(0), "half_open");
    assert!(house.ask().await.is_ok(), "the next one gets its turn");
    assert_eq!(house.state(0), "closed");
}

#[tokio::test(start_paused = true)]
async fn five_faults_in_a_hundred_for_half_an_hour_trip_nothing() {
    let mut chance = fastrand::Rng::with_seed(7);
    let scripts: Vec<_> = (0..36_000).map(|_| if chance.f64() < 0.05 { fails() } else { ok() }).collect();
    let house = house(json!({ "retries": 0 }), &[&scripts]);
    for _ in 0..36_000 {
        house.ask().await.unwrap();
        advance(Duration::from_millis(50)).await;
    }
    let standing = &house.fleet.report(None).unwrap()["backends"][0]["models"][0];
    assert_eq!((standing["state"].as_str(), standing["why"].as_str()), (Some("closed"), Some("start")), "{standing}");
}

#[tokio::test(start_paused = true)]
async fn fallback_pools_and_models_are_asked_in_their_order_and_answers_say_so() {
    let first = Backend { models: serde_json::from_value(json!(["m"])).unwrap(), ..Backend::named("first") };
    let second = Backend { tier: 1, ..first.clone() };
    let small = Backend {
        name: "small".to_owned(),
        models: serde_json::from_value(json!(["small"])).unwrap(),
        ..Backend::named("c")
    };
    let members = [first, Backend { name: "second".to_owned(), ..second }, small];
    let room = json!({ "fallbacks": [{ "model": "m", "to": ["absent", "small"] }], "retries": 2 });
    for (scripts, backend, how) in [
        ([ok(), ok(), ok()], "0 m", ""),
        ([fails(), ok(), ok()], "1 m", degraded::FALLBACK_POOL),
        ([fails(), fails(), ok()], "2 small", degraded::FALLBACK_MODEL),
    ] {
        let scripts: Vec<_> = scripts.iter().map(std::slice::from_ref).collect();
        let house = house_of(room.clone(), &members, &scripts);
        let reply = house.ask().await.unwrap();
        assert_eq!((header(&reply.headers, "backend"), header(&reply.headers, degraded::HEADER)), (backend, how));
        assert_eq!(reply.status, StatusCode::OK);
    }
    let house = house_of(room, &members, &[&[ok()], &[ok()], &[ok()]]);
    let unknown = house.ask_with(&[], r#"{"model":"nobody's"}"#).await;
    assert_eq!(unknown.err().unwrap().reason, Reason::NoSuchModel);
}

#[tokio::test(start_paused = true)]
async fn an_alias_reaches_the_backend_under_its_own_name() {
    let known = vec![("gpt-4o".to_owned(), "llama".to_owned())];
    let aliased =
        Backend { aliases: known, models: serde_json::from_value(json!(["llama"])).unwrap(), ..Backend::named("a") };
    let house = house_of(json!({}), &[aliased], &[&[ok()]]);
    let reply = house.ask_with(&[], r#"{"model":"gpt-4o","n":1}"#).await.unwrap();
    assert_eq!(header(&reply.headers, "backend"), "0 llama");
    assert_eq!(header(&reply.headers, degraded::HEADER), "", "it is the model that was meant");
}

#[tokio::test(start_paused = true)]
async fn weights_and_turns_part_the_work() {
    let heavy = Backend { weight: 3.0, ..Backend::named("a") };
    let house = house_of(json!({ "balance": "round_robin" }), &[heavy, Backend::named("b")], &[&[ok()], &[ok()]]);
    for _ in 0..40 {
        house.ask().await.unwrap();
    }
    assert_eq!(house.calls(), [30, 10]);
}

#[tokio::test(start_paused = true)]
async fn the_one_with_less_in_flight_is_asked() {
    let (slow, quick) = (Script::late(Duration::from_secs(10), "{}"), ok());
    let house = house(json!({}), &[&[slow], &[quick]]);
    let asks: Vec<_> = (0..100).map(|_| house.ask()).collect();
    futures::future::join_all(asks).await.into_iter().for_each(|reply| assert!(reply.is_ok()));
    let calls = house.calls();
    assert!(calls[0] <= 10 && calls[1] >= 90, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_pool_no_more_than_the_share_is_left_alone_for_a_bad_ratio() {
    let flaky = || [fails(), ok()].into_iter().cycle().take(1000).collect::<Vec<_>>();
    let (one, two, three, four) = (flaky(), flaky(), flaky(), flaky());
    let house =
        house(json!({ "retries": 0, "max_open_ms": 600_000, "open_ms": 600_000 }), &[&one, &two, &three, &four]);
    for _ in 0..1000 {
        house.ask().await.ok();
    }
    let out = (0..4).filter(|place| house.state(*place) == "open").count();
    assert_eq!(out, 2, "half of them");
}

#[tokio::test(start_paused = true)]
async fn a_late_first_token_is_asked_for_elsewhere_where_that_is_wanted() {
    let stream = Script::Stream(vec![Step::Data("one"), Step::Data("[DONE]")]);
    let quick = Script::Late(Duration::from_millis(50), Box::new(stream.clone()));
    let late = Script::Late(Duration::from_secs(20), Box::new(stream));
    for (hedge, most) in [(true, 200), (false, 20_000)] {
        let mut first = vec![quick.clone(); 60];
        first.push(late.clone());
        let second = Backend { tier: 0, weight: 1e-9, ..Backend::named("b") };
        let house = house_of(
            json!({ "hedge": hedge }),
            &[Backend::named("a"), second],
            &[&first, std::slice::from_ref(&quick)],
        );
        let lane_b = house.fleet.named("b").unwrap().clone();
        house.fleet.obey(&lane_b, Override::Draining);
        for _ in 0..60 {
            house.stream().await.unwrap();
        }
        house.fleet.tick();
        house.fleet.obey(&lane_b, Override::Auto);
        let asked = Instant::now();
        house.stream().await.unwrap();
        let took = asked.elapsed().as_millis();
        assert!(took <= most && (hedge || took >= 20_000), "hedge {hedge}: {took} ms");
        if hedge {
            assert_eq!(house.backends[0].cancelled(), 1, "the loser is not left running");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_operator_has_the_last_word() {
    let house = house(json!({ "retries": 0 }), &[&[fails()], &[ok()]]);
    let (bad, good) = (house.fleet.named("a").unwrap().clone(), house.fleet.named("b").unwrap().clone());
    house.fleet.obey(&good, Override::ForcedOpen);
    for _ in 0..10 {
        house.ask().await.ok();
    }
    assert_eq!((house.calls(), house.state(1)), (vec![5, 0], "forced_open".to_owned()));
    house.fleet.obey(&bad, Override::ForcedClosed);
    for _ in 0..10 {
        assert_eq!(house.ask().await.unwrap().status, StatusCode::INTERNAL_SERVER_ERROR, "forced to be asked");
    }
    house.fleet.obey(&bad, Override::Draining);
    house.fleet.obey(&good, Override::Auto);
    for _ in 0..10 {
        house.ask().await.unwrap();
    }
    assert_eq!(house.calls(), [15, 10]);
    house.fleet.obey(&bad, Override::Auto);
    assert_eq!(house.state(0), "closed", "what the breaker knew is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_request_may_set_its_own_patience() {
    let house = house(json!({}), &[&[fails()]]);
    let refused = house.ask_with(&[("x-outrigger-timeout-ms", "nonsense")], PLAIN).await;
    assert!(matches!(refused.err().unwrap().reason, Reason::BadRequest(_)));
    let asked = Instant::now();
    house.ask_with(&[("x-outrigger-timeout-ms", "50")], PLAIN).await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(50), "no wait that the client would not sit out");
    assert_eq!(house.calls(), [1]);
}

#[tokio::test(start_paused = true)]
async fn more_than_a_backend_takes_waits_its_turn_or_is_refused_at_once() {
    let slow = Script::late(Duration::from_millis(100), "{}");
    let admission = json!({ "adaptive": false, "initial_limit": 4, "queue": 4, "queue_timeout_ms": 1000 });
    let house = house(json!({ "admission": admission }), &[&[slow]]);
    let begun = Instant::now();
    let asks = (0..20).map(|_| async { (house.ask().await, begun.elapsed()) });
    let answers = futures::future::join_all(asks).await;
    let refused: Vec<_> = answers.iter().filter_map(|(answer, took)| Some((answer.as_ref().err()?, took))).collect();
    assert_eq!(refused.len(), 12, "four at once and four waiting");
    for (refusal, took) in refused {
        assert_eq!((refusal.reason.clone(), refusal.reason.status().as_u16()), (Reason::Overloaded, 503));
        assert!(*took < Duration::from_millis(5) && refusal.headers.as_ref().unwrap().contains_key("retry-after"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_backend_that_goes_out_is_sent_to_another() {
    let slow = Script::late(Duration::from_millis(500), "{}");
    let room = json!({ "balance": "round_robin", "admission": { "adaptive": false, "initial_limit": 1 } });
    let house = house(room, &[std::slice::from_ref(&slow), std::slice::from_ref(&slow)]);
    let patient = async {
        sleep(Duration::from_millis(1)).await;
        let (third, fourth) = tokio::join!(house.ask(), house.ask());
        (third.is_ok(), fourth.is_ok())
    };
    let drained = async {
        sleep(Duration::from_millis(100)).await;
        house.fleet.obey(&house.fleet.named("a").unwrap().clone(), Override::Draining);
    };
    let (first, second, patient, ()) = tokio::join!(house.ask(), house.ask(), patient, drained);
    assert!(first.is_ok() && second.is_ok(), "what has begun goes on to its end");
    assert!(patient.0 || patient.1, "and who waited goes elsewhere");
    assert_eq!(house.calls()[0], 1, "the drained one is asked nothing more");
}

#[tokio::test(start_paused = true)]
async fn a_tenants_pause_holds_nobody_else_back() {
    let house = house(json!({}), &[&[ok()]]);
    let lane = house.fleet.plan(Some("m")).unwrap().stages[0].pool.seats[0].lane.clone();
    let verdict =
        verdict::Verdict { pause: Some(Duration::from_secs(9)), outcome: gate::Outcome::Limited, may_repeat: true };
    lane.pause(&verdict, ask(PLAIN).tenant, Instant::now());
    assert_eq!(house.ask().await.err().unwrap().reason, Reason::BackendPaused);
    let other = ask_by("other", crate::ask::Sharing::Allowed, PLAIN);
    assert!(house.chain.run(Arc::new(other)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_in_a_hurry_trips_nothing_for_the_others() {
    let late = Script::Refuse(Reason::FirstTokenTimeout);
    let stalls = Script::Stream(vec![Step::Data("one"), Step::Break(Broken::TokenGap)]);
    for script in [late, stalls] {
        let house = house(json!({ "retries": 0 }), &[std::slice::from_ref(&script)]);
        for _ in 0..50 {
            if let Ok(reply) = house.ask_with(&[("x-outrigger-timeout-gap-ms", "1")], STREAM).await
                && let Body::Events(mut events) = reply.body
            {
                while events.next().await.is_some() {}
            }
        }
        assert_eq!(house.state(0), "closed", "{script:?}");
        house.stream().await.ok();
        let window = house.fleet.report(Some("a")).unwrap()["models"][0]["window"].clone();
        assert_eq!(window["bad"], 1, "with the time that it should have it is a fault: {window}");
    }
}

#[tokio::test(start_paused = true)]
async fn invented_models_fill_no_memory_and_take_nobodys_breaker_away() {
    let house = house(json!({}), &[&[ok()]]);
    for number in 0..3_000 {
        house.ask_with(&[], &format!(r#"{{"model":"invented-{number}"}}"#)).await.unwrap();
        if number % 100 == 0 {
            advance(Duration::from_secs(1)).await;
            house.fleet.tick();
        }
    }
    let long = "x".repeat(1 << 20);
    house.ask_with(&[], &format!(r#"{{"model":"{long}"}}"#)).await.unwrap();
    let told = house.fleet.report(None).unwrap().to_string();
    assert!(told.len() < 200_000, "{} bytes", told.len());
    house.fleet.tick();
    house.fleet.tick();
    house.ask().await.unwrap();
    let told = house.fleet.report(Some("a")).unwrap();
    let known = told["models"].as_array().unwrap().iter().any(|lane| lane["model"] == "m");
    assert!(known, "a real one gets its own again: {told}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_slow_once_is_tried_again() {
    let stream = Script::Stream(vec![Step::Data("one"), Step::Data("[DONE]")]);
    let after = |millis| Script::Late(Duration::from_millis(millis), Box::new(stream.clone()));
    let house = house(json!({}), &[&[after(20_000), after(100)], &[after(100)]]);
    for _ in 0..20 {
        house.stream().await.unwrap();
    }
    let before = house.calls()[0];
    advance(Duration::from_secs(120)).await;
    for _ in 0..40 {
        house.stream().await.unwrap();
    }
    assert!(house.calls()[0] >= before + 10, "{:?}, and {before} before", house.calls());
}

#[tokio::test(start_paused = true)]
async fn a_model_that_nobody_asks_for_any_more_makes_the_whole_no_sicker() {
    let house = house(json!({ "retries": 0 }), &[&[fails(), fails(), fails(), fails(), fails(), ok()]]);
    for _ in 0..5 {
        house.ask().await.unwrap();
    }
    assert_eq!(house.fleet.health()["status"], "unhealthy");
    assert_eq!(house.fleet.for_passed(), Some(0), "somebody must take what is passed on");
    house.ask_with(&[], r#"{"model":"other"}"#).await.unwrap();
    assert_eq!(house.fleet.health()["status"], "degraded", "the other model answers");
    advance(Duration::from_secs(2)).await;
    assert_eq!(house.state(0), "half_open", "its time is over, though nobody has come");
    house.fleet.obey(&house.fleet.named("a").unwrap().clone(), Override::Draining);
    assert_eq!((house.fleet.for_passed(), house.fleet.health()["status"].as_str()), (None, Some("unhealthy")));
}
