//! Users of one room on all nodes, as one node knows them.

use alloc::{boxed::Box, collections::BTreeMap, collections::VecDeque, sync::Arc, vec::Vec};
use core::time::Duration;

use super::users::{Notice, PresenceChange, RoomUsers};
use crate::room::presence::{Listed, Who};
use crate::{time::Timestamp, wire::ConnId};

/// Users of a room who have a connection on any node.
///
/// The roster is *live* while notices arrive with consecutive numbers. Otherwise the relay was
/// asked for all users, and notices are held back until these arrive.
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
    /// The time until which users are kept that the relay has lost with its data.
    absent_until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Offline,
    /// The relay was asked, by a command of this token.
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
    /// The number of the notice or the list that brought the user in.
    since: u64,
    /// True for a user whom the relay has lost with its data: the user's node is about to enter it.
    is_absent: bool,
}

#[derive(Debug, Clone)]
struct Held {
    notice: Notice,
    /// The command that was in flight when it arrived.
    during: Option<u64>,
}

/// A change to announce to the members of the room.
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
    /// The time in which nodes enter their users again when the relay has lost its data: that of a
    /// lease.
    pub(crate) const ABSENCE: Duration = Duration::from_secs(10);
    /// Notices that are held back, at most.
    const HELD_MAX: usize = 4_096;

    /// True when users are known, if perhaps not those of this moment.
    pub(crate) const fn is_known(&self) -> bool {
        self.at.is_some()
    }

    /// True when the last list and all notices since are known.
    pub(crate) fn is_live(&self) -> bool {
        self.state == State::Live
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

    /// Records that the relay is asked for all users, unless an answer is already awaited.
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

    /// Handles a missing answer. Notices continue: before the first list they are held for it.
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

    /// Applies the next notice; returns false when its effect is not known.
    fn follow(&mut self, notice: &Notice, list_max: usize, turns: &mut Vec<Turn>) -> bool {
        let Some(name) = Name::parse(&notice.name) else {
            // A foreign notice: its number counts, but it is not announced.
            self.at = Some((notice.epoch.clone(), notice.number));
            return true;
        };
        let before = self.total;
        let (is_listed, meta) = (before <= list_max, notice.meta.as_deref().map(Arc::from));
        if notice.change == PresenceChange::Joined && self.enter_absent(&name, notice) {
            return true;
        }
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
                let (conns, meta, since) = (1, Clone::clone(&meta), notice.number);
                let is_absent = false;
                let seen = Seen {
                    conns,
                    meta,
                    since,
                    is_absent,
                };
                self.users.insert(name.clone(), seen);
            } else {
                self.total -= self.absent().count();
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

    /// Users whom the relay does not have.
    fn absent(&self) -> impl Iterator<Item = (&Name, &Seen)> {
        self.users.iter().filter(|(_, seen)| seen.is_absent)
    }

    /// Clears the absence of a user who is entered again; returns true if so. It is not announced.
    fn enter_absent(&mut self, name: &Name, notice: &Notice) -> bool {
        let Some(seen) = self.users.get_mut(name).filter(|seen| seen.is_absent) else {
            return false;
        };
        self.conns = self.conns.saturating_sub(seen.conns) + 1;
        *seen = Seen {
            conns: 1,
            meta: notice.meta.as_deref().map(Arc::from),
            since: notice.number,
            is_absent: false,
        };
        self.at = Some((notice.epoch.clone(), notice.number));
        true
    }

    /// The time until which users are kept whom the relay does not have.
    pub(crate) const fn absent_until(&self) -> Option<Timestamp> {
        self.absent_until
    }

    /// Removes users who stayed absent for too long, and returns the changes.
    pub(crate) fn end_absence(&mut self, now: Timestamp, turns: &mut Vec<Turn>) {
        if self.absent_until.take_if(|until| *until <= now).is_none() {
            return;
        }
        if !self.is_live() {
            // The present users are about to be known.
            self.absent_until = Some(now + Self::ABSENCE);
            return;
        }
        let absent = self.users.extract_if(.., |_, seen| seen.is_absent);
        for (name, seen) in absent.collect::<Vec<_>>() {
            let before = self.total;
            self.total = before.saturating_sub(1);
            self.conns = self.conns.saturating_sub(seen.conns);
            turns.push(Turn {
                change: PresenceChange::Left,
                name,
                meta: None,
                before,
                after: self.total,
            });
        }
    }

    /// Keeps known users whom the relay does not have, if it has lost its data.
    fn keep_absent(
        &mut self,
        was: &BTreeMap<Name, Seen>,
        is_lost: bool,
        list_max: usize,
        now: Timestamp,
    ) {
        if is_lost {
            self.absent_until = Some(now + Self::ABSENCE);
        }
        if self.absent_until.is_none_or(|until| until <= now) {
            return;
        }
        let users = &self.users;
        let gone = was.iter().filter(|(name, _)| !users.contains_key(*name));
        let absent = gone.filter(|(_, seen)| is_lost || seen.is_absent);
        let absent: Vec<_> = absent.collect();
        if self.total + absent.len() > list_max {
            return;
        }
        self.total += absent.len();
        for (name, seen) in absent {
            self.conns += seen.conns;
            let seen = Seen {
                is_absent: true,
                ..seen.clone()
            };
            self.users.insert(name.clone(), seen);
        }
    }

    /// Takes all users, by the answer to a command. True is returned when the relay has to be asked
    /// again.
    pub(crate) fn take_users(
        &mut self,
        token: u64,
        page: &RoomUsers,
        (list_max, now): (usize, Timestamp),
        turns: &mut Vec<Turn>,
    ) -> bool {
        if self.state != State::Asking(token) {
            // The list was requested while another answer was awaited.
            let Some((epoch, last)) = self.at.as_ref().filter(|_| self.state == State::Live) else {
                return false;
            };
            if *epoch != page.epoch {
                return true;
            }
            if page.number < *last {
                self.count_conns(page, list_max);
                return false;
            }
        }
        self.replace(page, (list_max, now), turns);
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

    /// Takes connections from a list that notices have overtaken.
    fn count_conns(&mut self, page: &RoomUsers, list_max: usize) {
        if self.total > list_max {
            self.conns = page.conns;
            return;
        }
        for user in &page.users {
            let seen = Name::parse(&user.name).and_then(|name| self.users.get_mut(&name));
            if let Some(seen) = seen.filter(|seen| seen.since <= page.number) {
                seen.conns = usize::try_from(user.conns).unwrap_or(usize::MAX);
            }
        }
        self.conns = self.users.values().map(|seen| seen.conns).sum();
    }

    /// Returns the changes that the first list includes and that happened after members joined: on
    /// a single node they would have been announced.
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

    /// Replaces the known users, and returns the changes between.
    fn replace(
        &mut self,
        page: &RoomUsers,
        (list_max, now): (usize, Timestamp),
        turns: &mut Vec<Turn>,
    ) {
        let was_known = self.at.is_some();
        // An epoch that continues after a failover has the same beginning.
        let begun = |epoch: &str| epoch.split('.').next().map(Box::<str>::from);
        let is_lost = |(epoch, _): &(Box<str>, u64)| begun(epoch) != begun(&page.epoch);
        let is_lost = self.at.as_ref().is_some_and(is_lost);
        let (was_total, total) = (self.total, page.total);
        let was = core::mem::take(&mut self.users);
        if total <= list_max {
            for user in &page.users {
                if let Some(name) = Name::parse(&user.name) {
                    let meta = user.meta.as_deref().map(Arc::from);
                    let conns = usize::try_from(user.conns).unwrap_or(usize::MAX);
                    let since = page.number;
                    let is_absent = false;
                    let seen = Seen {
                        conns,
                        meta,
                        since,
                        is_absent,
                    };
                    self.users.insert(name, seen);
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
        self.keep_absent(&was, is_lost, list_max, now);
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
