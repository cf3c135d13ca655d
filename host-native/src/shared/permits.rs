//! Permits: bounded numbers of connections and namespaces.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use roomcast_http::Problem;

/// A bounded number of something.
#[derive(Debug)]
pub(crate) struct Permits {
    taken: AtomicUsize,
    max: usize,
}

impl Permits {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max,
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Takes a place.
    ///
    /// # Errors
    ///
    /// The limit, when all are taken.
    pub(crate) fn reserve(&self) -> Result<(), usize> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        let reserved = self.taken.fetch_update(Relaxed, Relaxed, more);
        reserved.map(|_| ()).map_err(|_| self.max)
    }

    pub(crate) fn release(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }
}

/// The connections that there may be: in all, of each address, and as TCP connections.
#[derive(Debug)]
pub(crate) struct Connections {
    permits: Permits,
    per_address_max: Option<usize>,
    /// TCP connections that are no WebSockets, or not yet.
    visits: AtomicUsize,
    /// TCP connections of either kind that descriptors allow.
    accepted_max: usize,
    /// Empty while they are not counted.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    pub(crate) fn new(
        max: usize,
        per_address_max: Option<usize>,
        accepted_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            permits: Permits::new(max),
            per_address_max,
            visits: AtomicUsize::new(0),
            accepted_max,
            addresses: Mutex::default(),
        })
    }

    pub(crate) fn taken(&self) -> usize {
        self.permits.taken()
    }

    /// Connections that there may be in all.
    pub(crate) const fn max(&self) -> usize {
        self.permits.max
    }

    /// True when no more TCP connections are to be accepted for now: the store, the journal and the
    /// log need descriptors too.
    pub(crate) fn is_full(&self) -> bool {
        self.visits.load(Relaxed) + self.taken() >= self.accepted_max
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's permit; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    connections: Arc<Connections>,
    /// The address as it is counted.
    address: IpAddr,
}

/// A TCP connection on which HTTP is spoken; counted until dropped.
#[derive(Debug)]
pub(crate) struct Visit(Arc<Connections>);

impl Visit {
    pub(crate) fn begin(connections: &Arc<Connections>) -> Self {
        connections.visits.fetch_add(1, Relaxed);
        Self(connections.clone())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.visits.fetch_sub(1, Relaxed);
    }
}

/// The address under which a peer's connections are counted: of an IPv6 address the first 64 bits,
/// the least that one customer is given. Each of its machines may take any of the rest.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Permit {
    /// A place for one more connection from this address.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(crate) fn take(connections: &Arc<Connections>, address: IpAddr) -> Result<Self, Problem> {
        let address = counted(address);
        let reserved = connections.permits.reserve();
        reserved.map_err(Problem::Connections)?;
        if let Some(max) = connections.per_address_max {
            let mut addresses = connections.addresses();
            let count = addresses.entry(address).or_default();
            if *count >= max {
                drop(addresses);
                connections.permits.release();
                return Err(Problem::ConnectionsPerAddress(max));
            }
            *count += 1;
        }
        let connections = connections.clone();
        Ok(Self {
            connections,
            address,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.permits.release();
        if self.connections.per_address_max.is_some() {
            let mut addresses = self.connections.addresses();
            if let Entry::Occupied(mut count) = addresses.entry(self.address) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_one_customer_counts_as_one_address() {
        let of = |text: &str| counted(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
    }
}
