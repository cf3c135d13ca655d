//! The use that a server makes of the machine, read from `/proc`.

use std::fs;
use std::time::Instant;

/// Server CPU, generator CPU and wall time of a measured window.
pub struct Meter {
    process: u32,
    server_ns: u64,
    own_ns: u64,
    begun: Instant,
}

pub struct Used {
    pub server_us: f64,
    pub seconds: f64,
    /// The load on one core. Near 1 the generator was the limit, not the server.
    pub generator_share: f64,
}

impl Meter {
    pub fn start(process: u32) -> Self {
        let (server_ns, own_ns) = (cpu_ns(process), cpu_ns(std::process::id()));
        Self {
            process,
            server_ns,
            own_ns,
            begun: Instant::now(),
        }
    }

    pub fn stop(&self) -> Used {
        let server_us = (cpu_ns(self.process) - self.server_ns) as f64 / 1e3;
        let own_ns = (cpu_ns(std::process::id()) - self.own_ns) as f64;
        let seconds = self.begun.elapsed().as_secs_f64();
        Used {
            server_us,
            seconds,
            generator_share: own_ns / 1e9 / seconds,
        }
    }
}

/// CPU time of all threads, which the scheduler counts in nanoseconds.
fn cpu_ns(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("the server runs");
    let times = threads.flatten().map(|thread| {
        let times = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        times
            .split(' ')
            .next()
            .and_then(|time| time.parse::<u64>().ok())
            .unwrap_or(0)
    });
    times.sum()
}

/// Proportional set size: memory that is the process's own, and its part of what it shares.
pub fn memory_bytes(process: u32) -> u64 {
    rollup_bytes(process, "Pss:")
}

/// Resident set size: what an operator sees.
pub fn resident_bytes(process: u32) -> u64 {
    rollup_bytes(process, "Rss:")
}

fn rollup_bytes(process: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("it is readable");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .expect("it is there");
    let kibibytes = line
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("it is a number");
    kibibytes * 1024
}
