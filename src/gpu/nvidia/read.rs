//! What is asked of one NVIDIA card. What it does not support is not there; what it fails at is said.

use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, RetirementCause, TemperatureSensor};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;

use super::Part;
use super::instances::Instances;
use crate::gpu::card::{self, Ecc, Identity, Instance, Now, Process, Remapped, Retired, Standing};

/// How the asking of one card goes.
#[derive(Default)]
pub struct Asked {
    /// Why it cannot be asked at all: then it is asked nothing more.
    pub lost: Option<String>,
    /// What it should have answered and did not.
    pub problem: Option<String>,
}

impl Asked {
    /// What it must know, if it supports it: that it fails at it is a problem.
    fn must<T>(&mut self, what: &'static str, ask: impl FnOnce() -> Result<T, NvmlError>) -> Option<T> {
        let error = match self.may(ask)? {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if !is_unsupported(&error) {
            self.problem.get_or_insert_with(|| format!("{what}: {error}"));
        }
        None
    }

    /// What it may know.
    fn can<T>(&mut self, ask: impl FnOnce() -> Result<T, NvmlError>) -> Option<T> {
        self.may(ask)?.ok()
    }

    fn may<T>(&mut self, ask: impl FnOnce() -> Result<T, NvmlError>) -> Option<Result<T, NvmlError>> {
        if self.lost.is_some() {
            return None;
        }
        let answer = ask();
        match &answer {
            Err(error) if is_lost(error) => {
                self.lost = Some(error.to_string());
                None
            }
            _ => Some(answer),
        }
    }

    pub fn now(&mut self, device: &Device<'_>) -> Now {
        let utilization = self.must("utilization", || device.utilization_rates());
        let memory = self.must("memory", || device.memory_info());
        let temperature = self.must("temperature", || device.temperature(TemperatureSensor::Gpu));
        let power = self.must("power", || device.power_usage());
        let throttled = self.can(|| device.current_throttle_reasons());
        let [memory_temperature] = self.fields(device, [field_id::NVML_FI_DEV_MEMORY_TEMP]);
        Now {
            utilization_percent: utilization.as_ref().map(|utilization| utilization.gpu),
            memory_copy_utilization_percent: utilization.map(|utilization| utilization.memory),
            memory_used_bytes: memory.as_ref().map(|memory| memory.used),
            memory_free_bytes: memory.as_ref().map(|memory| memory.free),
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            memory_reserved_bytes: memory.map(|memory| memory.reserved),
            temperature_c: temperature.map(f64::from),
            // A card without a sensor there says 0, as NVIDIA's own tool takes it.
            memory_temperature_c: memory_temperature.filter(|degrees| *degrees > 0).map(|degrees| degrees as f64),
            power_w: power.map(|milliwatts| f64::from(milliwatts) / 1000.0),
            energy_mj: self.can(|| device.total_energy_consumption()),
            sm_clock_mhz: self.can(|| device.clock_info(Clock::SM)),
            memory_clock_mhz: self.can(|| device.clock_info(Clock::Memory)),
            throttle_bits: throttled.map(|reasons| reasons.bits()),
            throttle_reasons: throttled.map(words),
            ..Now::default()
        }
    }

    pub fn standing(&mut self, device: &Device<'_>) -> Standing {
        let limit = self.can(|| device.enforced_power_limit());
        let mig = self.can(|| device.mig_mode());
        Standing {
            power_limit_w: limit.map(|milliwatts| f64::from(milliwatts) / 1000.0),
            ecc_errors: self.ecc(device),
            remapped_rows: self.remapped(device),
            retired_pages: self.retired(device),
            pcie_replays: self.can(|| device.pcie_replay_counter()),
            processes: self.processes(device),
            mig_enabled: mig.map(|mode| mode.current == 1),
        }
    }

    fn ecc(&mut self, device: &Device<'_>) -> Option<Ecc> {
        let mut count = |kind, since| self.can(|| device.total_ecc_errors(kind, since));
        let ecc = Ecc {
            volatile_corrected: count(MemoryError::Corrected, EccCounter::Volatile),
            volatile_uncorrected: count(MemoryError::Uncorrected, EccCounter::Volatile),
            aggregate_corrected: count(MemoryError::Corrected, EccCounter::Aggregate),
            aggregate_uncorrected: count(MemoryError::Uncorrected, EccCounter::Aggregate),
        };
        (ecc != Ecc::default()).then_some(ecc)
    }

    fn remapped(&mut self, device: &Device<'_>) -> Option<Remapped> {
        let ids = [
            field_id::NVML_FI_DEV_REMAPPED_COR,
            field_id::NVML_FI_DEV_REMAPPED_UNC,
            field_id::NVML_FI_DEV_REMAPPED_PENDING,
            field_id::NVML_FI_DEV_REMAPPED_FAILURE,
        ];
        let [correctable, uncorrectable, pending, failed] = self.fields(device, ids);
        Some(Remapped {
            correctable: correctable?,
            uncorrectable: uncorrectable?,
            pending: pending? != 0,
            failed: failed? != 0,
        })
    }

    fn retired(&mut self, device: &Device<'_>) -> Option<Retired> {
        let mut pages = |cause| Some(self.can(|| device.retired_pages(cause))?.len() as u64);
        let single_bit = pages(RetirementCause::MultipleSingleBitEccErrors)?;
        let double_bit = pages(RetirementCause::DoubleBitEccError)?;
        let pending = self.can(|| device.are_pages_pending_retired());
        Some(Retired { single_bit, double_bit, pending })
    }

    fn processes(&mut self, device: &Device<'_>) -> Option<Vec<Process>> {
        let computing = self.can(|| device.running_compute_processes());
        let drawing = self.can(|| device.running_graphics_processes());
        if computing.is_none() && drawing.is_none() {
            return None;
        }
        let mut all: Vec<_> = [computing, drawing]
            .into_iter()
            .flatten()
            .flatten()
            .map(|process| Process {
                pid: process.pid,
                memory_used_bytes: match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes),
                    UsedGpuMemory::Unavailable => None,
                },
            })
            .collect();
        // One that computes and draws is told of twice; and who takes the most stands first.
        all.sort_by_key(|process| (process.pid, std::cmp::Reverse(process.memory_used_bytes)));
        all.dedup_by_key(|process| process.pid);
        all.sort_by_key(|process| std::cmp::Reverse(process.memory_used_bytes));
        all.truncate(card::MOST_PROCESSES);
        Some(all)
    }

    /// Fields by their numbers, asked for in one call.
    fn fields<const COUNT: usize>(&mut self, device: &Device<'_>, ids: [u32; COUNT]) -> [Option<u64>; COUNT] {
        let answers = self.can(|| device.field_values_for(&ids.map(FieldId))).unwrap_or_default();
        let mut values = answers.into_iter().map(|answer| match answer.ok()?.value.ok()? {
            SampleValue::U32(value) => Some(u64::from(value)),
            SampleValue::U64(value) => Some(value),
            SampleValue::I64(value) => u64::try_from(value).ok(),
            SampleValue::F64(value) => (value >= 0.0).then_some(value as u64),
        });
        std::array::from_fn(|_| values.next().flatten())
    }

    /// The parts that a card is made of where it is divided.
    pub fn parts<'nvml>(&mut self, card: &Device<'nvml>, instances: &Instances) -> Vec<Part<'nvml>> {
        let count = self.can(|| card.mig_device_count()).unwrap_or_default();
        let part = |place| {
            let device = self.can(|| card.mig_device_by_index(place))?;
            let mut is = identity(&device);
            is.pci_bus_id = None;
            is.instance = Some(Instance {
                gpu_instance_id: instances.id_of(&device),
                profile: is.name.as_deref().and_then(profile).map(ToOwned::to_owned),
            });
            let standing = Standing { processes: self.processes(&device), ..Standing::default() };
            Some(Part { device, is, standing })
        };
        (0..count.min(MOST_PARTS)).filter_map(part).collect()
    }
}

/// Parts of one card at most: today's cards can be divided by seven.
const MOST_PARTS: u32 = 16;

pub fn identity(device: &Device<'_>) -> Identity {
    Identity {
        uuid: device.uuid().ok(),
        name: device.name().ok(),
        pci_bus_id: device.pci_info().ok().map(|info| info.bus_id),
        instance: None,
    }
}

/// `1g.5gb` of `NVIDIA A100-SXM4-40GB MIG 1g.5gb`.
fn profile(name: &str) -> Option<&str> {
    name.rsplit_once(" MIG ").map(|(_, profile)| profile)
}

/// The card itself has no such thing, or we may not know it.
fn is_unsupported(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::NoPermission
            | NvmlError::NoData
            | NvmlError::NotFound
            | NvmlError::InvalidArg
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
            // Of a library that is newer than what we were built for.
            | NvmlError::UnexpectedVariant(_)
    )
}

/// Nothing more can be asked of it.
fn is_lost(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::GpuLost
            | NvmlError::ResetRequired
            | NvmlError::IrqIssue
            | NvmlError::Uninitialized
            | NvmlError::DriverNotLoaded
            | NvmlError::LibRmVersionMismatch
    )
}

fn words(reasons: ThrottleReasons) -> Vec<&'static str> {
    let known = [
        (ThrottleReasons::GPU_IDLE, "gpu_idle"),
        (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "applications_clocks_setting"),
        (ThrottleReasons::SW_POWER_CAP, "sw_power_cap"),
        (ThrottleReasons::HW_SLOWDOWN, "hw_slowdown"),
        (ThrottleReasons::SYNC_BOOST, "sync_boost"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "sw_thermal_slowdown"),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hw_thermal_slowdown"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "hw_power_brake_slowdown"),
        (ThrottleReasons::DISPLAY_CLOCK_SETTING, "display_clock_setting"),
    ];
    known.into_iter().filter(|(reason, _)| reasons.contains(*reason)).map(|(_, word)| word).collect()
}
