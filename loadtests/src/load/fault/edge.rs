//! What is to be done when: the beginnings and ends of faults.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{Fault, FaultAction, Victim};
use crate::load::scenario::Scenario;
use crate::wire::connection::Connection;

/// The simulator's side door answers at once, whatever its other routes are told to do.
const PATIENCE: Duration = Duration::from_secs(5);

/// A moment at which a fault begins or ends.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultEdge {
    /// From the beginning of the load, the warm-up included, as `Planned::at`. A mark counts from the warm-up's end.
    pub at: Duration,
    /// For the mark: `fault begins: simulator stalls`. The measure of a recovery goes by how it begins.
    pub what: String,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// All that is to be configured from now on: what other faults last on stays in it.
    Configure {
        simulator: SocketAddr,
        configuration: Value,
    },
    Signal {
        process: Pid,
        signal: Signal,
    },
}

impl FaultEdge {
    pub const BEGINS: &str = "fault begins: ";
    pub const ENDS: &str = "fault ends: ";
    /// Of what is over at once: a process is killed.
    pub const STRIKES: &str = "fault: ";
    /// Of what stays to the end of the load, and so is no fault to recover from.
    pub const STAYS: &str = "from here on: ";

    pub async fn perform(&self) -> anyhow::Result<()> {
        let done = match &self.action {
            Action::Configure { simulator, configuration } => {
                let configured = timeout(PATIENCE, configure(*simulator, configuration)).await;
                configured.unwrap_or_else(|_| Err(anyhow::anyhow!("the simulator does not answer")))
            }
            Action::Signal { process, signal } => kill_process(*process, *signal)
                .with_context(|| format!("process {} could not be signalled", process.as_raw_nonzero())),
        };
        done.with_context(|| self.what.clone())
    }
}

impl Scenario {
    /// Every beginning and end, in order of time. Simulator and processes are looked up here, so that what is missing
    /// is told before the load begins.
    pub fn fault_edges(&self) -> anyhow::Result<Vec<FaultEdge>> {
        let faults = self.faults();
        let mut moments: Vec<(Duration, bool, &Fault)> = Vec::with_capacity(2 * faults.len());
        for fault in &faults {
            moments.push((fault.at, true, fault));
            moments.extend(fault.until.map(|until| (until, false, fault)));
        }
        // What ends makes way for what begins at the same moment.
        moments.sort_by_key(|(at, begins, _)| (*at, *begins));
        let mut lasting: Vec<&Fault> = Vec::new();
        let mut edges = Vec::with_capacity(moments.len());
        for (at, begins, fault) in moments {
            if begins {
                lasting.push(fault);
            } else {
                lasting.retain(|other| !std::ptr::eq(*other, fault));
            }
            let prefix = match (begins, fault.until, &fault.action) {
                (false, ..) => FaultEdge::ENDS,
                (true, Some(_), _) => FaultEdge::BEGINS,
                (true, None, FaultAction::Kill(_)) => FaultEdge::STRIKES,
                (true, None, _) => FaultEdge::STAYS,
            };
            let what = format!("{prefix}{}", fault.what);
            let signal = if begins { Signal::STOP } else { Signal::CONT };
            edges.push(FaultEdge { at: at + self.warmup(), what, action: self.action(fault, signal, &lasting)? });
        }
        Ok(edges)
    }

    /// What must be done however the load ends, also one that is interrupted: the simulator is as it was, and no
    /// process stays stopped.
    pub fn fault_restoration(&self) -> anyhow::Result<Vec<FaultEdge>> {
        let lasting = self.faults().into_iter().filter(|fault| !matches!(fault.action, FaultAction::Kill(_)));
        let edge = |fault: Fault| {
            let action = self.action(&fault, Signal::CONT, &[])?;
            Ok(FaultEdge { at: Duration::ZERO, what: format!("{}{}", FaultEdge::ENDS, fault.what), action })
        };
        let mut edges: Vec<FaultEdge> = lasting.map(edge).collect::<anyhow::Result<_>>()?;
        // The simulator is reset once, and a process needs no second word either.
        let mut seen = Vec::new();
        edges.retain(|edge| {
            let new = !seen.contains(&edge.action);
            seen.push(edge.action.clone());
            new
        });
        Ok(edges)
    }

    fn action(&self, fault: &Fault, signal: Signal, lasting: &[&Fault]) -> anyhow::Result<Action> {
        let (victim, signal) = match &fault.action {
            FaultAction::Simulator(_) => {
                let simulator = self.simulator.as_ref().with_context(|| {
                    format!(
                        "the fault `{}` needs the simulator's address: say simulator.url or --simulator",
                        fault.what
                    )
                })?;
                let configuration = Value::Object(merged(lasting));
                return Ok(Action::Configure { simulator: simulator.address()?, configuration });
            }
            FaultAction::Stop(victim) => (victim, signal),
            FaultAction::Kill(victim) => (victim, Signal::KILL),
        };
        let pid = match victim {
            Victim::Pid(pid) => *pid,
            Victim::Target => self.target.pid.with_context(|| {
                format!("the fault `{}` needs the target's process: say target.pid or --pid", fault.what)
            })?,
        };
        let process = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
        Ok(Action::Signal { process: process.with_context(|| format!("{pid} is no process to signal"))?, signal })
    }
}

/// The fields of all that last; where two say the same field, the later one's.
fn merged(lasting: &[&Fault]) -> Map<String, Value> {
    let mut all = Map::new();
    for fault in lasting {
        if let FaultAction::Simulator(fields) = &fault.action {
            all.extend(fields.clone());
        }
    }
    all
}

async fn configure(simulator: SocketAddr, configuration: &Value) -> anyhow::Result<()> {
    let body = configuration.to_string();
    let head = "POST /sim/config HTTP/1.1\r\nhost: simulator\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let mut connection = Connection::open(simulator).await.context("the simulator cannot be reached")?;
    let mut answer = Vec::new();
    let (status, _) = connection.exchange(request.as_bytes(), &mut answer).await?;
    ensure!(status == 200, "the simulator answers {status}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}
