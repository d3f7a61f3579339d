//! Puts a plan into practice: workers send it, each on a thread of its own, and one who watches them ends the run,
//! with the plan, with the target, or when it is told to.

mod answer;
mod assembly;
mod checker;
mod coordinator;
mod lane;
mod planner;
mod requests;
mod script;
mod stream;
mod worker;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::live::Observer;
use super::plan::Plan;
use super::record::Frame;
use super::record::outcome::Failure;
use super::result::{Metric, Run};
use super::scenario::Scenario;
use crate::wire::endpoint::Endpoint;
use coordinator::Coordinator;
use lane::Course;
use requests::Requests;
pub use script::Action;
use worker::Worker;

/// From the making of the workers to the first request that may be due.
const LEAD: Duration = Duration::from_millis(50);
/// A target that does not even let one connect in this time is not there.
const REACH: Duration = Duration::from_secs(5);

/// How a run is made, beside what the scenario says.
pub struct Settings {
    pub threads: NonZeroUsize,
    /// The length of a slice of the timeline.
    pub slice: Duration,
    /// Until the last request of the plan, the warm-up included; none where nobody knows.
    pub planned: Option<Duration>,
    /// What a good request keeps to, in milliseconds.
    pub limits: Vec<(Metric, f64)>,
    /// What is done to the target meanwhile, in the order of time.
    pub actions: Vec<Action>,
    /// What leaves the target as it was, however the run ends.
    pub restoration: Vec<Action>,
    /// A target that refuses every connection for so long is dead, and the run ends.
    pub patience: Duration,
    /// Which of several targets it is.
    pub label: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            threads: NonZeroUsize::MIN,
            slice: Duration::from_secs(1),
            planned: None,
            limits: Vec::new(),
            actions: Vec::new(),
            restoration: Vec::new(),
            patience: Duration::from_secs(3),
            label: None,
        }
    }
}

/// A run's result, partial where it did not end with its plan.
pub struct Finished {
    pub run: Run,
    pub ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Complete,
    /// The target let nobody connect any more.
    Dead,
    /// By the one who started it.
    Interrupted,
}

/// Runs the plan against the scenario's target. The levels of the result are left to whoever judges them.
///
/// A target that cannot be reached at the start is an error; one that dies later makes a partial result. It needs a
/// runtime with time and I/O, and takes the interrupt signal for itself.
pub async fn run(
    scenario: &Scenario,
    plan: Plan,
    settings: Settings,
    observer: &mut dyn Observer,
) -> anyhow::Result<Finished> {
    let endpoint = endpoint(scenario)?;
    reach(scenario, &endpoint).await?;
    let scheduled = matches!(plan, Plan::Open(_));
    let course = Arc::new(Course {
        endpoint,
        timeout: Duration::from_secs_f64(scenario.target.timeout_secs),
        simulated: scenario.requests.iter().any(|kind| kind.sim.is_some()),
    });
    let requests: Vec<Requests> = (0..settings.threads.get())
        .map(|worker| Requests::new(scenario, &course.endpoint, scenario.seed.wrapping_add(worker as u64)))
        .collect();
    let begin = Instant::now() + LEAD;
    let start = begin + Duration::from_secs_f64(scenario.warmup_secs);
    let frame = Frame { start, slice: settings.slice, limits: settings.limits.clone(), scheduled };
    let (stop, stopped) = watch::channel(false);
    let mut coordinator = Coordinator::new(scenario, begin, frame, settings, stop)?;
    let mut work = coordinator.plan(plan);
    for (place, requests) in requests.into_iter().enumerate() {
        let worker = Worker {
            start: begin,
            requests,
            course: Arc::clone(&course),
            recorder: coordinator.recorder(place),
            in_flight: coordinator.in_flight(),
            stop: stopped.clone(),
        };
        let work = work.pop().context("there is work for every worker")?;
        coordinator.threads.spawn_blocking(move || worker.work(work));
    }
    let ending = coordinator.watch(observer).await?;
    let run = coordinator.assemble(scenario, ending)?;
    Ok(Finished { run, ending })
}

/// Where the scenario sends its requests, with the key that it names.
pub fn endpoint(scenario: &Scenario) -> anyhow::Result<Endpoint> {
    let target = &scenario.target;
    let endpoint = Endpoint::new(&target.url, target.ca_file.as_deref()).context("target.url")?;
    let Some(variable) = &target.api_key_env else { return Ok(endpoint) };
    let key = std::env::var(variable)
        .with_context(|| format!("target.api_key_env names {variable}, which is not set in the environment"))?;
    endpoint.with_key(&key).with_context(|| format!("the environment variable {variable}"))
}

async fn reach(scenario: &Scenario, endpoint: &Endpoint) -> anyhow::Result<()> {
    let url = &scenario.target.url;
    match timeout(REACH, endpoint.connect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error).with_context(|| {
            format!("the target {url} cannot be reached; is the server running, and is target.url right?")
        }),
        Err(_) => anyhow::bail!("the target {url} lets nobody connect within {} s", REACH.as_secs()),
    }
}
