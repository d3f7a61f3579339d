//! The files of one card of AMD's, and what they say.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::gpu::card::{Ecc, Identity, Now, Reading, Standing};

/// What one file may say at most.
const LONGEST: u64 = 4096;

/// Where each reading stands, as far as the card has it.
pub struct Files {
    folder: PathBuf,
    pub is: Identity,
    edge: Option<PathBuf>,
    junction: Option<PathBuf>,
    memory_temperature: Option<PathBuf>,
    power: Option<PathBuf>,
    power_limit: Option<PathBuf>,
    fan: Option<PathBuf>,
    clock: Clock,
    memory_clock: Clock,
}

/// A clock stands in hertz beside the sensors, or is the marked line of the speeds that it may have.
enum Clock {
    Sensor(PathBuf),
    Speeds(PathBuf),
}

impl Files {
    pub fn of(folder: PathBuf) -> Self {
        let sensors = Sensors::of(&folder);
        let clock = |label, speeds| match sensors.labelled("freq", label) {
            Some(sensor) => Clock::Sensor(sensor),
            None => Clock::Speeds(folder.join(speeds)),
        };
        Files {
            is: identity(&folder),
            edge: sensors.labelled("temp", "edge"),
            junction: sensors.labelled("temp", "junction"),
            memory_temperature: sensors.labelled("temp", "mem"),
            power: sensors.named("power1_average").or_else(|| sensors.named("power1_input")),
            power_limit: sensors.named("power1_cap"),
            fan: sensors.named("fan1_input"),
            clock: clock("sclk", "pp_dpm_sclk"),
            memory_clock: clock("mclk", "pp_dpm_mclk"),
            folder,
        }
    }

    pub fn are_there(&self) -> bool {
        self.folder.join("vendor").exists()
    }

    pub fn read(&self) -> Reading {
        Reading { now: self.now(), standing: self.standing() }
    }

    fn now(&self) -> Now {
        let own = |name: &str| number(&self.folder.join(name));
        let percent =
            |name| own(name).filter(|percent| *percent <= 100).and_then(|percent| u32::try_from(percent).ok());
        let degrees = |file: &Option<PathBuf>| Some(signed(file.as_ref()?)? as f64 / 1000.0);
        let degrees = |file| degrees(file).filter(|degrees| (-100.0..300.0).contains(degrees));
        let (edge, junction) = (degrees(&self.edge), degrees(&self.junction));
        let (used, total) = taken(own("mem_info_vram_used"), own("mem_info_vram_total"));
        let (lent_used, lent_total) = taken(own("mem_info_gtt_used"), own("mem_info_gtt_total"));
        Now {
            utilization_percent: percent("gpu_busy_percent"),
            memory_copy_utilization_percent: percent("mem_busy_percent"),
            memory_used_bytes: used,
            memory_free_bytes: total.zip(used).map(|(total, used)| total - used),
            memory_total_bytes: total,
            host_memory_used_bytes: lent_used,
            host_memory_total_bytes: lent_total,
            // Cards for data centres have no sensor at the edge.
            temperature_c: edge.or(junction),
            hotspot_temperature_c: junction,
            memory_temperature_c: degrees(&self.memory_temperature),
            power_w: self.power.as_deref().and_then(watts),
            sm_clock_mhz: self.clock.megahertz(),
            memory_clock_mhz: self.memory_clock.megahertz(),
            fan_rpm: self.fan.as_deref().and_then(number).and_then(|turns| u32::try_from(turns).ok()),
            ..Now::default()
        }
    }

    fn standing(&self) -> Standing {
        let replays = number(&self.folder.join("pcie_replay_count"));
        Standing {
            power_limit_w: self.power_limit.as_deref().and_then(watts),
            ecc_errors: text(&self.folder.join("ras/umc_err_count")).as_deref().and_then(errors),
            pcie_replays: replays.and_then(|replays| u32::try_from(replays).ok()),
            ..Standing::default()
        }
    }
}

impl Clock {
    fn megahertz(&self) -> Option<u32> {
        let megahertz = match self {
            Clock::Sensor(file) => number(file)? / 1_000_000,
            Clock::Speeds(file) => marked(&text(file)?)?,
        };
        u32::try_from(megahertz).ok()
    }
}

/// `1300` of the line `1: 1300Mhz *`.
fn marked(speeds: &str) -> Option<u64> {
    let line = speeds.lines().find_map(|line| line.trim_end().strip_suffix('*'))?;
    let speed = line.split_once(':')?.1.trim();
    let digits = speed.find(|letter: char| !letter.is_ascii_digit()).map_or(speed, |end| &speed[..end]);
    digits.parse().ok()
}

/// More that is used than there is says nothing.
fn taken(used: Option<u64>, total: Option<u64>) -> (Option<u64>, Option<u64>) {
    (used.filter(|used| total.is_some_and(|total| *used <= total)), total)
}

/// Of `ue: 0` and `ce: 3`: errors that could not be corrected, and those that could.
fn errors(text: &str) -> Option<Ecc> {
    let count = |kind| text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':')?.trim().parse().ok());
    let ecc = Ecc { volatile_corrected: count("ce"), volatile_uncorrected: count("ue"), ..Ecc::default() };
    (ecc != Ecc::default()).then_some(ecc)
}

fn identity(folder: &Path) -> Identity {
    let said = |name: &str| text(&folder.join(name)).filter(|text| !text.is_empty());
    let slot = |line: &str| line.strip_prefix("PCI_SLOT_NAME=").map(ToOwned::to_owned);
    Identity {
        uuid: said("unique_id"),
        name: said("product_name").or_else(|| Some(format!("AMD GPU {}", said("device")?))),
        pci_bus_id: said("uevent").and_then(|lines| lines.lines().find_map(slot)),
        instance: None,
    }
}

/// The sensors of a card: files such as `temp1_input`, what some of them are beside them in `temp1_label`.
struct Sensors(Option<PathBuf>);

impl Sensors {
    fn of(folder: &Path) -> Self {
        let folders = std::fs::read_dir(folder.join("hwmon")).into_iter().flatten().flatten();
        Sensors(folders.map(|entry| entry.path()).min())
    }

    fn named(&self, name: &str) -> Option<PathBuf> {
        Some(self.0.as_ref()?.join(name)).filter(|file| file.exists())
    }

    fn labelled(&self, kind: &str, label: &str) -> Option<PathBuf> {
        let is_it = |place: &u32| {
            let said = self.named(&format!("{kind}{place}_label")).and_then(|file| text(&file));
            said.as_deref() == Some(label)
        };
        let place = (1..=MOST_SENSORS).find(is_it)?;
        self.named(&format!("{kind}{place}_input"))
    }
}

/// Of one kind; today's cards have three.
const MOST_SENSORS: u32 = 16;

fn watts(file: &Path) -> Option<f64> {
    number(file).map(|microwatts| microwatts as f64 / 1e6)
}

fn number(file: &Path) -> Option<u64> {
    text(file)?.parse().ok()
}

fn signed(file: &Path) -> Option<i64> {
    text(file)?.parse().ok()
}

/// What a file says, without the line's end.
pub fn text(file: &Path) -> Option<String> {
    let mut said = String::new();
    std::fs::File::open(file).ok()?.take(LONGEST).read_to_string(&mut said).ok()?;
    Some(said.trim().to_owned())
}
