//! What members are told of who comes and goes, and who asks for it.

use alloc::{format, string::String};

use serde::Deserialize;

use crate::{
    hub::Hub,
    hub::conn::ConnId,
    hub::error::RequestError,
    outbox::{Kind, Outbox},
    policy::{Overflow, PresencePolicy},
    room::PageError,
    room::presence::{Listed, Presence, Who},
    verb::{answer, object},
    wire::envelope::{Envelope, write_head, write_string},
};

/// The `data` of `$members`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct MembersData {
    after: Option<String>,
    limit: Option<u64>,
}

/// One page of those who are in a room.
#[derive(Debug, Default)]
pub(crate) struct Page<'a> {
    pub(crate) members: alloc::vec::Vec<Listed<'a>>,
    pub(crate) users: usize,
    pub(crate) conns: usize,
    pub(crate) next: Option<String>,
    /// True when `members` is a part of the list, and not empty since there is none.
    pub(crate) listed: bool,
}

impl Hub {
    /// Tells the members of a room that somebody came or went. `before` is how many users there were.
    ///
    /// Above the limit of the list there are only counts: nobody could keep a list by what is told.
    pub(crate) fn announce(
        &self,
        slot: u32,
        before: usize,
        event: &str,
        who: Who<'_>,
        meta: Option<&str>,
        out: &mut Outbox,
    ) {
        let list_max = self.config.limits.presence_list;
        let room = self.rooms.get(slot);
        let (Some(policy), Some(presence)) = (self.room_policy(slot), room.presence()) else {
            return;
        };
        let after = presence.users();
        if policy.presence != PresencePolicy::Members || before.min(after) > list_max {
            return;
        }
        let listed = before.max(after) <= list_max;
        let event = if listed { event } else { "$members" };
        let kind = match policy.overflow {
            // A loss of it is a loss after the last message.
            Overflow::DropOldest => {
                let next = room.history().map_or(0, |history| history.top + 1);
                out.shedding(&room.name, event, next, Overflow::DropOldest)
            }
            Overflow::Close | Overflow::Latest => Kind::MESSAGE,
        };
        let (text, draft) = out.frame();
        write_head(text, event, None, Some(&room.name));
        text.push_str(r#","data":{"#);
        if listed {
            write_who(text, who);
            write_meta(text, meta);
        } else {
            write_counts(text, presence, room.members.len());
            text.push_str(r#","listed":"#);
            text.push_str(if after <= list_max { "true" } else { "false" });
        }
        text.push_str("}}");
        // Who came was answered; who went is no member.
        let itself = match who {
            Who::Guest(conn) => Some(conn),
            Who::User(user) => {
                let mut conns = self.users.get(user).into_iter().flatten();
                conns.find(|&&conn| room.has(conn)).copied()
            }
        };
        let to = out.recipients();
        match itself.and_then(|conn| room.members.binary_search(&conn).ok()) {
            Some(at) => {
                to.extend_from_slice(&room.members[..at]);
                to.extend_from_slice(&room.members[at + 1..]);
            }
            None => to.extend_from_slice(&room.members),
        }
        out.send(draft, kind);
    }

    pub(crate) fn verb_members(
        &self,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let name = self.room_of(request)?;
        let data: Option<MembersData> =
            object(request.data.as_str()).ok_or(RequestError::MembersData)?;
        let data = data.unwrap_or_default();
        if data.limit == Some(0) {
            return Err(RequestError::MembersData);
        }
        let after = match &data.after {
            Some(cursor) => Some(Who::parse(cursor).ok_or(RequestError::MembersData)?),
            None => None,
        };
        let found = self.rooms.find(name).filter(|(_, room)| room.has(conn));
        let (slot, _) = found.ok_or(RequestError::NotAMember)?;
        let limit = data
            .limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX);
        let page = self.presence_page(slot, after, limit);
        let page = page.ok_or(PageError::NoPresence)?;
        answer(conn, request, out, |text| {
            text.push_str(r#"{"members":["#);
            for (at, member) in page.members.iter().enumerate() {
                text.push_str(if at > 0 { ",{" } else { "{" });
                write_who(text, member.who);
                text.push_str(r#","conns":"#);
                text.push_str(itoa::Buffer::new().format(member.conns));
                write_meta(text, member.meta);
                text.push('}');
            }
            text.push_str(r#"],"users":"#);
            text.push_str(itoa::Buffer::new().format(page.users));
            text.push_str(r#","conns":"#);
            text.push_str(itoa::Buffer::new().format(page.conns));
            if let Some(next) = &page.next {
                text.push_str(r#","next":"#);
                write_string(text, next);
            }
            if !page.listed {
                text.push_str(r#","listed":false"#);
            }
            text.push('}');
        });
        Ok(())
    }

    /// A page of those who are in a room; `None` when its policy shows nobody. Work: the page.
    pub(crate) fn presence_page<'a>(
        &'a self,
        slot: u32,
        after: Option<Who<'a>>,
        limit: usize,
    ) -> Option<Page<'a>> {
        let limits = self.limits();
        let (room, policy) = (self.rooms.get(slot), self.room_policy(slot)?);
        let presence = room.presence()?;
        let mut page = Page {
            members: alloc::vec::Vec::new(),
            users: presence.users(),
            conns: room.members.len(),
            next: None,
            listed: false,
        };
        if policy.presence != PresencePolicy::Members || page.users > limits.presence_list {
            return Some(page);
        }
        page.listed = true;
        let (limit, mut bytes) = (limit.min(limits.page_entries), 0);
        for member in presence.list(after) {
            bytes += member.bytes();
            if page.members.len() == limit
                || (bytes > limits.page_bytes && !page.members.is_empty())
            {
                page.next = page.members.last().map(|last| last.who.cursor());
                break;
            }
            page.members.push(member);
        }
        Some(page)
    }
}

impl Listed<'_> {
    /// About what it takes in an answer.
    fn bytes(&self) -> usize {
        let name = match self.who {
            Who::User(user) => user.len(),
            Who::Guest(_) => 16,
        };
        name + self.meta.map_or(0, str::len) + r#"{"user":"","conns":1,"meta":},"#.len()
    }
}

impl Who<'_> {
    fn cursor(self) -> String {
        match self {
            Self::User(user) => format!("u{user}"),
            Self::Guest(conn) => format!("c{conn}"),
        }
    }

    pub(crate) fn parse(cursor: &str) -> Option<Who<'_>> {
        if let Some(user) = cursor.strip_prefix('u') {
            return Some(Who::User(user));
        }
        Some(Who::Guest(cursor.strip_prefix('c')?.parse().ok()?))
    }
}

fn write_who(text: &mut String, who: Who<'_>) {
    text.push_str(r#""user":"#);
    match who {
        Who::User(user) => write_string(text, user),
        Who::Guest(conn) => {
            text.push_str(r#""","conn":""#);
            text.push_str(itoa::Buffer::new().format(conn.as_u64()));
            text.push('"');
        }
    }
}

fn write_meta(text: &mut String, meta: Option<&str>) {
    if let Some(meta) = meta {
        text.push_str(r#","meta":"#);
        text.push_str(meta);
    }
}

fn write_counts(text: &mut String, presence: &Presence, conns: usize) {
    text.push_str(r#""users":"#);
    text.push_str(itoa::Buffer::new().format(presence.users()));
    text.push_str(r#","conns":"#);
    text.push_str(itoa::Buffer::new().format(conns));
}
