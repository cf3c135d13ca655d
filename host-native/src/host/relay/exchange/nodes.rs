//! Questions between nodes, and what is asked of the relay itself.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;
use roomcast_core::{
    ask::{AskError, BusHead, BusMessage},
    relay::{RelayEvent, TopicPage, TopicPosition},
};
use roomcast_relay::{Address, Destination, Relay, RelayError, Withdrawn};
use tokio::time::sleep;

use super::{Answer, Exchange, PAUSE, answer, call};
use crate::{
    shard::{Mail, home_of},
    shared::relay::{NodesReply, NodesRequest},
};

impl Exchange {
    pub(super) fn take_nodes_request(&mut self, request: NodesRequest) {
        let relay = self.relay.clone();
        match request {
            NodesRequest::Ask {
                namespace,
                number,
                body,
                replies,
            } => {
                self.questions.insert(number, replies.clone());
                self.call(async move {
                    let _ = replies.send(ask(&*relay, namespace, body).await); // who asked may be gone
                });
            }
            NodesRequest::Forget { number } => {
                self.questions.remove(&number);
            }
            NodesRequest::Answer {
                namespace,
                to,
                body,
            } => self.call(async move {
                let node = to;
                let to = Destination::Node { namespace, node };
                // Without it the node that asked says so.
                let _ = relay.send(&to, body).await;
            }),
            NodesRequest::Read {
                namespace,
                read,
                page,
            } => self.call(async move {
                let event = call::read(&*relay, &namespace, read).await;
                let _ = page.send(page_of(event)); // who asked may be gone
            }),
            NodesRequest::Positions {
                namespace,
                rooms,
                positions,
            } => self.call(async move {
                let rooms = rooms.iter();
                let rooms = rooms.map(|room| Address::room(namespace.clone(), &**room));
                let rooms: Vec<_> = rooms.collect();
                let found = relay.positions(&rooms).await.ok();
                let found = found.map(|found| {
                    let found = found.iter();
                    let position = found.map(|it| TopicPosition::new(&*it.epoch, it.offset));
                    position.collect()
                });
                let _ = positions.send(found); // who asked may be gone
            }),
            NodesRequest::Withdraw {
                namespace,
                user,
                not_before_s,
                users_max,
                done,
            } => self.call(async move {
                let withdrawn = Withdrawn {
                    users: vec![(user, not_before_s)],
                    everyone_s: 0,
                };
                let taken = withdraw(&*relay, &namespace, &withdrawn, users_max).await;
                let _ = done.send(taken); // who asked may be gone
            }),
            NodesRequest::Withdrawn {
                namespace,
                instance,
                users,
                everyone_s,
                users_max,
            } => {
                let own = Withdrawn { users, everyone_s };
                self.read_withdrawn(namespace, instance, own, users_max);
            }
        }
    }

    /// Does something without an answer for a namespace.
    fn call(&mut self, call: impl Future<Output = ()> + 'static) {
        self.calls.push(async move {
            call.await;
            None
        });
    }

    /// Tells the relay who is withdrawn here, as its data may be older, and a namespace who is
    /// withdrawn anywhere. It is repeated until the relay is lost: then all is read anew.
    fn read_withdrawn(
        &mut self,
        namespace: Arc<str>,
        instance: u64,
        own: Withdrawn,
        users_max: usize,
    ) {
        let (relay, link) = (self.relay.clone(), self.link.clone());
        let generation = link.generation();
        let users_max = u32::try_from(users_max).unwrap_or(u32::MAX);
        self.calls.push(async move {
            loop {
                match exchange_withdrawn(&*relay, &namespace, &own, users_max).await {
                    Ok(found) => return told(namespace, instance, found),
                    Err(_) if link.generation() != generation => return None,
                    Err(fault) => {
                        tracing::debug!(%fault, %namespace, "the relay did not say who is withdrawn");
                        sleep(PAUSE).await;
                    }
                }
            }
        });
    }

    /// Takes a message of a node: an answer that somebody waits for, or a question.
    pub(super) fn take_bus(&mut self, namespace: Arc<str>, from: Arc<str>, body: Bytes) {
        match BusMessage::head(&body) {
            None => self.link.questions().count_foreign(),
            Some(BusHead::Answer(number)) => {
                if let Some(replies) = self.questions.get(&number) {
                    let _ = replies.send(NodesReply::Answer { from, body }); // who asked may be gone
                }
            }
            Some(BusHead::Ask(_)) if *from == *self.link.node() => {}
            Some(BusHead::Ask(number)) => {
                let Some(permit) = self.link.questions().answer() else {
                    return self.refuse(namespace, from, number);
                };
                let shard = home_of(&namespace, self.posts.len());
                let task =
                    Mail::task(move |shard| shard.answer_node(namespace, from, &body, permit));
                self.outgoing[shard].push(task);
            }
        }
    }

    /// Answers a question that is one too many.
    fn refuse(&mut self, namespace: Arc<str>, to: Arc<str>, number: u64) {
        let text = "too many questions of other servers are under way: ask again";
        let answer = Err(AskError::Unavailable(text.to_owned())).into();
        if let Ok(body) = (BusMessage::Answer { number, answer }).write() {
            let body = body.into();
            self.take_nodes_request(NodesRequest::Answer {
                namespace,
                to,
                body,
            });
        }
    }
}

fn page_of(event: RelayEvent) -> Option<TopicPage> {
    if let RelayEvent::Page { page, .. } = event {
        return Some(page);
    }
    None
}

/// Asks all nodes something, and says which there are.
async fn ask(relay: &impl Relay, namespace: Arc<str>, body: Bytes) -> NodesReply {
    let to = Destination::Nodes(namespace);
    let (sent, nodes) = join(relay.send(&to, body), relay.nodes()).await;
    let nodes = sent.and(nodes).ok().map(|nodes| {
        let alive = nodes.iter().filter(|node| node.lease_ms > 0);
        alive.map(|node| node.id().into()).collect()
    });
    NodesReply::Nodes(nodes)
}

/// Tells the relay who is withdrawn; true when it has taken that.
async fn withdraw(
    relay: &impl Relay,
    namespace: &str,
    withdrawn: &Withdrawn,
    users_max: usize,
) -> bool {
    let users_max = u32::try_from(users_max).unwrap_or(u32::MAX);
    let taken = relay.withdraw(namespace, withdrawn, users_max).await;
    if let Err(fault) = &taken {
        tracing::warn!(%fault, %namespace, "the relay did not take a withdrawal");
    }
    taken.is_ok()
}

async fn exchange_withdrawn(
    relay: &impl Relay,
    namespace: &str,
    own: &Withdrawn,
    users_max: u32,
) -> Result<Withdrawn, RelayError> {
    if !own.is_empty() {
        relay.withdraw(namespace, own, users_max).await?;
    }
    relay.withdrawn(namespace).await
}

fn told(namespace: Arc<str>, instance: u64, found: Withdrawn) -> Option<Answer> {
    let event = RelayEvent::Withdrawn {
        users: found.users,
        everyone_s: found.everyone_s,
    };
    answer(namespace, instance, event)
}
