//! The machine's GPUs: what they say of themselves, how critical that is, and who is told.
//!
//! Drivers are asked on threads of their own, one for each vendor, and may take as long as they like: whoever wants to
//! know copies what was read last, and is told how old it is. Nothing that a request or an admin page waits for asks a
//! driver.

mod amd;
pub mod card;
mod judge;
mod metrics;
mod nvidia;
mod reader;
mod report;
mod slot;
mod watching;

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::metrics::{Histogram, Meter};
use tokio::time::Instant;

use crate::config::{self, Backend, Mode, Which};
use card::{Card, Vendor};
use judge::Judge;
pub use metrics::FOREIGN;
use reader::Reader;
use slot::{Seen, Slot, State};
pub use watching::Watching;

/// The free memory of the card of this machine that has most of it; none without one. It asks drivers and waits for them: for
/// commands, not for a process that serves.
pub fn free_bytes(config: &config::Gpu) -> Option<u64> {
    nvidia::free_bytes(&config.nvml_path).max(amd::free_bytes(&config.sysfs_path))
}

pub struct Gpu {
    config: config::Gpu,
    /// The backends that run on the cards, each with its cards.
    backends: Vec<(String, Vec<Which>)>,
    /// NVIDIA's first: the others' numbers come after its.
    slots: Vec<Arc<Slot>>,
    judge: Mutex<Judge>,
    read_times: Histogram<f64>,
}

impl Gpu {
    pub fn new(config: &config::Gpu, backends: &[Backend], meter: &Meter) -> Arc<Self> {
        let vendors: &[Vendor] = match config.mode {
            Mode::Off => &[],
            Mode::Nvidia => &[Vendor::Nvidia],
            Mode::Amd => &[Vendor::Amd],
            Mode::Auto => &[Vendor::Nvidia, Vendor::Amd],
        };
        Arc::new(Gpu {
            config: config.clone(),
            backends: config.tenants_of(backends),
            slots: vendors.iter().map(|vendor| Arc::new(Slot::new(*vendor))).collect(),
            judge: Mutex::new(Judge::new(config)),
            read_times: metrics::read_times(meter),
        })
    }

    /// Looks, again and again, until this is dropped.
    pub fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        for slot in &self.slots {
            let vendor = slot.seen().vendor;
            let reader = Reader {
                slot: slot.clone(),
                alive: Arc::downgrade(self),
                every: self.config.interval_ms.duration(),
                retry: std::time::Duration::from_secs(self.config.retry_secs.get()),
                is_wanted: self.config.mode != Mode::Auto,
                vendor,
                times: self.read_times.clone(),
            };
            let config = self.config.clone();
            let look = move || match vendor {
                Vendor::Nvidia => nvidia::run(&reader, &config.nvml_path),
                Vendor::Amd => amd::run(&reader, &config.sysfs_path),
            };
            std::thread::Builder::new().name(format!("gpu-{}", vendor.name())).spawn(look)?;
        }
        Ok(())
    }

    /// What was read last, by vendor: with the cards that count, and their numbers.
    fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<_> = self.slots.iter().map(|slot| slot.seen()).collect();
        let mut first = 0;
        for seen in &mut seen {
            let numbered = seen.cards.iter().map(|card| Card { index: card.index + first, ..card.clone() });
            let cards: Vec<_> = numbered.collect();
            first = cards.iter().map(|card| card.index + 1).max().unwrap_or(first);
            seen.cards = cards.into_iter().filter(|card| counts(&self.config.devices, card)).collect();
        }
        seen
    }

    /// What was read lately: of a driver that hangs, nothing.
    fn fresh(&self) -> Vec<Card> {
        let (now, fresh_for) = (Instant::now(), self.config.fresh_for());
        let fresh = self.seen().into_iter().filter(|seen| !seen.is_stale(now, fresh_for));
        fresh.flat_map(|seen| seen.cards.to_vec()).collect()
    }

    /// The highest of what the cards say now, if one says it.
    fn highest(&self, reading: impl Fn(&Card) -> Option<f64>) -> Option<f64> {
        self.fresh().iter().filter_map(reading).max_by(f64::total_cmp)
    }

    pub fn memory_share(&self) -> Option<f64> {
        self.highest(Card::memory_share)
    }

    pub fn temperature_c(&self) -> Option<f64> {
        self.highest(|card| card.reading.now.temperature_c)
    }

    pub fn utilization_share(&self) -> Option<f64> {
        self.highest(Card::utilization_share)
    }

    fn judge(&self) -> std::sync::MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a card is one of these; none named are all.
fn counts(wanted: &[Which], card: &Card) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|which| match which {
            Which::Number(number) => *number == card.index,
            Which::Uuid(uuid) => card.is.uuid.as_ref() == Some(uuid),
        })
}
