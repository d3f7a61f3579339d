//! Whether two runs may be compared, and whether either is to be believed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::load::result::Run;

/// Why a run is not to be believed, and which.
pub fn reasons(before: &Run, after: &Run) -> Vec<String> {
    [("before", before), ("after", after)].into_iter().flat_map(|(side, run)| unbelievable(side, run)).collect()
}

fn unbelievable(side: &str, run: &Run) -> Vec<String> {
    let mut reasons: Vec<String> = run.invalid.iter().map(|reason| format!("{side}: {reason}")).collect();
    reasons.extend(run.cut_short.iter().map(|reason| format!("{side}: cut short: {reason}")));
    let broken = run.integrity.checked - run.integrity.whole.min(run.integrity.checked);
    if broken > 0 {
        reasons.push(format!("{side}: {broken} of {} streams did not come through whole", run.integrity.checked));
    }
    reasons
}

/// What should be equal and is not; the target may differ, which is what an A/B is for.
pub fn mismatches(before: &Run, after: &Run) -> Vec<String> {
    let mut mismatches = Vec::new();
    let (earlier, later) = (&before.machine.class, &after.machine.class);
    if earlier != later {
        mismatches.push(format!("machine: {earlier} before, {later} after; latencies of two machines tell nothing"));
    }
    if before.name != after.name {
        mismatches.push(format!("scenario: {} before, {} after", before.name, after.name));
    }
    let keys = differing(&before.scenario, &after.scenario);
    if !keys.is_empty() {
        mismatches.push(format!("scenario: differs in {}", keys.join(", ")));
    }
    mismatches
}

/// The keys of the scenario under which something else was sent.
fn differing(before: &Value, after: &Value) -> Vec<String> {
    const MAY_DIFFER: [&str; 2] = ["name", "target"];
    let (Some(earlier), Some(later)) = (before.as_object(), after.as_object()) else {
        return if before == after { Vec::new() } else { vec!["its form".to_owned()] };
    };
    let keys: BTreeSet<&String> = earlier.keys().chain(later.keys()).collect();
    let differing = keys.into_iter().filter(|key| earlier.get(*key) != later.get(*key));
    differing.filter(|key| !MAY_DIFFER.contains(&key.as_str())).cloned().collect()
}
