//! Requests that the relay itself answers: positions, histories, withdrawals.

use std::sync::Arc;

use roomcast_core::{
    Hub,
    ask::{Answer, Ask, AskError, Asked, Gathered, Gathering, NodeAnswer},
    hub::RoomSummary,
    relay::{Topic, TopicPage, TopicPosition},
    room::Position,
};
use tokio::{sync::oneshot, time::timeout};

use super::Inquiry;
use crate::shared::relay::{NodesRequest, RelayRequest};

/// An answer of nodes, with the existing rooms in it.
pub(crate) type Detailed = (Gathered, Vec<(String, Position<'static>)>);

impl Inquiry {
    /// Asks for an answer of the HTTP API.
    pub(in crate::shard::ask) async fn ask_detailed(&self, ask: &Ask) -> Detailed {
        let mut gathered = self.ask(ask).await;
        let rooms = self.rooms(ask, &mut gathered).await;
        match rooms {
            Ok(rooms) => (gathered, rooms),
            Err(fault) => {
                gathered.answer = Err(fault);
                (gathered, Vec::new())
            }
        }
    }

    /// The existing rooms of an answer, each with its position.
    async fn rooms(
        &self,
        ask: &Ask,
        gathered: &mut Gathered,
    ) -> Result<Vec<(String, Position<'static>)>, AskError> {
        let is_there = match (ask, &mut gathered.answer) {
            (_, Err(AskError::Unavailable(_))) => false,
            (_, Ok(Answer::Rooms(rooms))) => {
                let names = rooms.iter().map(|room| room.name.clone()).collect();
                return self.positions(names).await;
            }
            (Ask::Join { room, .. }, Ok(_)) => {
                return self.positions(vec![room.clone()]).await;
            }
            (Ask::Room { room }, Ok(Answer::Room(found))) => {
                let found_one = self.positions(vec![room.clone()]).await?;
                // A room with a history exists without members too.
                if found.is_none() && found_one.iter().any(|(_, it)| it.offset > 0) {
                    *found = Some(RoomSummary::new(room.clone(), 0));
                }
                return Ok(found_one);
            }
            (Ask::History { .. }, Ok(Answer::History(page))) if page.offset > 0 => true,
            (Ask::Presence { .. }, Ok(Answer::Presence(page))) if page.conns > 0 => true,
            (Ask::History { room, .. } | Ask::Presence { room, .. }, _) => {
                let ask = Ask::Room { room: room.clone() };
                let found = self.gather(&ask).await.answer?;
                matches!(found, Answer::Room(Some(_)))
            }
            _ => false,
        };
        if let (true, Ask::History { room, .. } | Ask::Presence { room, .. }) = (is_there, ask) {
            return Ok(vec![(room.clone(), Position::new("", 0))]);
        }
        Ok(Vec::new())
    }

    /// Sends a request to the relay, and returns its answer; `None` without one in time.
    ///
    /// # Errors
    ///
    /// When too many requests wait.
    async fn told<T>(
        &self,
        request: impl FnOnce(Arc<str>, oneshot::Sender<T>) -> NodesRequest,
    ) -> Result<Option<T>, AskError> {
        let _place = self.relay.questions().place().ok_or_else(too_many)?;
        let (tell, told) = oneshot::channel();
        let request = request(self.name.clone(), tell);
        self.relay.send(RelayRequest::Nodes(request));
        let told = timeout(Gathering::WAIT, told).await;
        Ok(told.ok().and_then(Result::ok))
    }

    /// Reads the position or the history of a room.
    pub(super) async fn read(&self, ask: &Ask) -> Result<Answer, AskError> {
        let read = self.shard.found(&self.name).hub(|hub| ask.read(hub));
        let read = read.ok_or_else(unanswered)?;
        let page = self.told(|namespace, page| NodesRequest::Read {
            namespace,
            read,
            page,
        });
        let page = page.await?.flatten().ok_or_else(unanswered)?;
        let namespace = self.shard.found(&self.name);
        namespace.hub(|hub| ask.answer_read(hub, &page))
    }

    /// The positions of rooms; if the relay does not answer, those known to this node.
    async fn positions(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<(String, Position<'static>)>, AskError> {
        let rooms: Vec<Box<str>> = names.iter().map(|name| (**name).into()).collect();
        let found = self.told(|namespace, positions| NodesRequest::Positions {
            namespace,
            rooms,
            positions,
        });
        let found = found.await?.flatten();
        let mut found = found.unwrap_or_default().into_iter();
        let namespace = self.shard.found(&self.name);
        Ok(namespace.hub(|hub| {
            let position = |name: String| {
                let position = match found.next() {
                    Some(at) => relayed(hub, &name, at),
                    None => hub.position(&name).into_owned(),
                };
                (name, position)
            };
            names.into_iter().map(position).collect()
        }))
    }

    /// Rooms that the relay remembers without members, in the form of a node's answer to a request
    /// for rooms.
    pub(super) async fn remembered(&self, ask: &Ask) -> Option<NodeAnswer> {
        let Ask::Rooms {
            prefix,
            after,
            limit,
        } = ask
        else {
            return None;
        };
        let (prefix, after) = ((**prefix).into(), after.as_deref().map(Into::into));
        let rooms = self.told(|namespace, rooms| NodesRequest::Rooms {
            namespace,
            prefix,
            after,
            limit: *limit,
            rooms,
        });
        let rooms = if self.relay.is_up() {
            rooms.await.map(Option::flatten)
        } else {
            Ok(None)
        };
        let rooms = rooms.and_then(|rooms| rooms.ok_or_else(unanswered));
        let summary = |name: Box<str>| RoomSummary::new(name, 0);
        let rooms = rooms.map(|rooms| Answer::Rooms(rooms.into_iter().map(summary).collect()));
        Some(rooms.into())
    }

    /// Stores a withdrawal in the relay, for nodes that are away or start later.
    pub(super) async fn withdraw(
        &self,
        ask: &Ask,
        user: &str,
        not_before_s: u64,
    ) -> Result<(), AskError> {
        let now = self.shard.now();
        self.shard
            .found(&self.name)
            .hub(|hub| ask.check(now, hub))?;
        let users_max = self.shard.shared.settings.hub.withdrawn_users;
        let user = user.into();
        let done = self.told(|namespace, done| NodesRequest::Withdraw {
            namespace,
            user,
            not_before_s,
            users_max,
            done,
        });
        if done.await? == Some(true) {
            return Ok(());
        }
        let text = "the relay did not take the withdrawal: repeat it";
        Err(AskError::Unavailable(text.to_owned()))
    }
}

/// Converts a position of the relay to the hub's form, also for rooms that keep no messages.
fn relayed(hub: &Hub, room: &str, position: TopicPosition) -> Position<'static> {
    let page = TopicPage {
        topic: Topic::room(room),
        first: position.offset + 1,
        position,
        messages: Vec::new(),
    };
    hub.relayed_page(room, &page).0
}

pub(super) fn too_many() -> AskError {
    let text = "too many questions to other servers are under way: ask again";
    AskError::Unavailable(text.to_owned())
}

fn unanswered() -> AskError {
    AskError::Unavailable("the relay does not answer: ask again".to_owned())
}
