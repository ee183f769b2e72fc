//! What this machine has: processors, memory, disk, kernel.

use std::fs;
use std::path::Path;

use crate::spec::fields::NodeAmounts;

/// Memory that pods never get: below it, the kernel starts to kill.
const MEMORY_KEPT_BYTES: i64 = 100 << 20;

/// Sizes and names that do not change while the kubelet runs.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpus: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) disk_bytes: i64,
    pub(crate) machine_id: String,
    pub(crate) system_uuid: String,
    pub(crate) boot_id: String,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
}

impl Machine {
    /// Reads /proc and /sys; what is not there is empty.
    pub(crate) fn detect(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let kernel = nix::sys::utsname::uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let machine_id = read("/etc/machine-id");
        let uuid = read("/sys/class/dmi/id/product_uuid");
        Self {
            cpus: i64::try_from(cpus).unwrap_or(1),
            memory_bytes: memory_total(&read("/proc/meminfo")),
            disk_bytes: disk_total(root),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            kernel,
            os_image: pretty_name(&read("/etc/os-release")),
        }
    }

    /// What pods may take of the memory.
    pub(crate) fn allocatable_memory_bytes(&self) -> i64 {
        (self.memory_bytes - MEMORY_KEPT_BYTES).max(0)
    }

    /// What pods may take of the disk.
    pub(crate) fn allocatable_disk_bytes(&self) -> i64 {
        self.disk_bytes / 10 * 9
    }

    /// As the downward API counts: what pods may take.
    pub(crate) fn amounts(&self) -> NodeAmounts {
        NodeAmounts {
            cpu_milli: self.cpus * 1000,
            memory_bytes: self.allocatable_memory_bytes(),
            ephemeral_bytes: self.allocatable_disk_bytes(),
        }
    }
}

fn memory_total(meminfo: &str) -> i64 {
    memory_field(meminfo, "MemTotal:").unwrap_or(0)
}

/// A line of /proc/meminfo, in bytes.
fn memory_field(meminfo: &str, name: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: i64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Memory that could be given to somebody now.
pub(crate) fn available_memory_bytes() -> i64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    memory_field(&meminfo, "MemAvailable:").unwrap_or(i64::MAX)
}

/// Free space of the file system that holds `root`.
pub(crate) fn free_disk_bytes(root: &Path) -> u64 {
    nix::sys::statvfs::statvfs(root)
        .map_or(u64::MAX, |stat| stat.blocks_available().saturating_mul(stat.fragment_size()))
}

fn disk_total(root: &Path) -> i64 {
    nix::sys::statvfs::statvfs(root)
        .ok()
        .and_then(|stat| i64::try_from(stat.blocks() * stat.fragment_size()).ok())
        .unwrap_or(0)
}

fn pretty_name(os_release: &str) -> String {
    let line = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("Linux").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_files() {
        assert_eq!(memory_total("MemTotal:       1024 kB\nMemFree: 5 kB"), 1 << 20);
        assert_eq!(memory_total(""), 0);
        assert_eq!(pretty_name("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }
}
