//! The start of a relay over Redis.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    connect::connect,
    run::run,
    server::{
        check::{StartError, check_settings},
        lineage::Lineage,
    },
    settings::Settings,
    shared::Shared,
    topics::Topic,
};
use crate::ring::{Backlog, Events, Ring};

/// A relay over Redis or Valkey 7 or newer.
///
/// A node has one connection for messages in both directions, and one for other calls; with
/// [`Settings::replicas_ack`], publishes have a third. The relay reconnects them together, as often
/// as needed. If it is dropped without [`retire`](crate::Relay::retire), its connections end, and
/// other nodes remove its users when its lease has ended.
#[derive(Debug)]
pub struct RedisRelay {
    pub(crate) shared: Arc<Shared>,
}

impl RedisRelay {
    /// Connects to the server, checks it, and spawns tasks on the current tokio runtime that keep
    /// the connections alive. The first event is [`Registered`], the next [`Ready`].
    ///
    /// [`Registered`]: crate::Event::Registered
    /// [`Ready`]: crate::Event::Ready
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or used; the text of the error says what to change.
    pub async fn start(settings: Settings) -> Result<(Self, Events), StartError> {
        check_settings(&settings)?;
        if matches!(settings.lineage, Lineage::RunId | Lineage::Off) {
            tracing::warn!(
                lineage = ?settings.lineage,
                "this lineage is for tests: after a failover messages are lost without a word; \
                 choose `replication`"
            );
        }
        let limits = settings.limits;
        let (ring, events) = Ring::new(limits.ring_events_max, limits.ring_bytes_max);
        let shared = Arc::new(Shared::new(settings, ring));
        let (keys, node) = (&shared.keys, &shared.node);
        shared.topics.add(vec![
            (keys.probe(node), Topic::Probe),
            (keys.bus(), Topic::Bus),
            (keys.node_bus(node), Topic::Bus),
        ]);
        let first = connect(&shared).await?;
        tokio::spawn(run(shared.clone(), first));
        Ok((Self { shared }, events))
    }

    /// Replaces the data of [`Settings::about`]. Other nodes read it after the next heartbeat.
    pub fn set_about(&self, about: Bytes) {
        self.shared.set_about(about);
    }

    /// The last error that kept the relay from becoming ready, if any.
    pub fn fault(&self) -> Option<Box<str>> {
        self.shared.fault()
    }

    /// The events that wait for the host.
    pub fn backlog(&self) -> Backlog {
        self.shared.ring.backlog()
    }
}

impl Drop for RedisRelay {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
    }
}
