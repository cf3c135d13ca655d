//! Histories of the model.

use std::collections::BTreeSet;

use roomcast_core::RoomPolicy;

use super::{
    Model,
    decode::{self, Since},
    frames::Rejection,
    state::{Conn, History, Message, millis},
};
use crate::{Actor, To, op::json_string};

impl Model {
    pub(super) fn policy(&self, room: &str) -> Option<RoomPolicy> {
        self.policies.of(room).cloned()
    }

    pub(super) fn history(&mut self, namespace: &str, room: &str) -> Option<&mut History> {
        let mut rooms = self.histories.iter_mut();
        rooms.find(|history| *history.namespace == *namespace && history.name == room)
    }

    /// The history of a room, which is opened if there is none.
    pub(super) fn open(&mut self, namespace: &str, room: &str) -> Option<&mut History> {
        self.policy(room)?.history?;
        if self.history(namespace, room).is_none() {
            let opened = self.opened.entry((namespace.into(), room.into()));
            let number = opened.or_default();
            *number += 1;
            self.histories.push(History {
                namespace: namespace.into(),
                name: room.into(),
                number: *number,
                told: false,
                top: 0,
                messages: Vec::new(),
                touched: self.now,
                emptied: self.now,
            });
        }
        self.history(namespace, room)
    }

    /// Returns the position of a room for an answer to a client, and marks its epoch as told.
    pub(super) fn position(&mut self, namespace: &str, room: &str) -> String {
        match self.history(namespace, room) {
            Some(history) => {
                history.told = true;
                let (epoch, offset) = (history.epoch(), history.top);
                format!(r#""epoch":"{epoch}","offset":{offset}"#)
            }
            None => r#""epoch":"<epoch>","offset":0"#.into(),
        }
    }

    /// Takes the offset of a message to one room. [`record`](Self::record) follows when the
    /// recipients are known.
    pub(super) fn offset(&mut self, namespace: &str, room: &str) -> Option<u64> {
        let history = self.open(namespace, room)?;
        history.top += 1;
        Some(history.top)
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
        if let Some(history) = self.history(namespace, room) {
            history.touched = now;
            history.messages.push(Message {
                offset: history.top,
                at: now,
                text,
                except,
                except_users: except_users.into(),
            });
            let surplus = history.messages.len().saturating_sub(policy.messages);
            history.messages.drain(..surplus);
        }
    }

    /// Replaces `<alice>` by `<alice 2>`: the text may be sent again when alice has another
    /// connection.
    fn lasting(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (actor, count) in &self.counts {
            text = text.replace(&format!("<{actor}>"), &format!("<{actor} {count}>"));
        }
        text
    }

    /// Returns the connections that are excluded from a send: members of the room that did not get
    /// it, and those excluded by id.
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
        // An actor that is not connected stands for its last connection, if that was here.
        let ended = to.except_conns.iter().filter(|actor| {
            let home = self.homes.get(actor);
            home.is_some_and(|home| **home == *namespace)
        });
        without.extend(ended.filter_map(|actor| Some((actor.clone(), *self.counts.get(actor)?))));
        without
    }

    /// Returns the messages that a connection missed since a position; `None` when they cannot be
    /// recovered.
    pub(super) fn missed(&mut self, conn: &Conn, room: &str, since: &Since) -> Option<Vec<String>> {
        let (now, limit) = (self.now, self.limits.recovery_messages);
        let age = self.policy(room)?.history?.age;
        let history = self.history(&conn.namespace, room)?;
        history.expire(now, millis(age));
        let first = history.top + 1 - history.messages.len() as u64;
        let known = history.told && history.epoch() == since.epoch;
        if !known || since.offset > history.top || since.offset + 1 < first {
            return None;
        }
        let messages = history.messages.iter();
        let missed = messages.filter(|message| message.offset > since.offset);
        let missed = missed.filter(|message| message.is_for(conn, since.was.as_ref()));
        let missed: Vec<_> = missed.map(|message| message.text.clone()).collect();
        (missed.len() <= limit).then_some(missed)
    }

    /// Finds the connection that a text names: `<alice 2>`, or any id.
    pub(super) fn connection(&self, text: &str) -> Option<Option<(Actor, u32)>> {
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

    pub(super) fn verb_history(
        &mut self,
        conn: &Conn,
        room: &str,
        data: &str,
    ) -> Result<String, Rejection> {
        let (after, before, limit) = decode::history(data).map_err(|()| "bad_payload")?;
        let (now, entries) = (self.now, self.limits.page_entries);
        let policy = self.policy(room).and_then(|policy| policy.history);
        let policy = policy
            .filter(|_| conn.rooms.contains(room))
            .ok_or("forbidden")?;
        let position = self.position(&conn.namespace, room);
        let history = self.history(&conn.namespace, room).ok_or("forbidden")?;
        history.expire(now, millis(policy.age));
        let first = history.top + 1 - history.messages.len() as u64;
        let messages = history.messages.iter().filter(|message| {
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

    /// The time of the next timed event in rooms.
    pub(super) fn next_in_rooms(&self) -> Option<u64> {
        let waiting = self.absences.iter().map(|waiting| waiting.until);
        let idle = self
            .histories
            .iter()
            .filter_map(|history| self.end_of(history));
        waiting.chain(idle).min()
    }

    /// The time at which a room without members expires.
    fn end_of(&self, history: &History) -> Option<u64> {
        let age = self.policies.of(&history.name)?.history?.age;
        let empty = self
            .members(&history.namespace, &history.name)
            .next()
            .is_none();
        // Without a message it is at most a minute.
        let age = if history.top == 0 {
            millis(age).min(60_000)
        } else {
            millis(age)
        };
        empty.then(|| history.touched.max(history.emptied) + age)
    }

    /// Carries out the events that are due in rooms, in the order of the rooms' names.
    pub(super) fn tick_rooms(&mut self) {
        let now = self.now;
        let due = self.absences.iter().filter(|waiting| waiting.until <= now);
        let mut due: Vec<_> = due.cloned().collect();
        due.sort_by(|a, b| (&a.room, a.until, &a.user).cmp(&(&b.room, b.until, &b.user)));
        for gone in due {
            let before = self.users(&gone.namespace, &gone.room).len();
            self.absences.retain(|waiting| *waiting != gone);
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
            .histories
            .iter()
            .filter(|history| self.end_of(history).is_some_and(|end| end <= now));
        let over: Vec<_> = over.cloned().collect();
        self.histories.retain(|history| !over.contains(history));
    }
}
