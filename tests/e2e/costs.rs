//! Every token is in the books once, whatever becomes of its answer; budgets hold; the books outlive a kill.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::redis::Redis;
use crate::support::{Answer, CHAT, Client, Outrigger, Simulator, UNBROKEN, chat, get, post, request, stream};

/// One micro-dollar for a token read and two for one written.
const PRICE: (&str, &str) = (
    "COST__PRICE",
    r#"[{ model = "sim", input = 1.0, output = 2.0 }, { model = "gpt-4o", input = 1.0, output = 2.0 }]"#,
);

async fn costs(sidecar: &Outrigger, query: &str) -> Value {
    get(sidecar.admin, &format!("/api/costs{query}")).await.json()
}

/// Waits until so many calls are in the books.
async fn until_booked(sidecar: &Outrigger, calls: u64) -> Value {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let costs = costs(sidecar, "").await;
        if costs["total"]["requests"] == calls {
            return costs;
        }
        assert!(Instant::now() < until, "it never became {calls} calls: {costs}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_plain_answer_says_what_it_cost_and_so_do_the_books() {
    let simulator = Simulator::start(&[]);
    let sidecar = Outrigger::before(&simulator, &[PRICE]).await;
    let answer =
        post(sidecar.address, CHAT, &[("x-outrigger-budget-tag", "team-a")], chat(json!({})).to_string()).await;
    let usage = &answer.json()["usage"];
    let nanos = usage["prompt_tokens"].as_u64().unwrap() * 1000 + usage["completion_tokens"].as_u64().unwrap() * 2000;
    let told: f64 = answer.header("x-outrigger-cost-usd").parse().unwrap();
    assert_eq!((told * 1e9).round() as u64, nanos);
    let costs = until_booked(&sidecar, 1).await;
    assert_eq!((&costs["total"]["cost_nanousd"], &costs["total"]["estimated"]), (&json!(nanos), &json!(0)));
    assert_eq!(costs["rows"][0]["model"], "sim");
    let by_tag = get(sidecar.admin, "/api/costs?by=tag,hour&tag=team-a").await.json();
    assert_eq!((&by_tag["rows"][0]["tag"], &by_tag["rows"][0]["requests"]), (&json!("team-a"), &json!(1)));
    assert_eq!(get(sidecar.admin, "/api/costs?tag=other").await.json()["total"]["requests"], 0);
    assert_eq!(get(sidecar.admin, "/api/costs/today").await.json()["total"]["requests"], 1);
    for (wrong, words) in [
        ("by=color", "grouped by"),
        ("from=yesterday", "is to be a date"),
        ("limit=0", "limit"),
        ("tenant=nobody", "No such tenant"),
        ("colour=red", "There is no `colour` here"),
        ("from=2026-02-02&until=2026-01-01", "before"),
    ] {
        let answer = get(sidecar.admin, &format!("/api/costs?{wrong}")).await;
        assert!(answer.status.is_client_error() && answer.text().contains(words), "{wrong}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_stream_shows_usage_and_cost_to_those_who_ask_and_to_no_others() {
    let simulator = Simulator::start(&[]);
    let sidecar = Outrigger::before(&simulator, &[PRICE]).await;
    let plain = post(sidecar.address, CHAT, &[], stream(json!({ "echo": true })).to_string()).await;
    assert!(plain.complete && !plain.text().contains("prompt_tokens"), "{}", plain.text());
    assert!(plain.text().ends_with("data: [DONE]\n\n"));
    let mut asking = stream(json!({}));
    asking["stream_options"] = json!({ "include_usage": true });
    let asked = post(sidecar.address, CHAT, &[("x-outrigger-cost", "on")], asking.to_string()).await;
    let text = asked.text();
    assert!(text.contains("prompt_tokens"), "he asked for it: {text}");
    let (_, end) = text.split_once(": x-outrigger-cost-usd ").unwrap_or_else(|| panic!("the cost is told: {text}"));
    let (cost, end) = end.split_once("\n\n").unwrap();
    assert_eq!(end, "data: [DONE]\n\n", "before the last event");
    let costs = until_booked(&sidecar, 2).await;
    assert_eq!(costs["total"]["estimated"], 0, "both by the backend's word");
    let told: f64 = cost.parse().unwrap();
    assert_eq!((told * 2e9).round(), costs["total"]["cost_nanousd"].as_f64().unwrap(), "two like this one");
    let wrong = post(sidecar.address, CHAT, &[("x-outrigger-cost", "please")], asking.to_string()).await;
    assert_eq!(wrong.status, 400);
}

/// What one client does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Plain,
    Stream,
    StreamWithUsage,
    /// The backend does not say its usage.
    Untold,
    /// Reads so many pieces and goes.
    Leave(usize),
    /// The backend breaks off after so many tokens.
    Cut(u64),
    Limited,
    Failing,
    /// Two at once that are one flight.
    Twins,
    /// The same again, from memory.
    Again,
}

impl Deed {
    fn any(random: &mut fastrand::Rng) -> Deed {
        match random.u32(0..100) {
            0..25 => Deed::Plain,
            25..45 => Deed::Stream,
            45..55 => Deed::StreamWithUsage,
            55..60 => Deed::Untold,
            60..72 => Deed::Leave(random.usize(1..12)),
            72..80 => Deed::Cut(random.u64(1..12)),
            80..84 => Deed::Limited,
            84..88 => Deed::Failing,
            88..94 => Deed::Twins,
            _ => Deed::Again,
        }
    }

    fn body(self, number: u64, random: &mut fastrand::Rng) -> Value {
        const WORDS: [&str; 8] = ["ship", "water", "paddle", "reef", "storm", "harbour", "lantern", "keel"];
        let words: Vec<_> = (0..random.usize(5..60)).map(|_| WORDS[random.usize(0..WORDS.len())]).collect();
        let text = format!("{number} {}", words.join(" "));
        let mut sim = json!({ "tokens": random.u64(12..40) });
        let streams = !matches!(self, Deed::Plain | Deed::Limited | Deed::Failing | Deed::Twins | Deed::Again);
        match self {
            Deed::Untold => sim["hide_usage"] = true.into(),
            // Long enough that none is at its end when its client goes.
            Deed::Leave(_) => (sim["gap_ms"], sim["tokens"]) = (3.into(), 200.into()),
            Deed::Cut(at) => (sim["fault"], sim["at"]) = ("cut".into(), at.into()),
            Deed::Limited => sim["status"] = 429.into(),
            Deed::Failing => sim["status"] = 500.into(),
            Deed::Twins => sim["ttft_ms"] = 20.into(),
            _ => {}
        }
        let mut body = json!({
            "model": "gpt-4o", "temperature": 0, "stream": streams, "sim": sim,
            "messages": [{ "role": "user", "content": text }],
        });
        if matches!(self, Deed::StreamWithUsage) {
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    }

    async fn run(self, client: &mut Client, sidecar: std::net::SocketAddr, body: &Value) {
        let ask = || request(sidecar, CHAT, &[], body.to_string());
        match self {
            Deed::Leave(pieces) => {
                // On a connection of its own, which goes with it.
                let mut client = Client::http1(sidecar).await;
                let mut answer = client.send(ask()).await.unwrap().into_body();
                for _ in 0..pieces {
                    if answer.frame().await.is_none_or(|frame| frame.is_err()) {
                        return;
                    }
                }
            }
            Deed::Cut(_) => {
                // The connection is cut with the answer.
                let answer = post(sidecar, CHAT, &[], body.to_string()).await;
                assert!(!answer.complete);
            }
            Deed::Twins => {
                let mut other = Client::http1(sidecar).await;
                let (one, two) = tokio::join!(client.send(ask()), other.send(ask()));
                crate::support::read(one.unwrap()).await;
                crate::support::read(two.unwrap()).await;
            }
            Deed::Again => {
                for _ in 0..2 {
                    crate::support::read(client.send(ask()).await.unwrap()).await;
                }
            }
            _ => {
                crate::support::read(client.send(ask()).await.unwrap()).await;
            }
        }
    }
}

/// The books and the backend's own, after so many requests of all kinds.
async fn compare(requests: u64) {
    const CLIENTS: u64 = 16;
    let simulator = Simulator::start(&["--count-prompts", "o200k", "--model", "gpt-4o"]);
    let settings = [
        PRICE,
        ("SEMANTIC_CACHE__MODE", "exact"),
        ("BREAKER__CONSECUTIVE_FAILURES", "1000000"),
        ("BREAKER__SUCCESS_RATIO", "0.01"),
    ];
    let sidecar = Outrigger::before(&simulator, &settings).await;
    let address = sidecar.address;
    let clients = (0..CLIENTS).map(|client| {
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(client);
            let mut connection = Client::http1(address).await;
            for number in 0..requests / CLIENTS {
                let deed = Deed::any(&mut random);
                let body = deed.body(client * 1_000_000 + number, &mut random);
                deed.run(&mut connection, address, &body).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let stats = simulator.until("active", 0).await;
    let count = |of: &str, kind: &str| stats[of][kind].as_u64().unwrap();
    let calls = count("told", "generations") + count("untold", "generations");
    let costs = until_booked(&sidecar, calls).await;
    let metric = async |kind: &str, source: &str| {
        let name = format!("outrigger_tokens_total{{source=\"{source}\",type=\"{kind}\"");
        sidecar.metric(&name).await.unwrap_or(0.0) as u64
    };
    eprintln!("{requests} requests: the backend says {stats}; the books {}", costs["total"]);
    let (mut missed, mut all_estimated, mut all_untold) = (Vec::new(), 0, 0);
    for kind in ["input", "output"] {
        let (measured, estimated) = (metric(kind, "measured").await, metric(kind, "estimated").await);
        let (told, untold) = (count("told", kind), count("untold", kind));
        eprintln!("{kind}: measured {measured} of {told}; estimated {estimated} of {untold}");
        assert_eq!(measured + estimated, costs["total"]["tokens"][kind].as_u64().unwrap(), "books and metrics agree");
        missed.push((kind, measured, told));
        (all_estimated, all_untold) = (all_estimated + estimated, all_untold + untold);
    }
    for (kind, measured, told) in missed {
        assert_eq!(measured, told, "{kind}: what the backend said is in the books, token for token");
    }
    // What a backend hands to its socket after a client has gone is in its count, and was never seen here.
    let off = (all_estimated as f64 / all_untold as f64 - 1.0).abs();
    assert!(off <= 0.01, "what it did not say is off by {off}");
    assert!(count("untold", "generations") > requests / 8, "there was enough that it did not say");
    assert!(costs["saved"]["dedup"]["requests"].as_u64() > Some(0), "{costs}");
    assert!(costs["saved"]["cache"]["requests"].as_u64() > Some(0), "{costs}");
    let nanos = |costs: &Value| {
        let tokens = &costs["total"]["tokens"];
        tokens["input"].as_u64().unwrap() * 1000 + tokens["output"].as_u64().unwrap() * 2000
    };
    assert_eq!(costs["total"]["cost_nanousd"], nanos(&costs), "every token is priced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_equal_the_backends_own_whatever_becomes_of_answers() {
    compare(1_600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn the_books_equal_the_backends_own_over_a_hundred_thousand_requests() {
    compare(100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_sidecars_hold_one_budget_together() {
    let simulator = Simulator::start(&["--ttft-ms", "20", "--count-prompts", "o200k"]);
    let redis = Redis::start().await;
    let url = redis.url();
    // A call reserves its prompt and 16 tokens, and uses just these.
    let budgets = r#"[{ name = "b", amount_usd = 0.02, period = "total", scope = "everyone" }]"#;
    let settings = [PRICE, ("REDIS__URL", url.as_str()), ("REDIS__TIMEOUT_MS", "2000"), ("COST__BUDGETS", budgets)];
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(Outrigger::before(&simulator, &settings).await);
    }
    let mut tasks = Vec::new();
    for client in 0..200_usize {
        let address = sidecars[client % 3].address;
        tasks.push(tokio::spawn(async move {
            let mut connection = Client::http1(address).await;
            let (mut good, mut refused, mut spent) = (0, 0, 0);
            for number in 0..10 {
                let mut body = chat(json!({}));
                (body["max_tokens"], body["user"]) = (16.into(), format!("{client}-{number}").into());
                body["model"] = "gpt-4o".into();
                let answer =
                    crate::support::read(connection.send(request(address, CHAT, &[], body.to_string())).await.unwrap())
                        .await;
                match answer.status.as_u16() {
                    200 => {
                        good += 1;
                        spent += (answer.header("x-outrigger-cost-usd").parse::<f64>().unwrap() * 1e9).round() as u64;
                    }
                    429 => {
                        refused += 1;
                        assert_eq!(answer.json()["error"]["code"], "insufficient_quota", "{}", answer.text());
                        assert_eq!(answer.header("x-should-retry"), "false");
                    }
                    status => panic!("{status}: {}", answer.text()),
                }
            }
            (good, refused, spent)
        }));
    }
    let (mut good, mut refused, mut spent) = (0, 0, 0);
    for task in tasks {
        let (more_good, more_refused, more_spent) = task.await.unwrap();
        (good, refused, spent) = (good + more_good, refused + more_refused, spent + more_spent);
    }
    eprintln!("{good} answered, {refused} refused, {spent} of 20000000 nano-dollars spent");
    assert!(refused > 0 && spent <= 20_000_000, "{spent} nano-dollars were spent of 20000000");
    assert!(spent >= 19_900_000, "what there is can be spent: {spent}");
    let report = get(sidecars[0].admin, "/api/budgets").await.json();
    assert_eq!(report["budgets"][0]["name"], "b", "{report}");
}

#[tokio::test]
async fn the_books_outlive_a_kill_and_so_does_what_a_budget_has_spent() {
    let simulator = Simulator::start(&[]);
    let folder = std::env::temp_dir().join(format!("outrigger-e2e-ledger-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("ledger.db").display().to_string();
    let budgets = r#"[{ name = "b", amount_usd = 0.0002, period = "day", scope = "everyone" }]"#;
    let settings = [PRICE, ("COST__LEDGER_PATH", path.as_str()), ("COST__BUDGETS", budgets)];
    let mut sidecar = Outrigger::before(&simulator, &settings).await;
    let ask = |number: usize| {
        let mut body = chat(json!({}));
        (body["max_tokens"], body["user"]) = (16.into(), number.to_string().into());
        body.to_string()
    };
    let mut good = 0;
    let refused: Answer = loop {
        let answer = post(sidecar.address, CHAT, &[], ask(good)).await;
        if answer.status != 200 {
            break answer;
        }
        good += 1;
    };
    assert_eq!(refused.status, 429, "{}", refused.text());
    let before = until_booked(&sidecar, good as u64).await;
    sidecar.process.signal(9);
    sidecar.process.ended(Duration::from_secs(10)).await;
    let again = Outrigger::before(&simulator, &settings).await;
    assert_eq!(costs(&again, "").await["total"], before["total"]);
    assert_eq!(post(again.address, CHAT, &[], ask(good)).await.status, 429, "the money is still gone");
    drop(again);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn what_is_kept_is_answered_when_the_money_is_gone_and_costs_nothing() {
    let simulator = Simulator::start(&[]);
    let budgets = r#"[{ name = "b", amount_usd = 0.00006, period = "day", scope = "everyone" }]"#;
    let settings = [PRICE, ("COST__BUDGETS", budgets), ("SEMANTIC_CACHE__MODE", "exact"), UNBROKEN[0], UNBROKEN[1]];
    let sidecar = Outrigger::before(&simulator, &settings).await;
    let ask = |text: &str| {
        let messages = json!([{ "role": "user", "content": text }]);
        json!({ "model": "sim", "temperature": 0, "max_tokens": 16, "messages": messages }).to_string()
    };
    assert_eq!(post(sidecar.address, CHAT, &[], ask("one")).await.status, 200);
    assert_eq!(post(sidecar.address, CHAT, &[], ask("two")).await.status, 429, "the money is gone");
    let kept = post(sidecar.address, CHAT, &[], ask("one")).await;
    assert_eq!((kept.status.as_u16(), kept.header("x-cache"), kept.header("x-outrigger-cost-usd")), (200, "HIT", "0"));
    let advice = get(sidecar.admin, "/api/recommendations").await;
    assert!(advice.json()["recommendations"].is_array(), "{}", advice.text());
}
