//! Sends of backends that the relay has not answered.

use std::{fmt, mem};

use roomcast_core::{Command, Delivery, Hub, hub::SendError, relay::RelayEvent};

use super::{Hosted, Inner};
use crate::shared::relay::{RelayLink, RelayRequest};

impl Hosted {
    /// Does something with the outcome of a send, when the relay has told it under this number.
    pub(crate) fn when_relayed(
        &self,
        number: u64,
        reply: impl FnOnce(Result<Delivery, SendError>) + 'static,
    ) {
        let replies = &mut self.inner.borrow_mut().replies;
        replies.insert(number, Box::new(reply));
    }

    /// Takes what is to be done with the outcomes that the relay told.
    pub(in crate::shard) fn take_relayed(&self) -> Vec<impl FnOnce() + use<>> {
        let inner = &mut *self.inner.borrow_mut();
        let outcomes = inner.namespace.take_relayed().into_iter();
        let replies = outcomes.filter_map(|(number, outcome)| {
            let reply = inner.replies.remove(&number)?;
            Some(move || reply(outcome))
        });
        replies.collect()
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

    /// Notes whether it is known who is withdrawn on other nodes.
    pub(in crate::shard) fn note_withdrawn(&self, event: &RelayEvent) {
        if matches!(event, RelayEvent::Up | RelayEvent::Withdrawn { .. }) {
            let is_known = matches!(event, RelayEvent::Withdrawn { .. });
            self.knows_withdrawn.set(is_known);
        }
    }

    /// True while the relay is to answer something.
    pub(crate) fn awaits_answers(&self) -> bool {
        self.ask(Hub::relay_pending) > 0
    }

    /// The gaps that members were told of since this was last asked.
    pub(in crate::shard) fn take_gaps(&self) -> u64 {
        let gaps = self.ask(Hub::relay_stats).map_or(0, |stats| stats.gaps);
        gaps - mem::replace(&mut self.inner.borrow_mut().gaps, gaps)
    }
}

impl Inner {
    /// True while the relay is to answer something, or may have other users than are here.
    pub(super) fn awaits_relay(&self) -> bool {
        let hub = self.namespace.app().hub();
        !self.replies.is_empty() || hub.relay_pending() > 0 || hub.has_unsure_users()
    }

    /// Hands the commands for the relay over.
    pub(super) fn relay_out(&self, relay: &RelayLink) {
        for command in self.namespace.out() {
            if let Command::Relay(command) = command {
                relay.send(RelayRequest::Command {
                    namespace: self.namespace.name.clone(),
                    command: command.clone(),
                });
            }
        }
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
