//! Permits: bounded numbers of connections and namespaces.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use roomcast_http::Problem;

use super::meters::{Meter, Meters, UserKey};
use crate::clock::Clock;

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

    /// Takes a permit.
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

/// The limits of connections: in total, by address and by user, and of TCP connections.
#[derive(Debug)]
pub(crate) struct Connections {
    permits: Permits,
    addresses: Counts<IpAddr>,
    users: Counts<UserKey>,
    meters: Meters,
    clock: Clock,
    /// TCP connections that are not WebSockets, or not yet.
    visits: AtomicUsize,
    /// The maximum number of TCP connections of either kind that the descriptors allow.
    accepted_max: usize,
}

/// Numbers of connections by key, each with the same limit.
#[derive(Debug)]
struct Counts<K> {
    /// The limit; `None` without one, and then nothing is counted.
    max: Option<usize>,
    taken: Mutex<HashMap<K, usize>>,
}

impl<K: Eq + Hash> Counts<K> {
    fn new(max: Option<usize>) -> Self {
        let taken = Mutex::default();
        Self { max, taken }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more connection of a key.
    ///
    /// # Errors
    ///
    /// The limit, when it is reached.
    fn add(&self, key: K) -> Result<(), usize> {
        let Some(max) = self.max else { return Ok(()) };
        let mut taken = self.taken();
        let count = taken.entry(key).or_default();
        if *count >= max {
            return Err(max);
        }
        *count += 1;
        Ok(())
    }

    fn remove(&self, key: K) {
        if self.max.is_some()
            && let Entry::Occupied(mut count) = self.taken().entry(key)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Connections {
    pub(crate) fn new(
        max: usize,
        (per_address_max, per_user_max): (Option<usize>, Option<usize>),
        meters: Meters,
        accepted_max: usize,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            permits: Permits::new(max),
            addresses: Counts::new(per_address_max),
            users: Counts::new(per_user_max),
            meters,
            clock,
            visits: AtomicUsize::new(0),
            accepted_max,
        })
    }

    pub(crate) fn taken(&self) -> usize {
        self.permits.taken()
    }

    /// The maximum number of connections.
    pub(crate) const fn max(&self) -> usize {
        self.permits.max
    }

    /// True when no more TCP connections should be accepted for now: the store, the journal and the
    /// log need descriptors too.
    pub(crate) fn is_full(&self) -> bool {
        self.visits.load(Relaxed) + self.taken() >= self.accepted_max
    }
}

/// A connection's permit, returned when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    connections: Arc<Connections>,
    /// The address under which the connection is counted.
    address: IpAddr,
    /// The user, where users are counted.
    user: Option<Box<Named>>,
}

/// The user of a connection.
#[derive(Debug)]
struct Named {
    key: UserKey,
    meter: Option<Meter>,
}

/// A TCP connection that speaks HTTP; counted until dropped.
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

/// The address under which a peer's connections are counted: for IPv6 the first 64 bits, the
/// smallest network that a customer gets. Its machines may use any address in it.
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
    /// Takes a permit for one more connection from this address.
    ///
    /// # Errors
    ///
    /// When a limit is reached.
    pub(crate) fn take(connections: &Arc<Connections>, address: IpAddr) -> Result<Self, Problem> {
        let address = counted(address);
        let reserved = connections.permits.reserve();
        reserved.map_err(Problem::Connections)?;
        if let Err(max) = connections.addresses.add(address) {
            connections.permits.release();
            return Err(Problem::ConnectionsPerAddress(max));
        }
        let connections = connections.clone();
        Ok(Self {
            connections,
            address,
            user: None,
        })
    }

    /// Counts the connection for a user, unless it already has one: a connection keeps its user.
    ///
    /// # Errors
    ///
    /// The limit, when the user has reached it.
    pub(crate) fn name_user(&mut self, namespace: &Arc<str>, user: &str) -> Result<(), usize> {
        let users = &self.connections.users;
        let meters = &self.connections.meters;
        if users.max.is_none() && !meters.are_on() || self.user.is_some() {
            return Ok(());
        }
        let key: UserKey = (namespace.clone(), user.into());
        users.add(key.clone())?;
        let now = self.connections.clock.now();
        let meter = meters.are_on().then(|| meters.enter(now, &key));
        self.user = Some(Box::new(Named { key, meter }));
        Ok(())
    }

    /// The meter of the connection's user, if rates are limited.
    #[inline]
    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.user.as_ref()?.meter.as_ref()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.connections.permits.release();
        self.connections.addresses.remove(self.address);
        if let Some(user) = self.user.take() {
            let Named { key, meter } = *user;
            if meter.is_some() {
                let now = self.connections.clock.now();
                self.connections.meters.leave(now, &key);
            }
            self.connections.users.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::hub::Allowance;

    use super::*;

    #[test]
    fn users_are_counted_by_namespace_and_given_back() {
        let rate = roomcast_core::Rate {
            per_second: 1,
            burst: 1,
        };
        let meters = Meters::new(Allowance::new(None, None, rate), 8);
        let clock = Clock::start(false);
        let connections = Connections::new(8, (None, Some(2)), meters, 8, clock);
        let (red, blue) = ("red".into(), "blue".into());
        let enter = |namespace, user| {
            let address = [192, 0, 2, 1].into();
            let mut permit = Permit::take(&connections, address).expect("room for all");
            permit.name_user(namespace, user).map(|()| permit)
        };
        let mut first = enter(&red, "ann").expect("the first");
        let second = enter(&red, "ann").expect("the second");
        assert_eq!(first.name_user(&red, "ann"), Ok(()), "a renewal");
        let refused = enter(&red, "ann").expect_err("one too many");
        assert_eq!(refused, 2);
        assert_eq!(connections.taken(), 2, "a refused one leaves nothing");
        enter(&blue, "ann").expect("another namespace");
        enter(&red, "ben").expect("another user");
        drop(second);
        let third = enter(&red, "ann").expect("one has left");
        drop((first, third));
        assert!(connections.users.taken().is_empty());
    }

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
