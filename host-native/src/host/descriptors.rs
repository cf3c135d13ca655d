//! File descriptors: how many connections they allow, and room for them in the system's table.

use std::os::unix::net::UnixDatagram;

use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Resource, getrlimit},
};

/// Connections that speak HTTP while there are as many WebSockets as there may be.
const VISITS: usize = 32;

/// Descriptors for what is no connection: listeners, polls, the store, the journal and the log.
pub(super) const fn of_its_own(threads: usize) -> usize {
    27 + 5 * threads
}

/// Connections that there may be: no more than the descriptors allow.
pub(super) fn connections_max(wanted: usize, of_its_own: usize) -> usize {
    let kept = VISITS + of_its_own;
    let allowed = all_max(kept);
    if allowed < wanted {
        tracing::warn!(
            "connections-max is {allowed} and not {wanted}: the system lets this process open no more files \
             (RLIMIT_NOFILE, `ulimit -n`), and {kept} are left for everything else"
        );
    }
    wanted.min(allowed)
}

/// Connections that the descriptors of this process allow, with so many left for everything else.
pub(super) fn all_max(kept: usize) -> usize {
    limit().saturating_sub(kept).max(1)
}

fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Has the system make its table of descriptors large enough for so many connections.
///
/// Else it doubles the table when a connection has no room in it, and Linux, with several threads
/// in the process, waits meanwhile until no processor can be reading the old one: some 10 to 20 ms
/// in which a thread serves nobody. The table takes 8 bytes of the system for each connection.
pub(super) fn reserve(connections: usize) {
    let last = (connections + VISITS).min(limit().saturating_sub(1));
    // Where that fails, the table grows as it is needed.
    if let (Ok(any), Ok(last)) = (UnixDatagram::unbound(), i32::try_from(last)) {
        drop(fcntl_dupfd_cloexec(any, last));
    }
}
