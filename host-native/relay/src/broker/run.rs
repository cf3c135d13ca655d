//! The task that keeps a relay alive.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use redis::{RedisResult, Value, aio::MultiplexedConnection, cmd};
use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    connect::connect,
    lease::{Ended, Lease, Service, loss_of},
    session::{Session, Signals},
    settings::Timing,
    shared::Shared,
};
use crate::{
    event::{Event, Loss},
    relay::State,
    wire::{Envelope, Kind},
};

/// Serves sessions one after the other, until the node retires.
pub(crate) async fn run(shared: Arc<Shared>, first: (Arc<Session>, Arc<Signals>)) {
    let mut next = Some(first);
    let mut backoff = Backoff::new(&shared.settings.timing);
    loop {
        let (session, signals) = match next.take() {
            Some(made) => made,
            None => select! {
                () = shared.stop.notified() => break,
                made = reconnect(&shared, &mut backoff) => made,
            },
        };
        let began = Instant::now();
        shared.set_session(Some((session.clone(), signals.clone())));
        let loss = select! {
            loss = signals.lost() => loss,
            loss = serve(&shared, &session, &signals) => loss,
            () = shared.stop.notified() => Loss::Retired,
        };
        // Holders of the session must not take messages after the loss.
        signals.fail(loss);
        shared.set_session(None);
        if shared.state.send_replace(State::Lost) == State::Ready {
            shared.counters.count_loss(loss);
            shared.ring.tell(Event::Lost(loss));
            tracing::warn!(url = %shared.settings.url, "{loss}");
        }
        if loss == Loss::Retired {
            break;
        }
        if began.elapsed() >= shared.settings.timing.silence {
            backoff = Backoff::new(&shared.settings.timing);
        }
    }
    shared.ring.close();
}

async fn reconnect(shared: &Shared, backoff: &mut Backoff) -> (Arc<Session>, Arc<Signals>) {
    loop {
        sleep(backoff.next()).await;
        match connect(shared).await {
            Ok(made) => return made,
            Err(error) => {
                shared.counters.count_failed_connect();
                tracing::warn!("{error}");
                shared.note_fault(error.to_string());
            }
        }
    }
}

/// Serves a session until it is lost.
async fn serve(shared: &Arc<Shared>, session: &Arc<Session>, signals: &Arc<Signals>) -> Loss {
    let served = async {
        begin(shared, session, signals).await?;
        let timing = &shared.settings.timing;
        let mut service = Service::begin(Instant::now());
        clear_dead(shared, session, signals, &Ended::default()).await?;
        let mut heartbeat = ticks(timing.heartbeat);
        // The first heartbeat was part of `begin`.
        heartbeat.reset();
        let mut probe = ticks(timing.probe / 2);
        loop {
            select! {
                _ = heartbeat.tick() => {
                    let now_ms = beat(shared, session).await?;
                    let ended = service.go_on((Instant::now(), now_ms), timing);
                    let late = clear_dead(shared, session, signals, &ended).await?;
                    service.note_late(Instant::now(), late);
                }
                _ = probe.tick() => {
                    let silence = signals.silence();
                    if silence >= timing.silence {
                        return Err(Loss::Silent);
                    }
                    if silence >= timing.probe {
                        send_probe(shared, session).await?;
                    }
                }
                () = signals.suspected.notified() => {
                    // Publishes use the connection of the subscriptions, so both are asked.
                    for connection in [&session.commands, &session.subscriptions] {
                        let pong = ping(connection).await;
                        pong.map_err(|error| loss_of(&error))?;
                    }
                    if let Some(replicated) = &session.replicated {
                        replicated.ping().await.map_err(|error| loss_of(&error))?;
                    }
                    shared.hold_lease(session).await.map_err(|error| loss_of(&error))?;
                }
            }
        }
    };
    let ended: Result<std::convert::Infallible, Loss> = served.await;
    let Err(loss) = ended;
    loss
}

/// Subscribes to all topics, takes the lease, and sends a probe through both connections.
async fn begin(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    signals: &Signals,
) -> Result<(), Loss> {
    {
        let _turn = shared.topics_turn.lock().await;
        let topics = shared.topics.names();
        let subscribed = session.subscribe("SSUBSCRIBE", &topics).await;
        subscribed.map_err(|error| shared.refused(&error))?;
    }
    beat(shared, session).await?;
    send_probe(shared, session).await?;
    let response = shared.settings.timing.response;
    let probed = timeout(response, signals.probed.notified()).await;
    probed.map_err(|_| Loss::Silent)?;
    shared.counters.count_connect();
    // The event comes last: its receiver may rely on the state.
    shared.state.send_replace(State::Ready);
    shared.ring.tell(Event::Ready);
    Ok(())
}

/// Renews the lease, and checks that the lineage has not changed. Returns the time of the server in
/// milliseconds.
async fn beat(shared: &Arc<Shared>, session: &Arc<Session>) -> Result<u64, Loss> {
    let failed = |error| loss_of(&error);
    let now_ms = shared.hold_lease(session).await.map_err(failed)?;
    let mut commands = session.commands.clone();
    let lineage = shared.settings.lineage;
    let lineage = lineage
        .read(&mut commands, &shared.keys)
        .await
        .map_err(failed)?;
    if lineage != session.lineage {
        return Err(Loss::Lineage);
    }
    session.lineage_read.touch();
    Ok(now_ms)
}

/// Claims nodes whose leases have ended, and starts the removal of dead ones. Returns leases that
/// end late. It must not run before the node is ready: removed users are reported as events, which
/// mean nothing to a host that does not know the relay yet.
async fn clear_dead(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    signals: &Arc<Signals>,
    ended: &Ended,
) -> Result<Vec<Lease>, Loss> {
    if shared.is_retiring.load(Relaxed) {
        return Ok(Vec::new());
    }
    let own = shared.incarnation();
    let claimed = shared.claim(session, &own, false, ended).await;
    let (dead, late) = claimed.map_err(|error| loss_of(&error))?;
    shared.reap(session, signals, dead);
    Ok(late)
}

async fn ping(connection: &MultiplexedConnection) -> RedisResult<()> {
    let mut connection = connection.clone();
    cmd("PING").query_async::<Value>(&mut connection).await?;
    Ok(())
}

async fn send_probe(shared: &Shared, session: &Session) -> Result<(), Loss> {
    let envelope = Envelope {
        kind: Kind::Probe,
        epoch: (*shared.node).into(),
        number: 0,
        user: Box::default(),
        body: Bytes::new(),
    };
    let body = envelope.encode().map_err(|_| Loss::Disconnected)?;
    let mut probe = cmd("SPUBLISH");
    probe.arg(shared.keys.probe(&shared.node)).arg(body);
    let mut commands = session.commands.clone();
    match probe.query_async::<u64>(&mut commands).await {
        // The server has no subscriber for it: the other connection is gone.
        Ok(0) => Err(Loss::Disconnected),
        Ok(_) => Ok(()),
        Err(error) => Err(shared.refused(&error)),
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Pauses before reconnects. They are random, so that nodes do not all return at once.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    fn new(timing: &Timing) -> Self {
        Self {
            next: timing.backoff,
            max: timing.backoff_max,
        }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.min(self.max);
        self.next = pause * 2;
        let mut random = [0];
        // Without randomness the pause is the longest.
        let _ = getrandom::fill(&mut random);
        pause - pause * u32::from(random[0]) / 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_are_cut_by_up_to_a_half() {
        let timing = Timing::default();
        let mut backoff = Backoff::new(&timing);
        for expected in [50, 100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let pause = backoff.next();
            let expected = Duration::from_millis(expected);
            assert!(pause <= expected && pause >= expected / 2, "{pause:?}");
        }
    }
}
