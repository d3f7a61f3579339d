//! What the process ends with, for those who run it from scripts.

use std::process::ExitCode;

use crate::load::ending;
use crate::load::engine::{Ending, Finished};
use crate::load::report::{Outcome, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Passed,
    /// A level was missed, a stream was not whole, or the figures are not to be believed.
    Missed,
    /// The command line, a file or the target is not what it should be.
    Input,
    /// The target died; the report is partial.
    CutShort,
    Interrupted,
}

impl Exit {
    pub fn of(finished: &Finished) -> Exit {
        match finished.ending {
            Ending::Interrupted => Exit::Interrupted,
            Ending::Dead => Exit::CutShort,
            Ending::Complete if Verdict::of(&finished.run).outcome == Outcome::Passed => Exit::Passed,
            Ending::Complete => Exit::Missed,
        }
    }

    /// Whether what is left of a series should still be run.
    pub fn goes_on(self) -> bool {
        matches!(self, Exit::Passed | Exit::Missed)
    }

    /// Of two that both happened, the one to tell.
    pub fn and(self, other: Exit) -> Exit {
        if self.code() > other.code() { self } else { other }
    }

    fn code(self) -> u8 {
        match self {
            Exit::Passed => 0,
            Exit::Missed => 1,
            Exit::Input => 2,
            Exit::CutShort => 3,
            Exit::Interrupted => 130,
        }
    }
}

impl From<ending::Ending> for Exit {
    fn from(ending: ending::Ending) -> Exit {
        match ending {
            ending::Ending::Fine => Exit::Passed,
            ending::Ending::Worse => Exit::Missed,
            ending::Ending::Unusable => Exit::Input,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
