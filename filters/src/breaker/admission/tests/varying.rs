//! Admission before a backend whose time to the first token varies by itself, whatever is in flight: hosted APIs, hits
//! and misses of a prefix cache, reasoning that nobody sees. Nothing is congested there, so nobody may be refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::{Admission, Config, Priority, class};

/// In seconds.
#[derive(Clone, Copy, Debug)]
enum Times {
    Lognormal {
        median: f64,
        sigma: f64,
    },
    /// A prefix cache, hit by 40 in 100.
    Cache {
        hit: f64,
        miss: f64,
    },
}

impl Times {
    fn draw(self, random: &mut fastrand::Rng) -> f64 {
        match self {
            Times::Lognormal { median, sigma } => {
                let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
                median * (sigma * radius * (std::f64::consts::TAU * random.f64()).cos()).exp()
            }
            Times::Cache { hit, miss } => {
                if random.f64() < 0.4 {
                    hit
                } else {
                    miss
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Model {
    times: Times,
    /// Of a stream, how long it generates; what has none is a plain answer.
    generates: Option<Duration>,
    a_second: f64,
}

async fn ask(admission: Arc<Admission>, model: Model, took: Duration) -> bool {
    let Ok(mut slot) = admission.enter(100, Priority::Normal, None).await else { return false };
    sleep(took).await;
    match model.generates {
        Some(generates) => {
            slot.first_token(took, class(100));
            sleep(generates).await;
        }
        None => slot.finished(took, 1000),
    }
    true
}

const SECS: f64 = 600.0;

/// Offers it for ten minutes, and holds that fewer than 1 in 100 are refused.
async fn hold(model: Model, seed: u64) {
    let admission = Admission::new(Config::default());
    let mut random = fastrand::Rng::with_seed(seed);
    let (begin, mut next, mut asked, mut least) = (Instant::now(), Instant::now(), 0_u32, u64::MAX);
    let mut tasks = JoinSet::new();
    while next < begin + Duration::from_secs_f64(SECS) {
        sleep_until(next).await;
        let took = Duration::from_secs_f64(model.times.draw(&mut random));
        tasks.spawn(ask(Arc::clone(&admission), model, took));
        asked += 1;
        least = least.min(admission.report().limit);
        next += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / model.a_second);
    }
    let refused = tasks.join_all().await.into_iter().filter(|admitted| !admitted).count();
    println!("{model:?}: {refused} of {asked} refused, limit at least {least}");
    assert!(refused as f64 <= 0.01 * f64::from(asked), "{model:?}: {refused} of {asked} refused");
}

#[tokio::test(start_paused = true)]
async fn streams_that_begin_when_they_like_are_all_let_in() {
    for sigma in [0.5, 0.8] {
        for a_second in [5.0, 30.0] {
            let times = Times::Lognormal { median: 0.4, sigma };
            hold(Model { times, generates: Some(Duration::from_secs(3)), a_second }, 7).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn plain_answers_that_take_what_they_like_are_all_let_in() {
    let times = Times::Lognormal { median: 3.0, sigma: 0.5 };
    hold(Model { times, generates: None, a_second: 10.0 }, 7).await;
}

#[tokio::test(start_paused = true)]
async fn hits_of_a_prefix_cache_make_no_miss_look_congested() {
    let times = Times::Cache { hit: 0.03, miss: 0.5 };
    for a_second in [5.0, 30.0] {
        hold(Model { times, generates: Some(Duration::from_secs(3)), a_second }, 7).await;
    }
}
