//! How much memory is free: the one place that asks the machine.

use sysinfo::System;

/// So many bytes, and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    pub of: &'static str,
}

/// The free memory of the machine that a model would be put into.
///
/// It is the machine's own memory, as far as the kernel would give it to a new process and a limit of this one's control
/// group allows. Cards have a memory of their own, which is to be asked for here where there is one.
pub fn free_memory() -> Option<Free> {
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
