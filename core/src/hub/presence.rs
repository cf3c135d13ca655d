//! Presence in rooms: notices of users who join and leave, and pages of present users.

mod relayed;

use alloc::{string::String, sync::Arc, vec::Vec};

use super::{Hub, send::retain_from};
use crate::room::{
    PageError, PresencePage, Room, presence::Arrival, presence::Presence, presence::Who,
};
use crate::wire::{ConnId, write_bool, write_head, write_number, write_string};
use crate::{outbox::Kind, outbox::Outbox, policy::Overflow, policy::PresencePolicy};

/// Users before and after a change, and connections after it.
#[derive(Debug, Clone, Copy)]
struct Counts {
    before: usize,
    after: usize,
    conns: usize,
}

impl Hub {
    /// Shows a connection that joined a room with a policy. `shown` is its presence metadata.
    pub(super) fn show_joined(
        &mut self,
        slot: u32,
        conn: ConnId,
        shown: Option<Arc<str>>,
        out: &mut Outbox,
    ) {
        self.rooms.set_vacant(slot, false);
        let room = self.rooms.get(slot);
        if room.members.len() == 1 && room.history().is_some() {
            self.rooms
                .change_history(slot, |history| history.set_emptied(None));
            self.persist_room(slot, out);
        }
        let Some(connection) = self.conns.get_mut(conn) else {
            return;
        };
        let user = connection.user.clone();
        let who = Who::new(conn, user.as_deref());
        let Some(presence) = self.rooms.presence_mut(slot) else {
            return;
        };
        let before = presence.users();
        let (arrival, shown) = presence.join(who, shown);
        if let Some(meta) = &shown {
            connection.metas.push(slot, meta.clone());
        }
        match arrival {
            Arrival::First => {
                self.announce(slot, before, "$joined", who, shown.as_deref(), out);
                self.note_present(slot, conn, out);
            }
            Arrival::Back if self.is_clustered() => self.enter_user(slot, who, out),
            Arrival::Back => self.persist_room(slot, out),
            Arrival::Further if self.is_clustered() => self.enter_user(slot, who, out),
            Arrival::Further => {}
        }
    }

    /// Tells the members of a room that a user joined or left. There were `before` users. In a
    /// clustered hub this is left to the relay.
    pub(super) fn announce(
        &self,
        slot: u32,
        before: usize,
        event: &str,
        who: Who<'_>,
        meta: Option<&str>,
        out: &mut Outbox,
    ) {
        let room = self.rooms.get(slot);
        let Some(presence) = room.presence().filter(|_| !self.is_clustered()) else {
            return;
        };
        let counts = Counts {
            before,
            after: presence.users(),
            conns: room.members.len(),
        };
        self.notify(slot, counts, (event, who, meta), out);
    }

    /// Tells the members of a room of a change.
    ///
    /// Above the limit of the list there are only counts: clients could not keep a list from the
    /// notices.
    fn notify(
        &self,
        slot: u32,
        counts: Counts,
        (event, who, meta): (&str, Who<'_>, Option<&str>),
        out: &mut Outbox,
    ) {
        let list_max = self.config.limits.presence_list;
        let room = self.rooms.get(slot);
        let Some(policy) = self.room_policy(slot) else {
            return;
        };
        let Counts {
            before,
            after,
            conns,
        } = counts;
        if policy.presence != PresencePolicy::Members || before.min(after) > list_max {
            return;
        }
        let listed = before.max(after) <= list_max;
        let event = if listed { event } else { "$members" };
        let kind = match policy.overflow {
            // A lost notice counts as a loss after the last message.
            Overflow::DropOldest => {
                let next = room
                    .history()
                    .map_or(0, |history| history.position().offset + 1);
                out.shedding(&room.name, event, (0, next), Overflow::DropOldest)
            }
            Overflow::Close | Overflow::Latest => Kind::MESSAGE,
        };
        let (text, draft) = out.frame();
        write_head(text, event, None, Some(&room.name));
        text.push_str(r#","data":{"#);
        if listed {
            write_who(text, who);
            if let Some(meta) = meta {
                text.push_str(r#","meta":"#);
                text.push_str(meta);
            }
        } else {
            write_number(text, r#""users":"#, after);
            write_number(text, r#","conns":"#, conns);
            write_bool(text, r#","listed":"#, after <= list_max);
        }
        text.push_str("}}");
        // A user who joined has its answer; one who left is no longer a member.
        let itself = match who {
            Who::Guest(conn) => Some(conn),
            Who::User(user) => {
                let mut conns = self.conns.of_user(user).iter();
                conns.find(|&&conn| room.has(conn)).copied()
            }
        };
        room.push_members(itself, out.recipients());
        if let Who::User(user) = who
            && self.is_clustered()
        {
            // Other connections of the user may have joined before the relay announced it.
            let is_other = |conn| self.conns.user_of(conn) != Some(user);
            retain_from(out.recipients(), draft.first_recipient(), is_other);
        }
        self.retain_presence(&room.name, draft.first_recipient(), out);
        out.send(draft, kind);
    }

    /// A page of the users in a room, by name; `after` is the `next` of the previous page. It has
    /// at most `limit` and `Limits::page_entries` entries and `Limits::page_bytes` bytes; with a
    /// limit of 0 there are only the counts. A room that does not exist has an empty page.
    ///
    /// Work: the page.
    ///
    /// # Errors
    ///
    /// When the room has no presence, or `after` is not the `next` of a page.
    pub fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<PresencePage, PageError> {
        let parse = |after| Who::parse(after).ok_or(PageError::Cursor);
        let after = after.map(parse).transpose()?;
        let policy = self.policy_of(room).filter(|_| !self.config.raw);
        let policy = policy.map(|index| self.config.policies.get(index).presence);
        let policy = policy.filter(|policy| *policy != PresencePolicy::Off);
        let policy = policy.ok_or(PageError::NoPresence)?;
        let roster = self.roster(room);
        if self.is_clustered() && roster.is_none() {
            return Err(PageError::Unfollowed);
        }
        let room = self.rooms.find(room).map(|(_, room)| room);
        let presence = room.and_then(Room::presence).filter(|_| roster.is_none());
        let (users, conns) = match roster {
            Some(roster) => roster.counts(),
            None => (
                presence.map_or(0, Presence::users),
                room.map_or(0, |room| room.members.len()),
            ),
        };
        let limits = self.limits();
        let mut page = PresencePage {
            members: Vec::new(),
            users,
            conns,
            next: None,
            listed: policy == PresencePolicy::Members && users <= limits.presence_list,
        };
        if !page.listed {
            return Ok(page);
        }
        let (limit, mut bytes, mut last) = (limit.min(limits.page_entries), 0, None);
        let all = roster.into_iter().flat_map(|roster| roster.list(after));
        let here = presence
            .into_iter()
            .flat_map(|presence| presence.list(after));
        for member in all.chain(here) {
            bytes += member.bytes();
            if page.members.len() == limit
                || (bytes > limits.page_bytes && !page.members.is_empty())
            {
                page.next = last.map(Who::cursor);
                break;
            }
            last = Some(member.who);
            page.members.push(member.into());
        }
        Ok(page)
    }
}

/// Writes a user, or an empty user and the connection.
fn write_who(text: &mut String, who: Who<'_>) {
    text.push_str(r#""user":"#);
    match who {
        Who::User(user) => write_string(text, user),
        Who::Guest(conn) => {
            write_number(text, r#""","conn":""#, conn.as_u64());
            text.push('"');
        }
    }
}
