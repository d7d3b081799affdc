//! How many threads pay: physical cores in the affinity mask, within the cgroup's quota.

use std::collections::BTreeSet;

/// Physical cores that this process may use, at least 1. Two threads on one core share its multipliers, so they only
/// get in each other's way.
pub(crate) fn usable_cores() -> usize {
    // The standard library reads the affinity mask and the cgroup quotas, counting logical processors.
    let logical = std::thread::available_parallelism().map_or(1, usize::from);
    physical_cores().map_or(logical, |cores| logical.min(cores)).max(1)
}

/// Distinct (package, core) pairs in the affinity mask; nothing where the kernel does not tell.
#[cfg(target_os = "linux")]
fn physical_cores() -> Option<usize> {
    // SAFETY: an all-zero CPU set is a valid, empty one.
    let mut mask: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes at most the given size into a live set; 0 is this thread.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut mask) } != 0 {
        return None;
    }
    let mut cores = BTreeSet::new();
    for processor in 0..libc::CPU_SETSIZE as usize {
        // SAFETY: `processor` is below CPU_SETSIZE.
        if unsafe { libc::CPU_ISSET(processor, &mask) } {
            let topology = format!("/sys/devices/system/cpu/cpu{processor}/topology");
            let read = |file: &str| std::fs::read_to_string(format!("{topology}/{file}")).ok();
            cores.insert((read("physical_package_id")?, read("core_id")?));
        }
    }
    Some(cores.len())
}

#[cfg(not(target_os = "linux"))]
fn physical_cores() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_at_least_one_and_at_most_all() {
        let logical = std::thread::available_parallelism().unwrap().get();
        assert!((1..=logical).contains(&usable_cores()));
    }
}
