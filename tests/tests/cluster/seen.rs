//! Users that a client sees in a room: those of a page, and what it was told since.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::ConnId;
use serde::Deserialize;

use super::client::{holds, violated};

/// Users of a room, as a client knows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Names of users, and ids of connections without one.
    names: BTreeSet<String>,
    /// The connections of each, at the time of the last page.
    pub(crate) page: BTreeMap<String, usize>,
}

#[derive(Debug, Deserialize)]
struct Page {
    members: Vec<Present>,
    users: usize,
    conns: usize,
}

#[derive(Debug, Deserialize)]
struct Present {
    user: String,
    conn: Option<ConnId>,
    #[serde(default)]
    conns: usize,
}

impl Present {
    fn name(&self) -> String {
        match self.conn {
            Some(conn) => conn.to_string(),
            None => self.user.clone(),
        }
    }
}

impl Seen {
    /// Reads a page.
    pub(crate) fn page(data: &str) -> Self {
        let page: Page = serde_json::from_str(data).expect("a page of users");
        let names = page.members.iter().map(|it| (it.name(), it.conns));
        let listed: BTreeMap<_, _> = names.collect();
        holds!(
            listed.len() == page.users && listed.values().sum::<usize>() == page.conns,
            "I36: {} users and {} connections are {listed:?}",
            page.users,
            page.conns
        );
        Self {
            names: listed.keys().cloned().collect(),
            page: listed,
        }
    }

    /// Takes the news that somebody came or went.
    pub(crate) fn takes(&mut self, event: &str, data: &str) {
        let user: Present = serde_json::from_str(data).expect("a user");
        let name = user.name();
        let is_news = match event {
            "$joined" => self.names.insert(name.clone()),
            _ => self.names.remove(&name),
        };
        if !is_news {
            violated(format!("I35: {event} of {name}, who was known to be so"));
        }
    }

    /// Returns the users in view except the client itself, about which it gets no notices.
    pub(crate) fn others(&self, own: &str) -> BTreeSet<&str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(|name| *name != own).collect()
    }
}
