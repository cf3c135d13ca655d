//! The end of a server: clients are told, and leave spread over a window.

use std::{rc::Rc, time::Duration};

use roomcast_core::{CloseCode, ConnId, Hub, Input};
use tokio::time::{Instant, sleep};

use crate::{
    clock::patience,
    shard::{Hosted, Shard},
};

/// So many may come back to other servers in a second without being a crowd: fewer clients are not
/// kept waiting for the whole window.
const CLOSES_PER_S: u32 = 50;
/// The time between two closes of some.
const TICK: Duration = Duration::from_millis(10);
/// The longest delay that a client is asked to come back after.
const AWAY_MS_MAX: u64 = 5_000;
/// Beyond the time for the peers' answers: so that the sweep has seen to them.
const GRACE: Duration = Duration::from_millis(200);

/// The longest wait for answers of the relay.
const RELAY: Duration = Duration::from_secs(1);

/// A look that is later than this is one of a process that was suspended.
const LATE: Duration = Duration::from_millis(50);
/// Suspensions that do not count; more are a machine that is too busy to wait for.
const PAUSES_MAX: u32 = 8;

/// Tells every client that the server goes away, and waits until all are gone.
pub(crate) async fn drain(shard: &Rc<Shard>) {
    let (settings, connections) = (&shard.shared.settings, &shard.shared.connections);
    // Of all shards, so that they keep the same time.
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
    // Clients of other shards' namespaces are closed by those: so wait for all, not only for ours.
    // Some were being upgraded when the end began, and are only now in a hub: so look again.
    let longest = window + settings.close_wait + GRACE;
    let (mut closed, mut looked, mut pauses) = (0, begun, 0);
    while connections.taken() > 0 {
        let slept = looked.elapsed();
        if slept > LATE && pauses < PAUSES_MAX {
            // A process that was suspended has given nobody this time.
            begun += slept;
            pauses += 1;
        }
        looked = Instant::now();
        if begun.elapsed() >= longest {
            // Time for the last answers to be read, and for the sweep.
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

/// Waits until the relay has said what became of the last users: backends are told of that.
async fn wait_for_relay(shard: &Rc<Shard>) {
    let Some(relay) = &shard.shared.relay else {
        return;
    };
    // What the last connections left behind has reached the namespaces.
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

/// Also where nobody is connected; each once.
fn tell_applications(shard: &Rc<Shard>) {
    for namespace in shard.namespaces() {
        shard.drain(&namespace);
    }
}

/// Closes so many connections; says how many there were.
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
            // Neighbours in the order of arrival get delays far apart.
            let away_ms = conn.serial().wrapping_mul(1_619) % AWAY_MS_MAX;
            // It may just have left.
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
