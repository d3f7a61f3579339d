//! The readings under the names that DCGM has for them, in its units; of AMD's cards where meaning and unit are the same.
//!
//! <https://docs.nvidia.com/datacenter/dcgm/latest/dcgm-api/dcgm-api-field-ids.html>; labels are dcgm-exporter's.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use tokio::time::Instant;

use super::Gpu;
use super::card::{Card, Ecc, Remapped, Retired};

type Reading = fn(&Card) -> Option<f64>;

/// Beginnings of names that are others' and stay as they are: no `_total` is put after them.
pub const FOREIGN: &str = "DCGM_FI_";

const GAUGES: [(&str, &str, Reading); 21] = [
    ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", |card| card.reading.now.utilization_percent.map(f64::from)),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", |card| {
        card.reading.now.memory_copy_utilization_percent.map(f64::from)
    }),
    ("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", |card| mebibytes(card.reading.now.memory_used_bytes)),
    ("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", |card| mebibytes(card.reading.now.memory_free_bytes)),
    ("DCGM_FI_DEV_FB_TOTAL", "Framebuffer memory (in MiB).", |card| mebibytes(card.reading.now.memory_total_bytes)),
    ("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory that the driver keeps (in MiB).", |card| {
        mebibytes(card.reading.now.memory_reserved_bytes)
    }),
    ("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", |card| card.reading.now.temperature_c),
    ("DCGM_FI_DEV_MEMORY_TEMP", "Memory temperature (in C).", |card| card.reading.now.memory_temperature_c),
    ("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", |card| card.reading.now.power_w),
    ("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "The power limit that holds (in W).", |card| {
        card.reading.standing.power_limit_w
    }),
    ("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", |card| card.reading.now.sm_clock_mhz.map(f64::from)),
    ("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", |card| {
        card.reading.now.memory_clock_mhz.map(f64::from)
    }),
    ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "Why clocks are lower than they could be, as NVML's bits.", |card| {
        card.reading.now.throttle_bits.map(|bits| bits as f64)
    }),
    ("DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", |card| {
        card.reading.now.xid_errors.map(|xid| xid.last.unwrap_or_default() as f64)
    }),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "Whether remapping of rows has failed.", |card| {
        remapped(card, |rows| u64::from(rows.failed))
    }),
    ("DCGM_FI_DEV_ROW_REMAP_PENDING", "Whether remapping of rows is pending.", |card| {
        remapped(card, |rows| u64::from(rows.pending))
    }),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "Number of remapped rows for uncorrectable errors.", |card| {
        remapped(card, |rows| rows.uncorrectable)
    }),
    ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "Number of remapped rows for correctable errors.", |card| {
        remapped(card, |rows| rows.correctable)
    }),
    ("DCGM_FI_DEV_RETIRED_SBE", "Retired pages due to single-bit errors.", |card| retired(card, |it| it.single_bit)),
    ("DCGM_FI_DEV_RETIRED_DBE", "Retired pages due to double-bit errors.", |card| retired(card, |it| it.double_bit)),
    ("DCGM_FI_DEV_MIG_MODE", "Whether the GPU may be divided into instances.", |card| {
        card.reading.standing.mig_enabled.map(|enabled| f64::from(u8::from(enabled)))
    }),
];

const COUNTERS: [(&str, &str, Reading); 7] = [
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "Total energy consumption since boot (in mJ).", |card| {
        card.reading.now.energy_mj.map(|energy| energy as f64)
    }),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "Total number of PCIe retries.", |card| {
        card.reading.standing.pcie_replays.map(f64::from)
    }),
    ("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL", "Single-bit errors since the driver was loaded.", |card| {
        errors(card, |ecc| ecc.volatile_corrected)
    }),
    ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "Double-bit errors since the driver was loaded.", |card| {
        errors(card, |ecc| ecc.volatile_uncorrected)
    }),
    ("DCGM_FI_DEV_ECC_SBE_AGG_TOTAL", "Single-bit errors ever.", |card| errors(card, |ecc| ecc.aggregate_corrected)),
    ("DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", "Double-bit errors ever.", |card| errors(card, |ecc| ecc.aggregate_uncorrected)),
    ("outrigger_gpu_xid_errors", "XID errors that were heard of since the start.", |card| {
        card.reading.now.xid_errors.map(|xid| xid.count as f64)
    }),
];

fn mebibytes(bytes: Option<u64>) -> Option<f64> {
    // DCGM tells whole ones.
    bytes.map(|bytes| (bytes >> 20) as f64)
}

fn remapped(card: &Card, of: fn(&Remapped) -> u64) -> Option<f64> {
    card.reading.standing.remapped_rows.as_ref().map(|rows| of(rows) as f64)
}

fn retired(card: &Card, of: fn(&Retired) -> u64) -> Option<f64> {
    card.reading.standing.retired_pages.as_ref().map(|pages| of(pages) as f64)
}

fn errors(card: &Card, of: fn(&Ecc) -> Option<u64>) -> Option<f64> {
    card.reading.standing.ecc_errors.as_ref().and_then(of).map(|count| count as f64)
}

fn labels(card: &Card) -> Vec<KeyValue> {
    let mut labels = vec![KeyValue::new("gpu", card.index.to_string()), KeyValue::new("device", card.device.clone())];
    let instance = card.is.instance.as_ref();
    let told = [
        ("UUID", card.is.uuid.clone()),
        ("modelName", card.is.name.clone()),
        ("pci_bus_id", card.is.pci_bus_id.clone()),
        ("GPU_I_ID", instance.and_then(|instance| instance.gpu_instance_id).map(|id| id.to_string())),
        ("GPU_I_PROFILE", instance.and_then(|instance| instance.profile.clone())),
    ];
    labels.extend(told.into_iter().filter_map(|(name, value)| Some(KeyValue::new(name, value?))));
    labels
}

/// How long each look took; made first, since the threads that look need it.
pub fn read_times(meter: &Meter) -> Histogram<f64> {
    meter
        .f64_histogram("outrigger_gpu_read_duration_seconds")
        .with_description("How long it took to read all cards of a vendor.")
        .with_boundaries(vec![0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0, 10.0])
        .build()
}

impl Gpu {
    pub fn observe(self: &Arc<Self>, meter: &Meter) {
        if self.slots.is_empty() {
            return;
        }
        // No unit: the exporter would put it into the name.
        for (name, words, reading) in GAUGES {
            let callback = self.each(reading);
            meter.f64_observable_gauge(name).with_description(words).with_callback(callback).build();
        }
        for (name, words, reading) in COUNTERS {
            let callback = self.each(reading);
            meter.f64_observable_counter(name).with_description(words).with_callback(callback).build();
        }
        let gpu = Arc::downgrade(self);
        meter
            .f64_observable_gauge("outrigger_gpu_critical")
            .with_description("1 while a card is critical: too hot, or with its memory nearly full.")
            .with_callback(move |observer| {
                let Some(gpu) = gpu.upgrade() else { return };
                for card in gpu.fresh() {
                    let is_critical = gpu.judge().of(&card).is_some();
                    observer.observe(f64::from(u8::from(is_critical)), &labels(&card));
                }
            })
            .build();
        let gpu = Arc::downgrade(self);
        meter
            .f64_observable_gauge("outrigger_gpu_reading_age_seconds")
            .with_description("How old the last reading of a vendor's cards is; that of a driver that hangs grows.")
            .with_callback(move |observer| {
                for seen in gpu.upgrade().iter().flat_map(|gpu| gpu.seen()) {
                    let age = seen.age(Instant::now()).as_secs_f64();
                    observer.observe(age, &[KeyValue::new("vendor", seen.vendor.name())]);
                }
            })
            .build();
    }

    /// Of a driver that hangs nothing is told: a line that stands still looks like a card that is well.
    fn each(
        self: &Arc<Self>,
        reading: Reading,
    ) -> impl Fn(&dyn opentelemetry::metrics::AsyncInstrument<f64>) + Send + Sync + 'static {
        let gpu = Arc::downgrade(self);
        move |observer| {
            for card in gpu.upgrade().iter().flat_map(|gpu| gpu.fresh()) {
                if let Some(value) = reading(&card) {
                    observer.observe(value, &labels(&card));
                }
            }
        }
    }
}
