//! Watches a run: takes together what the workers have seen, each second, and ends it where it must end.
//!
//! It runs on a thread of its own and holds a worker's recorder only to take out what is to be merged.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::planner::{deal, share};
use super::script::Script;
use super::worker::{InFlight, Work};
use super::{Ending, Settings};
use crate::load::live::{Observer, Snapshot};
use crate::load::plan::Plan;
use crate::load::process::Watch;
use crate::load::record::recent::{Recent, quantile_ms};
use crate::load::record::timeline::{Reading, Timeline};
use crate::load::record::{Frame, Recorder, Shared};
use crate::load::scenario::Scenario;

const TICK: Duration = Duration::from_secs(1);

pub struct Coordinator {
    pub(super) threads: JoinSet<anyhow::Result<()>>,
    pub(super) begin: Instant,
    pub(super) frame: Frame,
    pub(super) settings: Settings,
    pub(super) recorders: Vec<Shared>,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) timeline: Timeline,
    pub(super) script: Script,
    pub(super) process: Option<Watch>,
    timeout: Duration,
    stop: watch::Sender<bool>,
    snapshot: Snapshot,
    /// How many slices have been read.
    slices: u64,
    ticked: Instant,
    /// Since when nobody could connect.
    refused: Option<Instant>,
}

impl Coordinator {
    pub fn new(
        scenario: &Scenario,
        begin: Instant,
        frame: Frame,
        mut settings: Settings,
        stop: watch::Sender<bool>,
    ) -> anyhow::Result<Coordinator> {
        let recorder = |_| Recorder::new(frame.clone()).map(Shared::new);
        let recorders = (0..settings.threads.get()).map(recorder).collect::<anyhow::Result<_>>()?;
        Ok(Coordinator {
            threads: JoinSet::new(),
            begin,
            recorders,
            in_flight: Arc::default(),
            timeline: Timeline::new(frame.slice),
            script: Script::new(
                begin,
                frame.start,
                std::mem::take(&mut settings.actions),
                std::mem::take(&mut settings.restoration),
            ),
            process: scenario.target.pid.map(Watch::new).transpose()?,
            timeout: Duration::from_secs_f64(scenario.target.timeout_secs),
            snapshot: Snapshot { planned: settings.planned, ..Snapshot::default() },
            settings,
            stop,
            slices: 0,
            ticked: begin,
            refused: None,
            frame,
        })
    }

    pub fn recorder(&self, worker: usize) -> Shared {
        self.recorders[worker].clone()
    }

    pub fn in_flight(&self) -> Arc<InFlight> {
        Arc::clone(&self.in_flight)
    }

    /// The plan as work for each worker.
    pub fn plan(&mut self, plan: Plan) -> Vec<Work> {
        let threads = self.settings.threads;
        match plan {
            Plan::Open(plan) => {
                let (dealt, dealing) = deal(plan, threads);
                self.threads.spawn_blocking(move || {
                    dealing();
                    Ok(())
                });
                dealt.into_iter().map(Work::Open).collect()
            }
            Plan::Closed(stages) => {
                let whole = stages.iter().map(|stage| stage.duration).sum();
                self.settings.planned.get_or_insert(whole);
                self.snapshot.planned = self.settings.planned;
                (0..threads.get()).map(|worker| Work::Closed(share(&stages, worker, threads))).collect()
            }
        }
    }

    /// Until all that was sent has its end.
    pub async fn watch(&mut self, observer: &mut dyn Observer) -> anyhow::Result<Ending> {
        let mut ticks = interval_at(self.first_tick(), TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut ending = Ending::Complete;
        let mut threads = std::mem::take(&mut self.threads);
        loop {
            tokio::select! {
                thread = threads.join_next() => match thread {
                    Some(thread) => thread??,
                    None => break,
                },
                _ = ticks.tick() => {
                    self.tick(observer)?;
                    if self.is_dead() && ending == Ending::Complete {
                        ending = Ending::Dead;
                    }
                }
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    ending = Ending::Interrupted;
                }
                () = self.script.step() => {}
            }
            if ending != Ending::Complete {
                self.stop.send_replace(true);
            }
        }
        self.tick(observer)?;
        self.script.finish().await;
        Ok(ending)
    }

    /// Whole seconds before and after the warm-up's end, so that slices are read where they end.
    fn first_tick(&self) -> Instant {
        let warmup = self.frame.start.saturating_duration_since(self.begin);
        self.begin + Duration::from_nanos(u64::from(warmup.subsec_nanos()))
    }

    fn tick(&mut self, observer: &mut dyn Observer) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut recent = Recent::default();
        for recorder in &self.recorders {
            let taken = std::mem::take(&mut recorder.lock().recent);
            recent.add(taken);
        }
        if recent.only_connect_errors() {
            self.refused.get_or_insert(self.ticked);
        } else if !recent.is_empty() {
            self.refused = None;
        }
        self.publish(now, recent, observer);
        self.ticked = now;
        self.read_slices(now)
    }

    /// A target that nobody can connect to any more, and not only for a moment.
    fn is_dead(&self) -> bool {
        self.refused.is_some_and(|since| since.elapsed() >= self.settings.patience)
    }

    fn publish(&mut self, now: Instant, mut recent: Recent, observer: &mut dyn Observer) {
        let seconds = now.saturating_duration_since(self.ticked).as_secs_f64().max(1e-3);
        let snapshot = &mut self.snapshot;
        snapshot.elapsed = now.saturating_duration_since(self.begin);
        snapshot.answered += recent.answered;
        snapshot.failed += recent.failed;
        snapshot.in_flight = self.in_flight.now();
        snapshot.sent = snapshot.answered + snapshot.failed + snapshot.in_flight;
        snapshot.requests_per_second = recent.answered as f64 / seconds;
        snapshot.output_tokens_per_second = recent.output_tokens as f64 / seconds;
        snapshot.p50_ms = quantile_ms(&mut recent.end_to_end, 0.5).unwrap_or(0.0);
        snapshot.p99_ms = quantile_ms(&mut recent.end_to_end, 0.99).unwrap_or(0.0);
        snapshot.ttft_p50_ms = quantile_ms(&mut recent.ttft, 0.5);
        snapshot.lag_p99_ms = quantile_ms(&mut recent.lag, 0.99).unwrap_or(0.0);
        for (failure, count) in recent.errors {
            *snapshot.errors.entry(failure.key()).or_default() += count;
        }
        observer.snapshot(snapshot);
    }

    /// Reads what is read at the end of a slice, and closes those to which nothing more can come.
    fn read_slices(&mut self, now: Instant) -> anyhow::Result<()> {
        let Some(since) = now.checked_duration_since(self.frame.start) else { return Ok(()) };
        if let Some(process) = &mut self.process {
            process.look();
        }
        let passed = place(since, self.frame.slice);
        if passed > self.slices {
            let reading = Reading { in_flight: self.in_flight.now(), ..self.sample(since) };
            let planned = self.settings.planned.map(|planned| self.begin + planned);
            for slice in self.slices..passed {
                let begins = self.frame.start + self.frame.slice * u32::try_from(slice).unwrap_or(u32::MAX);
                if planned.is_none_or(|planned| begins < planned) {
                    self.timeline.read(slice, reading);
                }
            }
            self.slices = passed;
        }
        let closed = place(since.saturating_sub(self.timeout + TICK), self.frame.slice);
        for recorder in &self.recorders {
            let taken = recorder.lock().take_slices_before(closed);
            self.timeline.add(taken)?;
        }
        Ok(())
    }

    fn sample(&mut self, since: Duration) -> Reading {
        let sample = self.process.as_mut().and_then(|process| process.sample(since));
        sample.map_or_else(Reading::default, |sample| Reading {
            in_flight: 0,
            resident_mib: Some(sample.resident_mib),
            open_files: sample.open_files,
            cpu_share: sample.cpu_share,
        })
    }
}

/// How many whole slices there are in this time.
fn place(since: Duration, slice: Duration) -> u64 {
    u64::try_from(since.as_nanos() / slice.as_nanos().max(1)).unwrap_or(u64::MAX)
}
