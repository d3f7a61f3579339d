//! One reload after another, under steady load: nothing in flight fails, and nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{File, backend, by, hang_up};
use crate::support::{CHAT, Client, Outrigger, Simulator, chat, get, post, read, request, stream};

/// Clients that ask without a pause, each on a connection of its own, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn on(outrigger: &Outrigger) -> Self {
        let (stop, asked, mut clients) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), JoinSet::new());
        for number in 0..8 {
            let (stop, asked, address) = (stop.clone(), asked.clone(), outrigger.address);
            clients.spawn(async move {
                let (http2, streams) = (number % 2 == 1, number % 4 >= 2);
                let mut client = if http2 { Client::http2(address).await } else { Client::http1(address).await };
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let count = asked.fetch_add(1, Ordering::Relaxed);
                    let mut body = if streams { stream(json!({ "tokens": 20, "gap_ms": 5 })) } else { chat(json!({})) };
                    body["messages"][0]["content"] = format!("{number} asks for the time {count}").into();
                    let key = format!("Bearer key-{}", count % 5);
                    let asking = request(address, CHAT, &[("authorization", &key)], body.to_string());
                    match client.send(asking).await {
                        Ok(response) => {
                            let answer = read(response).await;
                            let whole = !streams || answer.text().contains("[DONE]");
                            if answer.status != StatusCode::OK || !answer.complete || !whole {
                                failed.push(format!("{number}: {} {:?}", answer.status, answer.text()));
                            }
                        }
                        Err(error) => {
                            failed.push(format!("{number}: {error}"));
                            return failed;
                        }
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                failed
            });
        }
        Load { stop, asked, clients }
    }

    async fn end(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failed.extend(client.unwrap());
        }
        (self.asked.load(Ordering::Relaxed), failed)
    }
}

/// Settings of all kinds, each time others, under which nobody is refused.
fn settings(round: usize, one: &Simulator, other: &Simulator) -> String {
    let backends = match round % 4 {
        0 => backend("a", one),
        1 => format!("{}{}", backend("a", one), backend("b", other)),
        2 => format!("{}tier = 1\n{}weight = 2.5\n", backend("a", one), backend("b", other)),
        _ => backend("b", other),
    };
    let limit = |name: &str, unit: &str| {
        format!("[[rate_limit.limits]]\nname = \"{name}\"\nunit = \"{unit}\"\namount = {}\n", 10_000_000 + round)
    };
    let limits = match round % 3 {
        0 => format!("{}window = \"1m\"\n{}", limit("rpm", "requests"), limit("open", "concurrent")),
        1 => format!("{}window = \"1h\"\n{}window = \"1m\"\n", limit("tpm", "tokens"), limit("rpm", "requests")),
        _ => String::new(),
    };
    let budget = match round % 5 {
        0 => String::new(),
        other => {
            format!("[[cost.budgets]]\nname = \"day-{}\"\namount_usd = {}\nperiod = \"day\"\n", other % 2, 1000 + round)
        }
    };
    format!(
        "[server]\nmax_body_bytes = {}\nforwarded_headers = [\"x-round-{}\"]\ndrain_secs = {}\n\
         [dedup]\nenabled = {}\nsampled = \"{}\"\n\
         [breaker]\nretries = {}\nconsecutive_failures = {}\nwindow_secs = {}\nbalance = \"{}\"\nhealth_interval_ms = {}\n\
         [breaker.admission]\nqueue = {}\n\
         [cost]\nunpriced = \"allow\"\n[[cost.price]]\nmodel = \"sim\"\ninput = {}.5\noutput = 1.0\n\
         [latency]\nslow_kept = {}\n[telemetry]\nlog_level = \"{}\"\naccess_log = {}\n\
         [[alerts.rules]]\nmetric = \"error_rate\"\nwarning = 0.{}\n\
         [tenants.names]\nfive = {{ value = \"key-{}\" }}\n{limits}{budget}{backends}",
        1_000_000 + round,
        round % 9,
        30 + round % 5,
        round.is_multiple_of(2),
        if round.is_multiple_of(3) { "share" } else { "separate" },
        round % 3,
        5 + round % 4,
        10 + round % 3,
        ["least_in_flight", "round_robin", "prefix"][round % 3],
        1000 + round,
        256 + round % 7,
        round % 100,
        round % 50,
        if round.is_multiple_of(2) { "info" } else { "warn" },
        !round.is_multiple_of(3),
        1 + round % 8,
        round % 5,
    )
}

/// What a process takes: resident bytes and threads.
fn taken(outrigger: &Outrigger) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", outrigger.process.id())).unwrap();
    let number = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("VmRSS:") * 1024, number("Threads:"))
}

async fn series(outrigger: &Outrigger) -> usize {
    get(outrigger.admin, "/metrics").await.text().lines().filter(|line| !line.starts_with('#')).count()
}

async fn storm(name: &str, reloads: usize) -> (u64, [(u64, u64); 2]) {
    const WARM: usize = 30;
    let (file, one, other) = (File::new(name), Simulator::start(&[]), Simulator::start(&[]));
    let outrigger = by(&file, &settings(0, &one, &other)).await;
    let load = Load::on(&outrigger);
    let (mut begun, mut invalid, mut lines) = ((0, 0), 0, 0);
    for round in 1..=WARM + reloads {
        if round == WARM + 1 {
            // What is made once has been made.
            (begun, lines) = (taken(&outrigger), series(&outrigger).await);
        }
        let mut text = settings(round, &one, &other);
        let wrong = round % 5 == 0;
        if wrong {
            let line = text.lines().count() + 2;
            text.push_str("[health]\nmemory_share = 7.5\n");
            file.write(&text);
            let told = post(outrigger.admin, "/api/reload", &[], "").await.json();
            let error = told["error"].as_str().unwrap_or_default();
            assert!(error.contains(&format!(":{line}: health.memory_share: ")), "round {round}: {told}");
            invalid += usize::from(round > WARM);
            continue;
        }
        file.write(&text);
        let told: Value = match round % 7 {
            0 => hang_up(&outrigger).await,
            _ => post(outrigger.admin, "/api/reload", &[], "").await.json(),
        };
        assert_eq!(told["outcome"], "applied", "round {round}: {told}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(invalid, reloads / 5, "as many as are to be wrong");
    let (asked, failed) = load.end().await;
    assert!(failed.is_empty(), "{} of {asked} failed: {:?}", failed.len(), &failed[..failed.len().min(5)]);
    assert!(asked > reloads as u64, "there was load: {asked}");
    // What is freed goes back in its time.
    let until = Instant::now() + Duration::from_secs(15);
    while taken(&outrigger).1 > begun.1 && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
    }
    let ended = taken(&outrigger);
    let now = series(&outrigger).await;
    assert!(now <= lines + lines / 5, "{now} series where there were {lines}");
    (asked, [begun, ended])
}

#[tokio::test]
async fn sixty_reloads_under_load_fail_nobody_and_leave_nothing_behind() {
    let (asked, [begun, ended]) = storm("sixty", 60).await;
    assert!(asked > 0 && ended.1 <= begun.1 + 2, "threads: {} where there were {}", ended.1, begun.1);
    assert!(ended.0 < begun.0 + 24 * 1024 * 1024, "resident: {} where there were {}", ended.0, begun.0);
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn a_thousand_reloads_under_load_fail_nobody_and_leave_nothing_behind() {
    let (asked, [begun, ended]) = storm("thousand", 1000).await;
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    println!(
        "{asked} requests, none failed; resident {:.1} MiB after 30 reloads and {:.1} after 1,030; threads {} and {}",
        mib(begun.0),
        mib(ended.0),
        begun.1,
        ended.1
    );
    assert!(ended.1 <= begun.1 + 2, "threads: {} where there were {}", ended.1, begun.1);
    assert!(ended.0 < begun.0 + 24 * 1024 * 1024, "resident: {} where there were {}", ended.0, begun.0);
}
