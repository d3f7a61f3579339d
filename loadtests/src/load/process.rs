//! The target's process while it is under load: what it costs, and whether it grows.

use std::time::Duration;

use anyhow::Context;

use super::result::Process;
use crate::wire::process::{cpu_nanoseconds, open_files, resident_mib};

/// From its making on; once the process is gone, what was seen until then.
pub struct Watch {
    pid: u32,
    cpu_first: u64,
    cpu_last: u64,
    peak_mib: f64,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Duration,
    pub resident_mib: f64,
    /// None where the process is somebody else's.
    pub open_files: Option<u64>,
    /// Of one core, since the sample before.
    pub cpu_share: Option<f64>,
}

impl Watch {
    /// A process that is not there is an error: its number is mistaken.
    pub fn new(pid: u32) -> anyhow::Result<Watch> {
        let cpu =
            cpu_nanoseconds(pid).with_context(|| format!("target.pid names process {pid}, which is not there"))?;
        Ok(Watch { pid, cpu_first: cpu, cpu_last: cpu, peak_mib: 0.0, samples: Vec::new() })
    }

    /// Sees how much memory it has now, and how much CPU was used until now by what comes before the measured time.
    pub fn look(&mut self) {
        self.peak_mib = self.peak_mib.max(resident_mib(self.pid).unwrap_or(0.0));
        if self.samples.is_empty() {
            self.sample(Duration::ZERO);
            self.cpu_first = self.cpu_last;
        }
    }

    pub fn sample(&mut self, at: Duration) -> Option<Sample> {
        let (resident_mib, cpu) = (resident_mib(self.pid).ok()?, cpu_nanoseconds(self.pid).ok()?);
        let used = cpu.saturating_sub(self.cpu_last) as f64 / 1e9;
        self.cpu_last = self.cpu_last.max(cpu);
        let elapsed = self.samples.last().map(|last| at.saturating_sub(last.at).as_secs_f64());
        let cpu_share = elapsed.filter(|elapsed| *elapsed > 0.0).map(|elapsed| used / elapsed);
        let sample = Sample { at, resident_mib, open_files: open_files(self.pid).ok(), cpu_share };
        self.samples.push(sample);
        self.peak_mib = self.peak_mib.max(resident_mib);
        Some(sample)
    }

    /// What it was over the whole of the measured time; none where it was never seen.
    pub fn finish(mut self, at: Duration, requests: u64) -> Option<Process> {
        self.sample(at);
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        let cpu_seconds = self.cpu_last.saturating_sub(self.cpu_first) as f64 / 1e9;
        let series = |value: fn(&Sample) -> Option<f64>| {
            self.samples.iter().filter_map(move |sample| Some((sample.at.as_secs_f64() / 3600.0, value(sample)?)))
        };
        Some(Process {
            pid: self.pid,
            cpu_seconds,
            cpu_microseconds_per_request: if requests == 0 { 0.0 } else { cpu_seconds * 1e6 / requests as f64 },
            resident_mib_first: first.resident_mib,
            resident_mib_last: last.resident_mib,
            resident_mib_peak: self.peak_mib,
            resident_mib_per_hour: slope(series(|sample| Some(sample.resident_mib))),
            files_first: first.open_files.unwrap_or(0),
            files_last: last.open_files.unwrap_or(0),
            files_per_hour: slope(series(|sample| sample.open_files.map(|files| files as f64))),
        })
    }
}

/// Of the line with the least squares; 0 where there is none.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count() as f64;
    let (x, y) = points.clone().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    let (x, y) = (x / count, y / count);
    let (both, square) = points.fold((0.0, 0.0), |sum, point| {
        let (x, y) = (point.0 - x, point.1 - y);
        (sum.0 + x * y, sum.1 + x * x)
    });
    if square > 0.0 { both / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::process::testing::Busy;

    #[test]
    fn a_line_is_found_in_its_points() {
        let points = (0..50).map(|x| (f64::from(x), 7.0 + 3.0 * f64::from(x)));
        assert!((slope(points) - 3.0).abs() < 1e-9);
        // By hand: means (1, 2), sums of products 1 and of squares 2.
        assert!((slope([(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)].into_iter()) - 0.5).abs() < 1e-9);
        assert_eq!(slope([(1.0, 1.0)].into_iter()), 0.0, "a point is no line");
        assert_eq!(slope(std::iter::empty()), 0.0);
    }

    #[test]
    fn a_process_is_watched() {
        let busy = Busy::start();
        let mut watch = Watch::new(busy.id()).unwrap();
        watch.look();
        busy.work();
        let sample = watch.sample(Duration::from_secs(1)).unwrap();
        assert!(sample.cpu_share.unwrap() > 0.0 && sample.open_files.unwrap() > 2, "{sample:?}");
        let process = watch.finish(Duration::from_secs(2), 10).unwrap();
        assert!(process.cpu_microseconds_per_request > 0.0 && process.resident_mib_peak > 0.5, "{process:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_a_mistake() {
        let Err(error) = Watch::new(u32::MAX) else { panic!("nobody has this number") };
        assert!(format!("{error:#}").contains("target.pid"), "{error:#}");
    }
}
