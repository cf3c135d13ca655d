//! The first connection to the relay.

use std::time::Duration;

use roomcast_relay::{Event, Events, RedisRelay, Relay, RelayUrl, Settings, StartError};
use tokio::time::{Instant, sleep, timeout};

use super::settings::explain;
use crate::shared::relay::SERIAL_BLOCK;

/// The time in which a relay must be reached.
const START: Duration = Duration::from_secs(3);
/// The pause before another attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// The time in which a connected relay must be ready.
const READY: Duration = Duration::from_secs(10);

/// Connects, with retries for a relay that starts at the same time as this server.
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

/// Waits until the relay is ready, and takes the first block of connection serials.
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
            // If the connection is lost at once, another `Ready` follows.
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
