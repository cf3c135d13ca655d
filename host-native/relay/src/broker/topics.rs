//! Topics that a node is subscribed to.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use crate::{position::Address, ring::locked};

/// The meaning of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Messages and notices of a room, or for audiences.
    Messages(Address),
    /// Messages between nodes.
    Bus,
    /// Probes of this node.
    Probe,
}

/// The topics that the node wants, by name. They outlive connections.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    wanted: Mutex<HashMap<Box<[u8]>, Topic>>,
}

impl Topics {
    fn wanted(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Topic>> {
        locked(&self.wanted)
    }

    /// Adds topics, and returns the names of the new ones.
    pub(crate) fn add(&self, topics: Vec<(String, Topic)>) -> Vec<String> {
        let mut wanted = self.wanted();
        let mut new = Vec::new();
        for (name, topic) in topics {
            if wanted.insert(name.as_bytes().into(), topic).is_none() {
                new.push(name);
            }
        }
        new
    }

    /// Removes topics.
    pub(crate) fn remove(&self, names: &[String]) {
        let mut wanted = self.wanted();
        for name in names {
            wanted.remove(name.as_bytes());
        }
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<Topic> {
        self.wanted().get(name).cloned()
    }

    /// The names of all topics.
    pub(crate) fn names(&self) -> Vec<String> {
        let wanted = self.wanted();
        let names = wanted.keys();
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }
}
