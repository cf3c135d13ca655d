//! The contribution of one node to an answer of several nodes.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

#[cfg(feature = "relay")]
use roomcast_core::ask::{BusMessage, Scope};
use roomcast_core::{
    ConnId,
    ask::{Answer, Ask, ConnectionDetails, NodeAnswer},
    queue::AtQueue,
};
#[cfg(feature = "relay")]
use tokio::task::spawn_local;

use crate::shard::{Link, Shard};
#[cfg(feature = "relay")]
use crate::shared::relay::{AnswerPermit, NodesRequest, RelayRequest};

/// Sockets of other shards whose queue sizes are to be requested.
type Distant = BTreeMap<usize, Vec<(usize, u32)>>;

impl Shard {
    /// Runs this node's part of a request, for a namespace whose home is this shard. It does not
    /// open the namespace. The answer includes the contents of queues.
    pub(super) async fn part(
        self: &Rc<Self>,
        name: &Arc<str>,
        ask: &Ask,
        detailed: bool,
    ) -> NodeAnswer {
        if let Ask::Join { conn, room, .. } = ask {
            self.wait_for_room(name, *conn, room).await;
        }
        let answer = {
            let mut found = self.found(name);
            found.queue_for(ask);
            ask.run(self.now(), &mut found)
        };
        let (connections, distant) = match &answer {
            Ok(answer) if detailed => self.details(name, answer),
            _ => Default::default(),
        };
        let mut part = NodeAnswer {
            answer,
            connections,
        };
        for (shard, sockets) in distant {
            let queued = move |shard: &Rc<Self>| -> Vec<(usize, usize)> {
                let queued = |key| shard.egress.socket(key).map_or(0, |it| it.queued_bytes());
                let sockets = sockets.into_iter();
                sockets.map(|(at, key)| (at, queued(key))).collect()
            };
            for (at, bytes) in self.on_shard(shard, queued).await.unwrap_or_default() {
                part.connections[at].queued_bytes = bytes;
            }
        }
        self.resolve(name, ask, &mut part).await;
        part
    }

    /// Details of the connections in an answer, and the sockets on other shards.
    fn details(&self, name: &Arc<str>, answer: &Answer) -> (Vec<ConnectionDetails>, Distant) {
        let (mut all, mut distant) = (Vec::new(), Distant::new());
        let Some(namespace) = self.namespace(name) else {
            return (all, distant);
        };
        for conn in conns(answer) {
            let rooms = namespace.ask(|hub| {
                let rooms = hub.rooms_of(conn).unwrap_or_default();
                rooms.into_iter().map(str::to_owned).collect()
            });
            let queued_bytes = match namespace.link(conn) {
                Some(Link::Local(socket)) => socket.queued_bytes(),
                Some(Link::Remote { shard, key }) => {
                    distant.entry(shard).or_default().push((all.len(), key));
                    0
                }
                None => 0,
            };
            all.push(ConnectionDetails {
                conn,
                rooms,
                queued_bytes,
            });
        }
        (all, distant)
    }

    /// Completes an explanation with the state of the connection's queue.
    async fn resolve(self: &Rc<Self>, name: &Arc<str>, ask: &Ask, part: &mut NodeAnswer) {
        let question = part.answer.as_ref().ok();
        let question = question.and_then(|answer| at_queue(ask, answer));
        let namespace = self.namespace(name);
        let way = question.and_then(|(conn, message)| Some((namespace?.link(conn)?, message)));
        let fate = match way {
            Some((Link::Local(socket), message)) => Some(socket.fate(&message)),
            Some((Link::Remote { shard, key }, message)) => {
                let fate = move |shard: &Rc<Self>| Some(shard.egress.socket(key)?.fate(&message));
                self.on_shard(shard, fate).await.flatten()
            }
            None => None,
        };
        if let (Ok(Answer::Explanation(explanation)), Some(fate)) = (&mut part.answer, fate) {
            explanation.resolve(fate);
        }
    }
}

/// The connections that an answer describes.
fn conns(answer: &Answer) -> Vec<ConnId> {
    if let Answer::Connections(found) = answer {
        return found.iter().map(|conn| conn.id).collect();
    }
    if let Answer::Connection(found) = answer {
        return found.iter().map(|conn| conn.id).collect();
    }
    Vec::new()
}

/// The connection whose queue is to be asked, and the message.
pub(super) fn at_queue(ask: &Ask, found: &Answer) -> Option<(ConnId, AtQueue)> {
    let (Ask::Explain { send, conn }, Answer::Explanation(explanation)) = (ask, found) else {
        return None;
    };
    Some((*conn, explanation.at_queue(send)?))
}

/// Questions of other nodes.
#[cfg(feature = "relay")]
impl Shard {
    /// Answers a question of another node, for a namespace whose home is this shard if it is open.
    pub(crate) fn answer_node(
        self: &Rc<Self>,
        namespace: Arc<str>,
        to: Arc<str>,
        body: &[u8],
        permit: AnswerPermit,
    ) {
        let Some(relay) = self.shared.relay.clone() else {
            return;
        };
        let asked = match BusMessage::read(body) {
            Some(BusMessage::Ask {
                number,
                ask,
                detailed,
            }) if !matches!(ask.scope(), Scope::Here | Scope::Relay) => (number, ask, detailed),
            _ => return relay.questions().count_foreign(),
        };
        let shard = self.clone();
        spawn_local(async move {
            let (number, ask, detailed) = asked;
            let answer = shard.part(&namespace, &ask, detailed).await;
            if let Ok(body) = (BusMessage::Answer { number, answer }).write() {
                relay.send(RelayRequest::Nodes(NodesRequest::Answer {
                    namespace,
                    to,
                    body: body.into(),
                }));
            }
            drop(permit);
        });
    }
}
