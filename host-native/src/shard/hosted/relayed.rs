//! Sends of backends that the relay has not answered.

use std::{collections::HashMap, fmt, mem};

use roomcast_core::{Delivery, Hub, hub::SendError, relay::RelayEvent, relay::RelayStats};

use super::{Egress, Hosted, Inner};
use crate::shared::relay::{HubCommand, RelayLink};

/// Notes about a namespace and its relay.
#[derive(Default)]
pub(super) struct Relayed {
    /// Sends that the relay is to answer, by their tokens.
    replies: HashMap<u64, Reply>,
    /// Counts of the hub and its relay, as far as they are in the metrics.
    stats: RelayStats,
    /// The number of times that it was told that the relay is down.
    downs: u64,
    /// Serials of connections that it was given the last time, once it was given further ones.
    serials: u64,
}

/// The way of the outcome of a send that the relay tells.
type Reply = Box<dyn FnOnce(Result<Delivery, SendError>)>;

impl Hosted {
    /// Does something with the outcome of a send, when the relay has told it under this token.
    pub(crate) fn when_relayed(
        &self,
        token: u64,
        reply: impl FnOnce(Result<Delivery, SendError>) + 'static,
    ) {
        let replies = &mut self.inner.borrow_mut().relayed.replies;
        replies.insert(token, Box::new(reply));
    }

    /// Takes what is to be done with the outcomes that the relay told.
    pub(in crate::shard) fn take_send_outcomes(&self) -> Vec<impl FnOnce() + use<>> {
        let inner = &mut *self.inner.borrow_mut();
        let outcomes = inner.namespace.take_send_outcomes().into_iter();
        let replies = outcomes.filter_map(|(token, outcome)| {
            let reply = inner.relayed.replies.remove(&token)?;
            Some(move || reply(outcome))
        });
        replies.collect()
    }

    /// Takes further serials for connections to come, when it has few.
    pub(in crate::shard) fn more_serials(&self, relay: &RelayLink) -> Option<(u64, u64)> {
        let left = self.ask(Hub::serials_left)?;
        relay.more_serials(left, &mut self.inner.borrow_mut().relayed.serials)
    }

    /// True unless the relay can be reached and has not told the position of messages to everybody,
    /// or who is withdrawn.
    pub(in crate::shard) fn has_place(&self) -> bool {
        self.ask(|hub| {
            let position = hub.topics().next().map(|(_, position)| position);
            let has_position = position.is_none_or(|position| position.is_some());
            !hub.is_relay_up() || (has_position && self.knows_withdrawn.get())
        })
    }

    /// Notes before it is taken in that the relay is down, and whether it is known who is withdrawn
    /// on other nodes.
    pub(in crate::shard) fn note_relay(&self, event: &RelayEvent) {
        if matches!(event, RelayEvent::Down) {
            self.inner.borrow_mut().relayed.downs += 1;
        }
        if matches!(event, RelayEvent::Up | RelayEvent::Withdrawn { .. }) {
            let is_known = matches!(event, RelayEvent::Withdrawn { .. });
            self.knows_withdrawn.set(is_known);
        }
    }

    /// True while the relay is to answer something.
    pub(crate) fn awaits_answers(&self) -> bool {
        self.ask(Hub::relay_pending) > 0
    }

    /// The gaps that members were told of, and the publishes that were refused, since this was last
    /// asked.
    pub(in crate::shard) fn take_counts(&self) -> (u64, u64) {
        let stats = self.ask(Hub::relay_stats).unwrap_or_default();
        let before = mem::replace(&mut self.inner.borrow_mut().relayed.stats, stats);
        (stats.gaps - before.gaps, stats.refused - before.refused)
    }
}

impl Inner {
    /// True while the relay is to answer something, or may have other users than are here.
    pub(super) fn awaits_relay(&self) -> bool {
        let hub = self.namespace.app().hub();
        !self.relayed.replies.is_empty() || hub.relay_pending() > 0 || hub.has_unsure_users()
    }

    /// Hands the commands for the relay over.
    pub(super) fn relay_out<S>(&mut self, egress: &Egress<S>) {
        let (name, downs) = (self.namespace.name.clone(), self.relayed.downs);
        self.namespace.take_relay_commands(|command| {
            egress.relay(HubCommand {
                namespace: name.clone(),
                downs,
                command,
            });
        });
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
