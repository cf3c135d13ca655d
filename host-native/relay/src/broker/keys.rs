//! Names of keys and topics.
//!
//! With Redis Cluster the hash tag of the prefix puts all keys in one slot. The braces around a
//! namespace delimit its name.

use std::sync::Arc;

use crate::{
    error::RelayError,
    position::{Address, Channel},
};

/// Names under one prefix.
#[derive(Debug)]
pub(crate) struct Keys {
    prefix: Box<str>,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// Refuses a namespace whose keys could be those of another.
    pub(crate) fn check(namespace: &str) -> Result<(), RelayError> {
        if namespace.is_empty() || namespace.contains(['{', '}']) {
            return Err(RelayError::Invalid(
                "a namespace of the relay has a name without braces",
            ));
        }
        Ok(())
    }

    fn of(&self, address: &Address, room: &str, all: &str) -> String {
        let (prefix, namespace) = (&*self.prefix, &*address.namespace);
        // Each publish has several keys: formatting them took longer than the rest of its call.
        match &address.channel {
            Channel::Room(name) => [prefix, "{", namespace, "}:", room, ":", name].concat(),
            Channel::All => [prefix, "{", namespace, "}:", all].concat(),
        }
    }

    pub(crate) fn meta(&self, address: &Address) -> String {
        self.of(address, "m", "ma")
    }

    pub(crate) fn stream(&self, address: &Address) -> String {
        self.of(address, "h", "ha")
    }

    pub(crate) fn topic(&self, address: &Address) -> String {
        self.of(address, "ws:room", "ws:all")
    }

    /// The index of the rooms of a namespace that the relay remembers.
    pub(crate) fn index(&self, address: &Address) -> String {
        let (prefix, namespace) = (&self.prefix, &address.namespace);
        format!("{prefix}{{{namespace}}}:r")
    }

    /// Connections of each user of a room.
    pub(crate) fn users(&self, address: &Address) -> String {
        self.of(address, "u", "ua")
    }

    /// Meta of each user of a room.
    pub(crate) fn users_meta(&self, address: &Address) -> String {
        self.of(address, "i", "ia")
    }

    /// Connections of each user that a node has in a room.
    pub(crate) fn own(&self, address: &Address, incarnation: &str) -> String {
        self.of(
            address,
            &format!("n:{incarnation}"),
            &format!("na:{incarnation}"),
        )
    }

    /// Changes that a node made to a user of a room, by their numbers.
    pub(crate) fn changes(&self, address: &Address, incarnation: &str, user: &str) -> String {
        let (prefix, namespace) = (&self.prefix, &address.namespace);
        let room = match &address.channel {
            Channel::Room(name) => &**name,
            Channel::All => "",
        };
        let length = room.len();
        format!("{prefix}{{{namespace}}}:c:{incarnation}:{length}:{room}:{user}")
    }

    /// The idempotency keys of an owner.
    pub(crate) fn owned(&self, namespace: &str, owner: &str) -> String {
        [&*self.prefix, "{", namespace, "}:o:", owner].concat()
    }

    /// The indexes of owners: by the number of their keys, and by the time until which they are
    /// remembered.
    pub(crate) fn owners(&self, namespace: &str) -> [String; 2] {
        ["oc", "oe"].map(|index| [&*self.prefix, "{", namespace, "}:", index].concat())
    }

    /// The record of an idempotency key without an owner.
    pub(crate) fn once(&self, namespace: &str, key: &str) -> String {
        [&*self.prefix, "{", namespace, "}:k:", key].concat()
    }

    /// Withdrawn users of a namespace.
    pub(crate) fn withdrawn(&self, namespace: &str) -> String {
        format!("{}{{{namespace}}}:w", self.prefix)
    }

    /// The topic of all nodes.
    pub(crate) fn bus(&self) -> String {
        format!("{}ws:nodes", self.prefix)
    }

    /// The topic of one node.
    pub(crate) fn node_bus(&self, node: &str) -> String {
        format!("{}ws:node:{node}", self.prefix)
    }

    /// The topic of probes.
    pub(crate) fn probe(&self, node: &str) -> String {
        format!("{}ws:probe:{node}", self.prefix)
    }

    pub(crate) fn lineage(&self) -> String {
        format!("{}lineage", self.prefix)
    }

    pub(crate) fn leases(&self) -> String {
        format!("{}leases", self.prefix)
    }

    /// The counter of serials of connections, each given out once.
    pub(crate) fn serials(&self) -> String {
        format!("{}numbers", self.prefix)
    }

    /// The lineage of the data in which serials were last taken from the counter.
    pub(crate) fn serials_lineage(&self) -> String {
        format!("{}numbers:lineage", self.prefix)
    }

    pub(crate) fn nodes(&self) -> String {
        format!("{}nodes", self.prefix)
    }

    pub(crate) fn dead(&self) -> String {
        format!("{}dead", self.prefix)
    }

    /// The rooms in which an incarnation has users.
    pub(crate) fn rooms(&self, incarnation: &str) -> String {
        format!("{}rooms:{incarnation}", self.prefix)
    }
}

/// The name of a room in the set of a node's rooms. A namespace has no braces, so the first brace
/// ends it.
pub(crate) fn listed(address: &Address) -> String {
    match &address.channel {
        Channel::Room(room) => format!("{}}}{room}", address.namespace),
        Channel::All => address.namespace.to_string(),
    }
}

/// The room of such a name.
pub(crate) fn unlisted(name: &str) -> Address {
    match name.split_once('}') {
        Some((namespace, room)) => Address::room(namespace, Arc::from(room)),
        None => Address::all(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_namespace_as_their_tag() {
        let keys = Keys::new("p:");
        let room = Address::room("ns", "a}{:b");
        assert_eq!(keys.meta(&room), "p:{ns}:m:a}{:b");
        assert_eq!(keys.topic(&room), "p:{ns}:ws:room:a}{:b");
        assert_eq!(keys.topic(&Address::all("ns")), "p:{ns}:ws:all");
        assert!(Keys::check("a}b").is_err() && Keys::check("").is_err());
    }

    #[test]
    fn a_listed_room_comes_back() {
        for address in [
            Address::room("ns", "a}{:b"),
            Address::room("ns", ""),
            Address::all("ns"),
        ] {
            assert_eq!(unlisted(&listed(&address)), address);
        }
    }
}
