//! Ops as calls of the hub, and their results as answers of the HTTP API.

#![allow(clippy::wildcard_enum_match_arm)] // any other result is unexpected

use std::borrow::Cow;

use roomcast_core::{
    Applied, CloseCode, Command, ConnId, Delivery, DisconnectReason, Event, Frame, Gateway,
    Handshake, Hub, Input, JoinError, Rejection, RoomName, SendError, Timestamp, UnixTime,
    ask::{self, Ask, AskError, Asked},
    gateway::{Admission, ConnectError, NowOrLater, UpgradeRequest},
    wire::{Coded, ErrorCode},
};
use serde_json::value::RawValue;

use super::{Core, handshake, unexpected, upgrades::Late, upgrades::Upgrade};
use crate::{Actor, Answer, Op, To, driver::DriverError, op::json_string};

/// A namespace that answers an [`Ask`].
struct AskedNamespace<'a, G> {
    core: &'a mut Core<G>,
    namespace: &'a str,
    /// The fault of an input, which an answer cannot hold.
    broken: &'a mut Option<DriverError>,
}

impl<G: Gateway> Asked for AskedNamespace<'_, G> {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.core.hub(self.namespace).expect("it is open"))
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        let called = self.core.call(self.namespace, input.clone());
        called.unwrap_or_else(|fault| {
            *self.broken = Some(fault);
            Applied::Done
        })
    }
}

impl<G: Gateway> Core<G> {
    pub(super) fn dispatch(&mut self, op: &Op) -> Result<Answer, DriverError> {
        match op {
            Op::Connect {
                actor,
                user,
                query,
                headers,
                welcome,
                ..
            } => {
                let handshake = handshake(user.as_deref(), *welcome);
                // A user in the op stands for a user that a proxy has named.
                let handshake = handshake.with_unidentified(self.tokens && user.is_none());
                let query = query.as_deref().unwrap_or_default();
                let headers = headers.iter();
                let headers: Vec<_> = headers.map(|(name, value)| (&**name, &**value)).collect();
                let request = UpgradeRequest::new("", query).with_headers(&headers);
                return self.connect(actor, op.namespace(), request, handshake);
            }
            Op::Join { actor, .. }
            | Op::Leave { actor, .. }
            | Op::Rooms { actor }
            | Op::Publish { actor, .. } => {
                self.receive(actor, Frame::Text(&op.text().unwrap_or_default()))?;
            }
            Op::Text { actor, text, times } => {
                for _ in 0..*times {
                    self.receive(actor, Frame::Text(text))?;
                }
            }
            Op::Binary { actor, bytes } => self.receive(actor, Frame::Binary(bytes))?,
            Op::Pong { actor } => {
                if let Some((namespace, id)) = self.live_conn(actor) {
                    self.call(&namespace, Input::Activity(id))?;
                }
            }
            Op::Disconnect { actor } => {
                self.disconnect(actor, DisconnectReason::Client(Some(CloseCode::NORMAL)))?;
            }
            Op::Vanish { actor } => self.disconnect(actor, DisconnectReason::Lost)?,
            Op::Send {
                key,
                to,
                event,
                path,
                data,
                ..
            } => {
                let namespace = op.namespace();
                let event = Event::new(event).with_path(path.as_deref());
                return self.send(namespace, key.as_deref(), to, event, data);
            }
            Op::ServerJoin { actor, room } => return self.server_join(actor, room),
            Op::ServerLeave { actor, room } => return self.server_leave(actor, room),
            Op::Close {
                actor,
                code,
                reason,
            } => {
                let Some(code) = CloseCode::new(*code) else {
                    return Ok(Answer::refused(400));
                };
                let Some((namespace, conn)) = self.conns.get(actor).cloned() else {
                    return Ok(Answer::refused(404));
                };
                let closed = self.call(&namespace, Input::close(conn, code, &**reason))?;
                return Ok(match closed {
                    Applied::Done => Answer::ok(r#"{"disconnected":1}"#),
                    _ => Answer::refused(404),
                });
            }
            Op::Authenticate { actor, claim } => self.authenticate(actor, claim)?,
            Op::Withdraw { user } => return self.withdraw(op.namespace(), user),
            Op::ListRooms { .. } => return Ok(self.list_rooms(op.namespace())),
            Op::ListConnections { .. } => return Ok(self.list_connections(op.namespace())),
            Op::Stall { actor } => {
                if self.is_live(actor) {
                    self.streams.stall(actor);
                }
            }
            Op::Read { actor, bytes } => {
                for event in self.streams.read(actor, *bytes) {
                    self.tell(actor, event);
                }
            }
            Op::Crash => self.crash()?,
            Op::Wait { millis } => self.wait(*millis)?,
        }
        Ok(Answer::none())
    }

    fn connect(
        &mut self,
        actor: &Actor,
        namespace: &str,
        request: UpgradeRequest<'_>,
        handshake: Handshake,
    ) -> Result<Answer, DriverError> {
        if self.is_live(actor) || self.is_connecting(actor) {
            return Ok(Answer::none());
        }
        // The times of hubs are those of the wall clock here.
        let asked = UnixTime::from_millis(self.now.as_millis());
        match self.upgrade(namespace, request) {
            NowOrLater::Now(said) => self.admitted(actor, namespace, said, (handshake, asked)),
            NowOrLater::Later(saying) => {
                self.upgrades.push(Upgrade {
                    actor: actor.clone(),
                    namespace: namespace.into(),
                    handshake: (handshake, asked),
                    saying,
                    deadline: self.now + self.limits.admission_timeout,
                });
                self.upgrade_on()?;
                // If the answer is there already, the request counts as one that did not wait.
                let at = self.late.iter().position(|late| late.actor == *actor);
                let Some(late) = at.map(|at| self.late.remove(at)) else {
                    return Ok(Answer::none());
                };
                self.refusal = late.reason;
                Ok(late.answer)
            }
        }
    }

    /// Connects an actor if the application, which was asked at `asked`, admits it.
    pub(super) fn admitted(
        &mut self,
        actor: &Actor,
        namespace: &str,
        said: Result<Admission, Rejection>,
        (handshake, asked): (Handshake, UnixTime),
    ) -> Result<Answer, DriverError> {
        let handshake = match said {
            Ok(admission) => admission.handshake(handshake, asked),
            Err(rejection) => return Ok(self.refused(rejection)),
        };
        let (applied, out) = self.begin(namespace, Input::Connect(handshake));
        let Applied::Connected(connected) = applied else {
            return Err(unexpected(&applied));
        };
        let id = match connected {
            Ok(id) => id,
            Err(fault) => {
                // Carries out what the application sent to others before it refused.
                self.finish(namespace, &out)?;
                return Ok(match fault {
                    ConnectError::Rejected(rejection) => self.refused(rejection),
                    ConnectError::Hub(refusal) if refusal.code() != ErrorCode::Overloaded => {
                        self.refused(Rejection::unauthorized(refusal.to_string()))
                    }
                    fault => {
                        self.refusal = Some(fault.to_string());
                        Answer::refused(503)
                    }
                });
            }
        };
        self.streams.drop(actor);
        // The commands name the connection, so it must be known before they are carried out.
        self.conns.insert(actor.clone(), (namespace.into(), id));
        self.live.insert((namespace.into(), id), actor.clone());
        self.finish(namespace, &out)?;
        Ok(Answer::none())
    }

    /// The answer to a client that the application refuses. The reason is kept for
    /// [`refusal`](Self::refusal).
    fn refused(&mut self, rejection: Rejection) -> Answer {
        let (code, reason) = (rejection.code(), rejection.reason());
        let cause = rejection.cause().map(|cause| format!(" ({cause})"));
        let cause = cause.unwrap_or_default();
        self.refusal = Some(format!("{code}: {reason}{cause}"));
        Answer::refused(rejection.status())
    }

    /// Asks the application, as a host does before it opens a WebSocket.
    fn upgrade(
        &self,
        namespace: &str,
        request: UpgradeRequest<'_>,
    ) -> NowOrLater<Result<Admission, Rejection>> {
        let path = match namespace {
            "default" => "/ws".to_owned(),
            other => format!("/ws/{other}"),
        };
        let mut addressed = UpgradeRequest::new(&path, request.query);
        addressed.headers = request.headers;
        match self.apps.get(namespace) {
            Some(app) => app.upgrade(&addressed),
            None => (self.gateways)(namespace).upgrade(&addressed),
        }
    }

    /// Asks a namespace, as code without a connection does.
    pub(crate) fn ask(
        &mut self,
        namespace: &str,
        ask: &Ask,
    ) -> Result<Result<ask::Answer, AskError>, DriverError> {
        self.open(namespace);
        let hub = self.hub(namespace);
        if let Some(room) = ask.reads()
            && hub.is_some_and(|hub| hub.is_away(room))
        {
            self.carry_out(namespace, &Command::LoadHistory { room })?;
        }
        let (now, mut broken) = (self.now, None);
        let core = self;
        let answer = ask.run(
            now,
            &mut AskedNamespace {
                core,
                namespace,
                broken: &mut broken,
            },
        );
        broken.map_or(Ok(answer), Err)
    }

    pub(super) fn live_conn(&self, actor: &Actor) -> Option<(Box<str>, ConnId)> {
        let conn = self.conns.get(actor)?;
        self.live.contains_key(conn).then(|| conn.clone())
    }

    fn receive(&mut self, actor: &Actor, frame: Frame<'_>) -> Result<(), DriverError> {
        let Some((namespace, conn)) = self.live_conn(actor) else {
            return Ok(());
        };
        match self.call(&namespace, Input::message(conn, frame))? {
            Applied::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn disconnect(&mut self, actor: &Actor, reason: DisconnectReason) -> Result<(), DriverError> {
        self.upgrades.cancel(actor);
        self.streams.drop(actor);
        let Some((namespace, conn)) = self.live_conn(actor) else {
            return Ok(());
        };
        self.live.remove(&(namespace.clone(), conn));
        self.persisted.remove(&(namespace.clone(), conn));
        let input = Input::Disconnect { conn, reason };
        match self.call(&namespace, input)? {
            Applied::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn send(
        &mut self,
        namespace: &str,
        key: Option<&str>,
        to: &To,
        event: Event<'_>,
        data: &str,
    ) -> Result<Answer, DriverError> {
        let audience = to.audience(|actor| {
            let (home, id) = self.conns.get(actor)?;
            (**home == *namespace).then_some(*id)
        });
        let Ok(data) = RawValue::from_string(data.into()) else {
            return Ok(Answer::refused(400));
        };
        let input = Input::Send {
            key: key.map(Into::into),
            audience: Cow::Borrowed(&audience),
            event: event.name().into(),
            path: event.path().map(Into::into),
            data: Cow::Owned(data),
        };
        let applied = self.call(namespace, input)?;
        let Applied::Sent(delivery) = applied else {
            return Err(unexpected(&applied));
        };
        if let Some(key) = key {
            self.persist_key(namespace, key);
        }
        Ok(match delivery {
            Ok(Delivery {
                matched,
                queued,
                dropped,
                offset,
            }) => {
                let offset =
                    offset.map_or(String::new(), |offset| format!(r#","offset":{offset}"#));
                Answer::ok(format!(
                    r#"{{"matched":{matched},"queued":{queued},"dropped":{dropped}{offset}}}"#
                ))
            }
            Err(SendError::KeyReused) => Answer::refused(422),
            Err(_) => Answer::refused(400),
        })
    }

    fn server_join(&mut self, actor: &Actor, room: &str) -> Result<Answer, DriverError> {
        let Some((namespace, conn)) = self.conns.get(actor).cloned() else {
            // The name of the room is checked before the connection.
            let named = RoomName::check(room, self.limits.room_name_bytes);
            return Ok(Answer::refused(if named.is_ok() { 404 } else { 400 }));
        };
        let input = Input::Join {
            conn,
            room: room.into(),
            meta: None,
        };
        Ok(match self.call(&namespace, input)? {
            Applied::Joined(Ok(already)) => {
                let position = self.hub(&namespace).map(|hub| hub.position(room));
                let position = position.ok_or_else(|| unexpected(&Applied::Done))?;
                let (epoch, offset) = (json_string(&position.epoch), position.offset);
                Answer::ok(format!(
                    r#"{{"epoch":{epoch},"offset":{offset},"already":{already}}}"#
                ))
            }
            Applied::Joined(Err(JoinError::UnknownConn(_))) => Answer::refused(404),
            Applied::Joined(Err(JoinError::RoomLimit { .. } | JoinError::MemberLimit { .. })) => {
                Answer::refused(409)
            }
            _ => Answer::refused(400),
        })
    }

    fn server_leave(&mut self, actor: &Actor, room: &str) -> Result<Answer, DriverError> {
        let Some((namespace, conn)) = self.conns.get(actor).cloned() else {
            return Ok(Answer::refused(404));
        };
        let input = Input::Leave {
            conn,
            room: room.into(),
        };
        Ok(match self.call(&namespace, input)? {
            Applied::Left(was) => Answer::ok(format!(r#"{{"was":{was}}}"#)),
            _ => Answer::refused(404),
        })
    }

    fn list_rooms(&self, namespace: &str) -> Answer {
        let mut rooms = Vec::new();
        if let Some(hub) = self.hub(namespace) {
            for room in hub.rooms("", None) {
                let (name, members) = (json_string(room.name), room.members);
                let position = hub.position(room.name);
                let (epoch, offset) = (json_string(&position.epoch), position.offset);
                rooms.push(format!(
                    r#"{{"room":{name},"members":{members},"epoch":{epoch},"offset":{offset}}}"#
                ));
            }
        }
        Answer::ok(format!(r#"{{"rooms":[{}]}}"#, rooms.join(",")))
    }

    fn list_connections(&self, namespace: &str) -> Answer {
        let mut conns = Vec::new();
        if let Some(hub) = self.hub(namespace) {
            let mut infos: Vec<_> = hub.connections().collect();
            infos.sort_by_key(|info| info.id);
            for info in infos {
                let user = json_string(info.user.unwrap_or_default());
                let rooms = hub.rooms_of(info.id).unwrap_or_default();
                let rooms: Vec<_> = rooms.into_iter().map(json_string).collect();
                let (id, rooms, since) = (info.id, rooms.join(","), info.since.as_millis());
                conns.push(format!(
                    r#"{{"conn":"{id}","user":{user},"rooms":[{rooms}],"since_ms":{since},"queued_bytes":0}}"#
                ));
            }
        }
        Answer::ok(format!(r#"{{"connections":[{}]}}"#, conns.join(",")))
    }

    /// Lets time pass from one deadline to the next, as a host does.
    fn wait(&mut self, millis: u64) -> Result<(), DriverError> {
        let target = self.now + std::time::Duration::from_millis(millis);
        self.give_upgrades_up(target)?;
        loop {
            let timeouts = self.apps.iter();
            let timeouts = timeouts.filter_map(|(name, app)| Some((app.next_timeout()?, name)));
            match timeouts.min() {
                Some((due, namespace)) if due <= target => {
                    let namespace = namespace.clone();
                    self.now = self.now.max(due);
                    self.call(&namespace, Input::Timeout)?;
                }
                _ => break,
            }
        }
        self.now = target;
        Ok(())
    }
}

/// Methods for upgrade requests that wait.
impl<G: Gateway> Core<G> {
    /// True when an upgrade request of the actor is pending.
    pub(crate) fn is_connecting(&self, actor: &Actor) -> bool {
        self.upgrades.has(actor)
    }

    /// Polls the pending upgrade requests, as far as they get.
    pub(super) fn upgrade_on(&mut self) -> Result<(), DriverError> {
        while let Some((upgrade, said)) = self.upgrades.take_done() {
            self.decided(upgrade, said)?;
        }
        Ok(())
    }

    /// Refuses the pending upgrade requests that have timed out.
    fn give_upgrades_up(&mut self, now: Timestamp) -> Result<(), DriverError> {
        while let Some(upgrade) = self.upgrades.take_late(now) {
            self.decided(upgrade, Err(Rejection::undecided()))?;
        }
        Ok(())
    }

    fn decided(
        &mut self,
        upgrade: Upgrade,
        said: Result<Admission, Rejection>,
    ) -> Result<(), DriverError> {
        let Upgrade {
            actor,
            namespace,
            handshake,
            ..
        } = upgrade;
        let answer = self.admitted(&actor, &namespace, said, handshake)?;
        let reason = self.refusal.take();
        self.late.push(Late {
            actor,
            namespace,
            answer,
            reason,
        });
        Ok(())
    }

    /// Takes the answers to upgrade requests that have waited, since the last call.
    pub(crate) fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }
}
