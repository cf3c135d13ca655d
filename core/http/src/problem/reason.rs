//! Reasons for which requests and connections are refused, as operators count them.

/// A reason for which a host refuses a request or a connection: the label of its
/// `roomcast_refused_total`.
///
/// The set is fixed: nothing that a client sends becomes a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The page's origin is not allowed.
    Origin,
    /// The `Host` is a name under which a server on loopback is not taken.
    Host,
    /// There is no such namespace.
    Namespace,
    /// No API key, or a wrong one.
    Key,
    /// The API has no key, and the call may not do without.
    KeylessApi,
    /// The policy of the room does not allow it.
    Policy,
    /// The server has as many connections as it may have.
    Connections,
    /// The address has as many connections as it may have.
    ConnectionsPerAddress,
    /// The server has as many namespaces as it may have.
    Namespaces,
    /// The server is shutting down.
    Draining,
    /// The application does not want the connection.
    Application,
    /// The connection sends more than its rate.
    Rate,
}

impl Reason {
    /// All reasons, each at the place that [`index`](Self::index) gives.
    pub const ALL: [Self; 12] = [
        Self::Origin,
        Self::Host,
        Self::Namespace,
        Self::Key,
        Self::KeylessApi,
        Self::Policy,
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Namespaces,
        Self::Draining,
        Self::Application,
        Self::Rate,
    ];

    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Host => "host",
            Self::Namespace => "namespace",
            Self::Key => "key",
            Self::KeylessApi => "keyless_api",
            Self::Policy => "policy",
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Namespaces => "namespaces",
            Self::Draining => "draining",
            Self::Application => "application",
            Self::Rate => "rate",
        }
    }

    /// The place in [`ALL`](Self::ALL), for a table of counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_place_and_word() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            let same = |other: &Reason| other.as_str() == reason.as_str();
            assert_eq!(Reason::ALL.iter().filter(|other| same(other)).count(), 1);
        }
    }
}
