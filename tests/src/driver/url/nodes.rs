//! The servers on which a story is performed: one, or several that share their rooms.

use crate::driver::{DriverError, api::Api};

/// Servers, by number.
#[derive(Debug)]
pub(super) struct Nodes {
    /// `ws://host:port/ws`.
    addresses: Vec<String>,
    /// The API of each, or none.
    apis: Vec<Api>,
    key: Option<String>,
    /// The number of the server whose turn was last.
    last: usize,
    shared: bool,
    /// True when all connections go to the first.
    together: bool,
}

impl Nodes {
    /// A single server.
    pub(super) fn new(address: String) -> Result<Self, DriverError> {
        let mut nodes = Self {
            addresses: Vec::new(),
            apis: Vec::new(),
            key: None,
            last: 0,
            shared: false,
            together: false,
        };
        nodes.add(address)?;
        Ok(nodes)
    }

    fn add(&mut self, address: String) -> Result<(), DriverError> {
        if !address.starts_with("ws://") {
            let fault = format!("{address} is not ws://...");
            return Err(DriverError::Unsupported(fault));
        }
        self.addresses.push(address);
        Ok(())
    }

    /// Adds servers that share the rooms of the first one.
    pub(super) fn share(
        &mut self,
        others: impl Iterator<Item = String>,
    ) -> Result<(), DriverError> {
        self.shared = true;
        for address in others {
            self.add(address)?;
        }
        if self.have_apis() {
            let key = self.key.clone();
            self.set_api(key.as_deref());
        }
        Ok(())
    }

    /// Sends all connections to the first server, and API calls to the others.
    pub(super) const fn keep_together(&mut self) {
        self.together = true;
    }

    /// Uses the API of each, beside its `/ws`.
    pub(super) fn set_api(&mut self, key: Option<&str>) {
        self.key = key.map(Into::into);
        let api = |address: &String| {
            let address = address.trim_start_matches("ws://");
            let (authority, path) = address.split_once('/').unwrap_or((address, ""));
            let prefix = path.strip_suffix("/ws").map(|prefix| format!("/{prefix}"));
            Api::new(authority, prefix.unwrap_or_default(), key)
        };
        self.apis = self.addresses.iter().map(api).collect();
    }

    pub(super) const fn have_apis(&self) -> bool {
        !self.apis.is_empty()
    }

    /// True when messages go through a relay.
    pub(super) const fn are_shared(&self) -> bool {
        self.shared
    }

    pub(super) const fn are_several(&self) -> bool {
        self.addresses.len() > 1
    }

    pub(super) fn address(&self, node: usize) -> &str {
        &self.addresses[node]
    }

    pub(super) fn api(&self, node: usize) -> Option<&Api> {
        self.apis.get(node)
    }

    pub(super) const fn count(&self) -> usize {
        self.addresses.len()
    }

    /// Makes the server after this one the next.
    pub(super) const fn follow(&mut self, node: usize) {
        self.last = node;
    }

    /// Chooses the next server for a connection.
    pub(super) const fn next_for_connection(&mut self) -> usize {
        if self.together {
            return 0;
        }
        self.next()
    }

    /// Chooses the next server.
    pub(super) const fn next(&mut self) -> usize {
        self.last = (self.last + 1) % self.addresses.len();
        if self.together && self.last == 0 && self.are_several() {
            self.last = 1;
        }
        self.last
    }
}
