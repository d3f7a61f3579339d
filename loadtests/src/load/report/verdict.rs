//! What a run comes to, in one word and the reasons for it.
//!
//! Where several things are wrong, the word is that of the one which makes the others doubtful: a run that was cut
//! short comes first, then one whose figures are not to be believed, then one that fell short. All reasons are told.

use std::fmt::{self, Display, Formatter};

use super::figure::{count, figure};
use crate::load::result::{Integrity, LevelVerdict, Run};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As [`Run::passed`] has it.
    Passed,
    /// A stream was not whole, a level was missed, or nothing was answered.
    Failed,
    /// The figures are not to be believed.
    Invalid,
    /// The run ended before its plan did.
    Partial,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Never empty: a run that passed says what it passed.
    pub reasons: Vec<String>,
}

impl Verdict {
    pub fn of(run: &Run) -> Verdict {
        let cut_short: Vec<String> = run.cut_short.iter().cloned().collect();
        let invalid = run.invalid.clone();
        let mut failed: Vec<String> = not_whole(&run.integrity).into_iter().collect();
        failed.extend(run.levels.iter().filter(|level| !level.met).map(missed));
        if run.counts.answered == 0 {
            failed.push("nothing was answered".to_owned());
        }
        let outcome = match (cut_short.is_empty(), invalid.is_empty(), failed.is_empty()) {
            (false, _, _) => Outcome::Partial,
            (_, false, _) => Outcome::Invalid,
            (_, _, false) => Outcome::Failed,
            _ => return Verdict { outcome: Outcome::Passed, reasons: held(run) },
        };
        Verdict { outcome, reasons: [cut_short, invalid, failed].concat() }
    }

    pub fn word(&self) -> &'static str {
        match self.outcome {
            Outcome::Passed => "PASSED",
            Outcome::Failed => "FAILED",
            Outcome::Invalid => "INVALID",
            Outcome::Partial => "PARTIAL",
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.word(), self.reasons.join("; "))
    }
}

/// `3 of 1,000 streams are not whole (lost 2, truncated 1)`.
fn not_whole(integrity: &Integrity) -> Option<String> {
    let broken = integrity.checked.saturating_sub(integrity.whole);
    let kinds: Vec<String> = kinds(integrity)
        .into_iter()
        .filter(|(_, streams)| *streams > 0)
        .map(|(kind, streams)| format!("{kind} {}", count(streams)))
        .collect();
    let checked = count(integrity.checked);
    (broken > 0).then(|| format!("{} of {checked} streams are not whole ({})", count(broken), kinds.join(", ")))
}

/// What can be wrong with a stream, as the words of a report.
pub fn kinds(integrity: &Integrity) -> [(&'static str, u64); 8] {
    [
        ("lost", integrity.lost),
        ("repeated", integrity.repeated),
        ("reordered", integrity.reordered),
        ("truncated", integrity.truncated),
        ("crossed", integrity.crossed),
        ("hash mismatch", integrity.hash_mismatch),
        ("error event", integrity.error_event),
        ("malformed", integrity.malformed),
    ]
}

fn missed(level: &LevelVerdict) -> String {
    match level.value {
        Some(value) => format!("{} was missed with {}", level.level, figure(value)),
        None => format!("{} was missed: nothing could be measured", level.level),
    }
}

fn held(run: &Run) -> Vec<String> {
    let levels = match run.levels.len() {
        0 => "no service level was set".to_owned(),
        levels => format!("{levels} of {levels} service levels are met"),
    };
    let whole = (run.integrity.checked > 0).then(|| format!("{} streams are whole", count(run.integrity.checked)));
    std::iter::once(levels).chain(whole).collect()
}
