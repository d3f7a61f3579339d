//! Faults on the clock of the load, so that a recovery can be measured: the simulated model server is told to fail, or
//! a process is stopped.

mod edge;
mod script;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use edge::{Action, FaultEdge};
pub use script::Line;

use super::scenario::Scenario;
use super::scenario::number::{Amount, Positive};
use crate::sim::Controls;

/// What goes wrong, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// From the end of the warm-up, as the timeline counts.
    pub at: Duration,
    /// None for one that lasts until the load is over.
    pub until: Option<Duration>,
    pub action: FaultAction,
    /// For the marks: `simulator stalls`.
    pub what: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FaultAction {
    /// Fields of the simulator's configuration while the fault lasts.
    Simulator(Map<String, Value>),
    /// Stopped for so long, as a process is that swaps or is debugged, and then continued.
    Stop(Victim),
    /// Ended, with no word and for good.
    Kill(Victim),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The process of `target.pid` or `--pid`.
    Target,
    Pid(u32),
}

/// `[[faults]]`: a fault in the simulator's own words.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedFault {
    /// From the end of the warm-up.
    pub at_secs: Amount,
    /// Until the load is over where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_secs: Option<Positive>,
    /// A `sim` object, as in the body of a request.
    #[serde(rename = "do")]
    pub configuration: Configuration,
}

/// Fields that the simulator knows.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct Configuration(Map<String, Value>);

impl TryFrom<Map<String, Value>> for Configuration {
    type Error = String;

    fn try_from(fields: Map<String, Value>) -> Result<Configuration, String> {
        match serde_json::from_value::<Controls>(Value::Object(fields.clone())) {
            Ok(_) => Ok(Configuration(fields)),
            Err(error) => Err(format!("the simulator would refuse it: {error}")),
        }
    }
}

impl From<Configuration> for Map<String, Value> {
    fn from(configuration: Configuration) -> Map<String, Value> {
        configuration.0
    }
}

impl ScriptedFault {
    fn fault(&self) -> Fault {
        let at = self.at_secs.seconds();
        let Configuration(fields) = self.configuration.clone();
        let what = format!("simulator {}", Value::Object(fields.clone()));
        let until = self.for_secs.map(|length| at + length.seconds());
        Fault { at, until, action: FaultAction::Simulator(fields), what }
    }
}

impl Scenario {
    /// Of the script and of `[[faults]]`, in the order of their beginnings.
    pub fn faults(&self) -> Vec<Fault> {
        let script = self.script.iter().map(|line| line.fault().clone());
        let mut faults: Vec<Fault> = script.chain(self.faults.iter().map(ScriptedFault::fault)).collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    /// A fault that would never come, with the key to blame.
    pub(super) fn fault_contradiction(&self) -> Option<(String, String)> {
        let end = self.load.duration()?;
        let late = |key: String, at: Duration| {
            let message = format!("comes at {at:?}, when the load is over: it ends after {end:?}");
            (at >= end).then_some((key, message))
        };
        let lines = self.script.iter().enumerate();
        let mut lines = lines.filter_map(|(place, line)| late(format!("script.{place}"), line.fault().at));
        let tables = self.faults.iter().enumerate();
        let mut tables = tables.filter_map(|(place, table)| late(format!("faults.{place}"), table.at_secs.seconds()));
        lines.next().or_else(|| tables.next())
    }
}

#[cfg(test)]
mod tests;
