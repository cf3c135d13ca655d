//! The relay between servers, as the namespaces of a shard know it.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use roomcast_core::{ConnId, Input, relay::RelayEvent};
use tokio::time::sleep;

use super::{hosted::Hosted, state::Shard};
use crate::shared::relay::{NodesRequest, RelayRequest, is_up};

/// The longest wait of a connection for its namespace.
const PLACE: Duration = Duration::from_secs(1);
/// The time between two looks at it.
const PAUSE: Duration = Duration::from_millis(2);

impl Shard {
    /// Tells the relay of a namespace that has begun, and the namespace whether the relay is up.
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

    /// Asks the relay for the users who are withdrawn on any node, and tells it of those whom this
    /// one knows: its data may be older.
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

    /// Waits until a namespace knows its place in the order of messages to everybody, where the
    /// relay can be reached: whoever is connected before that is told of a gap. By then it also
    /// knows who is withdrawn. Only the first connections have to wait.
    pub(super) async fn wait_for_place(self: &Rc<Self>, shard: usize, namespace: &Arc<str>) {
        let begun = Instant::now();
        while begun.elapsed() < PLACE {
            let name = namespace.clone();
            let look = move |home: &Rc<Self>| {
                let opened = home.open_namespace(&name);
                // One that cannot begin says so to the connection.
                opened.is_ok_and(|namespace| !namespace.has_place())
            };
            if self.on_shard(shard, look).await != Some(true) {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until a namespace knows the position of a room into which one of its connections is
    /// about to be brought, where the relay can be reached: else it would be told of a gap.
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

    /// Lets the relay know that a namespace has ended.
    pub(super) fn leave_relay(&self, namespace: &Hosted) {
        if let Some(relay) = &self.shared.relay {
            let namespace = namespace.name.clone();
            // Behind what it commanded.
            self.egress.send_relayed();
            relay.send(RelayRequest::Close { namespace });
        }
    }

    /// Gives a namespace serials for connections to come, when it has few.
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
            return; // it ended meanwhile
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

    /// Counts what members and publishers were told for metrics.
    pub(super) fn count_relayed(&self, namespace: &Hosted) {
        if let Some(relay) = &self.shared.relay {
            let (gaps, refused) = namespace.take_counts();
            relay.count(gaps, refused);
        }
    }

    /// Answers the backends whose sends have their outcome: the relay told it, or their time is
    /// over.
    pub(super) fn answer_relayed(namespace: &Hosted) {
        for answer in namespace.take_send_outcomes() {
            answer();
        }
    }

    /// Takes in that users of a dead node are gone from a room. This server alone is told, so a
    /// namespace that does not live here begins when there are backends to tell.
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
