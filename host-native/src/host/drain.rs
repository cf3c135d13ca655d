//! The end of a server: clients are notified, and disconnected over a window of time.

use std::{rc::Rc, time::Duration};

use roomcast_core::{CloseCode, ConnId, Hub, Input};
use tokio::time::{Instant, sleep};

use crate::{
    clock::patience,
    shard::{Hosted, Shard},
};

/// The rate at which clients may reconnect to other servers without being a crowd: with few clients
/// the window is shorter.
const CLOSES_PER_S: u32 = 50;
/// The time between two batches of closes.
const TICK: Duration = Duration::from_millis(10);
/// The longest reconnect delay that a client is given.
const AWAY_MS_MAX: u64 = 5_000;
/// Additional time after the wait for the peers' answers, so that the sweep has handled them.
const GRACE: Duration = Duration::from_millis(200);

/// The longest wait for answers of the relay.
const RELAY: Duration = Duration::from_secs(1);

/// A check that is later than this shows that the process was suspended.
const LATE: Duration = Duration::from_millis(50);
/// The maximum number of suspensions that extend the deadline. After more of them the machine is
/// too busy to wait for.
const PAUSES_MAX: u32 = 8;

/// Notifies every client of the shutdown, and waits until all have disconnected.
pub(crate) async fn drain(shard: &Rc<Shard>) {
    let (settings, connections) = (&shard.shared.settings, &shard.shared.connections);
    // The total of all shards, so that all use the same window.
    let total = u32::try_from(connections.taken()).unwrap_or(u32::MAX);
    let gentle = Duration::from_secs(1) * total / CLOSES_PER_S;
    let window = settings.drain_window.min(gentle);
    let mut begun = Instant::now();
    tell_applications(shard);
    let ours: usize = shard
        .namespaces()
        .iter()
        .map(|namespace| namespace.ask(|hub| hub.counts().connections))
        .sum();
    // Other shards close the clients of their namespaces, so this waits for all clients.
    // Connections that were being upgraded when the drain began enter a hub later, so the loop
    // checks again.
    let longest = window + settings.close_wait + GRACE;
    let (mut closed, mut looked, mut pauses) = (0, begun, 0);
    while connections.taken() > 0 {
        let slept = looked.elapsed();
        if slept > LATE && pauses < PAUSES_MAX {
            // Time in which the process was suspended was no time for clients to answer.
            begun += slept;
            pauses += 1;
        }
        looked = Instant::now();
        if begun.elapsed() >= longest {
            // The last answers are read, and the sweep runs.
            patience::turn().await;
            if connections.taken() == 0 {
                break;
            }
            tracing::warn!("some clients did not answer the close and are cut off");
            break;
        }
        tell_applications(shard);
        let share = begun.elapsed() + TICK;
        let due = if share >= window {
            usize::MAX
        } else {
            let due = ours as u128 * share.as_millis() / window.as_millis();
            usize::try_from(due).unwrap_or(ours)
        };
        closed += close_some(shard, due.saturating_sub(closed));
        sleep(TICK).await;
    }
    wait_for_relay(shard).await;
}

/// Waits until the relay has answered for the last users, so that backends are notified of them.
async fn wait_for_relay(shard: &Rc<Shard>) {
    let Some(relay) = &shard.shared.relay else {
        return;
    };
    // The disconnects of the last connections reach the namespaces.
    patience::turn().await;
    let begun = Instant::now();
    let waits = || {
        let namespaces = shard.namespaces();
        namespaces.iter().any(|it| it.awaits_answers())
    };
    while relay.is_up() && waits() && begun.elapsed() < RELAY {
        sleep(TICK).await;
    }
    let now = shard.now();
    let waits = |namespace: &Rc<Hosted>| namespace.ask(Hub::users_wait_until);
    if let Some(until) = shard.namespaces().iter().filter_map(waits).max() {
        relay.wait_for_users(until.saturating_since(now));
    }
}

/// Notifies applications, each once, also in namespaces without connections.
fn tell_applications(shard: &Rc<Shard>) {
    for namespace in shard.namespaces() {
        shard.drain(&namespace);
    }
}

/// Closes at most `count` connections, and returns how many it closed.
fn close_some(shard: &Rc<Shard>, count: usize) -> usize {
    let mut closed = 0;
    for namespace in shard.namespaces() {
        let left = count - closed;
        if left == 0 {
            break;
        }
        let conns: Vec<ConnId> =
            namespace.ask(|hub| hub.connections().take(left).map(|conn| conn.id).collect());
        for conn in conns {
            let reason = "the server is shutting down";
            // Connections with successive serials get delays that are far apart.
            let away_ms = conn.serial().wrapping_mul(1_619) % AWAY_MS_MAX;
            // A connection that has just left is ignored.
            let (code, reason) = (CloseCode::AWAY, reason.into());
            let close = Input::Close {
                conn,
                code,
                reason,
                away_ms,
            };
            shard.apply(&namespace, &close);
            closed += 1;
        }
    }
    closed
}
