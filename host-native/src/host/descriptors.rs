//! File descriptors: the connections that they allow, and the size of the system's table.

use std::os::unix::net::UnixDatagram;

use rustix::{
    io::fcntl_dupfd_cloexec,
    process::{Resource, getrlimit},
};

/// The number of HTTP connections in addition to the maximum of WebSockets.
const VISITS: usize = 32;

/// Descriptors for everything but connections: listeners, pollers, the store, the journal and the
/// log.
pub(super) const fn of_its_own(threads: usize) -> usize {
    27 + 5 * threads
}

/// The maximum number of connections: `wanted`, or fewer if the descriptors allow no more.
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

/// Connections that the descriptors of this process allow, with `kept` left for everything else.
pub(super) fn all_max(kept: usize) -> usize {
    limit().saturating_sub(kept).max(1)
}

fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Makes the system's descriptor table large enough for the connections.
///
/// Otherwise Linux doubles the table when it is full. With several threads in the process, it then
/// waits until no processor can be reading the old table: a thread serves nobody for some 10 to 20
/// ms. The table takes 8 bytes of kernel memory per connection.
pub(super) fn reserve(connections: usize) {
    let last = (connections + VISITS).min(limit().saturating_sub(1));
    // If that fails, the table grows on demand.
    if let (Ok(any), Ok(last)) = (UnixDatagram::unbound(), i32::try_from(last)) {
        drop(fcntl_dupfd_cloexec(any, last));
    }
}
