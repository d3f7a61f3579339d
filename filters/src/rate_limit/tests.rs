use std::time::Duration;

use futures::StreamExt;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use tokio::time::sleep;

use super::*;
use crate::ask::Sharing;
use crate::filter::Chain;
use crate::reply::Broken;
use crate::tenants::Names;
use crate::testing::{Script, Scripted, Step, ask_by};

const BODY: &str = r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}"#;
/// Three for the message, one each for its role and its content, three for the answer's beginning.
const PROMPT: u64 = 8;
const ANSWER: &str = r#"{"usage":{"prompt_tokens":8,"completion_tokens":12}}"#;

struct Desk {
    limiter: Arc<Limiter>,
    chain: Chain,
    backend: Scripted,
}

impl Desk {
    fn new(limits: &str, script: Script) -> Desk {
        Desk::scripted(&format!(r#"{{"limits":[{limits}]}}"#), [script])
    }

    fn scripted(config: &str, scripts: impl IntoIterator<Item = Script>) -> Desk {
        let meter = opentelemetry::global::meter("test");
        let config: Config = serde_json::from_str(config).unwrap();
        assert_eq!(config.contradiction(), None);
        let names = Names::from_iter([("acme".to_owned(), Tenant::of(b"acme"))]);
        let limiter = Limiter::new(&config, names, None, &meter).unwrap();
        let room = RateLimit::new(limiter.clone(), Arc::new(Tokenizers::new(&[]).unwrap()));
        let backend = Scripted::new(scripts);
        let chain = Chain::new(vec![Arc::new(room)], Arc::new(backend.clone()), &meter);
        Desk { limiter, chain, backend }
    }

    async fn ask(&self, tenant: &str, body: &str) -> Result<Reply, Refusal> {
        self.chain.run(Arc::new(ask_by(tenant, Sharing::Allowed, body))).await
    }

    /// How many of `count` requests are admitted now.
    async fn admitted(&self, tenant: &str, count: usize) -> usize {
        let mut admitted = 0;
        for _ in 0..count {
            admitted += usize::from(self.ask(tenant, BODY).await.is_ok());
        }
        admitted
    }

    /// Used and reserved under the first limit that knows the tenant.
    async fn standing(&self, tenant: &str) -> (u64, u64) {
        let report = self.limiter.report(Some(&Tenant::of(tenant.as_bytes()).hex())).await.unwrap();
        let row = &report["accounts"][0];
        (row["used"].as_u64().unwrap(), row["reserved"].as_u64().unwrap())
    }
}

fn limited(outcome: Result<Reply, Refusal>) -> (RateLimited, HeaderMap) {
    let refusal = outcome.err().expect("refused");
    let headers = refusal.headers.map(|headers| *headers).unwrap_or_default();
    match refusal.reason {
        Reason::RateLimited(limited) => (*limited, headers),
        other => panic!("refused for another reason: {other}"),
    }
}

fn whole() -> Script {
    Script::Whole(StatusCode::OK, ANSWER)
}

async fn read(reply: Reply) {
    if let Body::Events(mut events) = reply.body {
        while events.next().await.is_some() {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_slides_and_its_retry_after_is_true() {
    let desk = Desk::new(r#"{"name":"rpm","amount":3,"window":"10s"}"#, whole());
    assert_eq!(desk.admitted("a", 2).await, 2);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(desk.admitted("a", 3).await, 1, "two of the three are four seconds old and still count");
    let (limited, headers) = limited(desk.ask("a", BODY).await);
    assert_eq!(limited.retry, Some(Duration::from_secs(6)), "{limited}");
    assert_eq!(
        (&headers["retry-after"], &headers["retry-after-ms"]),
        (&"6".parse().unwrap(), &"6000".parse().unwrap())
    );
    sleep(Duration::from_millis(5999)).await;
    assert_eq!(desk.admitted("a", 1).await, 0, "a millisecond before its time");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(desk.admitted("a", 5).await, 2, "what left has made room, no more");
    assert_eq!(desk.admitted("b", 5).await, 3, "another tenant has an account of its own");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_fit_one_limit_is_charged_to_none() {
    let limits = r#"{"name":"burst","amount":1,"window":"1s"},{"name":"hourly","amount":3,"window":"1h"}"#;
    let desk = Desk::new(limits, whole());
    for _ in 0..3 {
        assert_eq!(desk.admitted("a", 5).await, 1, "one a second");
        sleep(Duration::from_secs(1)).await;
    }
    let (limited, _) = limited(desk.ask("a", BODY).await);
    assert_eq!(&*limited.limit, "hourly", "had refusals counted, the hour had been full before");
    assert_eq!(desk.backend.calls(), 3, "what is refused never reaches the backend");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_reserved_and_settled_by_what_they_were() {
    let stream = Script::Stream(vec![
        Step::Wait(Duration::from_secs(5)),
        Step::Data(r#"{"choices":[{"delta":{"content":"a"}}]}"#),
        Step::Data(r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":12}}"#),
    ]);
    for script in [whole(), stream] {
        let desk = Desk::new(r#"{"name":"tpm","unit":"tokens","amount":100,"window":"1m"}"#, script);
        let reply = desk.ask("a", BODY).await.unwrap();
        if matches!(reply.body, Body::Events(_)) {
            assert_eq!(desk.standing("a").await, (PROMPT + 50, PROMPT + 50), "the whole bound, while it runs");
            assert_eq!(desk.admitted("a", 1).await, 0, "what is reserved is not there for others");
        }
        read(reply).await;
        assert_eq!(desk.standing("a").await, (20, 0), "the backend's own count in the end");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_abandoned_cut_or_refused_gives_back_what_was_not_used() {
    let tpm = r#"{"name":"tpm","unit":"tokens","amount":100,"window":"1m"}"#;
    let step = || Step::Data(r#"{"choices":[{"delta":{"content":"a"}}]}"#);
    let endless = Script::Stream(vec![step(), step(), Step::Wait(Duration::from_secs(3600))]);
    let desk = Desk::new(tpm, endless);
    let Body::Events(mut events) = desk.ask("a", BODY).await.unwrap().body else { panic!("a stream") };
    events.next().await;
    events.next().await;
    drop(events);
    assert_eq!(desk.standing("a").await, (PROMPT + 2, 0), "the prompt and the two tokens that came");

    let desk = Desk::new(tpm, Script::Stream(vec![step(), Step::Break(Broken::BackendCut)]));
    read(desk.ask("a", BODY).await.unwrap()).await;
    assert_eq!(desk.standing("a").await, (PROMPT + 1, 0));

    let desk = Desk::new(tpm, Script::late(Duration::from_secs(9), ANSWER));
    assert!(tokio::time::timeout(Duration::from_secs(1), desk.ask("a", BODY)).await.is_err(), "the client goes");
    assert_eq!(desk.standing("a").await, (PROMPT, 0), "its prompt has been read");

    for failed in [Script::Refuse(Reason::Unreachable), Script::Whole(StatusCode::BAD_REQUEST, "{}")] {
        let desk = Desk::new(tpm, failed);
        let _ = desk.ask("a", BODY).await;
        assert_eq!(desk.standing("a").await, (0, 0), "an error costs no tokens");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_counted_until_their_answers_end() {
    let stream = Script::Stream(vec![Step::Data("1"), Step::Wait(Duration::from_secs(60)), Step::Data("2")]);
    let desk = Desk::new(r#"{"name":"flight","unit":"concurrent","amount":2}"#, stream);
    let (one, two) = (desk.ask("a", BODY).await.unwrap(), desk.ask("a", BODY).await.unwrap());
    let (limited, headers) = limited(desk.ask("a", BODY).await);
    assert_eq!((limited.used, limited.unit), (2, "concurrent"));
    assert!(headers["ratelimit-policy"].to_str().unwrap().contains("concurrent-requests"), "{headers:?}");
    drop(one);
    let three = desk.ask("a", BODY).await.expect("whoever leaves makes room");
    read(two).await;
    desk.ask("a", BODY).await.expect("whatever ends makes room");
    drop(three);
}

#[tokio::test(start_paused = true)]
async fn every_answer_tells_the_tightest_limit_of_each_kind() {
    let limits = r#"{"name":"rpm","amount":10,"window":"1m"},{"name":"rpd","amount":1000,"window":"day"},
        {"name":"tpm","unit":"tokens","amount":100,"window":"1m"}"#;
    let desk = Desk::new(limits, whole());
    let reply = desk.ask("a", BODY).await.unwrap();
    let header = |name: &str| reply.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-ratelimit-limit-requests"), "10");
    assert_eq!(header("x-ratelimit-remaining-requests"), "9");
    assert_eq!(header("x-ratelimit-reset-requests"), "1m0s");
    assert_eq!(header("x-ratelimit-limit-tokens"), "100");
    assert_eq!(header("x-ratelimit-remaining-tokens"), (100 - PROMPT - 50).to_string());
    assert_eq!(header("ratelimit"), format!("\"tpm\";r={};t=60", 100 - PROMPT - 50), "the tightest of all");
    assert_eq!(header("ratelimit-policy"), "\"rpm\";q=10;w=60, \"rpd\";q=1000;w=86400, \"tpm\";q=100;w=60");
}

#[tokio::test(start_paused = true)]
async fn what_can_never_fit_is_said_so_and_not_to_be_tried_again() {
    let desk = Desk::new(r#"{"name":"tpm","unit":"tokens","amount":57,"window":"1m"}"#, whole());
    let (limited, headers) = limited(desk.ask("a", BODY).await);
    assert_eq!((limited.requested, limited.retry), (PROMPT + 50, None));
    assert_eq!(headers["x-should-retry"], "false");
    assert!(!headers.contains_key("retry-after"));
    let unbounded = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    desk.ask("a", unbounded).await.expect("who names no bound is not refused for what was only expected");
}

#[tokio::test(start_paused = true)]
async fn named_tenants_and_end_users_are_told_apart() {
    let own = r#"{"name":"rpm","amount":1,"window":"1m","overrides":{"acme":3}}"#;
    let desk = Desk::new(own, whole());
    assert_eq!((desk.admitted("acme", 5).await, desk.admitted("other", 5).await), (3, 1));
    let desk = Desk::new(r#"{"name":"user","amount":1,"window":"1m","scope":"user"}"#, whole());
    let user = |name: &str| format!(r#"{{"model":"m","user":"{name}"}}"#);
    assert!(desk.ask("a", &user("anna")).await.is_ok());
    assert!(desk.ask("a", &user("bert")).await.is_ok());
    assert!(desk.ask("a", &user("anna")).await.is_err());
    assert!(desk.ask("b", &user("anna")).await.is_ok(), "another tenant's anna is another");
    let desk = Desk::new(r#"{"name":"all","amount":2,"window":"1m","scope":"everyone"}"#, whole());
    assert_eq!((desk.admitted("a", 1).await, desk.admitted("b", 5).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn accounts_are_bounded_and_idle_ones_go() {
    let config = r#"{"max_keys":100,"limits":[{"name":"rpm","amount":1,"window":"10s"}]}"#;
    let desk = Desk::scripted(config, [whole()]);
    for tenant in 0..500 {
        desk.admitted(&tenant.to_string(), 1).await;
    }
    assert_eq!(desk.limiter.ledger.len(), 101, "newcomers share one account");
    assert_eq!(desk.admitted("newcomer", 1).await, 0, "which keeps to the limit");
    sleep(Duration::from_secs(21)).await;
    desk.limiter.ledger.sweep();
    assert_eq!(desk.limiter.ledger.len(), 0);
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_key() {
    for (limits, key) in [
        (r#"{"name":"a","amount":0,"window":"1m"}"#, "limits.0.amount"),
        (r#"{"name":"a","amount":18446744073709551615,"window":"1m"}"#, "limits.0.amount"),
        (r#"{"name":"a","amount":1}"#, "limits.0.window"),
        (r#"{"name":"a","amount":1,"unit":"concurrent","window":"1m"}"#, "limits.0.window"),
        (r#"{"name":"a","amount":1,"window":"1m"},{"name":"a","amount":1,"window":"1h"}"#, "limits.1.name"),
        (r#"{"name":"a","amount":1,"window":"1m","scope":"everyone","overrides":{"acme":2}}"#, "limits.0.overrides"),
    ] {
        let config: Config = serde_json::from_str(&format!(r#"{{"limits":[{limits}]}}"#)).unwrap();
        assert_eq!(config.contradiction().map(|(key, _)| key).as_deref(), Some(key), "{limits}");
    }
    for limit in [
        r#"{"name":"a b","amount":1,"window":"1m"}"#,
        r#"{"name":"a","amount":1,"window":"soon"}"#,
        r#"{"name":"a","amount":1,"window":"0s"}"#,
        r#"{"name":"a","amount":1,"window":"1m","scope":"header:é"}"#,
        r#"{"name":"a","amount":1,"window":"1m","overrides":{"x":"much"}}"#,
    ] {
        assert!(serde_json::from_str::<Config>(&format!(r#"{{"limits":[{limit}]}}"#)).is_err(), "{limit}");
    }
    let text = r#"{"limits":[{"name":"s","amount":1,"window":"1s"},{"name":"m","amount":100,"window":"1m"}]}"#;
    let config: Config = serde_json::from_str(text).unwrap();
    assert_eq!(config.pointless().len(), 1, "60 are never more than 100");
}

#[test]
fn threads_at_once_admit_exactly_the_limit_and_wait_for_nobody_for_ever() {
    let limits =
        r#"{"name":"rpm","amount":500,"window":"1h"},{"name":"all","amount":700,"window":"1h","scope":"everyone"}"#;
    let desk = Desk::new(limits, whole());
    let admitted = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (limiter, admitted) = (desk.limiter.clone(), &admitted);
            scope.spawn(move || {
                let headers = HeaderMap::new();
                // Two tenants, whose accounts lie on either side of the one they share.
                let tenant = Tenant::of(if worker % 2 == 0 { b"a" } else { b"b" });
                let demand = Demand { tenant, generation: None, headers: &headers };
                for _ in 0..1_000 {
                    let one = futures::executor::block_on(limiter.admit(&demand)).is_ok();
                    admitted.fetch_add(u64::from(one), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 700, "both tenants could have had 500");
}

/// What one worker does next with one account.
#[derive(Clone, Debug)]
enum Deed {
    Admit {
        cost: u64,
    },
    /// Settles the oldest permit at this part of its cost, in percent.
    Settle {
        percent: u64,
    },
    Wait {
        millis: u64,
    },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (1u64..40).prop_map(|cost| Deed::Admit { cost }),
        2 => (0u64..=100).prop_map(|percent| Deed::Settle { percent }),
        1 => (0u64..400).prop_map(|millis| Deed::Wait { millis }),
    ];
    prop::collection::vec(deed, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any interleaving that a scheduler makes of any number of workers; judged by a log of its own.
    #[test]
    fn no_interleaving_of_admits_settles_and_refunds_passes_a_limit(workers in prop::collection::vec(deeds(), 1..6)) {
        const WINDOW: Duration = Duration::from_secs(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = r#"{"name":"tpm","unit":"tokens","amount":100,"window":"1s"},{"name":"out","unit":"output_tokens","amount":70,"window":"1s"}"#;
            let desk = Arc::new(Desk::new(limits, whole()));
            // When, and for how much: what was admitted, and in the end what it really cost.
            let truth = Arc::new(std::sync::Mutex::new(Vec::<(tokio::time::Instant, u64)>::new()));
            let work = workers.into_iter().map(|deeds| {
                let (desk, truth) = (desk.clone(), truth.clone());
                async move {
                    let mut permits = std::collections::VecDeque::new();
                    for deed in deeds {
                        match deed {
                            Deed::Admit { cost } => {
                                let headers = HeaderMap::new();
                                let generation = Generation { model: None, user: None, input: 1, output: Output::Asked(cost) };
                                let demand = Demand { tenant: Tenant::anonymous(), generation: Some(generation), headers: &headers };
                                if let Ok(permit) = desk.limiter.admit(&demand).await {
                                    let mut truth = truth.lock().unwrap();
                                    truth.push((tokio::time::Instant::now(), cost + 1));
                                    permits.push_back((truth.len() - 1, cost, permit));
                                }
                            }
                            Deed::Settle { percent } => {
                                if let Some((place, cost, mut permit)) = permits.pop_front() {
                                    permit.spent = Spent { input: 1, output: cost * percent / 100 };
                                    truth.lock().unwrap()[place].1 = 1 + cost * percent / 100;
                                    drop(permit);
                                }
                            }
                            Deed::Wait { millis } => sleep(Duration::from_millis(millis)).await,
                        }
                        tokio::task::yield_now().await;
                    }
                    for (_, cost, mut permit) in permits {
                        permit.spent = Spent { input: 1, output: cost };
                        drop(permit);
                    }
                }
            });
            futures::future::join_all(work).await;
            let truth = truth.lock().unwrap();
            for (end, (at, _)) in truth.iter().enumerate() {
                let window = truth[..=end].iter().filter(|(begun, _)| *at - *begun < WINDOW);
                let sum: u64 = window.map(|(_, cost)| cost).sum();
                assert!(sum <= 100, "{sum} in the window that ends at request {end}");
            }
        });
    }
}
