//! A scenario from its plan to its verdict: what every subcommand that puts load on a target goes through.

use std::num::NonZeroUsize;

use super::engine::{self, Action, Finished, Settings};
use super::fault::FaultEdge;
use super::level::Level;
use super::live::Observer;
use super::result::Mark;
use super::scenario::Scenario;

/// How it is run, beside what the scenario says.
#[derive(Clone, Debug)]
pub struct Conditions {
    pub threads: NonZeroUsize,
    /// Which of several targets it is.
    pub label: Option<String>,
}

/// Runs the scenario as it stands, faults and all, and judges its levels.
pub async fn drive(
    scenario: &Scenario,
    conditions: &Conditions,
    observer: &mut dyn Observer,
) -> anyhow::Result<Finished> {
    let plan = scenario.plan()?;
    let settings = Settings {
        threads: conditions.threads,
        slice: scenario.slice(),
        planned: scenario.duration(),
        limits: scenario.levels.iter().filter_map(Level::per_request).collect(),
        actions: scenario.fault_edges()?.into_iter().map(action).collect(),
        restoration: scenario.fault_restoration()?.into_iter().map(action).collect(),
        label: conditions.label.clone(),
        ..Settings::default()
    };
    let mut finished = engine::run(scenario, plan, settings, observer).await?;
    let run = &mut finished.run;
    run.marks.extend(stages(scenario));
    run.marks.sort_by(|one, other| one.at_seconds.total_cmp(&other.at_seconds));
    run.levels = scenario.levels.iter().map(|level| level.judge(run)).collect();
    Ok(finished)
}

fn action(edge: FaultEdge) -> Action {
    let (at, what) = (edge.at, edge.what.clone());
    Action { at, what, perform: Box::pin(async move { edge.perform().await }) }
}

/// Where the level of the load changes; a load of one stage has nothing to mark.
fn stages(scenario: &Scenario) -> Vec<Mark> {
    let stages = scenario.stages();
    let warmup = scenario.warmup();
    let mark = |stage: &super::scenario::Stage| Mark {
        at_seconds: stage.at.saturating_sub(warmup).as_secs_f64(),
        what: stage.what.clone(),
    };
    if stages.len() < 2 { Vec::new() } else { stages.iter().map(mark).collect() }
}
