//! The first connection to the relay.

use std::time::Duration;

use roomcast_relay::{Event, Events, RedisRelay, Relay, RelayUrl, Settings, StartError};
use tokio::time::{Instant, sleep, timeout};

use super::settings::explain;
use crate::shared::relay::SERIAL_BLOCK;

/// The time within which a relay is reached.
const START: Duration = Duration::from_secs(3);
/// The pause before another attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// The time within which a relay that was reached is ready.
const READY: Duration = Duration::from_secs(10);

/// Connects. A relay that begins at the same time as this server is waited for.
pub(super) async fn connect(settings: Settings) -> Result<(RedisRelay, Events), String> {
    let begun = Instant::now();
    loop {
        match RedisRelay::start(settings.clone()).await {
            Ok(started) => return Ok(started),
            Err(StartError::Unreachable { .. }) if begun.elapsed() < START => sleep(PAUSE).await,
            Err(fault) => return Err(explain(&fault)),
        }
    }
}

/// Waits until the relay is ready, and takes the first serials of connections.
pub(super) async fn first_serial(
    relay: &RedisRelay,
    events: &mut Events,
    url: &RelayUrl,
) -> Result<u64, String> {
    let first = async {
        loop {
            while events
                .next()
                .await
                .is_some_and(|event| event != Event::Ready)
            {}
            // It may be lost at once, and is then ready again.
            if let Ok(first) = relay.take_serials(SERIAL_BLOCK, 0).await {
                return first;
            }
        }
    };
    let first = timeout(READY, first).await;
    first.map_err(|_| match relay.fault() {
        Some(fault) => format!("{url} answers, but cannot be used: {fault}"),
        None => format!("{url} answers, but does not publish"),
    })
}
