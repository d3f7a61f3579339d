//! A stress: step after step, each harder than the one before, until a service level breaks.
//!
//! Every step is a run of its own, judged by its own figures, so that what an early step did well hides nothing of what
//! a later one did badly; what a step leaves in flight is awaited before the next.

use super::arrival::Profile;
use super::arrival::profile::Steady;
use super::drive::{Conditions, drive};
use super::engine::{Ending, Finished};
use super::live::Observer;
use super::merge::merge;
use super::result::Mark;
use super::scenario::{Load, Scenario, Stage};

/// Runs the steps of a stress. The result is of all of them together, with a mark at the beginning of each; its
/// verdicts are those of the last step, which is the one that broke a level, where one did.
pub async fn stress(
    scenario: &Scenario,
    conditions: &Conditions,
    observer: &mut dyn Observer,
) -> anyhow::Result<Finished> {
    let (mut runs, mut marks, mut at_seconds) = (Vec::new(), Vec::new(), 0.0);
    let (mut ending, mut levels) = (Ending::Complete, Vec::new());
    for stage in scenario.stages() {
        let step = step(scenario, &stage)?;
        let Finished { run, ending: ended } = drive(&step, conditions, observer).await?;
        marks.push(Mark { at_seconds, what: stage.what.clone() });
        at_seconds += run.measured_seconds;
        (ending, levels) = (ended, run.levels.clone());
        let broken = run.levels.iter().any(|level| !level.met);
        runs.push(run);
        if broken || ended != Ending::Complete {
            break;
        }
    }
    let mut run = merge(&runs)?;
    (run.marks, run.levels) = (marks, levels);
    run.scenario = serde_json::to_value(scenario)?;
    Ok(Finished { run, ending })
}

/// The scenario with one of its stages for a load.
fn step(scenario: &Scenario, stage: &Stage) -> anyhow::Result<Scenario> {
    let mut step = scenario.clone();
    let level = stage.from.try_into().map_err(anyhow::Error::msg)?;
    let seconds = stage.duration.as_secs_f64().try_into().map_err(anyhow::Error::msg)?;
    let profile = Profile::Steady(Steady { level, seconds });
    match &mut step.load {
        Load::Open(open) => open.profile = profile,
        Load::Closed(closed) => closed.profile = profile,
        Load::Trace(_) => anyhow::bail!("a trace has no steps"),
    }
    Ok(step)
}
