//! How much memory is free: the one place that asks the machine.

use sysinfo::System;

use crate::{config, gpu};

/// So many bytes, and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    pub of: &'static str,
}

/// The free memory of the machine that a model would be put into.
///
/// Where it has GPUs it is that of the card that has most. Else it is the machine's own memory, as far as the kernel would
/// give it to a new process and a limit of this one's control group allows.
pub fn free_memory() -> Option<Free> {
    if let Some(bytes) = gpu::free_bytes(&config::Gpu::default()).filter(|bytes| *bytes > 0) {
        return Some(Free { bytes, of: "the free memory of the GPU that has most" });
    }
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let machine = Free { bytes: system.available_memory(), of: "the machine's available memory" };
    let limit = system.cgroup_limits().filter(|limits| limits.total_memory < system.total_memory());
    let limit = limit.map(|limits| Free { bytes: limits.free_memory, of: "what the control group's limit leaves" });
    limit.into_iter().chain([machine]).filter(|free| free.bytes > 0).min_by_key(|free| free.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_runs_tests_has_free_memory() {
        let free = free_memory().expect("there is some");
        assert!(free.bytes > 1 << 20, "{free:?}");
    }
}
