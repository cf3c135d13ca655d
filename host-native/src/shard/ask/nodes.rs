//! Requests to which other nodes or the relay contribute.

mod read;

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, sync::Arc};

use roomcast_core::ask::{
    Answer, Ask, AskError, BusMessage, Gathered, Gathering, NodeAnswer, Scope,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

pub(crate) use self::read::Detailed;
use crate::{
    shard::Shard,
    shared::relay::{NodesReply, NodesRequest, RelayLink, RelayRequest},
};

/// The number of entries in a page: this many fit in one message.
const PAGE: usize = 1_000;
/// The number in a page of detailed connections with their rooms, which are longer.
const PAGE_DETAILED: usize = 200;

/// The name for the relay. It stands for all other nodes if the relay does not list them.
const UNKNOWN: &str = "relay";

/// A request to all nodes, about a namespace whose home is this shard.
pub(super) struct Inquiry {
    shard: Rc<Shard>,
    relay: Arc<RelayLink>,
    name: Arc<str>,
    /// True when the answer is for the HTTP API, which has more details of connections and rooms.
    detailed: bool,
    /// Nodes that did not answer, and are not waited for again.
    missing: RefCell<BTreeSet<Box<str>>>,
}

impl Inquiry {
    /// An inquiry, if other nodes have a part of the answer.
    pub(super) fn new(
        shard: &Rc<Shard>,
        name: &Arc<str>,
        ask: &Ask,
        detailed: bool,
    ) -> Option<Self> {
        let relay = shard.shared.relay.as_ref()?;
        (ask.scope() != Scope::Here).then(|| Self {
            shard: shard.clone(),
            relay: relay.clone(),
            name: name.clone(),
            detailed,
            missing: RefCell::default(),
        })
    }

    /// Asks all nodes, page by page if there are many entries.
    pub(super) async fn ask(&self, ask: &Ask) -> Gathered {
        let mut ask = ask.clone();
        let Some(limit) = limit_of(&mut ask) else {
            return self.gather(&ask).await;
        };
        let page = if self.detailed { PAGE_DETAILED } else { PAGE };
        let mut left = std::mem::replace(limit, page.min(*limit));
        let mut whole = self.gather(&ask).await;
        while let Some(found) = whole.answer.as_ref().ok().map(|it| go_on(&mut ask, it)) {
            let entries = limit_of(&mut ask).map_or(0, |limit| *limit);
            left = left.saturating_sub(entries);
            if left == 0 || found == 0 || found % page > 0 {
                break;
            }
            if let Some(limit) = limit_of(&mut ask) {
                *limit = page.min(left);
            }
            let next = self.gather(&ask).await;
            if next
                .answer
                .as_ref()
                .is_ok_and(|it| go_on(&mut ask, it) == 0)
            {
                whole.missing = next.missing;
                break;
            }
            append(&mut whole, next);
        }
        whole
    }

    /// Asks for one page.
    async fn gather(&self, ask: &Ask) -> Gathered {
        if ask.scope() == Scope::Relay {
            return NodeAnswer::from(self.read(ask).await).into();
        }
        let mut stored = Ok(());
        if let Ask::Withdraw { user, not_before_s } = ask {
            stored = self.withdraw(ask, user, *not_before_s).await;
        }
        if matches!(stored, Err(AskError::Ahead)) {
            return NodeAnswer::from(stored.map(|()| Answer::Disconnected(0))).into();
        }
        let own = self.shard.part(&self.name, ask, self.detailed).await;
        if ask.is_answered_by(&own.answer) {
            let mut gathered = Gathered::from(own);
            // A list of users changes only by what the relay says.
            if ask.scope() == Scope::Member && !self.relay.is_up() {
                gathered.missing.push(UNKNOWN.into());
            }
            return gathered;
        }
        let remembered = self.remembered(ask).await;
        let mut gathered = self.ask_others(ask, own, remembered).await;
        if let Err(fault) = stored {
            gathered.answer = Err(fault);
        }
        gathered
    }

    /// Asks all nodes over the bus, until there are enough answers or the time has passed.
    async fn ask_others(
        &self,
        ask: &Ask,
        own: NodeAnswer,
        remembered: Option<NodeAnswer>,
    ) -> Gathered {
        let own = (own, remembered);
        let questions = self.relay.questions();
        let refused = |fault| NodeAnswer::from(Err(fault)).into();
        let Some((number, _place)) = questions.begin() else {
            return refused(read::too_many());
        };
        let message = BusMessage::Ask {
            number,
            ask: Box::new(ask.clone()),
            detailed: self.detailed,
        };
        let body = match message.write() {
            Ok(body) => body.into(),
            Err(fault) => return refused(fault),
        };
        let (tell, mut replies) = mpsc::unbounded_channel();
        let _forget = Forget(&self.relay, number);
        let namespace = self.name.clone();
        let request = NodesRequest::Ask {
            namespace,
            number,
            body,
            replies: tell,
        };
        if self.relay.is_up() {
            self.relay.send(RelayRequest::Nodes(request));
        } else {
            drop(request);
        }
        let deadline = Instant::now() + Gathering::WAIT;
        let mut gathering = None;
        let mut early = Vec::new();
        while let Ok(Some(reply)) = timeout_at(deadline, replies.recv()).await {
            match (reply, &mut gathering) {
                (NodesReply::Nodes(nodes), None) => {
                    let answers = std::mem::take(&mut early);
                    gathering = Some(self.gathering(ask, nodes, &own, answers));
                }
                (NodesReply::Nodes(_), Some(_)) => {}
                (NodesReply::Answer { from, body }, gathering) => {
                    match (BusMessage::read(&body), gathering) {
                        (Some(BusMessage::Answer { answer, .. }), Some(gathering)) => {
                            gathering.add(&from, answer);
                        }
                        (Some(BusMessage::Answer { answer, .. }), None) => {
                            early.push((from, answer));
                        }
                        _ => questions.count_foreign(),
                    }
                }
            }
            if gathering.as_ref().is_some_and(Gathering::is_done) {
                break;
            }
        }
        let gathering = gathering.unwrap_or_else(|| self.gathering(ask, None, &own, early));
        let mut gathered = gathering.end();
        let mut missing = self.missing.borrow_mut();
        missing.extend(gathered.missing.iter().cloned());
        questions.count_missing(gathered.missing.len());
        gathered.missing = missing.iter().cloned().collect();
        gathered
    }

    /// Collects the answers of `nodes`, starting with those that have arrived. Without an answer of
    /// the relay the nodes are unknown.
    fn gathering(
        &self,
        ask: &Ask,
        nodes: Option<Vec<Box<str>>>,
        (own, remembered): &(NodeAnswer, Option<NodeAnswer>),
        early: Vec<(Arc<str>, NodeAnswer)>,
    ) -> Gathering {
        let mut nodes = nodes.unwrap_or_else(|| {
            let known = early.iter().map(|(from, _)| (**from).into());
            known.chain([UNKNOWN.into()]).collect()
        });
        let missing = self.missing.borrow();
        nodes.retain(|node| !missing.contains(node));
        if remembered.is_some() && !missing.contains(UNKNOWN) {
            nodes.push(UNKNOWN.into());
        }
        let here = self.relay.node();
        nodes.push(here.into());
        let mut gathering = Gathering::new(ask.clone(), nodes);
        gathering.add(here, own.clone());
        if let Some(remembered) = remembered {
            gathering.add(UNKNOWN, remembered.clone());
        }
        for (from, answer) in early {
            gathering.add(&from, answer);
        }
        gathering
    }
}

/// Forgets a question when its caller is gone.
struct Forget<'a>(&'a RelayLink, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let number = self.1;
        let forget = NodesRequest::Forget { number };
        self.0.send(RelayRequest::Nodes(forget));
    }
}

fn limit_of(ask: &mut Ask) -> Option<&mut usize> {
    if let Ask::Rooms { limit, .. } | Ask::Connections { limit, .. } = ask {
        return Some(limit);
    }
    None
}

/// Advances a request past the entries of an answer, and returns their number.
fn go_on(ask: &mut Ask, answer: &Answer) -> usize {
    match (ask, answer) {
        (Ask::Rooms { after, .. }, Answer::Rooms(rooms)) => {
            *after = rooms.last().map(|room| room.name.clone());
            rooms.len()
        }
        (Ask::Connections { after, .. }, Answer::Connections(connections)) => {
            *after = connections.last().map(|conn| conn.id);
            connections.len()
        }
        _ => 0,
    }
}

/// Appends the next page.
fn append(whole: &mut Gathered, next: Gathered) {
    match (&mut whole.answer, next.answer) {
        (Ok(Answer::Rooms(rooms)), Ok(Answer::Rooms(more))) => rooms.extend(more),
        (Ok(Answer::Connections(connections)), Ok(Answer::Connections(more))) => {
            connections.extend(more);
        }
        (answer, next) => *answer = next,
    }
    whole.connections.extend(next.connections);
    whole.missing = next.missing;
}
