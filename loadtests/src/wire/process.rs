//! What a process has used, as the kernel counts it.

use anyhow::Context;

use super::target::Target;

/// User and system time of all its threads so far, in nanoseconds.
///
/// It is read from the scheduler's own count: the clock ticks of `/proc/PID/stat` are 10 ms each.
pub fn cpu_nanoseconds(process: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    let folder = format!("/proc/{process}/task");
    for thread in std::fs::read_dir(&folder).with_context(|| format!("process {process} is gone"))? {
        // A thread may end between the listing and the reading; its time is then lost, and small.
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        total += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(total)
}

/// Resident memory in MiB.
pub fn resident_mib(process: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))
        .with_context(|| format!("process {process} is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// Open files, connections among them; an error where the process is somebody else's.
pub fn open_files(process: u32) -> anyhow::Result<u64> {
    let files = std::fs::read_dir(format!("/proc/{process}/fd"));
    Ok(files.with_context(|| format!("the files of process {process} cannot be read"))?.count() as u64)
}

/// The CPU that a target uses from here on.
pub struct Meter {
    process: Option<u32>,
    start: u64,
}

impl Meter {
    /// For a target without a process id it counts nothing.
    pub fn start(target: &Target) -> anyhow::Result<Meter> {
        let start = target.process.map_or(Ok(0), cpu_nanoseconds)?;
        Ok(Meter { process: target.process, start })
    }

    /// Microseconds since the start.
    pub fn microseconds(&self) -> anyhow::Result<Option<f64>> {
        let Some(process) = self.process else { return Ok(None) };
        Ok(Some((cpu_nanoseconds(process)? - self.start) as f64 / 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let process = std::process::id();
        let before = cpu_nanoseconds(process).unwrap();
        let sum = (0..20_000_000_u64).fold(0_u64, |sum, value| std::hint::black_box(sum ^ value));
        assert!(cpu_nanoseconds(process).unwrap() > before, "work takes time ({sum})");
        assert!(resident_mib(process).unwrap() > 0.5, "a process has memory");
    }

    #[test]
    fn a_process_that_is_gone_is_told() {
        assert!(cpu_nanoseconds(u32::MAX).is_err(), "no such process");
    }
}
