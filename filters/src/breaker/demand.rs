//! What is asked of the backends beyond what they take: for whoever may add some.

use super::admission::Why;
use super::fleet::Fleet;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Requests that wait here for room at a backend.
    pub held: u64,
    /// Requests that wait in the engines, ours and others', as those last said.
    pub held_by_engines: u64,
    /// Requests that ever had to wait here.
    pub waited: u64,
    /// Requests that were turned away at a backend for want of room; where another one took them, it is overload all the
    /// same.
    pub refused: u64,
}

impl Fleet {
    pub fn demand(&self) -> Demand {
        let held_by_engines = self.engines().map(|(_, engine)| engine.waiting).sum();
        let reports = self.members.iter().map(|member| member.admission.report());
        reports.fold(Demand { held_by_engines, ..Demand::default() }, |demand, report| Demand {
            held: demand.held + report.queued.sum(),
            waited: demand.waited + report.waited,
            // Who is moved on since the backend is out was not refused for want of room.
            refused: demand.refused + report.shed.sum() - report.shed.of(Why::Moved),
            ..demand
        })
    }
}
