//! Figures of the process from the system.

use std::{fs, path::Path};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Figures of the process, as far as the system provides them: Linux all, others fewer.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) cpu_seconds: f64,
}

impl Process {
    /// Reads the figures. Blocks for a moment; before Linux 6.2 the descriptors are counted one by
    /// one.
    pub(crate) fn sample() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        #[allow(clippy::cast_precision_loss)] // centuries fit
        let cpu_seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        Self {
            resident_bytes: bytes(&status, "VmRSS:"),
            virtual_bytes: bytes(&status, "VmSize:"),
            open_fds: descriptors(Path::new("/proc/self/fd")),
            max_fds: getrlimit(Resource::Nofile).current,
            cpu_seconds,
        }
    }
}

fn descriptors(folder: &Path) -> Option<u64> {
    match fs::metadata(folder).ok()?.len() {
        // The descriptor of the folder itself is not counted.
        0 => Some(fs::read_dir(folder).ok()?.count().saturating_sub(1) as u64),
        count => Some(count),
    }
}

/// Parses a line of `/proc/self/status`, such as `VmRSS: 1024 kB`.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_bytes() {
        let status = "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t  12 kB\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(bytes(status, "VmSize:"), Some(2048 * 1024));
        assert_eq!(bytes(status, "VmLck:"), None);
        assert_eq!(bytes("VmRSS:\tmany kB", "VmRSS:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_memory_and_descriptors() {
        let process = Process::sample();
        assert!(process.resident_bytes > Some(0) && process.cpu_seconds > 0.0);
        assert!(process.open_fds > Some(2), "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes);
    }
}
