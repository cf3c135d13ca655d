//! The start of a session: connections, checks, scripts.

use std::sync::Arc;

use redis::{AsyncConnectionConfig, RedisError};
use tokio::time::timeout;

use super::{
    receive::Receiver,
    server::check::{StartError, check},
    session::{Moment, Replicated, Session, Signals},
    shared::Shared,
};

/// The number of calls that the library queues before it makes senders wait.
const PIPELINE: usize = 1_024;

/// Connects, and checks the server, which is a different one after a failover.
pub(crate) async fn connect(shared: &Shared) -> Result<(Arc<Session>, Arc<Signals>), StartError> {
    let settings = &shared.settings;
    let response = settings.timing.response;
    let unreachable = |source: RedisError| StartError::Unreachable {
        url: settings.url.to_string().into(),
        source,
    };
    // Sentinels and cluster nodes are asked one after the other, each with its own timeouts.
    let leases = shared.keys.leases();
    let client = timeout(settings.timing.connect * 5, settings.url.client(&leases)).await;
    let client = client.unwrap_or_else(|elapsed| Err(std::io::Error::from(elapsed).into()));
    let client = client.map_err(unreachable)?;
    let signals = Arc::new(Signals::new());
    let receiver = Receiver {
        topics: shared.topics.clone(),
        ring: shared.ring.clone(),
        counters: shared.counters.clone(),
        signals: signals.clone(),
        envelope_bytes_max: settings.limits.envelope_bytes_max,
    };
    let receiver = Arc::new(receiver);
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(response))
        .set_connection_timeout(Some(settings.timing.connect))
        .set_pipeline_buffer_size(PIPELINE)
        .set_push_sender(move |push| {
            receiver.receive(push);
            Ok::<_, std::convert::Infallible>(())
        });
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let mut commands = connection.await.map_err(unreachable)?;
    check(&mut commands, settings).await?;
    let lineage = settings.lineage.read(&mut commands, &shared.keys).await;
    let lineage = lineage.map_err(StartError::Command)?;
    if lineage.is_empty() {
        return Err(StartError::Hidden);
    }
    let lineage_read = Moment::now();
    let loaded = shared.scripts.load(&mut commands).await;
    loaded.map_err(StartError::Command)?;
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    let subscriptions = connection.await.map_err(unreachable)?;
    let silence = settings.timing.silence;
    let replicated = match settings.replicas_ack {
        0 => None,
        replicas => {
            // A call may wait for an earlier `WAIT` to finish, and then for its own.
            let config = AsyncConnectionConfig::new()
                .set_response_timeout(Some(response * 2))
                .set_connection_timeout(Some(settings.timing.connect))
                .set_pipeline_buffer_size(PIPELINE);
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connection.await.map_err(unreachable)?;
            let found = settings.lineage.read(&mut connection, &shared.keys).await;
            if found.map_err(StartError::Command)? != lineage {
                let other = std::io::Error::other("connections lead to different servers");
                return Err(unreachable(other.into()));
            }
            let wait = response * 3 / 4;
            Some(Replicated::new(connection, replicas, wait, silence))
        }
    };
    let session = Session::new(
        commands,
        subscriptions,
        replicated,
        lineage,
        lineage_read,
        silence,
    );
    Ok((Arc::new(session), signals))
}
