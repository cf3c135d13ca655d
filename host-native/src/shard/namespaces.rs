//! The namespaces of a shard: their start, with data from the store, and their end.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
};

use roomcast_core::{Config, Input, Policies, hub::HubState, journal::Opening};

use super::{
    hosted::Hosted,
    mail,
    state::{Mail, Shard},
};
use crate::{namespace::refusal::OpenError, store::NamespaceHeader};

impl Shard {
    pub(crate) fn home_of(&self, namespace: &str) -> usize {
        mail::home_of(namespace, self.shards())
    }

    /// Returns the namespace, and starts it if necessary.
    pub(crate) fn open_namespace(&self, name: &Arc<str>) -> Result<Rc<Hosted>, OpenError> {
        if let Some(namespace) = self.namespace(name) {
            return Ok(namespace);
        }
        let permits = &self.shared.namespaces;
        if permits.reserve().is_err() {
            self.retire_one();
            let reserved = permits.reserve();
            reserved.map_err(|limit| OpenError::Full { limit })?;
        }
        let opened = self.begin_namespace(name);
        if let Err(fault) = &opened {
            let namespace = &**name;
            tracing::error!(namespace, %fault, "the namespace could not start");
            self.shared.namespaces.release();
        }
        opened
    }

    fn begin_namespace(&self, name: &Arc<str>) -> Result<Rc<Hosted>, OpenError> {
        let gateway = self.shared.gateways.make(name)?;
        let settings = &self.shared.settings;
        let mut limits = settings.hub.clone();
        // Replayed messages are queued: more would overflow the queue of a reconnecting client at
        // once.
        limits.recovery_bytes = limits.recovery_bytes.min(settings.outbox_bytes_max);
        limits.recovery_messages = limits.recovery_messages.min(settings.outbox_frames_max);
        // Changes of an earlier namespace with this name must be in the store before it is read.
        self.egress.commit();
        let store = self.shared.store.as_ref();
        let room_name_bytes = limits.room_name_bytes;
        let stored = store.map(|store| store.load(name, room_name_bytes));
        let stored = stored.transpose()?.flatten();
        let withdrawn = store.map(|store| store.withdrawn(name));
        let withdrawn = withdrawn.transpose()?.unwrap_or_default();
        let (header, rooms, keys, client_keys) = match stored {
            Some(stored) => (stored.header, stored.rooms, stored.keys, stored.client_keys),
            None => {
                let header = NamespaceHeader::new(self.shared.epoch());
                (header, Vec::new(), Vec::new(), Vec::new())
            }
        };
        let mut config = Config::new(&*header.epoch)
            .with_limits(limits)
            .with_policies(self.policies().clone())
            .with_subscriptions(self.shared.hooks.subscriptions())
            .with_asks_join(self.shared.ask.asks_join())
            .with_durable(store.is_some())
            .with_unix_zero_ms(self.unix_zero_ms.get());
        let relay = self.shared.relay.as_ref();
        let instance = relay.map_or(0, |relay| relay.next_instance());
        let mut serial = self.serial.get().max(header.next_serial);
        if let Some(relay) = relay {
            // These serials are unique among nodes and among earlier namespaces here.
            let cluster = relay.cluster(instance);
            serial = cluster.serials.0;
            config = config.with_cluster(cluster);
        }
        let state = HubState::from_serial(serial)
            .with_histories_opened(header.histories_opened)
            .with_rooms(rooms.iter().map(|room| room.state.clone()))
            .with_keys(keys)
            .with_withdrawn(withdrawn.users)
            .with_not_before_s(withdrawn.not_before_s)
            .with_client_keys(client_keys);
        let messages = |room| store.map_or(Ok(Vec::new()), |store| store.messages(name, room));
        let messages: Vec<_> = rooms.iter().map(messages).collect::<Result<_, _>>()?;
        let header = store.map(|_| header);
        // Set as by the application, for the journal.
        (config.raw, config.notify_presence) = (gateway.is_raw(), gateway.wants_presence());
        self.record_opening(name, || Opening::new(config.clone(), state.clone()));
        let recorder = self.shared.recorder.clone();
        let (header_of_it, name_of_it) = (header.clone(), name.clone());
        let namespace = Hosted::new(
            name_of_it,
            config,
            state,
            gateway,
            header_of_it,
            recorder,
            instance,
        )?;
        let namespace = Rc::new(namespace);
        self.namespaces
            .borrow_mut()
            .insert(name.clone(), namespace.clone());
        self.join_relay(&namespace);
        for (room, messages) in rooms.iter().map(|room| &room.state).zip(messages) {
            if namespace.ask(|hub| hub.room_state(room.room())).is_some() {
                let (room, messages) = (room.room().into(), Cow::Borrowed(&*messages));
                self.apply(&namespace, &Input::HistoryLoaded { room, messages });
            } else if let Some(header) = &header {
                // Under the current policies the room has no history.
                self.egress
                    .persist(|batch| batch.set_room(name, header.clone(), room.room(), None));
            }
        }
        Ok(namespace)
    }

    /// Starts the given namespaces whose home is this shard. An error includes the name of the
    /// namespace that cannot start.
    pub(crate) fn open_namespaces<'a>(
        &self,
        names: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<Vec<Rc<Hosted>>, (String, OpenError)> {
        let at_home = names.filter(|name| self.home_of(name) == self.index);
        let open = |name: &Arc<str>| {
            let opened = self.open_namespace(name);
            opened.map_err(|fault| (name.to_string(), fault))
        };
        at_home.map(open).collect()
    }

    /// Replaces the policies in all namespaces whose home is this shard.
    pub(crate) fn set_policies(&self, policies: Policies) {
        for namespace in self.namespaces() {
            let policies = Cow::Borrowed(&policies);
            self.apply(&namespace, &Input::SetPolicies { policies });
        }
        self.policies.replace(policies);
    }

    /// Updates the subscriptions of backends, and whether joins are asked about, in all namespaces
    /// whose home is this shard.
    pub(crate) fn set_backends(&self) {
        let subscriptions = self.shared.hooks.subscriptions();
        let asks_join = self.shared.ask.asks_join();
        for namespace in self.namespaces() {
            let subscriptions = Cow::Borrowed(&subscriptions);
            let input = Input::SetBackends {
                subscriptions,
                asks_join,
            };
            self.apply(&namespace, &input);
        }
    }

    /// Runs a task on the home shard of a namespace, and returns its result when its changes are
    /// committed; `None` when they cannot be, or that shard has ended.
    pub(crate) async fn at_home<R: Send + 'static>(
        self: &Rc<Self>,
        namespace: &str,
        task: impl FnOnce(&Rc<Self>) -> R + Send + 'static,
    ) -> Option<R> {
        self.on_shard(self.home_of(namespace), task).await
    }

    pub(crate) async fn on_shard<R: Send + 'static>(
        self: &Rc<Self>,
        index: usize,
        task: impl FnOnce(&Rc<Self>) -> R + Send + 'static,
    ) -> Option<R> {
        if index == self.index {
            let result = task(self);
            self.egress.committed().await?;
            return Some(result);
        }
        let (mail, answered) = Mail::request(task);
        self.egress.post(index, mail);
        answered.await.ok()
    }

    fn record_opening(&self, namespace: &Arc<str>, opening: impl FnOnce() -> Opening) {
        if let Some(recorder) = &self.shared.recorder {
            let application = self.shared.gateways.covers(namespace);
            let opening = opening().with_application(application);
            recorder.opening(namespace, self.now(), opening);
        }
    }

    /// Ends namespaces that would lose nothing.
    pub(super) fn retire_namespaces(&self) {
        let now = self.now();
        for namespace in self.that_may_end(|namespace| namespace.is_idle(now)) {
            self.retire(namespace);
        }
    }

    /// Ends a namespace without connections and messages, to make space for another one: strangers
    /// must not keep others out with rooms and keys that they left behind.
    fn retire_one(&self) {
        let now = self.now();
        let spare = self
            .that_may_end(|namespace| namespace.is_spare(now))
            .next();
        if let Some(namespace) = spare {
            self.retire(namespace);
        }
    }

    /// Namespaces that match, and that were not mounted at the start of the server.
    fn that_may_end(&self, is_over: impl Fn(&Hosted) -> bool) -> impl Iterator<Item = Rc<Hosted>> {
        let mounted = |namespace: &Hosted| self.shared.gateways.is_mounted(&namespace.name);
        let namespaces = self.namespaces().into_iter();
        namespaces.filter(move |namespace| !mounted(namespace) && is_over(namespace))
    }

    fn retire(&self, namespace: Rc<Hosted>) {
        let next = namespace.ask(|hub| hub.state().next_serial());
        self.serial.set(self.serial.get().max(next));
        self.namespaces.borrow_mut().remove(&namespace.name);
        self.leave_relay(&namespace);
        if self.shared.store.is_some() {
            self.egress.persist(|batch| batch.forget(&namespace.name));
        }
        self.shared.namespaces.release();
        namespace.leave_totals(&self.shared);
        // The application's state is dropped too, and its `Drop` may panic.
        if catch_unwind(AssertUnwindSafe(|| drop(namespace))).is_err() {
            tracing::error!("an application panicked when it was dropped");
        }
    }
}
