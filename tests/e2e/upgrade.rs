//! One process takes another's place while requests are answered: nobody is refused, nothing is cut, nothing is forgotten.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{CHAT, Client, Outrigger, Simulator, ask, chat, get, post, read, request, stream};

const TAKEN: &str = "the place of the process before this one is taken";
const PASSED: &str = "another process has taken this one's place";

/// A place that processes follow each other in.
struct Site {
    settings: Vec<(String, String)>,
    folder: PathBuf,
}

impl Site {
    fn before(simulator: &Simulator, name: &str, settings: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("outrigger-upgrade-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let url = format!("http://{}", simulator.address);
        let socket = folder.join("upgrade.sock").display().to_string();
        let own = [("BACKENDS__0__URL", url.as_str()), ("SERVER__UPGRADE_SOCKET", &socket)];
        let all = own.iter().chain(settings);
        Site { settings: all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(), folder }
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    async fn first(&self) -> Outrigger {
        Outrigger::start(&self.settings()).await
    }

    /// A process that takes the place of another, once it has.
    async fn after(&self, before: &Outrigger) -> Outrigger {
        let next = Outrigger::spawn((before.address, before.admin), &["--upgrade"], &self.settings());
        next.until_logged(TAKEN).await;
        before.until_logged(PASSED).await;
        next
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What clients saw.
#[derive(Debug, Default)]
struct Seen {
    whole: AtomicU32,
    /// Requests that were not begun, on connections of HTTP/2 that were at their end.
    told_to_go: AtomicU32,
    wrong: std::sync::Mutex<Vec<String>>,
}

impl Seen {
    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

/// A GOAWAY without an error: the request was not processed, and is to be sent anew (RFC 9113, section 6.8).
fn was_told_to_go(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}

/// A client that asks again and again until it is told to stop: each time on a new connection or on its old one.
async fn client(number: usize, address: std::net::SocketAddr, seen: Arc<Seen>, over: Arc<AtomicBool>) {
    let mut connection = None;
    for round in 0_u32.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let keeps = number.is_multiple_of(2);
        if !keeps || connection.is_none() {
            connection = Some(if number.is_multiple_of(3) {
                Client::http2(address).await
            } else {
                Client::http1(address).await
            });
        }
        let tokens = 20 + number % 60;
        let mut body = stream(json!({ "gap_ms": 30, "tokens": tokens }));
        body["messages"][0]["content"] = format!("{number} {round}").into();
        let Some(open) = connection.as_mut() else { continue };
        match open.send(request(address, CHAT, &[], body.to_string())).await {
            Ok(response) => {
                let closes = response.headers().get("connection").is_some_and(|value| value == "close");
                let answer = read(response).await;
                let text = answer.text();
                let last = format!(".{} ", tokens - 1);
                if answer.status == 200 && answer.complete && text.contains(&last) && text.contains("[DONE]") {
                    seen.whole.fetch_add(1, Ordering::Relaxed);
                } else {
                    seen.wrong(format!("{number}: {} {} {text:.300}", answer.status, answer.complete));
                }
                if closes {
                    connection = None;
                }
            }
            // What a client does on a connection that was closed before it asked: it opens another.
            Err(error) if error.is_canceled() || error.is_closed() => connection = None,
            // hyper goes on opening streams on a connection that has been told to go; those that came too late were not begun.
            Err(error) if was_told_to_go(&error) => {
                seen.told_to_go.fetch_add(1, Ordering::Relaxed);
                connection = None;
            }
            Err(error) => {
                seen.wrong(format!("{number}: {error:?}"));
                connection = None;
            }
        }
    }
}

async fn upgrades(count: usize, clients: usize, name: &str) {
    let simulator = Simulator::start(&[]);
    let site = Site::before(&simulator, name, &[("BREAKER__ADMISSION__ADAPTIVE", "false")]);
    let (seen, over) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let mut running = site.first().await;
    let asking: Vec<_> =
        (0..clients).map(|number| tokio::spawn(client(number, running.address, seen.clone(), over.clone()))).collect();
    let mut old = Vec::new();
    let begun = Instant::now();
    for _ in 0..count {
        sleep(Duration::from_millis(300)).await;
        let next = site.after(&running).await;
        old.push(std::mem::replace(&mut running, next));
        // Those that have ended are not kept.
        let mut still = Vec::new();
        for mut process in old {
            match process.process.ended(Duration::from_millis(1)).await {
                None => still.push(process),
                code => assert_eq!(code, Some(0), "{}", process.log()),
            }
        }
        old = still;
    }
    let took = begun.elapsed();
    over.store(true, Ordering::Relaxed);
    for asked in asking {
        asked.await.unwrap();
    }
    for mut process in old {
        assert_eq!(process.process.ended(Duration::from_secs(90)).await, Some(0), "{}", process.log());
    }
    let (whole, wrong) = (seen.whole.load(Ordering::Relaxed), seen.wrong.lock().unwrap());
    let told_to_go = seen.told_to_go.load(Ordering::Relaxed);
    println!(
        "{count} upgrades in {took:.1?} under {clients} clients: {whole} streams whole, {} not; {told_to_go} not begun and told so",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} of them: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(whole as usize >= clients, "there was a load: {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_refuse_and_cut_nothing() {
    upgrades(6, 40, "load").await;
}

#[ignore = "minutes of load: cargo test --test e2e -- --ignored --nocapture a_hundred_upgrades"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_upgrades_under_two_hundred_streams() {
    upgrades(100, 200, "hundred").await;
}

#[tokio::test]
async fn a_request_on_an_old_connection_is_answered_by_the_new_process() {
    let simulator = Simulator::start(&[]);
    let limits = r#"[{ name = "rpm", amount = 3, window = "1h" }]"#;
    let site = Site::before(&simulator, "relay", &[("RATE_LIMIT__LIMITS", limits)]);
    let mut first = site.first().await;
    let (mut one, mut two) = (Client::http1(first.address).await, Client::http2(first.address).await);
    assert_eq!(one.ask(first.address, chat(json!({})).to_string()).await.status, 200);
    let second = site.after(&first).await;
    let answer = one.ask(first.address, stream(json!({ "tokens": 3 })).to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.complete), (200, true), "{}", answer.text());
    assert_eq!(answer.header("connection"), "close", "and is told to come anew");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "1", "the new process has counted all");
    // HTTP/2 is told to go away, which a request that was sent already survives.
    let sent = two.send(request(first.address, CHAT, &[], chat(json!({})).to_string())).await;
    if let Ok(response) = sent {
        assert_eq!(read(response).await.status, 200);
    }
    drop((one, two));
    assert_eq!(first.process.ended(Duration::from_secs(30)).await, Some(0), "{}", first.log());
    assert_eq!(get(second.admin, "/readyz").await.status, 200);
}

#[tokio::test]
async fn what_is_charged_and_held_goes_over_and_is_settled_there() {
    let simulator = Simulator::start(&[]);
    let limits = r#"[{ name = "rpm", amount = 6, window = "1h" }, { name = "tpm", unit = "tokens", amount = 100000, window = "1h" },
        { name = "open", unit = "concurrent", amount = 2 }]"#;
    let site = Site::before(&simulator, "limits", &[("RATE_LIMIT__LIMITS", limits)]);
    let mut first = site.first().await;
    for _ in 0..3 {
        assert_eq!(ask(first.address, chat(json!({}))).await.status, 200);
    }
    let mut client = Client::http1(first.address).await;
    let mut body = stream(json!({ "gap_ms": 30, "tokens": 60 }));
    body["max_tokens"] = 5000.into();
    let mut response = client.send(request(first.address, CHAT, &[], body.to_string())).await.unwrap();
    response.frame().await.unwrap().unwrap();
    simulator.hold();
    let second = site.after(&first).await;
    let account = async |name: &str| {
        let report = get(second.admin, "/api/limits").await.json();
        let accounts = report["accounts"].as_array().unwrap().clone();
        let found = accounts.into_iter().find(|account| account["limit"] == name);
        found.unwrap_or_else(|| panic!("no account of {name}: {report}"))
    };
    let held = account("tpm").await;
    assert!(held["reserved"].as_u64() >= Some(5000), "what the stream holds has come over: {held}");
    assert_eq!(account("open").await["used"], 1, "it is in flight still");
    assert_eq!(account("rpm").await["used"], 4);
    simulator.go_on();
    let answer = read(response).await;
    assert!(answer.complete && answer.text().contains(".59 "), "{}", answer.text());
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (tokens, open) = (account("tpm").await, account("open").await);
        if tokens["reserved"] == 0 && open["used"] == 0 {
            assert!(tokens["used"].as_u64() < Some(2000), "it is settled by what it used: {tokens}");
            break;
        }
        assert!(Instant::now() < until, "never settled: {tokens} {open}");
        sleep(Duration::from_millis(20)).await;
    }
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(second.address, chat(json!({}))).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429], "six in the hour, whichever process admits them");
    drop(client);
    assert_eq!(first.process.ended(Duration::from_secs(30)).await, Some(0), "{}", first.log());
}

#[tokio::test]
async fn an_open_breaker_stays_open() {
    let simulator = Simulator::start(&[]);
    let settings = [("BREAKER__OPEN_MS", "60000"), ("BREAKER__RETRIES", "0")];
    let site = Site::before(&simulator, "breaker", &settings);
    let first = site.first().await;
    for _ in 0..5 {
        assert_eq!(ask(first.address, chat(json!({ "status": 500 }))).await.status, 500);
    }
    assert_eq!(ask(first.address, chat(json!({}))).await.status, 503);
    let second = site.after(&first).await;
    let asked = simulator.stats().await["requests"].clone();
    let answer = ask(second.address, chat(json!({}))).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((30..=90).contains(&wait), "it is open for what was left: {wait} s");
    assert_eq!(simulator.stats().await["requests"], asked, "the backend is not asked");
}

async fn spent(outrigger: &Outrigger) -> (u64, u64) {
    let total = get(outrigger.admin, "/api/costs/today").await.json()["total"].clone();
    (total["requests"].as_u64().unwrap_or(0), total["tokens"]["output"].as_u64().unwrap_or(0))
}

async fn ledger(name: &str, in_a_file: bool) {
    let simulator = Simulator::start(&[]);
    let path = std::env::temp_dir().join(format!("outrigger-upgrade-{}-{name}.db", std::process::id()));
    let path = if in_a_file { path.display().to_string() } else { String::new() };
    let prices = r#"[{ model = "sim", input = 1000.0, output = 1000.0 }]"#;
    let budgets = r#"[{ name = "b", amount_usd = 0.5, period = "total", scope = "everyone" }]"#;
    let settings = [("COST__LEDGER_PATH", path.as_str()), ("COST__PRICE", prices), ("COST__BUDGETS", budgets)];
    let site = Site::before(&simulator, name, &settings);
    let mut first = site.first().await;
    for _ in 0..4 {
        assert_eq!(ask(first.address, chat(json!({ "tokens": 7 }))).await.status, 200);
    }
    let mut client = Client::http1(first.address).await;
    let mut body = stream(json!({ "gap_ms": 20, "tokens": 40 }));
    body["max_tokens"] = 40.into();
    let mut response = client.send(request(first.address, CHAT, &[], body.to_string())).await.unwrap();
    response.frame().await.unwrap().unwrap();
    simulator.hold();
    let second = site.after(&first).await;
    let held = get(second.admin, "/api/budgets").await.text();
    simulator.go_on();
    assert!(read(response).await.complete);
    drop(client);
    assert_eq!(first.process.ended(Duration::from_secs(30)).await, Some(0), "{}", first.log());
    assert_eq!(ask(second.address, chat(json!({ "tokens": 7 }))).await.status, 200);
    let until = Instant::now() + Duration::from_secs(20);
    while spent(&second).await != (6, 4 * 7 + 40 + 7) {
        assert!(Instant::now() < until, "each call once: {:?}, held {held}", spent(&second).await);
        sleep(Duration::from_millis(20)).await;
    }
    let budgets: Value = get(second.admin, "/api/budgets").await.json();
    let account =
        budgets.pointer("/budgets/0/accounts/0").or_else(|| budgets.pointer("/accounts/0")).unwrap_or(&budgets);
    let dollars =
        |key: &str| account[key].as_f64().or_else(|| account[key].as_str().and_then(|text| text.parse().ok()));
    let costs = get(second.admin, "/api/costs/today").await.json();
    let paid = costs["total"]["cost_usd"].as_f64().or_else(|| costs["total"]["cost_usd"].as_str()?.parse().ok());
    let told = (dollars("spent_usd"), dollars("reserved_usd"));
    assert!(paid.is_some() && told.0 == paid, "the budget has what the ledger has: {paid:?} {budgets}");
    assert_eq!(told.1.unwrap_or(0.0), 0.0, "and holds nothing any more: {budgets}");
    drop(second);
    if in_a_file {
        for end in ["", "-wal", "-shm", ".lock"] {
            let _ = std::fs::remove_file(format!("{path}{end}"));
        }
    }
}

#[tokio::test]
async fn a_ledger_in_a_file_has_each_call_once() {
    ledger("ledger-file", true).await;
}

#[tokio::test]
async fn a_ledger_in_memory_goes_over_whole() {
    ledger("ledger-memory", false).await;
}

#[tokio::test]
async fn answers_on_disk_are_found_by_the_next_process() {
    let simulator = Simulator::start(&[]);
    let disk = std::env::temp_dir().join(format!("outrigger-upgrade-{}-kept", std::process::id()));
    let path = disk.display().to_string();
    let settings = [("SEMANTIC_CACHE__MODE", "on"), ("SEMANTIC_CACHE__DISK_PATH", path.as_str())];
    let site = Site::before(&simulator, "kept", &settings);
    let first = site.first().await;
    assert_eq!(ask(first.address, chat(json!({}))).await.header("x-cache"), "MISS");
    assert_eq!(ask(first.address, chat(json!({}))).await.header("x-cache"), "HIT");
    let second = site.after(&first).await;
    assert_eq!(ask(second.address, chat(json!({}))).await.header("x-cache"), "HIT", "{}", second.log());
    let other = ask(second.address, chat(json!({ "tokens": 9 }))).await;
    assert_eq!(other.header("x-cache"), "MISS");
    drop((first, second));
    let _ = std::fs::remove_dir_all(disk);
}

#[tokio::test]
async fn a_successor_that_fails_changes_nothing() {
    let simulator = Simulator::start(&[]);
    let limits = r#"[{ name = "rpm", amount = 3, window = "1h" }]"#;
    let site = Site::before(&simulator, "fails", &[("RATE_LIMIT__LIMITS", limits)]);
    let first = site.first().await;
    assert_eq!(ask(first.address, chat(json!({}))).await.status, 200);
    let addresses = (first.address, first.admin);
    // One whose settings cannot be served, and one that is killed while it gets ready.
    let broken = [site.settings(), vec![("COST__LEDGER_PATH", "/proc/nowhere/ledger.db")]].concat();
    let mut failed = Outrigger::spawn(addresses, &["--upgrade"], &broken);
    assert_eq!(failed.process.ended(Duration::from_secs(30)).await, Some(1), "{}", failed.log());
    first.until_logged("the process that was to take over has failed").await;
    let killed = Outrigger::spawn(addresses, &["--upgrade"], &site.settings());
    first.until_logged("another process is to take this one's place").await;
    killed.process.signal(9);
    drop(killed);
    assert_eq!(ask(first.address, chat(json!({}))).await.status, 200, "it goes on");
    let until = Instant::now() + Duration::from_secs(30);
    let second = loop {
        let next = Outrigger::spawn(addresses, &["--upgrade"], &site.settings());
        while !next.log().contains(TAKEN) && !next.log().contains("hand over") {
            assert!(Instant::now() < until, "nobody can take over any more: {} {}", first.log(), next.log());
            sleep(Duration::from_millis(10)).await;
        }
        if next.log().contains(TAKEN) {
            break next;
        }
    };
    assert_eq!(ask(second.address, chat(json!({}))).await.status, 200);
    let last = post(second.address, CHAT, &[], chat(json!({})).to_string()).await;
    assert_eq!(last.status, 429, "three in the hour, over all of it");
}

#[tokio::test]
async fn without_a_process_before_it_one_just_starts() {
    let simulator = Simulator::start(&[]);
    let site = Site::before(&simulator, "alone", &[]);
    let addresses = (crate::support::free_port(), crate::support::free_port());
    let mut alone = Outrigger::spawn(addresses, &["--upgrade"], &site.settings());
    alone.until_logged("outrigger listens").await;
    alone.until_ready().await;
    assert_eq!(ask(alone.address, chat(json!({}))).await.status, 200);
    alone.process.signal(15);
    assert_eq!(alone.process.ended(Duration::from_secs(30)).await, Some(0));
    assert!(!site.folder.join("upgrade.sock").exists(), "nobody is found there any more");
}
