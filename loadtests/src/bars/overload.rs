//! More than a backend can do: what it does then must be as much as before, and who cannot be served is told at once.
//!
//! The simulator is given so many slots. The load first rises past what they can do, which finds the peak of the goodput;
//! then it is a multiple of that, and then it falls back, and one sees how long the crowd is still felt.

mod phase;

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::arrivals::{Arrivals, Outcome};
use super::latencies::Latencies;
use super::limit::Limit;
use super::report::{Bar, Report};
use super::rounds::Rounds;
use crate::wire::prompt::Shape;
use crate::wire::simulator::Simulator;
use crate::wire::target::{Target, address};

const RATIO: &str = "goodput of its peak";
const REFUSED: &str = "refused after ms, p99";
const RECOVERY: &str = "normal again after s";
/// Beyond this the schedule was not kept, and the run is invalid.
const MOST_LAG_US: f64 = 10_000.0;

#[derive(Debug, Args)]
pub struct Options {
    /// NAME=URL; repeat it.
    #[arg(long = "target", required = true)]
    targets: Vec<Target>,
    /// Where the simulator behind them is, which is given its slots for the time of the run.
    #[arg(long)]
    sim: String,
    /// Generations at once.
    #[arg(long, default_value_t = 32)]
    slots: u64,
    #[arg(long, default_value_t = 50)]
    ttft_ms: u64,
    #[arg(long, default_value_t = 50)]
    gap_ms: u64,
    #[arg(long, default_value_t = 20)]
    tokens: u64,
    /// Ask for plain answers, and not for streams.
    #[arg(long)]
    plain: bool,
    /// Loads that the peak is looked for at, in parts of what the slots can do.
    #[arg(long, value_delimiter = ',', default_values_t = [0.6, 0.8, 1.0, 1.2])]
    calibrate: Vec<f64>,
    #[arg(long, default_value_t = 5.0)]
    calibrate_seconds: f64,
    /// The overload.
    #[arg(long, default_value_t = 4.0)]
    factor: f64,
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// The load after it.
    #[arg(long, default_value_t = 0.5)]
    after_factor: f64,
    #[arg(long, default_value_t = 10.0)]
    after_seconds: f64,
    /// An answer is good that begins so soon; a plain one has so long beside its own time.
    #[arg(long, default_value_t = 1500)]
    patience_ms: u64,
    /// NAME=RATIO: the goodput in the overload by the peak before it.
    #[arg(long)]
    min_goodput_ratio: Vec<Limit>,
    /// NAME=MILLISECONDS: how late a refusal is, at p99.
    #[arg(long)]
    max_refused_ms: Vec<Limit>,
    /// NAME=SECONDS: from the end of the overload to where the answers are normal.
    #[arg(long)]
    max_recovery_seconds: Vec<Limit>,
}

impl Options {
    fn shape(&self) -> Shape {
        let sim = json!({"ttft_ms": self.ttft_ms, "gap_ms": self.gap_ms, "tokens": self.tokens});
        Shape { stream: !self.plain, sim, ..Shape::default() }
    }

    /// From the first token to the last.
    fn rest(&self) -> Duration {
        Duration::from_millis(self.gap_ms * self.tokens.saturating_sub(1))
    }

    /// A request's time in its slot.
    fn whole(&self) -> Duration {
        Duration::from_millis(self.ttft_ms) + self.rest()
    }

    /// Requests a second.
    fn capacity(&self) -> f64 {
        self.slots as f64 / self.whole().as_secs_f64()
    }

    /// What a plain answer takes beyond the beginning, which nobody sees.
    fn unseen(&self) -> Duration {
        if self.plain { self.rest() } else { Duration::ZERO }
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms) + self.unseen()
    }

    /// Twice what it takes without load, and the noise of a busy machine.
    fn normal(&self) -> Duration {
        Duration::from_millis(self.ttft_ms * 2 + 100) + self.unseen()
    }
}

pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let mut rounds = Rounds::new(&options.targets, None)?;
    let mut simulator = Simulator::connect(address(&options.sim)?).await?;
    let (mut errors, mut lag) = (Vec::new(), 0.0_f64);
    for (place, target) in options.targets.iter().enumerate() {
        simulator.configure(&json!({"slots": options.slots})).await?;
        let measured = measure(options, target, place, &mut rounds).await;
        // Whoever comes next finds it as it was.
        simulator.configure(&json!({})).await?;
        let seen = measured?;
        lag = lag.max(Latencies::of(seen.iter().map(|one| one.lag))?.p99());
        errors.extend(seen.iter().filter(|one| one.is_error()).map(|one| format!("{}: {:?}", target.name, one.end)));
        simulator.settled(Duration::from_secs(60)).await?;
    }
    let mut report = Report::new("overload", &rounds);
    errors.iter().take(5).for_each(|error| report.note(error.clone()));
    report.bar(Bar::exactly("errors other than refusals".to_owned(), errors.len() as u64, 0));
    report.bar(Bar::at_most("schedule lag p99 us".to_owned(), Some(lag), MOST_LAG_US));
    for limit in &options.min_goodput_ratio {
        report.bar(limit.at_least(&rounds, RATIO, &options.targets)?);
    }
    for (limits, metric) in [(&options.max_refused_ms, REFUSED), (&options.max_recovery_seconds, RECOVERY)] {
        for limit in limits {
            report.bar(limit.at_most(&rounds, metric, &options.targets)?);
        }
    }
    Ok(report)
}

async fn measure(
    options: &Options,
    target: &Target,
    place: usize,
    rounds: &mut Rounds,
) -> anyhow::Result<Vec<Outcome>> {
    let mut arrivals = Arrivals::new(target.address, &[options.shape()])?;
    let (mut seen, mut peak) = (Vec::new(), 0.0_f64);
    for load in &options.calibrate {
        let duration = Duration::from_secs_f64(options.calibrate_seconds);
        let outcomes = arrivals.run(load * options.capacity(), duration).await?;
        let goodput = phase::goodput(&outcomes, options.patience(), duration);
        rounds.record(&format!("goodput/s at {load}x"), place, goodput);
        peak = peak.max(goodput);
        seen.extend(outcomes);
    }
    let duration = Duration::from_secs_f64(options.seconds);
    // What is asked in the overload must not be waited for before the load falls.
    let mut after = Arrivals::new(target.address, &[options.shape()])?;
    let later = async {
        sleep(duration).await;
        let start = Instant::now();
        let rate = options.after_factor * options.capacity();
        anyhow::Ok((start, after.run(rate, Duration::from_secs_f64(options.after_seconds)).await?))
    };
    let (crowd, later) = tokio::join!(arrivals.run(options.factor * options.capacity(), duration), later);
    let (crowd, (start, later)) = (crowd?, later?);
    let goodput = phase::goodput(&crowd, options.patience(), duration);
    rounds.record(&format!("goodput/s at {}x", options.factor), place, goodput);
    rounds.record(RATIO, place, goodput / peak);
    if let Some(refusals) = phase::refusals(&crowd)? {
        rounds.record("refused", place, refusals.len() as f64);
        rounds.record("refused after ms, p50", place, refusals.p50() / 1e3);
        rounds.record(REFUSED, place, refusals.p99() / 1e3);
    }
    if let Some(recovery) = phase::recovery(&later, start, options.normal()) {
        rounds.record(RECOVERY, place, recovery.as_secs_f64());
    }
    seen.extend(crowd.into_iter().chain(later));
    Ok(seen)
}
