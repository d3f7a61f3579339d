//! The machine under us: how much of its memory, its processors and its disks is taken.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// How often it is looked at.
pub const LOOK: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub memory: Option<Memory>,
    /// What this process has.
    pub resident_bytes: u64,
    /// Of all processors, by this process.
    pub cpu: Option<f64>,
    /// The fullest disk of those that we write to.
    pub disk: Option<Disk>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub taken_bytes: u64,
    pub of_bytes: u64,
}

impl Share {
    pub fn share(self) -> f64 {
        if self.of_bytes == 0 { 0.0 } else { self.taken_bytes as f64 / self.of_bytes as f64 }
    }
}

/// Where we have a limit, what this process has of it; else what all have of the machine's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    pub share: Share,
    pub is_our_limit: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    pub folder: PathBuf,
    pub share: Share,
}

pub struct Machine {
    /// Folders that we write to.
    folders: Vec<PathBuf>,
    seen: Mutex<Seen>,
}

impl Machine {
    /// Of files and folders that may not be there yet.
    pub fn new(written: impl IntoIterator<Item = PathBuf>) -> Self {
        let folders = written.into_iter().filter_map(|path| std::path::absolute(path).ok()).collect();
        Machine { folders, seen: Mutex::default() }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks, again and again. Reading may take some milliseconds: it has a thread of its own.
    pub fn watch(self: &std::sync::Arc<Self>) -> std::io::Result<()> {
        let machine = std::sync::Arc::downgrade(self);
        let look = move || {
            let mut eye = match Eye::open() {
                Ok(eye) => eye,
                Err(problem) => return tracing::warn!(%problem, "the machine's memory and processors cannot be read"),
            };
            while let Some(machine) = machine.upgrade() {
                let seen = eye.look(&machine.folders);
                *machine.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
                drop(machine);
                std::thread::park_timeout(LOOK);
            }
        };
        std::thread::Builder::new().name("machine".to_owned()).spawn(look).map(drop)
    }

    pub fn observe(self: &std::sync::Arc<Self>, meter: &Meter) {
        type Reading = fn(&Seen) -> Option<f64>;
        let readings: [(&'static str, &'static str, Reading); 4] = [
            ("outrigger_memory_share", "Memory that is taken, of our limit or of the machine's.", |seen| {
                seen.memory.map(|memory| memory.share.share())
            }),
            ("outrigger_memory_bytes", "Memory of this process.", |seen| Some(seen.resident_bytes as f64)),
            ("outrigger_cpu_share", "Processors that this process takes, of all, over about a minute.", |seen| {
                seen.cpu
            }),
            ("outrigger_disk_share", "What is taken of the fullest disk that is written to.", |seen| {
                seen.disk.as_ref().map(|disk| disk.share.share())
            }),
        ];
        for (name, words, reading) in readings {
            let machine = std::sync::Arc::downgrade(self);
            // No unit: the exporter would put it into the name.
            let gauge = meter.f64_observable_gauge(name).with_description(words).with_callback(move |observer| {
                let seen = machine.upgrade().map(|machine| machine.seen());
                if let Some(value) = seen.as_ref().and_then(reading) {
                    observer.observe(value, &[]);
                }
            });
            gauge.build();
        }
    }
}

struct Eye {
    system: System,
    process: Option<Pid>,
    cpu: Option<f64>,
}

impl Eye {
    fn open() -> Result<Self, sysinfo::Error> {
        Ok(Eye { system: System::new()?, process: sysinfo::get_current_pid().ok(), cpu: None })
    }

    fn look(&mut self, folders: &[PathBuf]) -> Seen {
        self.system.refresh_memory();
        let wanted = ProcessRefreshKind::nothing().with_memory().with_cpu();
        if let Some(process) = self.process {
            self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[process]), true, wanted);
        }
        let process = self.process.and_then(|process| self.system.process(process));
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let resident_bytes = process.map_or(0, sysinfo::Process::memory);
        let all = self.system.total_memory();
        // A service's own limit, or that of the container that we are alone in.
        let own = process.and_then(sysinfo::Process::cgroup_limits).map(|limits| limits.total_memory);
        let limits = own.into_iter().chain(self.system.cgroup_limits().map(|limits| limits.total_memory));
        let memory = match limits.filter(|limit| (1..all).contains(limit)).min() {
            Some(of_bytes) => Memory { share: Share { taken_bytes: resident_bytes, of_bytes }, is_our_limit: true },
            None => {
                let taken_bytes = all.saturating_sub(self.system.available_memory());
                Memory { share: Share { taken_bytes, of_bytes: all }, is_our_limit: false }
            }
        };
        self.cpu = process.map(|process| {
            let now = f64::from(process.cpu_usage()) / 100.0 / cores;
            // Over about a minute: what it takes for a moment alarms nobody.
            self.cpu.map_or(now, |before| before + (now - before) * (LOOK.as_secs_f64() / 60.0))
        });
        Seen { memory: (all > 0).then_some(memory), resident_bytes, cpu: self.cpu, disk: fullest(folders) }
    }
}

fn fullest(folders: &[PathBuf]) -> Option<Disk> {
    let full = folders.iter().filter_map(|folder| Some(Disk { folder: folder.clone(), share: disk_of(folder)? }));
    full.max_by(|one, other| one.share.share().total_cmp(&other.share.share()))
}

/// What is taken of the disk that a file lies on, or will.
fn disk_of(path: &Path) -> Option<Share> {
    let disk = path.ancestors().find_map(|there| rustix::fs::statvfs(there).ok())?;
    let of_bytes = disk.f_blocks * disk.f_frsize;
    // What only the superuser may have is no room.
    Some(Share { taken_bytes: of_bytes.saturating_sub(disk.f_bavail * disk.f_frsize), of_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_seen() {
        let ballast = vec![1_u8; 64 << 20];
        let mut eye = Eye::open().unwrap();
        let seen = eye.look(&[std::env::temp_dir().join("not-there-yet/file")]);
        assert!(seen.resident_bytes >= ballast.len() as u64, "{seen:?}");
        let share = seen.memory.expect("there is memory").share;
        assert!(share.taken_bytes >= ballast.len() as u64 && share.share() < 1.0, "{seen:?}");
        let disk = seen.disk.expect("a folder lies on a disk");
        assert!(disk.share.of_bytes > 0 && (0.0..=1.0).contains(&disk.share.share()), "{disk:?}");
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(400) {
            std::hint::black_box(&ballast);
        }
        let cpu = eye.look(&[]).cpu.expect("this process has time");
        assert!(cpu > 0.0, "it was busy: {cpu}");
        assert_eq!(eye.look(&[]).disk, None);
    }
}
