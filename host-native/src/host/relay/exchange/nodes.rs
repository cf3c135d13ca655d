//! Questions between nodes, and requests to the relay itself.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;
use roomcast_core::{
    ask::{Ask, AskError, BusHead, BusMessage},
    relay::{Read, RelayEvent, TopicPage, TopicPosition},
};
use roomcast_relay::{Address, Destination, Relay, RelayError, RoomList, Withdrawn};
use tokio::{sync::oneshot, time::sleep};

use super::{Answer, Exchange, PAUSE, answer, call};
use crate::{
    shard::{Mail, home_of},
    shared::relay::{AnswerPermit, NodesReply, NodesRequest, Questions},
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
                    let _ = replies.send(ask(&*relay, namespace, body).await); // the caller may be gone
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
                // Without an answer, the asking node reports this one as missing.
                let _ = relay.send(&to, body).await;
            }),
            NodesRequest::Read {
                namespace,
                read,
                page,
            } => self.read_for(namespace, read, page),
            NodesRequest::Positions {
                namespace,
                rooms,
                positions,
            } => self.call(async move {
                let found = positions_of(&*relay, &namespace, &rooms).await;
                let _ = positions.send(found); // the caller may be gone
            }),
            NodesRequest::Rooms {
                namespace,
                prefix,
                after,
                limit,
                rooms,
            } => {
                let list = RoomList::new(namespace, prefix, after, limit);
                self.call(async move {
                    let _ = rooms.send(relay.rooms(&list).await.ok()); // the caller may be gone
                });
            }
            NodesRequest::Withdraw {
                namespace,
                user,
                not_before_s,
                users_max,
                done,
            } => self.call(async move {
                let withdrawn = Withdrawn::one(user, not_before_s);
                let taken = withdraw(&*relay, &namespace, &withdrawn, users_max).await;
                let _ = done.send(taken); // the caller may be gone
            }),
            NodesRequest::Withdrawn {
                namespace,
                instance,
                users,
                everyone_s,
                users_max,
            } => {
                self.read_withdrawn(
                    namespace,
                    instance,
                    Withdrawn { users, everyone_s },
                    users_max,
                );
            }
        }
    }

    /// Reads messages of a room, for a caller who may be gone before or after the read.
    fn read_for(
        &mut self,
        namespace: Arc<str>,
        read: Read,
        page: oneshot::Sender<Option<TopicPage>>,
    ) {
        let relay = self.relay.clone();
        self.queues.reads.push(async move {
            if !page.is_closed() {
                let event = call::read(&*relay, &namespace, read).await;
                let _ = page.send(page_of(event));
            }
            None
        });
    }

    /// Queues a call that produces no answer for a namespace.
    fn call(&mut self, call: impl Future<Output = ()> + 'static) {
        self.queues.calls.push(async move {
            call.await;
            None
        });
    }

    /// Sends the relay the withdrawals of this node, as its data may be older, and sends the
    /// namespace all withdrawals. Retries until the relay is lost: after that, everything is read
    /// again.
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
        self.queues.calls.push(async move {
            loop {
                match exchange_withdrawn(&*relay, &namespace, &own, users_max).await {
                    Ok(found) => return Some(told(namespace, instance, found)),
                    Err(_) if link.generation() != generation => return None,
                    Err(fault) => {
                        tracing::debug!(%fault, %namespace, "the relay did not say who is withdrawn");
                        sleep(PAUSE).await;
                    }
                }
            }
        });
    }

    /// Handles a message of another node: an expected answer, or a question.
    pub(super) fn take_bus(&mut self, namespace: Arc<str>, from: Arc<str>, body: Bytes) {
        match BusMessage::head(&body) {
            None => self.link.questions().count_foreign(),
            Some(BusHead::Answer(number)) => {
                if let Some(replies) = self.questions.get(&number) {
                    let _ = replies.send(NodesReply::Answer { from, body }); // the caller may be gone
                }
            }
            Some(BusHead::Ask(_)) if *from == *self.link.node() => {}
            Some(BusHead::Ask(number)) => {
                let Some(permit) = place(self.link.questions(), &body) else {
                    return self.refuse(namespace, from, number);
                };
                let shard = home_of(&namespace, self.posts.len());
                let task =
                    Mail::task(move |shard| shard.answer_node(namespace, from, &body, permit));
                self.outgoing[shard].push(task);
            }
        }
    }

    /// Refuses a question above the limit.
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

/// The permit to answer a question of another node. A withdrawal always gets one, since the asking
/// node promises that it reaches every node. Their number is bounded by the permits of the asking
/// nodes.
fn place(questions: &Questions, body: &Bytes) -> Option<AnswerPermit> {
    questions.answer().or_else(|| {
        let message = BusMessage::read(body);
        let is_withdrawal = matches!(
            message,
            Some(BusMessage::Ask { ask, .. }) if matches!(*ask, Ask::Withdraw { .. })
        );
        is_withdrawal.then(AnswerPermit::extra)
    })
}

fn page_of(event: RelayEvent) -> Option<TopicPage> {
    if let RelayEvent::Page { page, .. } = event {
        return Some(page);
    }
    None
}

/// Sends a question to all nodes, and returns the list of nodes.
async fn ask(relay: &impl Relay, namespace: Arc<str>, body: Bytes) -> NodesReply {
    let to = Destination::Nodes(namespace);
    let (sent, nodes) = join(relay.send(&to, body), relay.nodes()).await;
    let nodes = sent.and(nodes).ok().map(|nodes| {
        // The list includes nodes with an expired lease, until another node takes it away: after an
        // outage of the relay such a node may live and not be back yet.
        nodes.iter().map(|node| node.id().into()).collect()
    });
    NodesReply::Nodes(nodes)
}

/// Sends a withdrawal to the relay; true when it was accepted.
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

fn told(namespace: Arc<str>, instance: u64, found: Withdrawn) -> Answer {
    let event = RelayEvent::Withdrawn {
        users: found.users,
        everyone_s: found.everyone_s,
    };
    answer(namespace, instance, event)
}

/// The positions of rooms; `None` if the relay does not answer.
async fn positions_of(
    relay: &impl Relay,
    namespace: &Arc<str>,
    rooms: &[Box<str>],
) -> Option<Vec<TopicPosition>> {
    let rooms = rooms.iter();
    let rooms = rooms.map(|room| Address::room(namespace.clone(), &**room));
    let rooms: Vec<_> = rooms.collect();
    let found = relay.positions(&rooms).await.ok()?;
    let found = found.iter();
    let position = found.map(|it| TopicPosition::new(&*it.epoch, it.offset));
    Some(position.collect())
}

#[cfg(test)]
mod tests {
    use roomcast_relay::MemoryBroker;

    use super::*;

    #[tokio::test]
    async fn a_node_that_is_not_back_after_an_outage_is_one_of_those_that_are_asked() {
        let broker = MemoryBroker::new();
        let ((one, _events), (other, _others)) = (broker.join(), broker.join());
        broker.lose(&other.node());
        let reply = ask(&one, "ns".into(), Bytes::new()).await;
        let NodesReply::Nodes(Some(nodes)) = reply else {
            panic!("{reply:?}");
        };
        let all = [one.node(), other.node()].map(|node| Box::<str>::from(&*node));
        assert_eq!(nodes, all);
    }

    #[test]
    fn a_withdrawal_is_taken_however_many_questions_there_are() {
        let body = |ask| {
            let message = BusMessage::Ask {
                number: 1,
                ask: Box::new(ask),
                detailed: false,
            };
            Bytes::from(message.write().expect("it is short"))
        };
        let questions = Questions::default();
        let counts = body(Ask::Counts);
        let taken: Vec<_> = std::iter::from_fn(|| place(&questions, &counts)).collect();
        let user = "ann".to_owned();
        let withdrawal = body(Ask::Withdraw {
            user,
            not_before_s: 1,
        });
        assert!(place(&questions, &withdrawal).is_some());
        assert!(place(&questions, &counts).is_none());
        drop(taken);
        assert!(place(&questions, &counts).is_some());
    }
}
