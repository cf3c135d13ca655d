//! Presence in one room: its users, each with any number of connections.

use alloc::{
    boxed::Box, collections::BTreeMap, collections::BTreeSet, format, string::String, sync::Arc,
    vec::Vec,
};

use crate::{time::Timestamp, wire::ConnId};

/// The users of a room. A connection without a user counts as a user.
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence {
    users: BTreeMap<Box<str>, Present>,
    guests: BTreeMap<ConnId, Option<Arc<str>>>,
    /// Absent users, by the time at which they count as gone.
    waiting: BTreeSet<(Timestamp, Box<str>)>,
}

#[derive(Debug, Clone)]
struct Present {
    conns: usize,
    /// The metadata of the user's first connection.
    meta: Option<Arc<str>>,
    until: Option<Timestamp>,
}

// One for each user in a room, beside the name.
const _: () = assert!(size_of::<Present>() <= 40);

/// A user who is seen, or a connection without a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who<'a> {
    User(&'a str),
    /// A connection without a user.
    Guest(ConnId),
}

impl<'a> Who<'a> {
    pub(crate) fn new(conn: ConnId, user: Option<&'a str>) -> Self {
        user.map_or(Self::Guest(conn), Who::User)
    }

    /// The cursor of the page that begins after this user.
    pub(crate) fn cursor(self) -> String {
        match self {
            Self::User(user) => format!("u{user}"),
            Self::Guest(conn) => format!("c{conn}"),
        }
    }

    pub(crate) fn parse(cursor: &'a str) -> Option<Self> {
        if let Some(user) = cursor.strip_prefix('u') {
            return Some(Self::User(user));
        }
        Some(Self::Guest(cursor.strip_prefix('c')?.parse().ok()?))
    }
}

/// Kinds of arrivals in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The first connection of a user.
    First,
    /// A connection of an absent user, who has returned.
    Back,
    /// A further connection of a user.
    Further,
}

/// Kinds of departures from a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The user has other connections here.
    Stays,
    /// The last connection left, and the user may return.
    Waits,
    /// The user is gone.
    Gone,
}

/// A line of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    pub(crate) who: Who<'a>,
    pub(crate) conns: usize,
    pub(crate) meta: Option<&'a str>,
}

impl Listed<'_> {
    /// The approximate size in an answer.
    pub(crate) fn bytes(&self) -> usize {
        let name = match self.who {
            Who::User(user) => user.len(),
            Who::Guest(_) => 16,
        };
        name + self.meta.map_or(0, str::len) + r#"{"user":"","conns":1,"meta":},"#.len()
    }
}

impl Presence {
    /// Metadata that is shown of a user who is there.
    pub(crate) fn meta(&self, user: Option<&str>) -> Option<&str> {
        self.users.get(user?)?.meta.as_deref()
    }

    /// The connections of a user who is present, with or without one, and what is shown of it.
    pub(crate) fn entry(&self, who: Who<'_>) -> Option<(usize, Option<&str>)> {
        match who {
            Who::User(user) => {
                let present = self.users.get(user)?;
                Some((present.conns, present.meta.as_deref()))
            }
            Who::Guest(conn) => Some((1, self.guests.get(&conn)?.as_deref())),
        }
    }

    /// The number of users, including guests and absent users who may return.
    pub(crate) fn users(&self) -> usize {
        self.users.len() + self.guests.len()
    }

    /// Adds a connection. Returns the metadata of its user, which is that of the first connection.
    pub(crate) fn join(
        &mut self,
        who: Who<'_>,
        meta: Option<Arc<str>>,
    ) -> (Arrival, Option<Arc<str>>) {
        let user = match who {
            Who::User(user) => user,
            Who::Guest(conn) => {
                self.guests.insert(conn, meta.clone());
                return (Arrival::First, meta);
            }
        };
        if let Some(present) = self.users.get_mut(user) {
            present.conns += 1;
            let arrival = match present.until.take() {
                Some(until) => {
                    self.waiting.remove(&(until, user.into()));
                    Arrival::Back
                }
                None => Arrival::Further,
            };
            return (arrival, present.meta.clone());
        }
        let present = Present {
            conns: 1,
            meta: meta.clone(),
            until: None,
        };
        self.users.insert(user.into(), present);
        (Arrival::First, meta)
    }

    /// Removes a connection; `until` is the time until which its user may return.
    pub(crate) fn leave(&mut self, who: Who<'_>, until: Option<Timestamp>) -> Departure {
        let user = match who {
            Who::User(user) => user,
            Who::Guest(conn) => {
                self.guests.remove(&conn);
                return Departure::Gone;
            }
        };
        let Some(present) = self.users.get_mut(user) else {
            debug_assert!(false, "a member that is not present");
            return Departure::Stays;
        };
        present.conns = present.conns.saturating_sub(1);
        if present.conns > 0 {
            return Departure::Stays;
        }
        match until {
            Some(until) => {
                present.until = Some(until);
                self.waiting.insert((until, user.into()));
                Departure::Waits
            }
            None => {
                self.users.remove(user);
                Departure::Gone
            }
        }
    }

    /// Restores an absent user after a sleep.
    pub(crate) fn wait(&mut self, user: &str, until: Timestamp, meta: Option<Arc<str>>) {
        if !self.users.contains_key(user) {
            let present = Present {
                conns: 0,
                meta,
                until: Some(until),
            };
            self.users.insert(user.into(), present);
            self.waiting.insert((until, user.into()));
        }
    }

    /// Removes and returns the next user who did not return in time.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Option<Box<str>> {
        let (until, _) = self.waiting.first()?;
        if *until > now {
            return None;
        }
        let (_, user) = self.waiting.pop_first()?;
        self.users.remove(&user);
        Some(user)
    }

    /// True when an absent user may return.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The time at which the next absent user counts as gone.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.waiting.first().map(|&(until, _)| until)
    }

    /// The time at which the last absent user counts as gone.
    pub(crate) fn last_expiry(&self) -> Option<Timestamp> {
        self.waiting.last().map(|&(until, _)| until)
    }

    /// The absent users, each with the time at which it counts as gone, and its metadata.
    pub(crate) fn waiting(&self) -> Vec<(Box<str>, Timestamp, Option<Box<str>>)> {
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|(until, user)| {
            let meta = self.meta(Some(user)).map(Into::into);
            (user.clone(), *until, meta)
        });
        waiting.collect()
    }

    /// Lists everybody after the given one, or everybody: users by name, then guests by age.
    pub(crate) fn list<'a>(&'a self, after: Option<Who<'a>>) -> impl Iterator<Item = Listed<'a>> {
        use core::ops::Bound::{Excluded, Unbounded};
        let (users, guests) = match after {
            None => (Some(Unbounded), Unbounded),
            Some(Who::User(user)) => (Some(Excluded(user)), Unbounded),
            Some(Who::Guest(conn)) => (None, Excluded(conn)),
        };
        let users = users.map(|from| self.users.range::<str, _>((from, Unbounded)));
        let users = users.into_iter().flatten().map(|(user, present)| Listed {
            who: Who::User(user),
            conns: present.conns,
            meta: present.meta.as_deref(),
        });
        let guests = self.guests.range((guests, Unbounded));
        users.chain(guests.map(|(conn, meta)| Listed {
            who: Who::Guest(*conn),
            conns: 1,
            meta: meta.as_deref(),
        }))
    }

    pub(crate) fn assert_consistent(&self, members: usize) {
        let conns: usize = self.users.values().map(|present| present.conns).sum();
        assert_eq!(
            conns + self.guests.len(),
            members,
            "who is seen is not who is there"
        );
        let waiting = self.users.iter().filter(|(_, present)| present.conns == 0);
        let waiting: BTreeSet<_> = waiting
            .map(|(user, present)| (present.until.unwrap_or_default(), user.clone()))
            .collect();
        assert_eq!(waiting, self.waiting);
    }
}
