//! What a command that judges results ends with.

use std::process::ExitCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// 0: nothing is worse.
    Fine,
    /// 1: something is worse.
    Worse,
    /// 2: what was given says nothing.
    Unusable,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> ExitCode {
        ExitCode::from(match ending {
            Ending::Fine => 0,
            Ending::Worse => 1,
            Ending::Unusable => 2,
        })
    }
}
