//! What is done to a target while it is under load, on the clock of the load.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::load::result::Mark;

/// One step; none of them may take so long that the next is late.
pub struct Action {
    /// Since the beginning of the load, the warm-up included.
    pub at: Duration,
    /// For the report.
    pub what: String,
    pub perform: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

/// The actions that are left, and what became of those that are not.
pub struct Script {
    begin: Instant,
    /// The end of the warm-up, from which the marks count.
    start: Instant,
    actions: std::vec::IntoIter<Action>,
    /// The one that is next.
    next: Option<Action>,
    restoration: Vec<Action>,
    pub marks: Vec<Mark>,
    /// Why the run did not have the faults that it should have had.
    pub failures: Vec<String>,
}

impl Script {
    /// The restoration is performed at the end, however the run ends.
    pub fn new(begin: Instant, start: Instant, actions: Vec<Action>, restoration: Vec<Action>) -> Script {
        let mut actions = actions.into_iter();
        let next = actions.next();
        Script { begin, start, actions, next, restoration, marks: Vec::new(), failures: Vec::new() }
    }

    /// Performs what comes next, at its time; pending for ever where nothing does. It may be dropped before it is
    /// done only where the run ends, and then the action itself is lost, unless it had not begun.
    pub async fn step(&mut self) {
        let Some(next) = &self.next else { return std::future::pending().await };
        sleep_until(self.begin + next.at).await;
        if let Some(action) = self.next.take() {
            self.perform(action).await;
        }
        self.next = self.actions.next();
    }

    /// Leaves the target as it was.
    pub async fn finish(&mut self) {
        for Action { what, perform, .. } in std::mem::take(&mut self.restoration) {
            self.book(&what, perform.await);
        }
    }

    async fn perform(&mut self, action: Action) {
        let at = Instant::now();
        let Action { what, perform, .. } = action;
        let before = self.start.saturating_duration_since(at).as_secs_f64();
        let at_seconds = at.saturating_duration_since(self.start).as_secs_f64() - before;
        self.marks.push(Mark { at_seconds, what: what.clone() });
        self.book(&what, perform.await);
    }

    fn book(&mut self, what: &str, done: anyhow::Result<()>) {
        if let Err(error) = done {
            self.failures.push(format!("the fault script failed at \"{what}\": {error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn action(seconds: u64, done: &Arc<Mutex<Vec<u64>>>) -> Action {
        let done = Arc::clone(done);
        let perform = Box::pin(async move {
            done.lock().unwrap().push(seconds);
            anyhow::ensure!(seconds != 2, "nobody answers");
            Ok(())
        });
        Action { at: Duration::from_secs(seconds), what: format!("at {seconds}"), perform }
    }

    #[tokio::test]
    async fn steps_come_in_their_time_and_the_target_is_restored() {
        tokio::time::pause();
        let (begin, done) = (Instant::now(), Arc::default());
        let actions = [1, 2, 3].map(|seconds| action(seconds, &done)).into();
        let mut script = Script::new(begin, begin + Duration::from_secs(1), actions, vec![action(9, &done)]);
        script.step().await;
        script.step().await;
        assert_eq!((begin.elapsed().as_secs(), script.marks.len()), (2, 2), "each at its time");
        assert_eq!(script.marks[1].at_seconds.round(), 1.0, "counted from the end of the warm-up");
        assert!(script.failures[0].contains("nobody answers"), "{:?}", script.failures);
        script.finish().await;
        assert_eq!(*done.lock().unwrap(), [1, 2, 9], "the third never came");
        assert_eq!(script.marks.len(), 2, "what restores the target is no part of the run");
    }
}
