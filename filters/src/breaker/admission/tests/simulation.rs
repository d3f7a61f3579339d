//! Admission before a modelled server: so many generations at once, and a first-come queue of its own before them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::{Admission, Config, Priority, Shed, Why, class};

const TTFT: Duration = Duration::from_millis(50);

/// How long generations take.
#[derive(Clone, Copy, Debug)]
enum Service {
    Constant,
    /// Exponential, which is as varied as answers are.
    Varied,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Streamed,
    Plain,
}

#[derive(Clone, Copy, Debug)]
struct Model {
    slots: u32,
    mean: f64,
    service: Service,
    form: Form,
}

impl Model {
    /// An answer is good that begins so soon: the queue's timeout and half a second. A plain answer has no beginning that
    /// could be seen; there, what its whole time tolerates is tolerated.
    fn good(&self) -> Duration {
        let tolerated = if matches!(self.form, Form::Plain) { self.mean / 2.0 } else { 0.0 };
        Duration::from_secs_f64(1.5 + tolerated)
    }
}

struct Outcome {
    arrived: Instant,
    /// When its first token came, or that it was refused.
    answer: Result<Duration, Shed>,
    over: Duration,
}

struct Phase {
    load: f64,
    goodput: f64,
    sheds: usize,
    expired: usize,
    slow_sheds: usize,
    limit: (u64, u64),
    /// The share of those who came in the third second or later whose answer began within half a second.
    settled: f64,
}

async fn ask(admission: Arc<Admission>, slots: Arc<Semaphore>, model: Model, service: Duration) -> Outcome {
    let arrived = Instant::now();
    let mut slot = match admission.enter(100, Priority::Normal, None).await {
        Ok(slot) => slot,
        Err(shed) => return Outcome { arrived, answer: Err(shed), over: arrived.elapsed() },
    };
    let sent = Instant::now();
    let permit = slots.acquire().await.unwrap();
    sleep(TTFT).await;
    let ttft = arrived.elapsed();
    if matches!(model.form, Form::Streamed) {
        slot.first_token(sent.elapsed(), class(100));
    }
    sleep(service.saturating_sub(TTFT)).await;
    if matches!(model.form, Form::Plain) {
        slot.finished(sent.elapsed(), u64::try_from(service.as_millis()).unwrap());
    }
    drop(permit);
    Outcome { arrived, answer: Ok(ttft), over: arrived.elapsed() }
}

/// Offers these loads, in parts of the capacity, one after the other.
async fn offer(model: Model, config: Config, loads: &[(f64, f64)]) -> Vec<Phase> {
    let (admission, slots) = (Admission::new(config), Arc::new(Semaphore::new(model.slots as usize)));
    let mut random = fastrand::Rng::with_seed(7);
    let mut exponential = move || -(1.0 - random.f64()).ln();
    let capacity = f64::from(model.slots) / model.mean;
    let (mut tasks, mut begun, mut next) = (JoinSet::new(), Vec::new(), Instant::now());
    let mut limits = Vec::new();
    for &(load, secs) in loads {
        let begin = next;
        let (mut least, mut most) = (u64::MAX, 0);
        while next < begin + Duration::from_secs_f64(secs) {
            sleep_until(next).await;
            let drawn = match model.service {
                Service::Constant => 1.0,
                Service::Varied => exponential(),
            };
            let service = Duration::from_secs_f64(model.mean * drawn).max(TTFT);
            tasks.spawn(ask(Arc::clone(&admission), Arc::clone(&slots), model, service));
            next += Duration::from_secs_f64(exponential() / (capacity * load));
            // The first third is settling.
            if next > begin + Duration::from_secs_f64(secs / 3.0) {
                let limit = admission.report().limit;
                (least, most) = (least.min(limit), most.max(limit));
            }
        }
        begun.push((load, begin, secs));
        limits.push((least, most));
    }
    let outcomes = tasks.join_all().await;
    let phase = |(&(load, begin, secs), limit)| phase(model, &outcomes, begin, load, secs, limit);
    begun.iter().zip(limits).map(phase).collect()
}

fn phase(model: Model, outcomes: &[Outcome], begin: Instant, load: f64, secs: f64, limit: (u64, u64)) -> Phase {
    let end = begin + Duration::from_secs_f64(secs);
    let within: Vec<&Outcome> = outcomes.iter().filter(|one| one.arrived >= begin && one.arrived < end).collect();
    let good = |one: &&&Outcome| one.answer.is_ok_and(|ttft| ttft <= model.good());
    let sheds: Vec<(Why, Duration)> = within.iter().filter_map(|one| Some((one.answer.err()?.why, one.over))).collect();
    let late: Vec<_> = within.iter().filter(|one| one.arrived >= begin + Duration::from_secs(2)).collect();
    let normal = late.iter().filter(|one| one.answer.is_ok_and(|ttft| ttft <= TTFT * 10)).count();
    Phase {
        load,
        goodput: within.iter().filter(good).count() as f64 / secs,
        sheds: sheds.len(),
        expired: sheds.iter().filter(|(why, _)| *why == Why::Expired).count(),
        slow_sheds: sheds.iter().filter(|(_, after)| *after > Duration::from_millis(5)).count(),
        limit,
        settled: normal as f64 / late.len().max(1) as f64,
    }
}

/// Half, all and four times what the model can do, and half again.
const LOADS: [(f64, f64); 4] = [(0.5, 20.0), (1.0, 60.0), (4.0, 60.0), (0.5, 20.0)];

async fn run(model: Model) -> Vec<Phase> {
    let phases = offer(model, Config::default(), &LOADS).await;
    println!("{model:?}");
    for phase in &phases {
        let Phase { load, goodput, sheds, expired, limit, settled, .. } = phase;
        let of_capacity = goodput * model.mean / f64::from(model.slots);
        println!(
            "  {load}x: goodput {goodput:.2}/s ({of_capacity:.3} of capacity), shed {sheds}, expired {expired}, \
             limit {limit:?}, normal after 2 s {settled:.3}"
        );
    }
    phases
}

/// Holds a model with such slots to what admission promises.
async fn hold(slots: u32, service: Service, form: Form, most_limit: f64) {
    let model = Model { slots, mean: 1.0, service, form };
    let phases = run(model).await;
    let peak = phases[0].goodput.max(phases[1].goodput);
    let overload = &phases[2];
    assert!(overload.goodput >= 0.9 * peak, "{model:?}: {} of {peak} a second", overload.goodput);
    assert!(overload.expired * 100 < overload.sheds, "{model:?}: {} of {}", overload.expired, overload.sheds);
    assert_eq!(overload.slow_sheds, overload.expired, "{model:?}: all others are refused at once");
    let (least, most) = overload.limit;
    let most_limit = f64::from(slots) * most_limit + 4.0;
    assert!(least >= u64::from(slots) && most as f64 <= most_limit, "{model:?}: {least} to {most}");
    // A plain answer tells of a queue only once it is complete, so one of a second stands for longer.
    let settled = if matches!(form, Form::Plain) { 0.9 } else { 0.98 };
    assert!(phases[3].settled >= settled, "{model:?}: two seconds after it all is well again: {}", phases[3].settled);
}

#[tokio::test(start_paused = true)]
async fn four_times_the_load_of_equal_streams_changes_nothing() {
    for slots in [4, 16, 64, 256] {
        hold(slots, Service::Constant, Form::Streamed, 1.3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn four_times_the_load_of_varied_streams_changes_nothing() {
    for slots in [4, 16, 64, 256] {
        hold(slots, Service::Varied, Form::Streamed, 1.3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_without_streams_is_held_too() {
    for slots in [16, 64, 256] {
        hold(slots, Service::Constant, Form::Plain, 1.8).await;
        hold(slots, Service::Varied, Form::Plain, 2.0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_never_fell_comes_down_within_three_seconds_of_evidence() {
    let model = Model { slots: 16, mean: 1.0, service: Service::Varied, form: Form::Streamed };
    // The first who waits at the server is seen about a second after the load begins.
    let phases = offer(model, Config::default(), &[(4.0, 4.0), (4.0, 1.0)]).await;
    let (_, most) = phases[1].limit;
    assert!(most <= 64, "{most}");
}

#[tokio::test(start_paused = true)]
async fn five_hundred_at_once_on_a_cold_start_are_let_in() {
    let (admission, mut streams) = (Admission::new(Config::default()), JoinSet::new());
    for place in 0..500_u64 {
        let admission = Arc::clone(&admission);
        streams.spawn(async move {
            let mut slot = admission.enter(100, Priority::Normal, None).await.unwrap();
            // A fast backend on a noisy machine: some of the crowd wait for a core.
            let took = TTFT + Duration::from_millis(place % 120);
            sleep(took).await;
            slot.first_token(took, class(100));
            sleep(Duration::from_secs(2)).await;
        });
    }
    streams.join_all().await;
    assert!(admission.report().limit >= 1000, "{:?}", admission.report());
}
