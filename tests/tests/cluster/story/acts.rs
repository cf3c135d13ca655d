//! Things that clients and backends of a story do.

use std::{borrow::Cow, collections::BTreeSet};

use roomcast_core::{
    Applied, Audience, ConnId, DisconnectReason, Frame, Handshake, Input, SendError, relay::Topic,
};
use serde_json::value::RawValue;

use super::{NODES, Story};
use crate::cluster::client::{ROOMS, Request, keeps};
use crate::cluster::truth::{Message, Publisher};

impl Story {
    pub(super) fn client_acts(&mut self) {
        let client = self.one_of(self.clients.len());
        let Some((node, conn)) = self.clients[client].link else {
            return self.connect(client);
        };
        if self.nodes[node].stopped {
            return;
        }
        let (room, _) = ROOMS[self.one_of(ROOMS.len())];
        match self.one_of(20) {
            0 => {
                self.say(|| format!("{client} disconnects"));
                let reason = DisconnectReason::Lost;
                let _ = self.nodes[node].apply(self.now, &Input::Disconnect { conn, reason });
                self.clients[client].disconnected();
                self.look(node);
            }
            1 => {
                self.say(|| format!("{client} is closed"));
                self.nodes[node].close(self.now, conn);
                self.look(node);
            }
            2 => {
                let request = Request::Leave {
                    room: room.to_owned(),
                };
                self.request(client, request, |id| verb(id, "$leave", room, ""));
            }
            3..=7 => self.join(client, room),
            8 if keeps(room) => {
                let request = Request::History {
                    room: room.to_owned(),
                };
                let span = ["", r#","data":{"after":1}"#][self.one_of(2)];
                self.request(client, request, |id| verb(id, "$history", room, span));
            }
            9..=10 => self.retry(client),
            11 if keeps(room) => self.list_members(client, room),
            _ => self.publish(client, room),
        }
    }

    fn connect(&mut self, client: usize) {
        let node = self.one_of(NODES);
        if !self.nodes[node].stopped {
            self.connect_to(client, node);
        }
    }

    pub(crate) fn connect_to(&mut self, client: usize, node: usize) {
        let mut handshake = Handshake::new();
        if let Some(user) = self.clients[client].user {
            handshake = handshake.with_user(user);
        }
        let connected = self.nodes[node].apply(self.now, &Input::Connect(handshake));
        let Applied::Connected(Ok(conn)) = connected else {
            panic!("{connected:?}");
        };
        self.say(|| format!("{client} connects to {node} as {conn}"));
        let mut topics = self.nodes[node].app.hub().topics();
        let at = topics.find_map(|(topic, at)| at.filter(|_| *topic == Topic::All));
        let client_of = &mut self.clients[client];
        client_of.connected((node, conn), at, &self.broker.log);
        drop(topics);
        // It goes back to where it was.
        for (room, _) in ROOMS {
            if self.clients[client].known.contains_key(room) && self.chance(2) {
                self.join(client, room);
            }
        }
    }

    pub(crate) fn join(&mut self, client: usize, room: &str) {
        let known = self.clients[client].known.get(room).cloned();
        let is_in = self.clients[client].rooms.contains_key(room);
        let waits = self.clients[client].requests.values();
        let mut waits =
            waits.filter(|it| matches!(it, Request::Join { room: of, .. } if of == room));
        if waits.next().is_some() {
            return;
        }
        let since = known.filter(|_| !is_in && self.random.below(4) > 0);
        let conns = self.clients[client].conns.iter().rev().skip(1).take(16);
        let conns: Vec<_> = conns.map(|conn| format!("\"{conn}\"")).collect();
        let data = match &since {
            None => String::new(),
            Some(since) => format!(
                r#","data":{{"since":{{"epoch":"{}","offset":{},"conn":[{}]}}}}"#,
                since.epoch,
                since.offset,
                conns.join(",")
            ),
        };
        let room = room.to_owned();
        let request = Request::Join {
            room: room.clone(),
            since,
        };
        self.request(client, request, |id| verb(id, "$join", &room, &data));
    }

    pub(crate) fn list_members(&mut self, client: usize, room: &str) {
        let request = Request::Members {
            room: room.to_owned(),
        };
        self.request(client, request, |id| verb(id, "$members", room, ""));
    }

    fn publish(&mut self, client: usize, room: &'static str) {
        let message = self.new_message();
        let conn = *self.clients[client].conns.last().expect("it is connected");
        let (keyed, echo) = (
            self.chance(2),
            [None, Some(true), Some(false)][self.one_of(3)],
        );
        let key = keyed.then(|| format!("k{message}"));
        let echoes = echo.unwrap_or(room == "log");
        let text = format!(
            r#""event":"m","room":"{room}","data":{message}{}{}"#,
            echo.map_or(String::new(), |echo| format!(r#","echo":{echo}"#)),
            key.as_ref()
                .map_or(String::new(), |key| format!(r#","key":"{key}""#)),
        );
        self.truth.messages.insert(
            message,
            Message {
                publisher: Publisher::Client {
                    client,
                    conns: vec![conn],
                    echo: echoes,
                },
                key: key.map(|_| text.clone()),
                attempts: 1,
                acked: false,
                losses: self.broker.losses,
            },
        );
        self.figures.publishes += 1;
        self.request(client, Request::Publish { message }, |id| {
            format!(r#"{{{text},"id":{id}}}"#)
        });
    }

    /// Publishes something again that was not answered, or that failed.
    fn retry(&mut self, client: usize) {
        let waits: BTreeSet<u64> = {
            let requests = self.clients[client].requests.values();
            let messages = requests.filter_map(|request| match request {
                Request::Publish { message } => Some(*message),
                _ => None,
            });
            messages.collect()
        };
        let is_of = |message: &Message| {
            let of =
                matches!(&message.publisher, Publisher::Client { client: of, .. } if *of == client);
            of && message.key.is_some() && !message.acked && message.attempts < 4
        };
        let mut messages = self.truth.messages.iter_mut();
        let found = messages.find(|(id, message)| is_of(message) && !waits.contains(id));
        let Some((&id, message)) = found else {
            return;
        };
        let conn = *self.clients[client].conns.last().expect("it is connected");
        message.attempts += 1;
        let text = message.key.clone().expect("it has one");
        let Publisher::Client { conns, .. } = &mut message.publisher else {
            return;
        };
        let earlier: Vec<_> = conns.iter().map(|conn| format!("\"{conn}\"")).collect();
        if !conns.contains(&conn) {
            conns.push(conn);
        }
        let request = Request::Publish { message: id };
        self.request(client, request, |id| {
            format!(r#"{{{text},"conn":[{}],"id":{id}}}"#, earlier.join(","))
        });
    }

    fn new_message(&mut self) -> u64 {
        self.next_message += 1;
        self.next_message
    }

    fn request(&mut self, client: usize, request: Request, text: impl FnOnce(u64) -> String) {
        let (node, conn) = self.clients[client].link.expect("it is connected");
        let text = text(self.clients[client].request(request));
        self.say(|| format!("{client} at {node}: {text}"));
        self.nodes[node].apply(self.now, &Input::message(conn, Frame::Text(&text)));
        self.look(node);
    }

    pub(super) fn backend_sends(&mut self) {
        let (node, message) = (self.one_of(NODES), self.new_message());
        if self.nodes[node].stopped {
            return;
        }
        let (mut user, mut except_user, mut except_conn, mut rooms) =
            (None, None, None, Vec::new());
        let linked: Vec<ConnId> = self
            .clients
            .iter()
            .filter_map(|it| Some(it.link?.1))
            .collect();
        let mut audience = match self.one_of(5) {
            0 => Audience::all(),
            1 => {
                user = Some("ann");
                Audience::user("ann")
            }
            2 => {
                rooms = vec!["den", "plain"];
                Audience::rooms(rooms.clone())
            }
            _ => Audience::room(ROOMS[self.one_of(ROOMS.len())].0),
        };
        if self.chance(3) {
            except_user = Some("ben");
            audience = audience.except_user("ben");
        } else if self.chance(3) && !linked.is_empty() {
            let conn = linked[self.one_of(linked.len())];
            except_conn = Some(conn);
            audience = audience.except_conn(conn);
        }
        let key = self.chance(2).then(|| format!("b{message}"));
        let data = RawValue::from_string(message.to_string()).expect("a number");
        let input = Input::Send {
            key: key.as_deref().map(Cow::Borrowed),
            audience: Cow::Borrowed(&audience),
            event: "m".into(),
            path: None,
            data: Cow::Borrowed(&data),
        };
        self.say(|| format!("a backend sends {message} at {node} to {audience:?}"));
        self.truth.messages.insert(
            message,
            Message {
                publisher: Publisher::Backend {
                    user,
                    rooms,
                    except_user,
                    except_conn,
                },
                key: None,
                attempts: 1,
                acked: false,
                losses: self.broker.losses,
            },
        );
        self.figures.publishes += 1;
        match self.nodes[node].apply(self.now, &input) {
            Applied::Relayed(token) => self.sent.push((node, token, message)),
            Applied::Sent(Err(SendError::Unavailable)) => self.figures.unavailable += 1,
            applied => panic!("{applied:?}"),
        }
        self.look(node);
    }
}

fn verb(id: u64, verb: &str, room: &str, data: &str) -> String {
    format!(r#"{{"event":"{verb}","id":{id},"room":"{room}"{data}}}"#)
}
