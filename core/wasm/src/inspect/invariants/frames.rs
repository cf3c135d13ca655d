//! Checks of the commands that connections notice.

use roomcast_core::ConnId;

use super::{
    client::Member,
    envelope::{Joined, Reached, Reply, Who, id, text_of},
    turn::Turn,
    violation::Violations,
    watch::Watch,
};
use crate::inspect::output::Output;

impl Watch {
    /// Checks a command.
    pub(super) fn output(
        &mut self,
        turn: &mut Turn<'_>,
        output: &Output<'_>,
        violations: &mut Violations,
    ) {
        match output {
            Output::Send { to, frame, binary } => {
                let reply = serde_json::from_str(frame).ok();
                match reply.filter(|_| !(turn.is_raw || *binary)) {
                    Some(reply) if Reply::is_push(&reply) => {
                        self.push(turn, to, &reply, violations);
                    }
                    Some(reply) => self.control(turn, to, &reply, violations),
                    None => {
                        for conn in *to {
                            self.check_open(*conn, violations);
                        }
                    }
                }
            }
            Output::Close { conn, .. } => {
                if !self.forget(*conn) {
                    violations.add("I25", (Some(*conn), ""), "it is closed behind its end");
                }
            }
            Output::Ping { conn } => {
                self.check_open(*conn, violations);
            }
        }
    }

    /// Checks that a connection may get a frame; false when it has ended.
    fn check_open(&mut self, conn: ConnId, violations: &mut Violations) -> bool {
        let client = self.client(conn);
        let is_alive = client.is_some();
        if client.is_none_or(|client| client.has_bye) {
            violations.add("I25", (Some(conn), ""), "a frame comes behind its end");
        }
        is_alive
    }

    /// Checks a message of a client or a backend.
    fn push(
        &mut self,
        turn: &mut Turn<'_>,
        to: &[ConnId],
        reply: &Reply<'_>,
        violations: &mut Violations,
    ) {
        check_payload(turn, reply, violations);
        for &conn in to {
            if !self.check_open(conn, violations) {
                continue;
            }
            if let Some(room) = reply.room.as_deref() {
                let client = self.clients.get_mut(&conn);
                let Some(member) = client.and_then(|client| client.rooms.get_mut(room)) else {
                    let text = "it got a message of a room that it is not in";
                    violations.add("I10", (Some(conn), room), text);
                    continue;
                };
                if member.got((conn, room), reply.offset, violations) {
                    continue;
                }
                if turn.conn == Some(conn) && turn.fresh.as_deref() == Some(room) {
                    let text = "a message follows a join that recovers none";
                    violations.add("I31", (Some(conn), room), text);
                }
                turn.offset = turn.offset.max(reply.offset);
            }
            if turn.is_single && !turn.heard.insert(conn) {
                let room = reply.room.as_deref().unwrap_or_default();
                violations.add("I14", (Some(conn), room), "it got the message twice");
            }
        }
    }

    /// Checks an answer or a notice.
    fn control(
        &mut self,
        turn: &mut Turn<'_>,
        to: &[ConnId],
        reply: &Reply<'_>,
        violations: &mut Violations,
    ) {
        let room = reply.room.as_deref().unwrap_or_default();
        if matches!(&*reply.event, "$joined" | "$left") && reply.error.is_none() {
            return self.told(to, room, reply, violations);
        }
        for &conn in to {
            if !self.check_open(conn, violations) {
                continue;
            }
            if let Some(raw) = reply.id {
                let is_asked = self
                    .client(conn)
                    .is_some_and(|asking| asking.answer(&id(raw)));
                let may_be_read_otherwise =
                    turn.is_unreadable && turn.conn == Some(conn) && reply.error.is_some();
                if !(is_asked || may_be_read_otherwise) {
                    let text = format!("an answer to `{}`, which it did not ask", raw.get());
                    violations.add("I17", (Some(conn), room), text);
                }
            }
            self.answer(turn, conn, reply, violations);
        }
        if reply.event == "$members"
            && let Some(known) = self.rooms.get_mut(room)
        {
            known.forget_present();
        }
    }

    fn answer(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        reply: &Reply<'_>,
        violations: &mut Violations,
    ) {
        let room = reply.room.as_deref().unwrap_or_default();
        let is_refused = reply.error.is_some();
        turn.is_refused |= is_refused && turn.conn == Some(conn);
        match &*reply.event {
            "$bye" => {
                if let Some(client) = self.client(conn) {
                    client.has_bye = true;
                }
            }
            "$join" if is_refused => {
                let _ = self.client(conn).map(|client| client.answer_join(room));
            }
            "$join" => self.join_answered(turn, conn, reply, violations),
            // Rights that end take a member out; a refused request changes nothing.
            "$leave"
                if !is_refused
                    || turn.conn != Some(conn)
                    || !(turn.event == "$leave" || turn.is_unreadable) =>
            {
                self.left(conn, room);
                // Notices about others may be left out from here on.
                if let Some(known) = self.rooms.get_mut(room).filter(|_| is_refused) {
                    known.forget_present();
                }
            }
            event if !event.starts_with('$') && turn.conn == Some(conn) => {
                turn.may_be_silent |= is_refused;
                let reached: Option<Reached> = reply.payload();
                turn.reached = reached.map(|reached| reached.reached);
            }
            // The answer to an unreadable message, or to one over the rate, has no event name.
            _ => turn.may_be_silent |= is_refused,
        }
    }

    fn join_answered(
        &mut self,
        turn: &mut Turn<'_>,
        conn: ConnId,
        reply: &Reply<'_>,
        violations: &mut Violations,
    ) {
        let room = reply.room.as_deref().unwrap_or_default();
        let Some(joined) = reply.payload::<Joined>() else {
            return;
        };
        let Some(client) = self.client(conn) else {
            return;
        };
        let since = client.answer_join(room);
        let is_member = client.rooms.contains_key(room);
        if joined.already != is_member {
            let text = format!("`already` is {}, and it was told otherwise", joined.already);
            violations.add("I5", (Some(conn), room), text);
        }
        let known = self.rooms.entry(room.into()).or_default();
        known.check_position((conn, room), &joined.epoch, joined.offset, violations);
        self.joined(conn, room, Member::new(violations.line(), joined.offset));
        let (true, Some(since)) = (joined.recovered, since) else {
            // More than one answer may follow an earlier one.
            let is_alone = turn.event == "$join" && !turn.is_waiting;
            turn.fresh = is_alone.then(|| room.to_owned());
            return;
        };
        let (epoch, to) = (&*joined.epoch, joined.offset);
        let log = self.rooms.get(room).map(|known| {
            let due = known.due(conn, &since, epoch, to);
            (due, known.excepted(conn, &since, epoch, to))
        });
        let client = self.clients.get_mut(&conn);
        if let Some(member) = client.and_then(|client| client.rooms.get_mut(room)) {
            member.expect(joined.missed, since.offset, log.unwrap_or_default());
            turn.replays.push((conn, room.to_owned()));
        }
    }

    /// Checks a notice that a user has joined or left.
    fn told(&mut self, to: &[ConnId], room: &str, reply: &Reply<'_>, violations: &mut Violations) {
        let mut since = Vec::with_capacity(to.len());
        for &conn in to {
            if !self.check_open(conn, violations) {
                continue;
            }
            let client = self.clients.get(&conn);
            match client.and_then(|client| client.rooms.get(room)) {
                Some(member) => since.push((conn, member.since)),
                None => {
                    let text = format!("`{}` of a room that it is not in", reply.event);
                    violations.add("I10", (Some(conn), room), text);
                }
            }
        }
        if let Some(who) = reply.payload::<Who>()
            && let Some(known) = self.rooms.get_mut(room)
        {
            let joined = reply.event == "$joined";
            known.told((who.name(), joined), &since, room, violations);
        }
    }
}

/// Checks that a message arrives as it was published.
fn check_payload(turn: &Turn<'_>, reply: &Reply<'_>, violations: &mut Violations) {
    // Otherwise the message may belong to a replay.
    let is_exact = turn.publish.is_some() && !turn.is_waiting;
    let Some(data) = turn.data.filter(|_| is_exact) else {
        return;
    };
    let room = reply.room.as_deref().unwrap_or_default();
    if reply.event != turn.event {
        let text = format!("`{}` arrives as `{}`", turn.event, reply.event);
        violations.add("I18", (turn.conn, room), text);
    } else if text_of(reply.data) != data {
        let text = format!("the payload {data} arrives as {}", text_of(reply.data));
        violations.add("I18", (turn.conn, room), text);
    }
}
