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
        // Where a thread has ended it may be less than before.
        Ok(Some(cpu_nanoseconds(process)?.saturating_sub(self.start) as f64 / 1e3))
    }
}

#[cfg(test)]
pub mod testing {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    /// A process of one thread that works until it is dropped. In a test's own, the threads of other tests end
    /// meanwhile and take their time with them.
    pub struct Busy(Child);

    impl Busy {
        pub fn start() -> Busy {
            let mut shell = Command::new("sh");
            let started = shell.args(["-c", "echo; while :; do :; done"]).stdout(Stdio::piped()).spawn();
            let mut child = started.unwrap();
            // Before it has said something it may be no shell yet, and have next to no memory.
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            Busy(child)
        }

        pub fn id(&self) -> u32 {
            self.0.id()
        }

        /// Until it has used more time than now; the kernel gives it some sooner or later.
        pub fn work(&self) {
            let before = super::cpu_nanoseconds(self.id()).unwrap();
            while super::cpu_nanoseconds(self.id()).unwrap() <= before {
                std::thread::yield_now();
            }
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Busy;
    use super::*;

    #[test]
    fn a_process_uses_time_and_memory() {
        let busy = Busy::start();
        busy.work();
        let meter = Meter { process: Some(busy.id()), start: cpu_nanoseconds(busy.id()).unwrap() };
        busy.work();
        assert!(meter.start > 0 && meter.microseconds().unwrap().unwrap() > 0.0, "work takes time");
        assert!(resident_mib(busy.id()).unwrap() > 0.5, "a process has memory");
    }

    #[test]
    fn a_process_that_is_gone_is_told() {
        assert!(cpu_nanoseconds(u32::MAX).is_err(), "no such process");
    }
}
