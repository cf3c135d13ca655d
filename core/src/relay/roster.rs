//! Users of one room on all nodes, as one node knows them.

use alloc::{boxed::Box, collections::BTreeMap, collections::VecDeque, sync::Arc, vec::Vec};

use super::users::{Notice, PresenceChange, RoomUsers};
use crate::room::presence::{Listed, Who};
use crate::wire::ConnId;

/// Users of a room who have a connection on any node.
///
/// It is *live* while the next notice has the next number. Otherwise the relay was asked for all
/// users, and notices that come are held back until they are there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    /// The epoch and the number of the last notice; `None` before the first list.
    at: Option<(Box<str>, u64)>,
    state: State,
    /// Empty while there are too many for a list.
    users: BTreeMap<Name, Seen>,
    total: usize,
    conns: usize,
    held: VecDeque<Held>,
    asks_again: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Offline,
    /// The relay was asked, by a command of this number.
    Asking(u64),
    Live,
}

/// The name of a user, or of a connection without one. Users come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    User(Box<str>),
    Guest(ConnId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    conns: usize,
    meta: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Held {
    notice: Notice,
    /// The command that was under way when it came.
    during: Option<u64>,
}

/// A change for the members of the room to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) change: PresenceChange,
    pub(crate) name: Name,
    pub(crate) meta: Option<Arc<str>>,
    /// Users before and after it.
    pub(crate) before: usize,
    pub(crate) after: usize,
}

impl Name {
    fn parse(name: &str) -> Option<Self> {
        Some(match Who::parse(name)? {
            Who::User(user) => Self::User(user.into()),
            Who::Guest(conn) => Self::Guest(conn),
        })
    }

    pub(crate) fn who(&self) -> Who<'_> {
        match self {
            Self::User(user) => Who::User(user),
            Self::Guest(conn) => Who::Guest(*conn),
        }
    }
}

impl From<Who<'_>> for Name {
    fn from(who: Who<'_>) -> Self {
        match who {
            Who::User(user) => Self::User(user.into()),
            Who::Guest(conn) => Self::Guest(conn),
        }
    }
}

impl Roster {
    /// Notices that are held back, at most.
    const HELD_MAX: usize = 4_096;

    /// True when users are known, if perhaps not those of this moment.
    pub(crate) const fn is_known(&self) -> bool {
        self.at.is_some()
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.state == State::Offline
    }

    /// The number of users and of their connections.
    pub(crate) const fn counts(&self) -> (usize, usize) {
        (self.total, self.conns)
    }

    /// Lists everybody after the given one: users by name, then guests by age. Nobody, while there
    /// are too many for a list.
    pub(crate) fn list(&self, after: Option<Who<'_>>) -> impl Iterator<Item = Listed<'_>> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |after| Excluded(Name::from(after)));
        let users = self.users.range((from, Unbounded));
        users.map(|(name, seen)| Listed {
            who: name.who(),
            conns: seen.conns,
            meta: seen.meta.as_deref(),
        })
    }

    /// The relay is asked for all users. An answer that is awaited already comes first.
    pub(crate) fn ask(&mut self, token: u64) {
        if !matches!(self.state, State::Asking(_)) {
            self.state = State::Asking(token);
        }
    }

    /// The relay cannot be asked.
    pub(crate) fn go_offline(&mut self) {
        self.state = State::Offline;
        self.held.clear();
        self.asks_again = false;
    }

    /// The relay did not answer. Notices go on: before the first list they are kept for it.
    pub(crate) fn fail(&mut self) {
        let held = core::mem::take(&mut self.held);
        self.go_offline();
        if self.at.is_none() {
            self.held = held;
        }
    }

    /// Takes a notice. True is returned when the relay has to be asked for all users.
    pub(crate) fn take_notice(
        &mut self,
        notice: &Notice,
        list_max: usize,
        turns: &mut Vec<Turn>,
    ) -> bool {
        let during = match self.state {
            State::Offline if self.is_known() => return false,
            State::Offline => None,
            State::Asking(token) => Some(token),
            State::Live => match &self.at {
                Some((epoch, last)) if *epoch == notice.epoch => {
                    if notice.number <= *last {
                        return false;
                    }
                    if notice.number == last + 1 && self.follow(notice, list_max, turns) {
                        return false;
                    }
                    None
                }
                _ => None,
            },
        };
        if self.held.len() >= Self::HELD_MAX {
            self.held.clear();
            self.asks_again = true;
        } else {
            let notice = notice.clone();
            self.held.push_back(Held { notice, during });
        }
        during.is_none() && self.state == State::Live
    }

    /// Does what the next notice says; false when it is not known what follows from it.
    fn follow(&mut self, notice: &Notice, list_max: usize, turns: &mut Vec<Turn>) -> bool {
        let Some(name) = Name::parse(&notice.name) else {
            // Foreign: it is counted, and nobody is told.
            self.at = Some((notice.epoch.clone(), notice.number));
            return true;
        };
        let before = self.total;
        let (is_listed, meta) = (before <= list_max, notice.meta.as_deref().map(Arc::from));
        let known = self.users.get(&name);
        let after = match notice.change {
            PresenceChange::Joined if known.is_some() => return false,
            PresenceChange::Joined => before + 1,
            PresenceChange::Left if is_listed && known.is_none() => return false,
            PresenceChange::Left if before <= list_max + 1 && !is_listed => return false,
            PresenceChange::Left => before - 1,
        };
        self.at = Some((notice.epoch.clone(), notice.number));
        self.total = after;
        if notice.change == PresenceChange::Left {
            let seen = self.users.remove(&name);
            let conns = seen.map_or(1, |seen| seen.conns);
            self.conns = self.conns.saturating_sub(conns);
        } else {
            self.conns += 1;
            if after <= list_max {
                let (conns, meta) = (1, Clone::clone(&meta));
                self.users.insert(name.clone(), Seen { conns, meta });
            } else {
                self.users.clear();
            }
        }
        turns.push(Turn {
            change: notice.change,
            name,
            meta: meta.filter(|_| notice.change == PresenceChange::Joined),
            before,
            after,
        });
        true
    }

    /// Takes all users, by the answer to a command. True is returned when the relay has to be asked
    /// again.
    pub(crate) fn take_users(
        &mut self,
        token: u64,
        page: &RoomUsers,
        list_max: usize,
        turns: &mut Vec<Turn>,
    ) -> bool {
        if self.state != State::Asking(token) {
            // It was asked for while another answer was awaited.
            let Some((epoch, last)) = self.at.as_ref().filter(|_| self.state == State::Live) else {
                return false;
            };
            if *epoch != page.epoch {
                return true;
            }
            if page.number < *last {
                return false;
            }
        }
        self.replace(page, list_max, turns);
        self.state = State::Live;
        let mut again = core::mem::take(&mut self.asks_again);
        for held in core::mem::take(&mut self.held) {
            let (epoch, last) = (&*page.epoch, self.at.as_ref().map_or(0, |(_, last)| *last));
            if *held.notice.epoch == *epoch {
                let is_past = held.notice.number <= last;
                let is_next = held.notice.number == last + 1;
                if is_past || is_next && self.follow(&held.notice, list_max, turns) {
                    continue;
                }
            } else if held.during != Some(token) {
                // It came before the list was asked for, whose epoch is therefore newer.
                continue;
            }
            again = true;
            self.held.push_back(held);
        }
        again
    }

    /// Gives the changes that the first list has in it, and that came after members were let in: on
    /// one node they would have been told.
    fn tell_held(&self, page: &RoomUsers, turns: &mut Vec<Turn>) {
        let first = turns.len();
        let mut after = page.total;
        for Held { notice, .. } in self.held.iter().rev() {
            let is_in = notice.epoch == page.epoch && notice.number <= page.number;
            let Some(name) = Name::parse(&notice.name).filter(|_| is_in) else {
                continue;
            };
            let (before, meta) = match notice.change {
                PresenceChange::Joined => (after.saturating_sub(1), notice.meta.as_deref()),
                PresenceChange::Left => (after + 1, None),
            };
            turns.push(Turn {
                change: notice.change,
                name,
                meta: meta.map(Arc::from),
                before,
                after,
            });
            after = before;
        }
        turns[first..].reverse();
    }

    /// Puts other users in the place of those who were known, and gives the changes between.
    fn replace(&mut self, page: &RoomUsers, list_max: usize, turns: &mut Vec<Turn>) {
        let was_known = self.at.is_some();
        let (was_total, total) = (self.total, page.total);
        let was = core::mem::take(&mut self.users);
        if total <= list_max {
            for user in &page.users {
                if let Some(name) = Name::parse(&user.name) {
                    let meta = user.meta.as_deref().map(Arc::from);
                    let conns = usize::try_from(user.conns).unwrap_or(usize::MAX);
                    self.users.insert(name, Seen { conns, meta });
                }
            }
        }
        self.at = Some((page.epoch.clone(), page.number));
        (self.total, self.conns) = (total, page.conns);
        if !was_known {
            return self.tell_held(page, turns);
        }
        if was_total > list_max || total > list_max {
            if (was_total > list_max) != (total > list_max) {
                let change = PresenceChange::Left;
                let name = Name::User("".into());
                let (before, after, meta) = (was_total, total, None);
                turns.push(Turn {
                    change,
                    name,
                    meta,
                    before,
                    after,
                });
            }
            return;
        }
        let mut count = was_total;
        for name in was.keys().filter(|name| !self.users.contains_key(*name)) {
            let (change, before) = (PresenceChange::Left, count);
            count = count.saturating_sub(1);
            turns.push(Turn {
                change,
                name: name.clone(),
                meta: None,
                before,
                after: count,
            });
        }
        for (name, seen) in self
            .users
            .iter()
            .filter(|(name, _)| !was.contains_key(*name))
        {
            let (change, before) = (PresenceChange::Joined, count);
            count += 1;
            turns.push(Turn {
                change,
                name: name.clone(),
                meta: seen.meta.clone(),
                before,
                after: count,
            });
        }
    }
}

#[cfg(test)]
mod tests;
