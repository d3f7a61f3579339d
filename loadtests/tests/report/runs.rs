//! Runs as the load tester would have measured them, made from seeded draws: what a report has to cope with.

use hdrhistogram::Histogram;
use outrigger_loadtests::load::distribution::empty;
use outrigger_loadtests::load::result::{
    Counts, Distribution, FORMAT, Integrity, LevelVerdict, Machine, Mark, Metric, Process, Rates, Run, Slice,
};

/// What a made run is like.
#[derive(Clone)]
pub struct Shape {
    pub seconds: u32,
    pub per_second: u32,
    pub streams: bool,
    pub process: bool,
    /// From and to which second the target fails one in two and is 20 times as slow.
    pub fault: Option<(u32, u32)>,
    /// Of every latency.
    pub slower: f64,
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { seconds: 60, per_second: 200, streams: true, process: true, fault: None, slower: 1.0, seed: 7 }
    }
}

/// One request's times in milliseconds, or that it failed.
struct Draw {
    failed: bool,
    ttft: f64,
    end: f64,
    lag: f64,
}

struct Recorder {
    shape: Shape,
    random: fastrand::Rng,
    end: Histogram<u64>,
    ttft: Histogram<u64>,
    inter_token: Histogram<u64>,
    lag: Histogram<u64>,
}

pub fn run(name: &str, shape: &Shape) -> Run {
    let histogram = || empty().unwrap();
    let random = fastrand::Rng::with_seed(shape.seed);
    let mut recorder = Recorder {
        shape: shape.clone(),
        random,
        end: histogram(),
        ttft: histogram(),
        inter_token: histogram(),
        lag: histogram(),
    };
    let slices: Vec<Slice> = (0..shape.seconds).map(|second| recorder.slice(second)).collect();
    recorder.finish(name, slices)
}

/// The tokens of each made stream.
const TOKENS: u64 = 24;

impl Recorder {
    fn slice(&mut self, second: u32) -> Slice {
        let (mut end, mut ttft) = (empty().unwrap(), empty().unwrap());
        let sent = u64::from(self.shape.per_second) + self.random.u64(0..1 + u64::from(self.shape.per_second) / 8);
        let mut failed = 0;
        for _ in 0..sent {
            let draw = self.draw(second);
            record(&mut self.lag, draw.lag);
            if draw.failed {
                failed += 1;
                continue;
            }
            record(&mut end, draw.end);
            record(&mut ttft, draw.ttft);
            (0..3).for_each(|_| {
                let gap = 8.0 + 4.0 * self.random.f64();
                record(&mut self.inter_token, gap);
            });
        }
        self.end.add(&end).unwrap();
        self.ttft.add(&ttft).unwrap();
        let streams = if self.shape.streams { sent - failed } else { 0 };
        Slice {
            at_seconds: f64::from(second),
            seconds: 1.0,
            sent,
            answered: sent - failed,
            failed,
            output_tokens: streams * TOKENS,
            in_flight: (sent as f64 * end.mean() / 1e9) as u64,
            end_to_end: (!end.is_empty()).then(|| Distribution::of(&end).unwrap()),
            ttft: (streams > 0).then(|| Distribution::of(&ttft).unwrap()),
            resident_mib: self.shape.process.then(|| 41.0 + f64::from(second) * 0.02 + self.random.f64()),
            open_files: self.shape.process.then(|| 60 + self.random.u64(0..9)),
            cpu_share: self.shape.process.then(|| 0.42 + 0.05 * self.random.f64()),
        }
    }

    fn draw(&mut self, second: u32) -> Draw {
        let faulty = self.shape.fault.is_some_and(|(from, to)| (from..to).contains(&second));
        // The product of draws has the long tail that latencies have.
        let tail = 0.35 / (1.02 - self.random.f64());
        let slow = self.shape.slower * if faulty { 20.0 } else { 1.0 };
        let ttft = (18.0 + 6.0 * self.random.f64() + 4.0 * tail) * slow;
        Draw {
            failed: faulty && self.random.bool(),
            ttft,
            end: ttft + (200.0 + 30.0 * self.random.f64() + 8.0 * tail) * slow,
            lag: 0.02 + 0.004 * tail,
        }
    }

    fn finish(self, name: &str, slices: Vec<Slice>) -> Run {
        let seconds = f64::from(self.shape.seconds);
        let sum = |of: fn(&Slice) -> u64| slices.iter().map(of).sum::<u64>();
        let counts = self.counts(&slices);
        let answered = counts.answered;
        let marks = self.shape.fault.map_or(Vec::new(), marks);
        let failed = sum(|slice| slice.failed);
        let errors = [("timeout".to_owned(), failed / 3), ("status_503".to_owned(), failed - failed / 3)];
        let whole = if self.shape.streams { answered } else { 0 };
        Run {
            format: FORMAT.to_owned(),
            name: name.to_owned(),
            label: None,
            target: "http://127.0.0.1:8080".to_owned(),
            started_at: "2026-11-21T15:20:00Z".to_owned(),
            tool: "outrigger-load 0.1.0".to_owned(),
            machine: machine(),
            scenario: serde_json::json!({"name": name, "seed": self.shape.seed, "target": {"url": "http://127.0.0.1:8080"}}),
            planned_seconds: seconds,
            measured_seconds: seconds,
            cut_short: None,
            invalid: Vec::new(),
            rates: rates(&counts, seconds),
            counts,
            latencies: self.latencies(),
            errors: if failed > 0 { errors.into() } else { Default::default() },
            integrity: Integrity { checked: whole, whole, ..Integrity::default() },
            process: self.shape.process.then(|| process(&slices, answered)),
            slices,
            marks,
            levels: Vec::new(),
        }
    }

    fn counts(&self, slices: &[Slice]) -> Counts {
        let sum = |of: fn(&Slice) -> u64| slices.iter().map(of).sum::<u64>();
        let answered = sum(|slice| slice.answered);
        Counts {
            sent: sum(|slice| slice.sent),
            answered,
            failed: sum(|slice| slice.failed),
            good: answered - answered / 50,
            streams: if self.shape.streams { answered } else { 0 },
            input_tokens: answered * 300,
            output_tokens: sum(|slice| slice.output_tokens),
            body_bytes_received: answered * 4_000,
            stream_bytes_received: if self.shape.streams { answered * 4_000 } else { 0 },
            most_in_flight: slices.iter().map(|slice| slice.in_flight).max().unwrap_or(0),
        }
    }

    fn latencies(&self) -> std::collections::BTreeMap<Metric, Distribution> {
        let mut all = vec![(Metric::ScheduleLag, &self.lag), (Metric::EndToEnd, &self.end)];
        if self.shape.streams {
            all.extend([(Metric::Ttft, &self.ttft), (Metric::InterToken, &self.inter_token)]);
        }
        let measured = all.into_iter().filter(|(_, histogram)| !histogram.is_empty());
        measured.map(|(metric, histogram)| (metric, Distribution::of(histogram).unwrap())).collect()
    }
}

fn record(histogram: &mut Histogram<u64>, milliseconds: f64) {
    histogram.record((milliseconds * 1e6) as u64).unwrap();
}

fn rates(counts: &Counts, seconds: f64) -> Rates {
    Rates {
        requests: counts.answered as f64 / seconds,
        goodput: counts.good as f64 / seconds,
        output_tokens: counts.output_tokens as f64 / seconds,
        stream_bytes: counts.stream_bytes_received as f64 / seconds,
    }
}

fn marks((from, to): (u32, u32)) -> Vec<Mark> {
    let stall = "simulator stalls";
    let mark = |at: u32, what: &str| Mark { at_seconds: f64::from(at), what: what.to_owned() };
    let (begins, ends) = (format!("fault begins: {stall}"), format!("fault ends: {stall}"));
    vec![mark(0, "steady at 200/s"), mark(from, &begins), mark(to, &ends)]
}

fn process(slices: &[Slice], answered: u64) -> Process {
    let resident: Vec<f64> = slices.iter().filter_map(|slice| slice.resident_mib).collect();
    let cpu_seconds = slices.len() as f64 * 0.44;
    Process {
        pid: 4321,
        cpu_seconds,
        cpu_microseconds_per_request: cpu_seconds * 1e6 / answered.max(1) as f64,
        resident_mib_first: resident[0],
        resident_mib_last: resident[resident.len() - 1],
        resident_mib_peak: resident.iter().copied().fold(0.0, f64::max),
        resident_mib_per_hour: 72.0,
        files_first: 64,
        files_last: 66,
        files_per_hour: 0.4,
    }
}

fn machine() -> Machine {
    Machine {
        class: "amd-epyc-7763-2c-24g-linux".to_owned(),
        cpu: "AMD EPYC 7763".to_owned(),
        cores: 2,
        memory_mib: 24_105,
        kernel: "6.8.0".to_owned(),
    }
}

pub fn level(level: &str, value: Option<f64>, met: bool) -> LevelVerdict {
    LevelVerdict { level: level.to_owned(), value, met }
}

pub fn healthy() -> Run {
    let mut run = run("chat", &Shape::default());
    run.levels = vec![
        level("p95_ttft_ms <= 500", Some(run.latencies[&Metric::Ttft].p95), true),
        level("error_rate <= 0.05", Some(0.0), true),
    ];
    run
}

/// A fault in the middle, errors, broken streams, and a missed level.
pub fn failing() -> Run {
    let mut run = run("recovery", &Shape { fault: Some((22, 31)), ..Shape::default() });
    run.integrity.whole -= 3;
    run.integrity.lost = 2;
    run.integrity.crossed = 1;
    run.levels = vec![
        level("p99_end_to_end_ms <= 2000", Some(run.latencies[&Metric::EndToEnd].p99), false),
        level("error_rate <= 0.05", Some(0.07), false),
        level("p50_ttft_ms <= 100", Some(run.latencies[&Metric::Ttft].p50), true),
        level("recovery_secs <= 3", None, false),
    ];
    run
}

pub fn partial() -> Run {
    let mut run = run("endurance", &Shape { seconds: 17, ..Shape::default() });
    run.planned_seconds = 3600.0;
    run.cut_short = Some("the target refused every connection for 3 s".to_owned());
    run
}

/// JSON only, from a target whose process nobody named.
pub fn without_streams() -> Run {
    run("embeddings", &Shape { streams: false, process: false, ..Shape::default() })
}

pub fn single_slice() -> Run {
    run("smoke", &Shape { seconds: 1, per_second: 5, ..Shape::default() })
}

/// Every request failed.
pub fn unanswered() -> Run {
    let mut run = run("refused", &Shape { seconds: 4, per_second: 0, process: false, ..Shape::default() });
    run.counts.sent = 40;
    run.counts.failed = 40;
    run.errors = [("connect".to_owned(), 40)].into();
    run.slices.iter_mut().for_each(|slice| (slice.sent, slice.failed) = (10, 10));
    run
}

/// Nothing at all: it ended before its first slice.
pub fn empty_run() -> Run {
    let mut run = run("nothing", &Shape { seconds: 1, per_second: 0, process: false, ..Shape::default() });
    run.slices.clear();
    run.measured_seconds = 0.0;
    run.rates = Rates::default();
    run.cut_short = Some("interrupted".to_owned());
    run
}

pub fn pair() -> Vec<Run> {
    let mut runs = vec![run("ab", &Shape::default()), run("ab", &Shape { slower: 1.3, seed: 8, ..Shape::default() })];
    for (run, label) in runs.iter_mut().zip(["direct", "through outrigger"]) {
        run.label = Some(label.to_owned());
    }
    runs
}
