//! Made-up load: calls whose times are lognormal, at steady or bursty arrivals.

use super::*;

const DEVIATION: f64 = 0.5;

#[derive(Clone, Copy)]
pub struct Arrivals {
    rate: f64,
    /// Half of the calls come in bursts of about so many.
    burst: f64,
}

impl Arrivals {
    pub fn steady(rate: f64) -> Self {
        Arrivals { rate, burst: 1.0 }
    }

    pub fn bursty(rate: f64) -> Self {
        Arrivals { rate, burst: 10.0 }
    }

    /// Until the next arrival, and how many come then.
    fn next(self, random: &mut fastrand::Rng) -> (f64, usize) {
        let is_burst = self.burst > 1.0 && random.f64() < 1.0 / (1.0 + self.burst);
        let count = if is_burst { random.f64() * 2.0 * self.burst + 1.0 } else { 1.0 };
        // Calls at one moment, on the average.
        let mean = if self.burst > 1.0 { 2.0 - 1.0 / (1.0 + self.burst) } else { 1.0 };
        (-(1.0 - random.f64()).ln() * mean / self.rate, count as usize)
    }
}

pub struct Simulated {
    pub regressions: Regressions,
    pub arrivals: Arrivals,
    begun: Instant,
    at: f64,
    ticked: f64,
    random: fastrand::Rng,
    models: Vec<Arc<str>>,
}

impl Simulated {
    pub fn new(config: &Config, seed: u64, arrivals: Arrivals, models: usize) -> Self {
        let begun = Instant::now();
        Simulated {
            regressions: Regressions::open(config, &["b0".into()], begun),
            arrivals,
            begun,
            at: 0.0,
            ticked: 0.0,
            random: fastrand::Rng::with_seed(seed),
            models: (0..models).map(|number| format!("m{number}").into()).collect(),
        }
    }

    pub fn now(&self) -> Instant {
        self.begun + Duration::from_secs_f64(self.at)
    }

    /// Each model has the rate for itself. What changed, and how many seconds after the beginning of this run.
    pub fn run(&mut self, time: Duration, factor: f64) -> Vec<(f64, Change)> {
        let (start, end) = (self.at, self.at + time.as_secs_f64());
        let mut next: Vec<(f64, usize)> = Vec::new();
        for _ in 0..self.models.len() {
            let (wait, count) = self.arrivals.next(&mut self.random);
            next.push((start + wait, count));
        }
        let mut changes = Vec::new();
        while self.ticked + 5.0 <= end {
            let until = self.ticked + 5.0;
            for (model, next) in next.iter_mut().enumerate() {
                while next.0 <= until {
                    let now = self.begun + Duration::from_secs_f64(next.0);
                    (0..next.1).for_each(|_| self.call(model, now, factor));
                    let (wait, count) = self.arrivals.next(&mut self.random);
                    *next = (next.0 + wait, count);
                }
            }
            self.ticked = until;
            let now = self.begun + Duration::from_secs_f64(until);
            changes.extend(self.regressions.tick(now).into_iter().map(|change| (until - start, change)));
        }
        self.at = end;
        changes
    }

    fn call(&mut self, model: usize, now: Instant, factor: f64) {
        let first = 0.3 * factor * self.noise();
        let per_token = 0.02 * factor * self.noise();
        let call = Measured {
            backend: 0,
            model: self.models.get(model).cloned(),
            streams: true,
            is_good: true,
            duration: 1.0,
            first_chunk: Some(first),
            per_token: Some(per_token),
            per_chunk: None,
            output: 100,
            counted: Vec::new(),
        };
        self.regressions.count(now, &Digest { calls: vec![call], ..Digest::default() });
    }

    /// Lognormal, by Box and Muller.
    fn noise(&mut self) -> f64 {
        let (one, other) = (1.0 - self.random.f64(), self.random.f64());
        (DEVIATION * (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()).exp()
    }

    /// Of the time to the first chunk, in milliseconds.
    pub fn baseline(&self) -> f64 {
        self.regressions.list(self.now())[0].baseline_ms.unwrap()
    }

    pub fn class(&self) -> Class {
        self.regressions.class(Some("b0"), None)
    }

    pub fn trends(&self) -> Vec<Trend> {
        self.regressions.list(self.now()).into_iter().map(|series| series.trend).collect()
    }
}

/// The 5th, 50th and 95th of a hundred, in seconds.
fn spread(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((share * (times.len().max(1) - 1) as f64) as usize).copied().unwrap_or(f64::NAN);
    format!("{:.0} / {:.0} / {:.0}", at(0.05), at(0.5), at(0.95))
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (mut alarms, mut hours) = (0, 0.0);
        for rate in [2.0, 5.0, 10.0, 20.0, 50.0] {
            for (kind, arrivals) in [Arrivals::steady(rate), Arrivals::bursty(rate)].into_iter().enumerate() {
                let (models, time) = if rate > 10.0 { (10, 3600) } else { (40, 3600 * 2) };
                let mut simulated = Simulated::new(&Config::default(), kind as u64 + 100, arrivals, models);
                let changes = simulated.run(seconds(time), 1.0);
                alarms += changes.iter().filter(|(_, change)| change.class > Class::Normal).count();
                hours += models as f64 * 2.0 * time as f64 / 3600.0;
                let bytes = simulated.regressions.bytes() / models / 2;
                println!("{rate}/s kind {kind}: {alarms} alarms so far in {hours} hours of series; {bytes} bytes a series");
            }
        }
        for factor in [1.3, 1.6, 2.2] {
            let wanted = Config::default();
            let wanted = if factor < wanted.moderate { Class::Minor } else if factor < wanted.severe { Class::Moderate } else { Class::Severe };
            for rate in [2.0, 5.0, 10.0, 20.0, 50.0] {
                let (mut times, mut over, mut all) = (Vec::new(), 0, 0);
                for seed in 0..100 {
                    let mut simulated = Simulated::new(&Config::default(), seed, Arrivals::steady(rate), 1);
                    simulated.run(seconds(600), 1.0);
                    for measure in Measure::ALL.into_iter().take(2) {
                        let mut copy = simulated.run(seconds(if measure == Measure::FirstChunk { 300 } else { 0 }), factor);
                        copy.retain(|(_, change)| change.class >= wanted);
                        if measure == Measure::FirstChunk {
                            for of in [Measure::FirstChunk, Measure::PerToken] {
                                all += 1;
                                let mut of_it = copy.iter().filter(|(_, change)| change.measure == of);
                                if of_it.clone().any(|(_, change)| change.class > wanted) { over += 1; }
                                times.extend(of_it.find(|(_, change)| change.class == wanted).map(|(at, _)| *at));
                            }
                        }
                    }
                }
                let late = all - times.iter().filter(|at| **at <= 60.0).count();
                println!("{factor} at {rate}/s: {} s; {late} of {all} later than a minute, {over} called worse within 5 minutes", spread(times));
            }
        }
    });
}

#[test]
#[ignore = "prints figures"]
fn a_tick_of_all() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut simulated = Simulated::new(&Config::default(), 1, Arrivals::steady(15.0), MOST_PAIRS);
        simulated.run(seconds(400), 1.0);
        let timer = Instant::now();
        simulated.regressions.tick(simulated.now());
        println!("a tick of 256 busy series: {:?}", timer.elapsed());
        println!("all of them: {} bytes", simulated.regressions.bytes());
    });
}
