//! The relay between servers, as the namespaces of a shard know it.

use std::{rc::Rc, sync::Arc};

use roomcast_core::{Input, relay::RelayEvent};

use super::{hosted::Hosted, state::Shard};
use crate::shared::relay::{RelayRequest, is_up};

impl Shard {
    /// Lets the relay know of a namespace that has begun, and that whether the relay can be reached.
    pub(super) fn join_relay(&self, namespace: &Rc<Hosted>) {
        let Some(relay) = &self.shared.relay else {
            return;
        };
        let generation = relay.generation();
        relay.send(RelayRequest::Open {
            namespace: namespace.name.clone(),
            instance: namespace.instance,
            generation,
        });
        if is_up(generation) {
            self.apply(namespace, &Input::Relay(Box::new(RelayEvent::Up)));
        }
    }

    /// Lets the relay know that a namespace has ended.
    pub(super) fn leave_relay(&self, namespace: &Hosted) {
        if let Some(relay) = &self.shared.relay {
            let namespace = namespace.name.clone();
            relay.send(RelayRequest::Close { namespace });
        }
    }

    /// Gives a namespace numbers for connections to come, when it has few.
    pub(super) fn refill_numbers(&self, namespace: &Rc<Hosted>) {
        if let Some(relay) = &self.shared.relay
            && let Some(left) = namespace.ask(|hub| hub.serials_left())
            && let Some((first, count)) = relay.more_numbers(left)
        {
            let numbers = RelayEvent::Serials { first, count };
            self.apply(namespace, &Input::Relay(Box::new(numbers)));
        }
    }

    /// Takes a word of the relay in, and answers the backends that waited for it.
    pub(super) fn take_relay_event(&self, name: &Arc<str>, instance: u64, event: Box<RelayEvent>) {
        let namespace = self.namespace(name);
        let Some(namespace) = namespace.filter(|namespace| namespace.instance == instance) else {
            return; // it ended meanwhile
        };
        self.apply(&namespace, &Input::Relay(event));
        for answer in namespace.take_relayed() {
            answer();
        }
        if let Some(relay) = &self.shared.relay {
            let gaps = namespace.take_gaps();
            if gaps > 0 {
                relay.count_gaps(gaps);
            }
        }
    }
}
