//! A node as the broker in memory sees it.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use tokio::sync::watch;

use crate::{
    counters::Counters,
    event::{Event, Loss},
    position::Address,
    relay::State,
    ring::{Events, Ring},
};

/// Events that may wait for a node.
const EVENTS_MAX: usize = 65_536;

/// A fault of the broker towards one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Trouble {
    /// The next publish is carried out, and its answer is lost.
    AnswerLost,
    /// The next publish is lost, and so is its answer.
    PublishLost,
    /// The next publish is refused.
    Refusal,
    /// Nothing is pushed any more, and the loss is not reported: a dead subscription.
    Deaf,
    /// Each event is pushed twice.
    Twice,
}

#[derive(Debug)]
pub(super) struct NodeState {
    ring: Arc<Ring>,
    pub(super) state: watch::Sender<State>,
    pub(super) counters: Arc<Counters>,
    pub(super) rooms: BTreeSet<Address>,
    pub(super) troubles: BTreeSet<Trouble>,
    pub(super) incarnation: Arc<str>,
    registrations: u64,
    pub(super) is_fenced: bool,
}

impl NodeState {
    /// A node that is connected.
    pub(super) fn new(node: &str) -> (Self, Events) {
        let (ring, events) = Ring::new(EVENTS_MAX, usize::MAX);
        let mut state = Self {
            ring,
            state: watch::Sender::new(State::Lost),
            counters: Arc::default(),
            rooms: BTreeSet::new(),
            troubles: BTreeSet::new(),
            incarnation: format!("{node}.0").into(),
            registrations: 0,
            is_fenced: false,
        };
        state.register(node);
        state.ready();
        (state, events)
    }

    pub(super) fn is_ready(&self) -> bool {
        *self.state.borrow() == State::Ready
    }

    pub(super) fn lose(&self, loss: Loss) {
        if self.state.send_replace(State::Lost) == State::Ready {
            self.counters.count_loss(loss);
            self.tell(Event::Lost(loss));
        }
    }

    /// Delivers an event about the relay itself.
    pub(super) fn tell(&self, event: Event) {
        self.ring.tell(event);
    }

    pub(super) fn register(&mut self, node: &str) {
        if self.registrations > 0 {
            self.counters.count_fenced();
        }
        self.registrations += 1;
        self.is_fenced = false;
        self.incarnation = format!("{node}.{}", self.registrations).into();
        let incarnation = self.incarnation.clone();
        self.ring.tell(Event::Registered { incarnation });
    }

    pub(super) fn ready(&self) {
        if self.state.send_replace(State::Ready) == State::Lost {
            self.counters.count_connect();
            self.ring.tell(Event::Ready);
        }
    }

    pub(super) fn push(&self, event: &Event) {
        if !self.is_ready() || self.troubles.contains(&Trouble::Deaf) {
            return;
        }
        let times = 1 + usize::from(self.troubles.contains(&Trouble::Twice));
        for _ in 0..times {
            self.counters.count_received();
            if self.ring.push(Instant::now(), event.clone()).is_err() {
                self.lose(Loss::Overflow);
                return;
            }
        }
    }

    pub(super) fn close(&self) {
        self.state.send_replace(State::Lost);
        self.ring.close();
    }
}
