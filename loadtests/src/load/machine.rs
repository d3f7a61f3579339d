//! The machine that a run was made on: figures of different machines are not compared.

use procfs::{CpuInfo, Current, Meminfo};

use super::result::Machine;

const UNKNOWN: &str = "unknown";

impl Machine {
    /// This one; what it does not tell is unknown.
    pub fn current() -> Machine {
        let info = CpuInfo::current().ok();
        let cpu = info.as_ref().and_then(|info| info.model_name(0)).unwrap_or(UNKNOWN).trim().to_owned();
        let cores = info.map_or(0, |info| u32::try_from(info.num_cores()).unwrap_or(u32::MAX));
        let memory = Meminfo::current().map_or(0, |memory| memory.mem_total);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| UNKNOWN.to_owned());
        Machine {
            class: class(&cpu, cores, memory),
            cpu,
            cores,
            memory_mib: memory >> 20,
            kernel: kernel.trim().to_owned(),
        }
    }
}

/// The processor without what says nothing of it, the cores, the memory in GiB, the system.
fn class(cpu: &str, cores: u32, memory: u64) -> String {
    let cpu = cpu.split('@').next().unwrap_or(cpu).to_lowercase().replace("(r)", " ").replace("(tm)", " ");
    let says = |word: &&str| !matches!(*word, "processor" | "cpu") && !word.ends_with("-core");
    let words: Vec<&str> = cpu.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).filter(says).collect();
    let gib = (memory as f64 / f64::from(1 << 30)).round();
    format!("{}-{cores}c-{gib}g-{}", words.join("-"), std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_short_and_the_same_for_the_same_machine() {
        let memory = 25_769_803_776 - 400_000_000;
        assert_eq!(class("AMD EPYC 7763 64-Core Processor", 2, memory), "amd-epyc-7763-2c-24g-linux");
        assert_eq!(class("Intel(R) Xeon(R) CPU @ 2.20GHz", 4, 8 << 30), "intel-xeon-4c-8g-linux");
    }

    #[test]
    fn this_machine_is_known() {
        let machine = Machine::current();
        assert!(machine.cores > 0 && machine.memory_mib > 100 && !machine.kernel.is_empty(), "{machine:?}");
    }
}
