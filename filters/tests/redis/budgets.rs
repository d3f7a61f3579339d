//! Budgets that three sidecars share on a real Redis: never overshot, whatever becomes of a sidecar or of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::tz::TimeZone;
use outrigger_filters::Tenant;
use outrigger_filters::cost::budgets::{Budget, Budgets, Demand, Refused, Reservation, Sharing, Spent};
use outrigger_filters::money::Money;
use outrigger_filters::store::Store;
use outrigger_filters::tenants::Names;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::proxy::{Mode, Proxy};
use crate::server::Server;

/// As long as a Redis is young.
const YOUTH: Duration = Duration::from_millis(900);
const LONG: Duration = Duration::from_secs(600);

/// One sidecar, with its background on a thread of its own as in the proxy.
struct Side {
    budgets: Arc<Budgets>,
    store: Arc<Store>,
    end: Option<oneshot::Sender<()>>,
    background: Option<std::thread::JoinHandle<()>>,
}

impl Side {
    fn new(url: &str, name: &str, reservation: Duration, budgets: &str) -> Self {
        let meter = opentelemetry::global::meter("test");
        let config = outrigger_filters::store::Config {
            url: Some(url.parse().expect("an address")),
            timeout_ms: 250,
            ..Default::default()
        };
        let store = Store::new(&config, &meter).expect("settings");
        let budgets: Vec<Budget> = serde_json::from_str(budgets).expect("well written");
        let sharing = Sharing { store: store.clone(), sidecar: name.to_owned(), reservation };
        let budgets =
            Budgets::new(&budgets, TimeZone::UTC, &Names::default(), Some(sharing), &meter).expect("good budgets");
        Side { budgets, store, end: None, background: None }
    }

    fn begin(&mut self) {
        let (end, ended) = oneshot::channel::<()>();
        let (store, budgets) = (self.store.clone(), self.budgets.clone());
        self.end = Some(end);
        self.background = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = store.run() => {}
                    () = budgets.run() => {}
                    _ = ended => {}
                }
            });
        }));
    }

    async fn start(url: &str, name: &str, budgets: &str) -> Self {
        let mut side = Side::new(url, name, LONG, budgets);
        side.begin();
        side.ready().await;
        side
    }

    /// Waits until this thread has a connection.
    async fn ready(&self) {
        eventually("the store is up", async || {
            drop(self.budgets.reserve(&who("ready"), Money::from_nanos(1)).await);
            self.budgets.report(None)["source"] == "redis"
        })
        .await;
    }

    /// Ends as a killed process would: nothing more is told or renewed.
    fn kill(&mut self) {
        drop(self.end.take());
        if let Some(background) = self.background.take() {
            let _ = background.join();
        }
    }

    async fn reserve(&self, tenant: &str, nanos: u64) -> Result<Reservation, Refused> {
        self.budgets.reserve(&who(tenant), Money::from_nanos(nanos)).await
    }

    fn row(&self, tenant: &str) -> serde_json::Value {
        let report = self.budgets.report(Some(&Tenant::of(tenant.as_bytes())));
        report["budgets"][0]["accounts"][0].clone()
    }

    /// Nano-dollars that all have spent, as this one knows it.
    fn spent(&self, tenant: &str) -> u64 {
        (self.row(tenant)["spent_usd"].as_f64().unwrap_or_default() * 1e9).round() as u64
    }

    fn reserved(&self, tenant: &str) -> u64 {
        (self.row(tenant)["reserved_usd"].as_f64().unwrap_or_default() * 1e9).round() as u64
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.kill();
    }
}

fn who(tenant: &str) -> Demand<'static> {
    Demand { tenant: Tenant::of(tenant.as_bytes()), model: "m", tag: Some("tag") }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(15), "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn refused(outcome: Result<Reservation, Refused>) -> String {
    match outcome {
        Err(refused) => refused.to_string(),
        Ok(_) => panic!("this should have been refused"),
    }
}

const ONE: &str = r#"[{"name":"day","amount_usd":0.00001,"period":"day"}]"#;
/// Of one call: a budget of its tenant, one of its model and one of all.
const THREE: &str = r#"[
    {"name":"tenant","amount_usd":0.01,"period":"day"},
    {"name":"model","amount_usd":0.02,"period":"month","scope":"model"},
    {"name":"all","amount_usd":0.01,"period":"total","scope":"everyone"}]"#;
const LIMIT: u64 = 10_000_000;

/// What a load came to.
struct Came {
    spent: u64,
    /// The most by which a call cost more than it had reserved at first.
    error: u64,
}

/// Two hundred tasks on three sidecars that ask until they are refused often: each call reserves up to `largest`, and
/// costs a random part of that, up to `most` hundredths.
#[expect(clippy::disallowed_methods, reason = "the test owns them: it waits for all")]
async fn load(sides: &[Side; 3], largest: u64, most: u64, meanwhile: impl Future<Output = ()>) -> Came {
    let (spent, error) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let tasks = (0..200_u64).map(|task| {
        let budgets = sides[task as usize % 3].budgets.clone();
        let (spent, error) = (spent.clone(), error.clone());
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            let mut refusals = 0;
            while refusals < 12 {
                let amount = random.u64(largest / 20..largest);
                let Ok(mut held) = budgets.reserve(&who("t"), Money::from_nanos(amount)).await else {
                    refusals += 1;
                    tokio::time::sleep(Duration::from_millis(random.u64(20..120))).await;
                    continue;
                };
                let actual = amount * random.u64(most / 4..=most) / 100;
                // An answer comes in pieces, and what it will cost is seen growing.
                for piece in 1..=3 {
                    tokio::time::sleep(Duration::from_millis(random.u64(1..8))).await;
                    held.grow(Money::from_nanos(actual * piece / 3));
                }
                held.settle(Money::from_nanos(actual));
                spent.fetch_add(actual, Ordering::Relaxed);
                error.fetch_max(actual.saturating_sub(amount), Ordering::Relaxed);
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    meanwhile.await;
    for task in tasks {
        task.await.expect("no panic");
    }
    Came { spent: spent.load(Ordering::Relaxed), error: error.load(Ordering::Relaxed) }
}

/// Decided alone, a call may take what another has taken since both last heard of what was left.
fn assert_within_a_hundredth(came: &Came) {
    let over = came.spent.saturating_sub(LIMIT);
    assert!(over * 100 <= LIMIT, "overshot by {over}");
}

async fn three(url: &str, budgets: &str) -> [Side; 3] {
    let sides = [
        Side::start(url, "a", budgets).await,
        Side::start(url, "b", budgets).await,
        Side::start(url, "c", budgets).await,
    ];
    tokio::time::sleep(YOUTH).await;
    sides
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_at_once_on_three_sidecars_spend_all_of_a_budget_and_never_more() {
    let server = Server::start(&[]).await;
    let sides = three(&server.url(), THREE).await;
    let came = load(&sides, LIMIT / 1_000, 100, async {}).await;
    eprintln!("estimates at or above the cost: {} of {LIMIT} nano-dollars were spent", came.spent);
    assert!(came.spent <= LIMIT, "overshot by {}", came.spent - LIMIT);
    assert!(came.spent * 100 >= LIMIT * 98, "only {} of {LIMIT} were spent", came.spent);
    for side in &sides {
        eventually("all know what all have spent", async || side.spent("t") == came.spent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_outgrow_their_reservations_overshoot_by_less_than_a_hundredth() {
    let server = Server::start(&[]).await;
    let sides = three(&server.url(), THREE).await;
    let came = load(&sides, LIMIT / 1_000, 150, async {}).await;
    let over = came.spent.saturating_sub(LIMIT);
    eprintln!("costs up to 1.5 times: {} of {LIMIT}, over by {over}; one call's error: {}", came.spent, came.error);
    assert!(over * 100 <= LIMIT, "overshot by {over}");
    assert!(came.spent * 100 >= LIMIT * 98, "only {} of {LIMIT} were spent", came.spent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_again_and_again_under_load_is_filled_again_and_nothing_is_lost() {
    let server = Server::start(&[]).await;
    let sides = three(&server.url(), THREE).await;
    let came = load(&sides, LIMIT / 10_000, 100, async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            server.say("FLUSHALL");
        }
    })
    .await;
    eprintln!("emptied four times: {} of {LIMIT} were spent", came.spent);
    assert_within_a_hundredth(&came);
    for side in &sides {
        eventually("nothing is lost, and nothing counted twice", async || side.spent("t") == came.spent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_each_spends_its_share_and_afterwards_all_know_of_all() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.port).await;
    let sides = three(&proxy.url(), THREE).await;
    let came = load(&sides, LIMIT / 10_000, 100, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.set(Mode::Cut);
        tokio::time::sleep(Duration::from_millis(700)).await;
        proxy.set(Mode::Pass);
    })
    .await;
    eprintln!("away for 0.7 s: {} of {LIMIT} were spent", came.spent);
    assert_within_a_hundredth(&came);
    for side in &sides {
        eventually("each has told what it spent alone", async || side.spent("t") == came.spent).await;
    }
}

#[tokio::test]
async fn what_a_killed_sidecar_held_is_free_after_its_time_and_what_it_spent_stays_spent() {
    let server = Server::start(&[]).await;
    let time = Duration::from_millis(1500);
    let mut sides = ["gone", "here"].map(|name| Side::new(&server.url(), name, time, ONE));
    for side in &mut sides {
        side.begin();
        side.ready().await;
    }
    let [mut gone, here] = sides;
    tokio::time::sleep(YOUTH).await;
    gone.reserve("t", 2_000).await.expect("room").settle(Money::from_nanos(2_000));
    let held = gone.reserve("t", 7_000).await.expect("room");
    eventually("it is known", async || {
        here.budgets.reserve(&who("t"), Money::from_nanos(1)).await.is_ok() && here.spent("t") == 2_000
    })
    .await;
    tokio::time::sleep(2 * time).await;
    refused(here.reserve("t", 3_000).await);
    gone.kill();
    let killed = Instant::now();
    while here.reserve("t", 8_000).await.is_err() {
        assert!(killed.elapsed() < 3 * time, "it was never given back: {}", here.row("t"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(killed.elapsed() > time / 2, "given back after {:?}, before its time", killed.elapsed());
    assert_eq!(here.spent("t"), 2_000);
    refused(here.reserve("t", 8_001).await);
    drop(held);
}

#[tokio::test]
async fn what_a_killed_sidecar_spent_outlives_even_an_emptied_redis() {
    let server = Server::start(&[]).await;
    let (mut gone, here) =
        (Side::start(&server.url(), "gone", ONE).await, Side::start(&server.url(), "here", ONE).await);
    tokio::time::sleep(YOUTH).await;
    gone.reserve("t", 6_000).await.expect("room").settle(Money::from_nanos(6_000));
    here.reserve("t", 1_000).await.expect("room").settle(Money::from_nanos(1_000));
    eventually("it has heard of the other", async || here.spent("t") == 7_000).await;
    gone.kill();
    server.say("FLUSHALL");
    tokio::time::sleep(2 * YOUTH).await;
    refused(here.reserve("t", 3_001).await);
    here.reserve("t", 3_000).await.expect("and what was left is left").settle(Money::from_nanos(3_000));
    let late = Side::start(&server.url(), "late", ONE).await;
    refused(late.reserve("t", 1).await);
}

#[tokio::test]
async fn a_sidecar_that_comes_back_goes_on_where_it_was_whether_its_ledger_or_redis_knows_more() {
    let server = Server::start(&[]).await;
    for (tenant, remembered) in [("ledger knows less", 2_000_u64), ("as much", 6_000), ("ledger knows more", 7_000)] {
        let here = Side::start(&server.url(), "here", ONE).await;
        tokio::time::sleep(YOUTH).await;
        here.reserve(tenant, 6_000).await.expect("room").settle(Money::from_nanos(6_000));
        here.budgets.finish().await;
        drop(here);
        let mut again = Side::new(&server.url(), "here", LONG, ONE);
        let spent = Spent {
            at: jiff::Timestamp::now().as_millisecond(),
            tenant: Tenant::of(tenant.as_bytes()),
            model: "m".to_owned(),
            tag: None,
            amount: Money::from_nanos(remembered),
        };
        again.budgets.load([spent].into_iter());
        again.begin();
        again.ready().await;
        let known = remembered.max(6_000);
        eventually("both know the same", async || {
            drop(again.reserve(tenant, 1).await);
            again.spent(tenant) == known
        })
        .await;
        again.reserve(tenant, 1_000).await.expect("room").settle(Money::from_nanos(1_000));
        again.budgets.finish().await;
        let other = Side::start(&server.url(), "other", ONE).await;
        let _ = other.reserve(tenant, 1).await;
        eventually("and told it once", async || other.spent(tenant) == known + 1_000).await;
    }
}

#[tokio::test]
async fn a_budget_is_open_or_closed_while_redis_is_away_as_it_says() {
    let budget = |name: &str, when: &str| {
        format!(r#"[{{"name":"{name}","amount_usd":0.00001,"period":"day","when_redis_lost":"{when}"}}]"#)
    };
    let mut server = Server::start(&[]).await;
    let open = Side::start(&server.url(), "open", &budget("o", "open")).await;
    let closed = Side::start(&server.url(), "closed", &budget("c", "closed")).await;
    let local = Side::start(&server.url(), "local", &budget("l", "local")).await;
    tokio::time::sleep(YOUTH).await;
    for side in [&open, &closed, &local] {
        side.reserve("t", 4_000).await.expect("room").settle(Money::from_nanos(4_000));
    }
    tokio::time::sleep(2 * YOUTH).await;
    server.stop();
    for side in [&open, &closed, &local] {
        eventually("Redis is seen to be away", async || !side.store.health().is_up()).await;
    }
    open.reserve("t", 6_000).await.expect("room, and nobody asked").settle(Money::from_nanos(6_000));
    let words = refused(closed.reserve("t", 1).await);
    assert!(words.contains("`c` is not known"), "{words}");
    // Three sidecars were seen, and 6,000 were left.
    let words = refused(local.reserve("t", 2_001).await);
    assert!(words.contains("share"), "{words}");
    local.reserve("t", 2_000).await.expect("its share").settle(Money::from_nanos(1_500));
    local.reserve("t", 500).await.expect("the rest of it").settle(Money::from_nanos(500));
    refused(local.reserve("t", 1).await);
    server.start_again().await;
    eventually("it is told of what was spent alone", async || local.reserve("t", 2_000).await.is_ok()).await;
    assert_eq!(local.spent("t"), 6_000, "{}", local.row("t"));
}

#[tokio::test]
async fn a_reservation_that_grows_is_seen_by_the_others_and_given_back_whole() {
    let server = Server::start(&[]).await;
    let (here, other) = (Side::start(&server.url(), "here", ONE).await, Side::start(&server.url(), "other", ONE).await);
    tokio::time::sleep(YOUTH).await;
    let mut held = here.reserve("t", 1_000).await.expect("room");
    held.grow(Money::from_nanos(8_000));
    eventually("the other has room for 2,000 only", async || other.reserve("t", 2_001).await.is_err()).await;
    eventually("and for these it has", async || other.reserve("t", 2_000).await.is_ok()).await;
    held.settle(Money::from_nanos(500));
    eventually("the rest is free", async || other.reserve("t", 9_500).await.is_ok()).await;
    eventually("and nothing stays held", async || other.reserved("t") == 0 && here.reserved("t") == 0).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_asks_holds_nothing_in_the_end() {
    let server = Server::start(&[]).await;
    let here = Side::start(&server.url(), "here", ONE).await;
    tokio::time::sleep(YOUTH).await;
    for _ in 0..50 {
        let asking = here.reserve("t", 5_000);
        let _ = tokio::time::timeout(Duration::ZERO, asking).await;
    }
    eventually("all of it is free", async || here.reserve("t", 10_000).await.is_ok()).await;
    eventually("no reservation is left", async || {
        let redis::Value::Array(keys) = server.say("KEYS *:r") else { return false };
        keys.is_empty()
    })
    .await;
}
