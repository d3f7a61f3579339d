//! What one card, or a part of one, says of itself. What it does not say is not there, and never zero.

use serde::Serialize;

/// Cards and parts of cards that are kept at most: what comes beyond is not read.
pub const MOST: usize = 128;
/// Processes of one card that are kept at most.
pub const MOST_PROCESSES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    Nvidia,
    Amd,
}

impl Vendor {
    pub const fn name(self) -> &'static str {
        match self {
            Vendor::Nvidia => "nvidia",
            Vendor::Amd => "amd",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card {
    pub vendor: Vendor,
    /// NVML's number of the card; AMD's come after them in the order of the kernel's.
    pub index: u32,
    /// As the kernel calls it: `nvidia0`, `card1`.
    pub device: String,
    #[serde(flatten)]
    pub is: Identity,
    #[serde(flatten)]
    pub reading: Reading,
    /// Why it cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What does not change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(default)]
pub struct Identity {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<String>,
    /// Where this is a part of a card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Instance>,
}

/// A part of a card that NVIDIA calls a MIG device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Instance {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_instance_id: Option<u32>,
    /// As `1g.5gb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// What is read again and again.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(default)]
pub struct Reading {
    #[serde(flatten)]
    pub now: Now,
    #[serde(flatten)]
    pub standing: Standing,
}

/// What changes from moment to moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Now {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_percent: Option<u32>,
    /// The share of time in which its memory was read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_copy_utilization_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    /// What the driver keeps for itself; it is neither used nor free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_reserved_bytes: Option<u64>,
    /// Of the machine's memory, what is lent to the card (AMD's GTT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_memory_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_memory_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// Of its hottest place (AMD's junction).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotspot_temperature_c: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_temperature_c: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Since the driver was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_mj: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sm_clock_mhz: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_clock_mhz: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fan_rpm: Option<u32>,
    /// The same as NVIDIA's bits.
    #[serde(skip)]
    pub throttle_bits: Option<u64>,
    /// Why its clocks are lower than they could be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle_reasons: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xid_errors: Option<Xid>,
}

/// What changes seldom, and is read less often.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Standing {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_limit_w: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc_errors: Option<Ecc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remapped_rows: Option<Remapped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_pages: Option<Retired>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_replays: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mig_enabled: Option<bool>,
}

/// Errors that its memory's code has found: since the driver was loaded, and ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ecc {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volatile_corrected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volatile_uncorrected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_corrected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_uncorrected: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Remapped {
    pub correctable: u64,
    pub uncorrectable: u64,
    pub pending: bool,
    pub failed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Retired {
    pub single_bit: u64,
    pub double_bit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<bool>,
}

/// Errors that NVIDIA's driver reports by number, since they are listened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Xid {
    pub count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
}

impl Card {
    /// What is taken of the memory that may be taken: DCGM's `FB_USED_PERCENT` is the same.
    pub fn memory_share(&self) -> Option<f64> {
        let Now { memory_used_bytes: used, memory_free_bytes: free, .. } = self.reading.now;
        let (used, free) = (used? as f64, free? as f64);
        (used + free > 0.0).then(|| used / (used + free))
    }

    pub fn utilization_share(&self) -> Option<f64> {
        self.reading.now.utilization_percent.map(|percent| f64::from(percent) / 100.0)
    }

    /// What it is known by where two must not be taken for one.
    pub fn key(&self) -> String {
        let instance = self.is.instance.as_ref().and_then(|instance| instance.gpu_instance_id);
        match (&self.is.uuid, instance) {
            (Some(uuid), _) => uuid.clone(),
            (None, Some(instance)) => format!("{}/{instance}", self.device),
            (None, None) => self.device.clone(),
        }
    }
}
