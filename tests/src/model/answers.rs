//! The frames and answers that the model predicts, and which request leads to which.

use std::collections::BTreeMap;

use roomcast_core::{CloseCode, Limits};

use super::{
    Conn, Model,
    decode::{self, Envelope},
};
use crate::{Actor, Answer, op::json_string};

impl Model {
    /// A client sent a text message.
    pub(super) fn receive(&mut self, actor: &Actor, text: &str) {
        self.hear(actor);
        let Some(conn) = self.find(actor).cloned() else {
            return;
        };
        if text.len() > self.limits.message_bytes {
            self.close(actor, CloseCode::TOO_BIG, None);
            return;
        }
        match decode::decode(text) {
            Ok(envelope) => self.handle(&conn, &envelope),
            Err(fault) => {
                let event = fault.event.as_deref().unwrap_or("$error");
                let room = fault.room.as_deref().filter(|room| self.room_fits(room));
                let head = head(event, fault.id.as_deref(), room);
                self.push(actor, error(&head, fault.code));
            }
        }
    }

    fn handle(&mut self, conn: &Conn, envelope: &Envelope) {
        let Envelope {
            event, id, room, ..
        } = envelope;
        let (actor, id, room) = (&conn.actor, id.as_deref(), room.as_deref());
        if room.is_some_and(|room| !self.room_fits(room)) {
            self.push(actor, error(&head(event, id, None), "bad_room"));
            return;
        }
        let head = head(event, id, room);
        let answer = match (&**event, room) {
            ("$join", Some(room)) => self.join(conn, room, &envelope.data),
            ("$leave", Some(room)) => {
                let conn = self.find_mut(actor);
                let was = conn.is_some_and(|conn| conn.rooms.remove(room));
                Ok(format!(r#"{{"was":{was}}}"#))
            }
            ("$join" | "$leave", None) => Err("bad_room"),
            ("$rooms", _) => {
                let rooms = conn.rooms.iter().map(|room| json_string(room));
                Ok(format!("[{}]", rooms.collect::<Vec<_>>().join(",")))
            }
            ("$ping", _) => {
                let id = id.map_or(String::new(), |id| format!(r#","id":{id}"#));
                self.push(actor, format!(r#"{{"event":"$pong"{id}}}"#));
                return;
            }
            (verb, _) if verb.starts_with('$') => Err("unknown_verb"),
            (_, None) => Err("unknown_event"),
            (_, Some(room)) => {
                let reached = self.publish(conn, room, envelope);
                if id.is_none() {
                    return;
                }
                Ok(format!(r#"{{"reached":{reached}}}"#))
            }
        };
        let text = match answer {
            Ok(data) => format!(r#"{head},"data":{data}}}"#),
            Err(code) => error(&head, code),
        };
        self.push(actor, text);
    }

    fn join(&mut self, conn: &Conn, room: &str, data: &str) -> Result<String, &'static str> {
        let since = decode::since(data).map_err(|()| "bad_payload")?;
        let answer = self.server_join(&conn.actor, room);
        if answer.status != 200 {
            return Err("room_limit");
        }
        let recovered = if since { r#","recovered":false"# } else { "" };
        let position = answer.body.trim_end_matches('}');
        Ok(format!("{position}{recovered}}}"))
    }

    fn publish(&mut self, conn: &Conn, room: &str, envelope: &Envelope) -> usize {
        let actor = &conn.actor;
        let user = conn.user.as_deref().map(json_string);
        let user = user.map_or(String::new(), |user| format!(r#","user":{user}"#));
        let from = format!(r#""from":{{"conn":"<{actor}>"{user}}}"#);
        let (head, data) = (head(&envelope.event, None, Some(room)), &envelope.data);
        let text = format!(r#"{head},{from},"data":{data}}}"#);
        self.broadcast(&conn.namespace, &text, |other| {
            other.rooms.contains(room) && (other.actor != *actor || envelope.echo)
        })
    }

    pub(super) fn list_rooms(&self, namespace: &str) -> Answer {
        let mut rooms = BTreeMap::new();
        for conn in self
            .conns
            .iter()
            .filter(|conn| *conn.namespace == *namespace)
        {
            for room in &conn.rooms {
                *rooms.entry(room).or_insert(0) += 1;
            }
        }
        let rooms = rooms.iter().map(|(room, members)| {
            let room = json_string(room);
            format!(r#"{{"room":{room},"members":{members},"epoch":"<epoch>","offset":0}}"#)
        });
        let rooms = rooms.collect::<Vec<_>>().join(",");
        Answer::ok(format!(r#"{{"rooms":[{rooms}]}}"#))
    }

    pub(super) fn list_connections(&self, namespace: &str) -> Answer {
        let conns = self
            .conns
            .iter()
            .filter(|conn| *conn.namespace == *namespace);
        let conns = conns.map(|conn| {
            let user = json_string(conn.user.as_deref().unwrap_or_default());
            let rooms = conn.rooms.iter().map(|room| json_string(room));
            let rooms = rooms.collect::<Vec<_>>().join(",");
            format!(
                r#"{{"conn":"<{}>","user":{user},"rooms":[{rooms}],"since_ms":<number>,"queued_bytes":0}}"#,
                conn.actor
            )
        });
        let conns = conns.collect::<Vec<_>>().join(",");
        Answer::ok(format!(r#"{{"connections":[{conns}]}}"#))
    }
}

fn head(event: &str, id: Option<&str>, room: Option<&str>) -> String {
    let id = id.map_or(String::new(), |id| format!(r#","id":{id}"#));
    let room = room.map_or(String::new(), |room| {
        format!(r#","room":{}"#, json_string(room))
    });
    format!(r#"{{"event":{}{id}{room}"#, json_string(event))
}

fn error(head: &str, code: &str) -> String {
    format!(r#"{head},"error":{{"code":"{code}","message":"<message>"}}}}"#)
}

pub(super) fn joined(already: bool) -> Answer {
    Answer::ok(format!(
        r#"{{"epoch":"<epoch>","offset":0,"already":{already}}}"#
    ))
}

pub(super) fn left(was: bool) -> Answer {
    Answer::ok(format!(r#"{{"was":{was}}}"#))
}

pub(super) fn bye(code: CloseCode) -> String {
    let reconnect = code.reconnect();
    format!(r#"{{"event":"$bye","data":{{"code":{code},"reconnect":{reconnect},"after_ms":0}}}}"#)
}

pub(super) fn welcome(actor: &Actor, user: Option<&str>, limits: &Limits) -> String {
    let user = json_string(user.unwrap_or_default());
    let heartbeat = limits.heartbeat.unwrap_or_default().as_millis();
    let Limits {
        message_bytes,
        rooms_per_connection,
        room_name_bytes,
        ..
    } = limits;
    let limits = format!(
        r#"{{"message_bytes":{message_bytes},"rooms_per_connection":{rooms_per_connection},"room_name_bytes":{room_name_bytes}}}"#
    );
    format!(
        r#"{{"event":"$welcome","data":{{"conn":"<{actor}>","user":{user},"heartbeat_ms":{heartbeat},"limits":{limits}}}}}"#
    )
}
