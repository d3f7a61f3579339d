//! The machine under us: how much of its memory, its processors and its disks is taken.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use sysinfo::{Disks, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// How often it is looked at.
pub const LOOK: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Where the container has a limit: what this process has of it; else what all have of the machine's.
    pub memory: Share,
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
                std::thread::sleep(LOOK);
            }
        };
        std::thread::Builder::new().name("machine".to_owned()).spawn(look).map(drop)
    }

    pub fn observe(self: &std::sync::Arc<Self>, meter: &Meter) {
        type Reading = fn(&Seen) -> Option<f64>;
        let readings: [(&'static str, &'static str, &'static str, Reading); 4] = [
            (
                "outrigger_memory_share",
                "1",
                "Memory that is taken, of the container's limit or the machine's.",
                |seen| Some(seen.memory.share()),
            ),
            ("outrigger_memory_bytes", "", "Memory of this process.", |seen| Some(seen.resident_bytes as f64)),
            ("outrigger_cpu_share", "1", "Processors that this process takes, of all.", |seen| seen.cpu),
            ("outrigger_disk_share", "1", "What is taken of the fullest disk that is written to.", |seen| {
                seen.disk.as_ref().map(|disk| disk.share.share())
            }),
        ];
        for (name, unit, words, reading) in readings {
            let machine = std::sync::Arc::downgrade(self);
            let gauge = meter.f64_observable_gauge(name).with_description(words).with_callback(move |observer| {
                let seen = machine.upgrade().map(|machine| machine.seen());
                if let Some(value) = seen.as_ref().and_then(reading) {
                    observer.observe(value, &[]);
                }
            });
            if unit.is_empty() { gauge } else { gauge.with_unit(unit) }.build();
        }
    }
}

struct Eye {
    system: System,
    process: Option<Pid>,
}

impl Eye {
    fn open() -> Result<Self, sysinfo::Error> {
        Ok(Eye { system: System::new()?, process: sysinfo::get_current_pid().ok() })
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
        let limit = self.system.cgroup_limits().map(|limits| limits.total_memory);
        let memory = match limit.filter(|limit| (1..all).contains(limit)) {
            Some(limit) => Share { taken_bytes: resident_bytes, of_bytes: limit },
            None => Share { taken_bytes: all.saturating_sub(self.system.available_memory()), of_bytes: all },
        };
        Seen {
            memory,
            resident_bytes,
            cpu: process.map(|process| f64::from(process.cpu_usage()) / 100.0 / cores),
            disk: fullest(folders),
        }
    }
}

fn fullest(folders: &[PathBuf]) -> Option<Disk> {
    if folders.is_empty() {
        return None;
    }
    let disks = Disks::new_with_refreshed_list().ok()?;
    let under = |folder: &Path| {
        let mounted = disks.iter().filter(|disk| folder.starts_with(disk.mount_point()));
        mounted.max_by_key(|disk| disk.mount_point().as_os_str().len())
    };
    let full = folders.iter().filter_map(|folder| {
        let disk = under(folder)?;
        let of_bytes = disk.total_space();
        let share = Share { taken_bytes: of_bytes.saturating_sub(disk.available_space()), of_bytes };
        Some(Disk { folder: folder.clone(), share })
    });
    full.max_by(|one, other| one.share.share().total_cmp(&other.share.share()))
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
        assert!(seen.memory.taken_bytes >= ballast.len() as u64 && seen.memory.share() < 1.0, "{seen:?}");
        let disk = seen.disk.expect("a folder lies on a disk");
        assert!(disk.share.of_bytes > 0 && (0.0..=1.0).contains(&disk.share.share()), "{disk:?}");
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(400) {
            std::hint::black_box(&ballast);
        }
        let cpu = eye.look(&[]).cpu.expect("this process has time");
        assert!(cpu > 0.05, "it was busy: {cpu}");
        assert_eq!(eye.look(&[]).disk, None);
    }
}
