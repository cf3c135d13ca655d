//! Rooms of the model that a policy matches: their histories, and the users in the grace time of
//! presence.

use std::collections::BTreeSet;

use roomcast_core::{RoomPolicy, policy::PresencePolicy};

use super::{Conn, Model, answers::Refused, decode, decode::Since};
use crate::{Actor, To, op::json_string};

/// A room with a history, which outlives its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) namespace: Box<str>,
    pub(super) name: String,
    /// Which history of this room it is, from 1.
    life: u32,
    /// True when somebody was told its epoch.
    told: bool,
    pub(super) top: u64,
    messages: Vec<Message>,
    /// When the last message came, or the room began.
    touched: u64,
    emptied: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    offset: u64,
    at: u64,
    text: String,
    /// Connections that never get it: who, and the how many-th of theirs.
    except: BTreeSet<(Actor, u32)>,
    except_users: Vec<Box<str>>,
}

/// A user who lost the last connection in a room, and may come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    namespace: Box<str>,
    room: String,
    user: Box<str>,
    until: u64,
    meta: Option<String>,
}

impl Model {
    pub(super) fn policy(&self, room: &str) -> Option<RoomPolicy> {
        self.policies.of(room).cloned()
    }

    pub(super) fn kept(&mut self, namespace: &str, room: &str) -> Option<&mut Kept> {
        let mut rooms = self.rooms.iter_mut();
        rooms.find(|kept| *kept.namespace == *namespace && kept.name == room)
    }

    /// The room's history, begun when there is none.
    fn open(&mut self, namespace: &str, room: &str) -> Option<&mut Kept> {
        self.policy(room)?.history?;
        if self.kept(namespace, room).is_none() {
            let lives = self.lives.entry((namespace.into(), room.into()));
            let life = lives.or_default();
            *life += 1;
            self.rooms.push(Kept {
                namespace: namespace.into(),
                name: room.into(),
                life: *life,
                told: false,
                top: 0,
                messages: Vec::new(),
                touched: self.now,
                emptied: self.now,
            });
        }
        self.kept(namespace, room)
    }

    /// Returns the position of a room as a client is told it; from then on its epoch counts as
    /// told.
    pub(super) fn position(&mut self, namespace: &str, room: &str) -> String {
        match self.kept(namespace, room) {
            Some(kept) => {
                kept.told = true;
                let (epoch, offset) = (kept.epoch(), kept.top);
                format!(r#""epoch":"{epoch}","offset":{offset}"#)
            }
            None => r#""epoch":"<epoch>","offset":0"#.into(),
        }
    }

    /// A message to one room: the member `offset` of its frame, and what is to be done when it is
    /// known who got it.
    pub(super) fn offset(&mut self, namespace: &str, room: &str) -> Option<u64> {
        let kept = self.open(namespace, room)?;
        kept.top += 1;
        Some(kept.top)
    }

    pub(super) fn record(
        &mut self,
        namespace: &str,
        room: &str,
        text: &str,
        except: BTreeSet<(Actor, u32)>,
        except_users: &[Box<str>],
    ) {
        let (now, text) = (self.now, self.lasting(text));
        let Some(policy) = self.policy(room).and_then(|policy| policy.history) else {
            return;
        };
        if let Some(kept) = self.kept(namespace, room) {
            kept.touched = now;
            kept.messages.push(Message {
                offset: kept.top,
                at: now,
                text,
                except,
                except_users: except_users.into(),
            });
            let surplus = kept.messages.len().saturating_sub(policy.messages);
            kept.messages.drain(..surplus);
        }
    }

    /// The text with `<alice 2>` in place of `<alice>`: it is sent again when she is another.
    fn lasting(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (actor, count) in &self.counts {
            text = text.replace(&format!("<{actor}>"), &format!("<{actor} {count}>"));
        }
        text
    }

    /// Returns the connections that are left out of a send, among the members of the room and by
    /// their ids.
    pub(super) fn left_out(
        &self,
        namespace: &str,
        room: &str,
        to: &To,
        got: impl Fn(&Conn) -> bool,
    ) -> BTreeSet<(Actor, u32)> {
        let conns = self.conns.iter();
        let conns = conns.filter(|conn| *conn.namespace == *namespace);
        let without = conns.filter(|conn| {
            (conn.rooms.contains(room) && !got(conn)) || to.except_conns.contains(&conn.actor)
        });
        let mut without: BTreeSet<_> = without.map(Conn::identity).collect();
        // Those whose last connection was here are named by that.
        let ended = to.except_conns.iter().filter(|actor| {
            let home = self.homes.get(actor);
            home.is_some_and(|home| **home == *namespace)
        });
        without.extend(ended.filter_map(|actor| Some((actor.clone(), *self.counts.get(actor)?))));
        without
    }

    /// Returns the messages that a connection missed since a position; `None` when that cannot be
    /// said.
    fn missed(&mut self, conn: &Conn, room: &str, since: &Since) -> Option<Vec<String>> {
        let (now, limit) = (self.now, self.limits.recovery_messages);
        let age = self.policy(room)?.history?.age;
        let kept = self.kept(&conn.namespace, room)?;
        kept.expire(now, millis(age));
        let first = kept.top + 1 - kept.messages.len() as u64;
        let known = kept.told && kept.epoch() == since.epoch;
        if !known || since.offset > kept.top || since.offset + 1 < first {
            return None;
        }
        let messages = kept.messages.iter();
        let missed = messages.filter(|message| message.offset > since.offset);
        let missed = missed.filter(|message| message.is_for(conn, since.was.as_ref()));
        let missed: Vec<_> = missed.map(|message| message.text.clone()).collect();
        (missed.len() <= limit).then_some(missed)
    }

    /// Handles `$join`: returns the `data` of the answer, and the messages to replay.
    pub(super) fn join(
        &mut self,
        conn: &Conn,
        room: &str,
        data: &str,
    ) -> Result<(String, Vec<String>), Refused> {
        let data =
            decode::join(data, |label| self.connection(label)).map_err(|()| "bad_payload")?;
        let already = self.enter(&conn.actor, room, data.meta.as_deref())?;
        let missed = data.since.as_ref();
        let missed = missed.map(|since| self.missed(conn, room, since));
        let position = self.position(&conn.namespace, room);
        let recovered = match &missed {
            None => String::new(),
            Some(None) => r#","recovered":false"#.into(),
            Some(Some(missed)) => format!(r#","recovered":true,"missed":{}"#, missed.len()),
        };
        let answer = format!(r#"{{{position},"already":{already}{recovered}}}"#);
        Ok((answer, missed.flatten().unwrap_or_default()))
    }

    /// Which connection a text names: `<alice 2>`, or any id.
    fn connection(&self, text: &str) -> Option<Option<(Actor, u32)>> {
        let label = text
            .strip_prefix('<')
            .and_then(|text| text.strip_suffix('>'));
        if let Some((name, number)) = label.and_then(|label| label.split_once(' ')) {
            let (actor, number) = (Actor::new(name), number.parse().ok()?);
            let known = self
                .counts
                .get(&actor)
                .is_some_and(|count| number <= *count);
            return (known && number > 0).then_some(Some((actor, number)));
        }
        text.parse::<roomcast_core::ConnId>()
            .is_ok()
            .then_some(None)
    }

    /// Puts an actor into a room; says whether it was in.
    pub(super) fn enter(
        &mut self,
        actor: &Actor,
        room: &str,
        meta: Option<&str>,
    ) -> Result<bool, Refused> {
        let limits = (self.limits.rooms_per_connection, self.limits.meta_bytes);
        let Some(conn) = self.find(actor).cloned() else {
            return Err("unknown".into());
        };
        let policy = self.policy(room);
        let shows = policy
            .as_ref()
            .is_some_and(|policy| policy.presence == PresencePolicy::Members);
        let too_large = shows && meta.is_some_and(|meta| meta.len() > limits.1);
        if conn.rooms.contains(room) {
            return if too_large {
                Err(Refused::limit("too_large", limits.1))
            } else {
                Ok(true)
            };
        }
        if conn.rooms.len() >= limits.0 {
            return Err(Refused::limit("room_limit", limits.0));
        }
        let members = self.members(&conn.namespace, room).count();
        if let Some(policy) = &policy
            && let Some(limit) = policy.members
            && members >= limit
        {
            return Err(Refused::limit("member_limit", limit));
        }
        if too_large {
            return Err(Refused::limit("too_large", limits.1));
        }
        self.open(&conn.namespace, room);
        let (users, known) = (
            self.users(&conn.namespace, room).len(),
            self.shown(&conn, room),
        );
        let meta = if let Some(known) = &known {
            known.clone()
        } else {
            meta.filter(|_| shows).map(Into::into)
        };
        if let Some(user) = &conn.user {
            self.waiting
                .retain(|waiting| !waiting.is(&conn.namespace, room, user));
        }
        if let Some(conn) = self.find_mut(actor) {
            conn.rooms.insert(room.into());
            conn.order.push(room.into());
            conn.metas
                .extend(meta.clone().map(|meta| (room.into(), meta)));
        }
        if known.is_none() {
            self.announce(&conn, room, users, "$joined", meta.as_deref());
        }
        Ok(false)
    }

    /// An actor that was in a room is out of it. `waits` says that it may come back.
    pub(super) fn depart(&mut self, conn: &Conn, room: &str, waits: bool) {
        let (now, list_max) = (self.now, self.limits.presence_list);
        let (namespace, policy) = (conn.namespace.clone(), self.policy(room));
        let users = self.users_before(conn, room);
        if let Some(left) = self.find_mut(&conn.actor) {
            left.rooms.remove(room);
            left.order.retain(|other| other != room);
            left.metas.remove(room);
        }
        if self.members(&namespace, room).next().is_none()
            && let Some(kept) = self.kept(&namespace, room)
        {
            kept.emptied = now;
        }
        if self.shown(conn, room).is_some() {
            return; // there are other connections of the user
        }
        let grace = policy.map_or(0, |policy| match policy.presence {
            PresencePolicy::Members => millis(policy.presence_grace),
            PresencePolicy::Off | PresencePolicy::Counts => 0,
        });
        match &conn.user {
            Some(user) if waits && grace > 0 && users <= list_max => {
                self.waiting.push(Waiting {
                    namespace,
                    room: room.into(),
                    user: user.clone(),
                    until: now + grace,
                    meta: conn.metas.get(room).cloned(),
                });
            }
            _ => self.announce(conn, room, users, "$left", None),
        }
    }

    /// Tells the members of a room who came or went.
    fn announce(
        &mut self,
        conn: &Conn,
        room: &str,
        before: usize,
        event: &str,
        meta: Option<&str>,
    ) {
        let who = conn.shown_as();
        let (namespace, joined) = (&conn.namespace, event == "$joined");
        self.tell(namespace, room, before, (event, &who), meta, |other| {
            !(joined && other.actor == conn.actor)
        });
    }

    fn tell(
        &mut self,
        namespace: &str,
        room: &str,
        before: usize,
        (event, who): (&str, &str),
        meta: Option<&str>,
        meant: impl Fn(&Conn) -> bool,
    ) {
        let (after, list_max) = (self.users(namespace, room).len(), self.limits.presence_list);
        let policy = self.policy(room).map(|policy| policy.presence);
        if policy != Some(PresencePolicy::Members) || before.min(after) > list_max {
            return;
        }
        let room_json = json_string(room);
        let text = if before.max(after) <= list_max {
            let meta = meta.map_or(String::new(), |meta| format!(r#","meta":{meta}"#));
            format!(r#"{{"event":"{event}","room":{room_json},"data":{{{who}{meta}}}}}"#)
        } else {
            let (conns, listed) = (self.members(namespace, room).count(), after <= list_max);
            format!(
                r#"{{"event":"$members","room":{room_json},"data":{{"users":{after},"conns":{conns},"listed":{listed}}}}}"#
            )
        };
        self.broadcast(namespace, &text, |other| {
            other.rooms.contains(room) && meant(other)
        });
    }

    fn members(&self, namespace: &str, room: &str) -> impl Iterator<Item = &Conn> {
        let conns = self.conns.iter();
        conns.filter(move |conn| *conn.namespace == *namespace && conn.rooms.contains(room))
    }

    /// Returns the users whom presence shows in a room, in the order of a list: users by name, then
    /// guests by age.
    fn users(&self, namespace: &str, room: &str) -> Vec<String> {
        let conns = self.members(namespace, room);
        let users = conns.filter_map(|conn| conn.user.as_deref());
        let waiting = self.waiting.iter();
        let waiting =
            waiting.filter(|waiting| *waiting.namespace == *namespace && waiting.room == room);
        let users: BTreeSet<_> = users.chain(waiting.map(|waiting| &*waiting.user)).collect();
        let users = users.into_iter().map(|user| format!("u{user}"));
        let guests = self
            .members(namespace, room)
            .filter(|conn| conn.user.is_none());
        let guests = guests.map(|conn| format!("c<{}>", conn.actor));
        users.chain(guests).collect()
    }

    /// How many were seen before this connection went.
    fn users_before(&self, conn: &Conn, room: &str) -> usize {
        let me = match &conn.user {
            Some(user) => format!("u{user}"),
            None => format!("c<{}>", conn.actor),
        };
        let users = self.users(&conn.namespace, room);
        users.len() + usize::from(!users.contains(&me))
    }

    /// Returns the presence meta of the user of a connection that is not in the room; `None` when
    /// that user is not there.
    fn shown(&self, conn: &Conn, room: &str) -> Option<Option<String>> {
        let user = conn.user.as_ref()?;
        let mut others = self.members(&conn.namespace, room);
        if let Some(other) = others.find(|other| other.user.as_ref() == Some(user)) {
            return Some(other.metas.get(room).cloned());
        }
        let mut waiting = self.waiting.iter();
        let waiting = waiting.find(|waiting| waiting.is(&conn.namespace, room, user));
        waiting.map(|waiting| waiting.meta.clone())
    }

    pub(super) fn verb_members(
        &self,
        conn: &Conn,
        room: &str,
        data: &str,
    ) -> Result<String, Refused> {
        let (after, limit) = decode::members(data).map_err(|()| "bad_payload")?;
        let after = after.map(|cursor| match cursor.strip_prefix('u') {
            Some(user) => Ok((0, user.to_owned(), 0)),
            // A number above all ids, for no story names a guest.
            None if cursor == "c9007199254740991" => Ok((1, String::new(), usize::MAX)),
            None => Err("bad_payload"),
        });
        let after = after.transpose()?;
        if !conn.rooms.contains(room) {
            return Err("forbidden".into());
        }
        let shows = self.policy(room).map(|policy| policy.presence);
        if !matches!(
            shows,
            Some(PresencePolicy::Counts | PresencePolicy::Members)
        ) {
            return Err("forbidden".into());
        }
        let (users, conns) = (
            self.users(&conn.namespace, room),
            self.members(&conn.namespace, room).count(),
        );
        let counts = format!(r#""users":{},"conns":{conns}"#, users.len());
        if shows == Some(PresencePolicy::Counts) || users.len() > self.limits.presence_list {
            return Ok(format!(r#"{{"members":[],{counts},"listed":false}}"#));
        }
        let place = |at: usize, cursor: &str| match cursor.strip_prefix('u') {
            Some(user) => (0, user.to_owned(), 0),
            None => (1, String::new(), at),
        };
        let rest = users.iter().enumerate();
        let rest = rest.filter(|(at, cursor)| {
            after
                .as_ref()
                .is_none_or(|after| place(*at, cursor) > *after)
        });
        let rest: Vec<_> = rest.map(|(_, cursor)| cursor).collect();
        let page = &rest[..rest.len().min(limit.min(self.limits.page_entries))];
        let lines = page.iter().map(|cursor| self.line(conn, room, cursor));
        let lines = lines.collect::<Vec<_>>().join(",");
        let next = page.last().filter(|_| page.len() < rest.len());
        let next = next.map_or(String::new(), |next| format!(r#","next":"{next}""#));
        Ok(format!(r#"{{"members":[{lines}],{counts}{next}}}"#))
    }

    fn line(&self, conn: &Conn, room: &str, cursor: &str) -> String {
        let namespace = &conn.namespace;
        let of = |other: &&Conn| match cursor.strip_prefix('u') {
            Some(user) => other.user.as_deref() == Some(user),
            None => cursor == format!("c<{}>", other.actor),
        };
        let conns: Vec<_> = self.members(namespace, room).filter(of).collect();
        let waiting = self.waiting.iter();
        let mut waiting = waiting.filter(|waiting| {
            cursor.strip_prefix('u') == Some(&*waiting.user)
                && waiting.namespace == *namespace
                && waiting.room == room
        });
        let meta = match conns.first() {
            Some(first) => first.metas.get(room).cloned(),
            None => waiting.next().and_then(|waiting| waiting.meta.clone()),
        };
        let meta = meta.map_or(String::new(), |meta| format!(r#","meta":{meta}"#));
        let who = match cursor.strip_prefix('u') {
            Some(user) => format!(r#""user":{}"#, json_string(user)),
            None => format!(r#""user":"","conn":"{}""#, &cursor[1..]),
        };
        format!(r#"{{{who},"conns":{}{meta}}}"#, conns.len())
    }

    pub(super) fn verb_history(
        &mut self,
        conn: &Conn,
        room: &str,
        data: &str,
    ) -> Result<String, Refused> {
        let (after, before, limit) = decode::history(data).map_err(|()| "bad_payload")?;
        let (now, entries) = (self.now, self.limits.page_entries);
        let history = self.policy(room).and_then(|policy| policy.history);
        let history = history
            .filter(|_| conn.rooms.contains(room))
            .ok_or("forbidden")?;
        let position = self.position(&conn.namespace, room);
        let kept = self.kept(&conn.namespace, room).ok_or("forbidden")?;
        kept.expire(now, millis(history.age));
        let first = kept.top + 1 - kept.messages.len() as u64;
        let messages = kept.messages.iter().filter(|message| {
            after.is_none_or(|after| message.offset > after)
                && before.is_none_or(|before| message.offset < before)
                && message.is_for(conn, None)
        });
        let texts: Vec<_> = messages.map(|message| message.text.clone()).collect();
        let count = limit.min(entries).min(texts.len());
        let texts = if after.is_some() {
            &texts[..count]
        } else {
            &texts[texts.len() - count..]
        };
        Ok(format!(
            r#"{{{position},"messages":[{}],"first":{first}}}"#,
            texts.join(",")
        ))
    }

    /// When something happens next in rooms, of itself.
    pub(super) fn next_in_rooms(&self) -> Option<u64> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let idle = self.rooms.iter().filter_map(|kept| self.end_of(kept));
        waiting.chain(idle).min()
    }

    /// When a room ends that nobody is in.
    fn end_of(&self, kept: &Kept) -> Option<u64> {
        let age = self.policies.of(&kept.name)?.history?.age;
        let empty = self.members(&kept.namespace, &kept.name).next().is_none();
        // Where nothing was ever said it is a minute.
        let age = if kept.top == 0 {
            millis(age).min(60_000)
        } else {
            millis(age)
        };
        empty.then(|| kept.touched.max(kept.emptied) + age)
    }

    /// Does what is due in rooms, in the order of their names.
    pub(super) fn pass_in_rooms(&mut self) {
        let now = self.now;
        let due = self.waiting.iter().filter(|waiting| waiting.until <= now);
        let mut due: Vec<_> = due.cloned().collect();
        due.sort_by(|a, b| (&a.room, a.until, &a.user).cmp(&(&b.room, b.until, &b.user)));
        for gone in due {
            let before = self.users(&gone.namespace, &gone.room).len();
            self.waiting.retain(|waiting| *waiting != gone);
            let who = format!(r#""user":{}"#, json_string(&gone.user));
            self.tell(
                &gone.namespace,
                &gone.room,
                before,
                ("$left", &who),
                None,
                |_| true,
            );
        }
        let over = self
            .rooms
            .iter()
            .filter(|kept| self.end_of(kept).is_some_and(|end| end <= now));
        let over: Vec<_> = over.cloned().collect();
        self.rooms.retain(|kept| !over.contains(kept));
    }
}

impl Kept {
    fn epoch(&self) -> String {
        format!("<epoch {} of {}>", self.life, self.name)
    }

    fn expire(&mut self, now: u64, age: u64) {
        self.messages.retain(|message| message.at + age > now);
    }
}

impl Message {
    fn is_for(&self, conn: &Conn, was: Option<&(Actor, u32)>) -> bool {
        let left_out = |who: &(Actor, u32)| self.except.contains(who);
        !left_out(&conn.identity())
            && !was.is_some_and(left_out)
            && !conn
                .user
                .as_ref()
                .is_some_and(|user| self.except_users.contains(user))
    }
}

impl Waiting {
    fn is(&self, namespace: &str, room: &str, user: &str) -> bool {
        *self.namespace == *namespace && self.room == room && *self.user == *user
    }
}

impl Conn {
    pub(super) fn identity(&self) -> (Actor, u32) {
        (self.actor.clone(), self.number)
    }

    fn shown_as(&self) -> String {
        match &self.user {
            Some(user) => format!(r#""user":{}"#, json_string(user)),
            None => format!(r#""user":"","conn":"<{}>""#, self.actor),
        }
    }
}

/// Whole milliseconds.
pub(super) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
