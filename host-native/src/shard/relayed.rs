//! The relay between servers, for the namespaces of a shard.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use roomcast_core::{ConnId, Input, relay::RelayEvent};
use tokio::time::sleep;

use super::{hosted::Hosted, state::Shard};
use crate::shared::relay::{NodesRequest, RelayRequest, is_up};

/// The longest wait of a connection for its namespace to be ready.
const PLACE: Duration = Duration::from_secs(1);
/// The time between two checks of that.
const PAUSE: Duration = Duration::from_millis(2);

impl Shard {
    /// Notifies the relay of a namespace that has started, and tells the namespace whether the
    /// relay is up.
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
            self.read_withdrawn(namespace);
        }
    }

    /// Requests the withdrawals of all nodes from the relay, and sends it those that are known
    /// here: its data may be older.
    fn read_withdrawn(&self, namespace: &Rc<Hosted>) {
        let Some(relay) = &self.shared.relay else {
            return;
        };
        let (users, everyone_s) = namespace.ask(|hub| {
            let users = hub.withdrawn().map(|(user, time)| (user.into(), time));
            (users.collect(), hub.not_before_s())
        });
        relay.send(RelayRequest::Nodes(NodesRequest::Withdrawn {
            namespace: namespace.name.clone(),
            instance: namespace.instance,
            users,
            everyone_s,
            users_max: self.shared.settings.hub.withdrawn_users,
        }));
    }

    /// Waits until a namespace knows its position in the messages to everybody, if the relay is up:
    /// a connection that enters earlier would be told of a gap. Then it also knows the withdrawals.
    /// Only the first connections have to wait.
    pub(super) async fn wait_for_place(self: &Rc<Self>, shard: usize, namespace: &Arc<str>) {
        let begun = Instant::now();
        while begun.elapsed() < PLACE {
            let name = namespace.clone();
            let look = move |home: &Rc<Self>| {
                let opened = home.open_namespace(&name);
                // If the namespace cannot start, the connection gets the error later.
                opened.is_ok_and(|namespace| !namespace.has_place())
            };
            if self.on_shard(shard, look).await != Some(true) {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until a namespace knows the position of a room that one of its connections is about to
    /// join, if the relay is up: otherwise the connection would be told of a gap.
    pub(super) async fn wait_for_room(self: &Rc<Self>, name: &Arc<str>, conn: ConnId, room: &str) {
        let begun = Instant::now();
        let waits = |namespace: &Hosted| {
            namespace.ask(|hub| hub.connection(conn).is_some() && !hub.has_place_in(room))
        };
        let Some(namespace) = self.namespace(name).filter(|it| waits(it)) else {
            return;
        };
        let room = room.into();
        let wanted = RelayEvent::Wanted { room };
        self.apply(&namespace, &Input::Relay(Box::new(wanted)));
        while begun.elapsed() < PLACE && self.namespace(name).is_some_and(|it| waits(&it)) {
            sleep(PAUSE).await;
        }
    }

    /// Notifies the relay that a namespace has ended.
    pub(super) fn leave_relay(&self, namespace: &Hosted) {
        if let Some(relay) = &self.shared.relay {
            let namespace = namespace.name.clone();
            // The namespace's commands are sent first.
            self.egress.send_relayed();
            relay.send(RelayRequest::Close { namespace });
        }
    }

    /// Gives a namespace further connection serials, if it has few left.
    pub(super) fn refill_serials(&self, namespace: &Rc<Hosted>) {
        if let Some(relay) = &self.shared.relay
            && let Some((first, count)) = namespace.more_serials(relay)
        {
            let serials = RelayEvent::Serials { first, count };
            self.apply(namespace, &Input::Relay(Box::new(serials)));
        }
    }

    /// Applies an event of the relay, then answers the backends that waited for it.
    pub(super) fn take_relay_event(&self, name: &Arc<str>, instance: u64, event: Box<RelayEvent>) {
        let namespace = self.namespace(name);
        let Some(namespace) = namespace.filter(|namespace| namespace.instance == instance) else {
            return; // the namespace has ended
        };
        let reads_withdrawn = matches!(*event, RelayEvent::Up | RelayEvent::Registered);
        namespace.note_relay(&event);
        self.apply(&namespace, &Input::Relay(event));
        if reads_withdrawn
            && self
                .shared
                .relay
                .as_ref()
                .is_some_and(|relay| relay.is_up())
        {
            self.read_withdrawn(&namespace);
        }
        Self::answer_relayed(&namespace);
        self.count_relayed(&namespace);
    }

    /// Adds the namespace's gaps and refused publishes to the metrics.
    pub(super) fn count_relayed(&self, namespace: &Hosted) {
        if let Some(relay) = &self.shared.relay {
            let (gaps, refused) = namespace.take_counts();
            relay.count(gaps, refused);
        }
    }

    /// Answers backends whose sends have an outcome: from the relay, or by timeout.
    pub(super) fn answer_relayed(namespace: &Hosted) {
        for answer in namespace.take_send_outcomes() {
            answer();
        }
    }

    /// Applies that users of a dead node have left a room. No other server is told, so a namespace
    /// that is not open here is started if there are backends to notify.
    #[cfg(feature = "relay")]
    pub(crate) fn take_reaped(&self, name: &Arc<str>, room: Box<str>, names: Vec<Box<str>>) {
        let namespace = match self.namespace(name) {
            Some(namespace) => namespace,
            None if self.shared.hooks.is_on() => match self.open_namespace(name) {
                Ok(namespace) => namespace,
                Err(fault) => {
                    tracing::warn!(%name, %fault, "no backend is told of users of a dead server");
                    return;
                }
            },
            None => return,
        };
        let gone = RelayEvent::Reaped { room, names };
        self.apply(&namespace, &Input::Relay(Box::new(gone)));
    }
}
