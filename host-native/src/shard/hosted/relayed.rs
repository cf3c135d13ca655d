//! The relay's side of a namespace: pending sends, serials, and counts.

use std::{collections::HashMap, fmt, mem};

use roomcast_core::{Delivery, Hub, hub::SendError, relay::RelayEvent, relay::RelayStats};

use super::{Egress, Hosted, Inner};
use crate::shared::relay::{HubCommand, RelayLink};

/// State of a namespace about its relay.
#[derive(Default)]
pub(super) struct Relayed {
    /// Replies to sends that the relay has not answered, by their tokens.
    replies: HashMap<u64, Reply>,
    /// The counts of the hub that are in the metrics already.
    stats: RelayStats,
    /// The number of `Down` events so far.
    downs: u64,
    /// The size of the last block of serials that it was given after the first.
    serials: u64,
}

/// A callback for the outcome of a send through the relay.
type Reply = Box<dyn FnOnce(Result<Delivery, SendError>)>;

impl Hosted {
    /// Registers a callback for the outcome of the send with this token.
    pub(crate) fn when_relayed(
        &self,
        token: u64,
        reply: impl FnOnce(Result<Delivery, SendError>) + 'static,
    ) {
        let replies = &mut self.inner.borrow_mut().relayed.replies;
        replies.insert(token, Box::new(reply));
    }

    /// Takes the callbacks whose outcomes have arrived.
    pub(in crate::shard) fn take_send_outcomes(&self) -> Vec<impl FnOnce() + use<>> {
        let inner = &mut *self.inner.borrow_mut();
        let outcomes = inner.namespace.take_send_outcomes().into_iter();
        let replies = outcomes.filter_map(|(token, outcome)| {
            let reply = inner.relayed.replies.remove(&token)?;
            Some(move || reply(outcome))
        });
        replies.collect()
    }

    /// Takes further connection serials, if few are left.
    pub(in crate::shard) fn more_serials(&self, relay: &RelayLink) -> Option<(u64, u64)> {
        let left = self.ask(Hub::serials_left)?;
        relay.more_serials(left, &mut self.inner.borrow_mut().relayed.serials)
    }

    /// True unless the relay is up and has not yet reported the position of messages to everybody,
    /// or the withdrawals.
    pub(in crate::shard) fn has_place(&self) -> bool {
        self.ask(|hub| {
            let position = hub.topics().next().map(|(_, position)| position);
            let has_position = position.is_none_or(|position| position.is_some());
            !hub.is_relay_up() || (has_position && self.knows_withdrawn.get())
        })
    }

    /// Records, before an event is applied, that the relay is down, and whether the withdrawals of
    /// other nodes are known.
    pub(in crate::shard) fn note_relay(&self, event: &RelayEvent) {
        if matches!(event, RelayEvent::Down) {
            self.inner.borrow_mut().relayed.downs += 1;
        }
        if matches!(event, RelayEvent::Up | RelayEvent::Withdrawn { .. }) {
            let is_known = matches!(event, RelayEvent::Withdrawn { .. });
            self.knows_withdrawn.set(is_known);
        }
    }

    /// True while an answer of the relay is pending.
    pub(crate) fn awaits_answers(&self) -> bool {
        self.ask(Hub::relay_pending) > 0
    }

    /// The gaps that members were told of, and the refused publishes, since the last call.
    pub(in crate::shard) fn take_counts(&self) -> (u64, u64) {
        let stats = self.ask(Hub::relay_stats).unwrap_or_default();
        let before = mem::replace(&mut self.inner.borrow_mut().relayed.stats, stats);
        (stats.gaps - before.gaps, stats.refused - before.refused)
    }
}

impl Inner {
    /// True while an answer of the relay is pending, or the relay may have other users than this
    /// node.
    pub(super) fn awaits_relay(&self) -> bool {
        let hub = self.namespace.app().hub();
        !self.relayed.replies.is_empty() || hub.relay_pending() > 0 || hub.has_unsure_users()
    }

    /// Passes on the commands for the relay.
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
