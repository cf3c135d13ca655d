//! Answers of the model to requests.

use std::collections::BTreeMap;

use roomcast_core::CloseCode;

use super::{
    Model,
    decode::{self, Envelope},
    frames::{Rejection, error, head},
    state::{Conn, Published, Publisher, millis},
};
use crate::{Actor, Answer, op::json_string};

impl Model {
    /// Handles a text message of a client.
    pub(super) fn receive(&mut self, actor: &Actor, text: &str) {
        self.hear(actor);
        let Some(conn) = self.find(actor).cloned() else {
            return;
        };
        if text.len() > self.limits.message_bytes {
            self.close(actor, CloseCode::TOO_BIG, None);
            return;
        }
        let decoded = decode::decode(text, |id| self.connection(id));
        match decoded {
            Ok(envelope) => self.handle(&conn, &envelope),
            Err(fault) => {
                let event = fault.event.as_deref().unwrap_or("$error");
                let room = fault.room.as_deref().filter(|room| self.room_fits(room));
                let head = head(event, fault.id.as_deref(), room);
                self.push(actor, error(&head, fault.refused));
            }
        }
    }

    fn handle(&mut self, conn: &Conn, envelope: &Envelope) {
        let Envelope {
            event, id, room, ..
        } = envelope;
        let (actor, id, room) = (&conn.actor, id.as_deref(), room.as_deref());
        if room.is_some_and(|room| !self.room_fits(room)) {
            let refused = Rejection::limit("bad_room", self.limits.room_name_bytes);
            self.push(actor, error(&head(event, id, None), refused));
            return;
        }
        let head = head(event, id, room);
        let answer = match (&**event, room) {
            ("$join", Some(room)) => match self.join(conn, room, &envelope.data) {
                Ok((answer, missed)) => {
                    self.push(actor, format!(r#"{head},"data":{answer}}}"#));
                    missed.into_iter().for_each(|text| self.push(actor, text));
                    return;
                }
                Err(refused) => Err(refused),
            },
            ("$leave", Some(room)) => {
                let was = self.leave(actor, room);
                Ok(format!(r#"{{"was":{was}}}"#))
            }
            ("$members", Some(room)) => self.verb_members(conn, room, &envelope.data),
            ("$history", Some(room)) => self.verb_history(conn, room, &envelope.data),
            ("$join" | "$leave" | "$members" | "$history", None) => {
                Err(Rejection::limit("bad_room", self.limits.room_name_bytes))
            }
            ("$rooms", _) => {
                let rooms = conn.rooms.iter().map(|room| json_string(room));
                Ok(format!("[{}]", rooms.collect::<Vec<_>>().join(",")))
            }
            ("$ping", _) => {
                let id = id.map_or(String::new(), |id| format!(r#","id":{id}"#));
                self.push(actor, format!(r#"{{"event":"$pong"{id}}}"#));
                return;
            }
            (verb, _) if verb.starts_with('$') => Err("unknown_verb".into()),
            (_, None) => Err("unknown_event".into()),
            (_, Some(room)) if self.policy(room).is_some_and(|policy| !policy.publish) => {
                Err("forbidden".into())
            }
            (_, Some(room)) if envelope.once.is_some() => {
                match self.publish_once(conn, room, envelope) {
                    Ok(answer) if id.is_some() => Ok(answer),
                    Ok(_) => return,
                    Err(refused) => Err(refused),
                }
            }
            (_, Some(room)) => {
                let (reached, offset) = self.publish(conn, room, envelope);
                if id.is_none() {
                    return;
                }
                Ok(format!(r#"{{"reached":{reached}{offset}}}"#))
            }
        };
        let text = match answer {
            Ok(data) => format!(r#"{head},"data":{data}}}"#),
            Err(refused) => error(&head, refused),
        };
        self.push(actor, text);
    }

    /// Publishes under a key, unless that was done before. Returns the `data` of the answer.
    fn publish_once(
        &mut self,
        conn: &Conn,
        room: &str,
        envelope: &Envelope,
    ) -> Result<String, Rejection> {
        let (key, earlier) = envelope.once.clone().unwrap_or_default();
        let message = (room.into(), envelope.event.clone(), envelope.data.clone());
        let own = match &conn.user {
            Some(user) => Publisher::User(user.clone()),
            None => Publisher::Conn(conn.identity()),
        };
        let mut publishers = vec![own.clone()];
        publishers.extend(earlier.into_iter().map(Publisher::Conn));
        let now = self.now;
        self.published.retain(|published| published.expires > now);
        for publisher in publishers {
            let mut published = self.published.iter();
            let published = published.find(|published| {
                *published.namespace == *conn.namespace
                    && published.publisher == publisher
                    && published.key == key
            });
            if let Some(published) = published {
                return if published.message == message {
                    Ok(published.answer.clone())
                } else {
                    Err("key_reused".into())
                };
            }
        }
        let (reached, offset) = self.publish(conn, room, envelope);
        let answer = format!(r#"{{"reached":{reached}{offset}}}"#);
        self.published.push(Published {
            namespace: conn.namespace.clone(),
            publisher: own.clone(),
            key,
            message,
            expires: now + millis(self.limits.idempotency),
            answer: answer.clone(),
        });
        self.forget_published(&conn.namespace, &own);
        Ok(answer)
    }

    /// Forgets the oldest keys of a client that has too many. Then, while the namespace has too
    /// many, forgets the oldest key of the client with the most.
    fn forget_published(&mut self, namespace: &str, publisher: &Publisher) {
        let here = |published: &Published| *published.namespace == *namespace;
        let count = |all: &[Published], publisher: &Publisher| {
            let of = |one: &&Published| here(one) && one.publisher == *publisher;
            all.iter().filter(of).count()
        };
        let all = &mut self.published;
        while count(all, publisher) > self.limits.idempotency_keys_per_client {
            let oldest = all
                .iter()
                .position(|one| here(one) && one.publisher == *publisher);
            oldest.map(|at| all.remove(at));
        }
        while all.iter().filter(|one| here(one)).count() > self.limits.idempotency_keys {
            let counts = all.iter().map(|one| {
                let count = count(all, &one.publisher);
                if here(one) { count } else { 0 }
            });
            let counts: Vec<_> = counts.collect();
            let oldest = counts
                .iter()
                .position(|count| Some(count) == counts.iter().max());
            oldest.map(|at| all.remove(at));
        }
    }

    /// Sends to the members of a room. Returns their number, and the `offset` member of the answer.
    fn publish(&mut self, conn: &Conn, room: &str, envelope: &Envelope) -> (usize, String) {
        let actor = &conn.actor;
        let echo = envelope.echo;
        let echo = echo.unwrap_or_else(|| self.policy(room).is_some_and(|policy| policy.echo));
        let user = conn.user.as_deref().map(json_string);
        let user = user.map_or(String::new(), |user| format!(r#","user":{user}"#));
        let from = format!(r#""from":{{"conn":"<{actor}>"{user}}}"#);
        let offset = self.offset(&conn.namespace, room);
        let offset = offset.map_or(String::new(), |offset| format!(r#","offset":{offset}"#));
        let (head, data) = (head(&envelope.event, None, Some(room)), &envelope.data);
        let text = format!(r#"{head},{from}{offset},"data":{data}}}"#);
        let reached = self.broadcast(&conn.namespace, &text, |other| {
            other.rooms.contains(room) && (other.actor != *actor || echo)
        });
        let except = (!echo).then(|| conn.identity());
        self.record(
            &conn.namespace,
            room,
            &text,
            except.into_iter().collect(),
            &[],
        );
        (reached, offset)
    }

    pub(super) fn list_rooms(&mut self, namespace: &str) -> Answer {
        let mut rooms = BTreeMap::new();
        for history in self
            .histories
            .iter()
            .filter(|history| *history.namespace == *namespace)
        {
            rooms.insert(history.name.clone(), 0);
        }
        for conn in self
            .conns
            .iter()
            .filter(|conn| *conn.namespace == *namespace)
        {
            for room in &conn.rooms {
                *rooms.entry(room.clone()).or_insert(0) += 1;
            }
        }
        let rooms = rooms.iter().map(|(name, members)| {
            let (room, position) = (json_string(name), self.position(namespace, name));
            format!(r#"{{"room":{room},"members":{members},{position}}}"#)
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
