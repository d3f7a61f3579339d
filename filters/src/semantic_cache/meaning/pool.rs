//! Threads that run the model: one session each, one queue before them all, with a bound.
//!
//! A question that somebody waits for goes before a text that is only to be kept. What waits when a session is free
//! is embedded in one pass, up to a batch; texts to be kept go one by one, so that a question never waits for a whole
//! batch of them. Whoever gave up waiting is passed over. A session that fails or panics fails its batch and goes on.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::embedder::Embed;
use super::vector::Vector;
use crate::windows::{Summary, Window, Windows};

/// What became of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Embedded {
    Vector(Vector),
    /// The model reads only a part of it.
    TooLong,
    Failed,
}

/// Texts to be kept are small, and nobody waits for them: so many have a place for each of a question's.
const LATER: usize = 16;

/// The queue has no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

pub struct Pool {
    shared: Arc<Shared>,
}

/// How much each pool has done and has to do.
#[derive(Default)]
pub struct Counts {
    pub waiting: AtomicUsize,
    pub embedded: AtomicU64,
    pub batches: AtomicU64,
    times: Mutex<Times>,
}

/// Questions that somebody waited for, as of late.
#[derive(Default)]
struct Times {
    wait: Windows,
    run: Windows,
    refused: Windows,
}

/// What is known of them over one window.
#[derive(Clone, Debug, Default)]
pub struct Busy {
    /// Questions that wait now, and how many may.
    pub waiting: u64,
    pub queue: u64,
    pub wait: Option<Summary>,
    pub run: Option<Summary>,
    /// Of the questions that wanted to be embedded, those that found no room.
    pub refused_share: f64,
}

impl Counts {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Shared {
    queue: usize,
    batch: usize,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    closed: AtomicBool,
    /// Threads that have not ended yet.
    threads: AtomicUsize,
    counts: Counts,
}

#[derive(Default)]
struct Waiting {
    asked: VecDeque<Box<dyn Job>>,
    later: VecDeque<Box<dyn Job>>,
}

enum Line {
    Asked,
    Later,
}

trait Job: Send {
    /// Since when somebody waits for it.
    fn came(&self) -> Option<Instant>;
    fn text(&self) -> &str;
    /// Whether anybody still waits for it.
    fn is_wanted(&self) -> bool;
    fn done(self: Box<Self>, embedded: Embedded);
}

impl Pool {
    /// A thread for each session. Questions have `queue` places, and texts to be kept have `LATER` times as many.
    pub fn new<E: Embed>(sessions: Vec<E>, queue: usize, batch: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: queue.max(1),
            batch: batch.max(1),
            waiting: Mutex::default(),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
            counts: Counts::default(),
        });
        let pool = Pool { shared: shared.clone() };
        for session in sessions {
            let shared = shared.clone();
            pool.shared.threads.fetch_add(1, Relaxed);
            std::thread::Builder::new().name("meaning".into()).spawn(move || shared.work(session))?;
        }
        Ok(pool)
    }

    /// Embeds a text that somebody waits for; `look` goes on with it on the pool's thread. It is not done where the
    /// receiver has been dropped before, and the sender is dropped where anything panics.
    pub fn ask<R, F>(&self, text: Box<str>, look: F) -> Result<oneshot::Receiver<R>, Full>
    where
        R: Send + 'static,
        F: FnOnce(Embedded) -> R + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let came = Instant::now();
        let pushed = self.shared.push(Line::Asked, Box::new(Asked { text, look, sender, came }));
        pushed.map(|()| receiver).map_err(|_| {
            self.shared.counts.times().refused.record(came, 0.0);
            Full
        })
    }

    /// Embeds a text when nobody waits for another. Where there is no room, `then` is told at once that it failed.
    pub fn later(&self, text: Box<str>, then: impl FnOnce(Embedded) + Send + 'static) -> Result<(), Full> {
        self.shared.push(Line::Later, Box::new(Later { text, then })).map_err(|job| {
            job.done(Embedded::Failed);
            Full
        })
    }

    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    pub fn busy(&self, window: Window) -> Busy {
        let now = Instant::now();
        let waiting = self.shared.lock().asked.len() as u64;
        let times = self.shared.counts.times();
        let (wait, run) = (times.wait.summary(now, window), times.run.summary(now, window));
        let refused = times.refused.summary(now, window).map_or(0, |summary| summary.count);
        let wanted = refused + wait.map_or(0, |summary| summary.count);
        Busy {
            waiting,
            queue: self.shared.queue as u64,
            wait,
            run,
            refused_share: if wanted == 0 { 0.0 } else { refused as f64 / wanted as f64 },
        }
    }

    /// Ends the threads, and waits so long for what they are at: the runtime's library must not be taken down under them.
    pub fn stop(&self, most: Duration) {
        self.shared.close();
        let running = |_: &mut Waiting| self.shared.threads.load(Relaxed) > 0;
        drop(self.shared.changed.wait_timeout_while(self.shared.lock(), most, running));
    }
}

impl Drop for Pool {
    /// The threads end after what they are at. What waits is dropped with the queue.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the job back where there is no room.
    fn push(&self, line: Line, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        let mut waiting = self.lock();
        let (line, most) = match line {
            Line::Asked => (&mut waiting.asked, self.queue),
            Line::Later => (&mut waiting.later, self.queue * LATER),
        };
        if line.len() >= most {
            line.retain(|job| job.is_wanted());
        }
        if line.len() >= most || self.closed.load(Relaxed) {
            return Err(job);
        }
        line.push_back(job);
        self.counts.waiting.store(waiting.asked.len() + waiting.later.len(), Relaxed);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.closed.store(true, Relaxed);
        *self.lock() = Waiting::default();
        self.changed.notify_all();
    }

    fn work(&self, mut session: impl Embed) {
        while let Some(jobs) = self.next() {
            // Those of its jobs that are dropped by the panic tell whoever waits by that.
            if catch_unwind(AssertUnwindSafe(|| self.run(&mut session, jobs))).is_err() {
                tracing::warn!("matching by meaning panicked");
            }
        }
        drop(session);
        let waiting = self.lock();
        self.threads.fetch_sub(1, Relaxed);
        drop(waiting);
        self.changed.notify_all();
    }

    fn run(&self, session: &mut impl Embed, jobs: Vec<Box<dyn Job>>) {
        let begun = Instant::now();
        let came: Vec<_> = jobs.iter().filter_map(|job| job.came()).collect();
        let (jobs, long): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| !session.is_too_long(job.text()));
        long.into_iter().for_each(|job| job.done(Embedded::TooLong));
        if jobs.is_empty() {
            return;
        }
        self.counts.batches.fetch_add(1, Relaxed);
        self.counts.embedded.fetch_add(jobs.len() as u64, Relaxed);
        let texts: Vec<&str> = jobs.iter().map(|job| job.text()).collect();
        let vectors = session.embed(&texts).unwrap_or_else(|reason| {
            tracing::warn!(reason, "the embedding model failed");
            Vec::new()
        });
        let now = Instant::now();
        let mut times = self.counts.times();
        for came in came {
            times.wait.record(begun, (begun - came).as_secs_f64());
            times.run.record(now, (now - begun).as_secs_f64());
        }
        drop(times);
        let mut vectors = vectors.into_iter();
        for job in jobs {
            let vector = vectors.next().and_then(|numbers| Vector::new(&numbers));
            job.done(vector.map_or(Embedded::Failed, Embedded::Vector));
        }
    }

    /// What to embed next. Waits until there is something; none when the pool is closed.
    fn next(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut waiting = self.lock();
        loop {
            if self.closed.load(Relaxed) {
                return None;
            }
            let mut jobs = take(&mut waiting.asked, self.batch);
            if jobs.is_empty() {
                jobs = take(&mut waiting.later, 1);
            }
            self.counts.waiting.store(waiting.asked.len() + waiting.later.len(), Relaxed);
            if !jobs.is_empty() {
                return Some(jobs);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn take(line: &mut VecDeque<Box<dyn Job>>, most: usize) -> Vec<Box<dyn Job>> {
    let mut jobs = Vec::new();
    while jobs.len() < most {
        match line.pop_front() {
            Some(job) if job.is_wanted() => jobs.push(job),
            Some(_) => {}
            None => break,
        }
    }
    jobs
}

struct Asked<R, F> {
    text: Box<str>,
    look: F,
    sender: oneshot::Sender<R>,
    came: Instant,
}

impl<R: Send, F: FnOnce(Embedded) -> R + Send> Job for Asked<R, F> {
    fn came(&self) -> Option<Instant> {
        Some(self.came)
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn is_wanted(&self) -> bool {
        !self.sender.is_closed()
    }

    fn done(self: Box<Self>, embedded: Embedded) {
        // Nobody hears it who left meanwhile.
        let _ = self.sender.send((self.look)(embedded));
    }
}

struct Later<F> {
    text: Box<str>,
    then: F,
}

impl<F: FnOnce(Embedded) + Send> Job for Later<F> {
    fn came(&self) -> Option<Instant> {
        None
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn done(self: Box<Self>, embedded: Embedded) {
        (self.then)(embedded);
    }
}

#[cfg(test)]
mod tests;
