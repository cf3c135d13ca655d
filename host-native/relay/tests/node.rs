//! A node of a test: a relay, and the events that it received.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roomcast_relay::{
    Address, Event, Events, Loss, Once, Position, Publish, Published, Read, RedisRelay, Relay,
    RelayError, Retention, Settings, StartError, State,
};
use tokio::time::timeout;

use crate::server::{PATIENCE, Server};

pub(crate) struct Node {
    pub(crate) relay: RedisRelay,
    pub(crate) events: Events,
}

impl Node {
    pub(crate) async fn start(server: &Server) -> Self {
        Self::start_with(&server.url(), |_| {}).await
    }

    pub(crate) async fn start_with(url: &str, set: impl FnOnce(&mut Settings)) -> Self {
        let (settings, began) = (settings(url, set), Instant::now());
        let (relay, mut events) = loop {
            match RedisRelay::start(settings.clone()).await {
                Ok(started) => break started,
                // A busy machine, where a test sets short timeouts.
                Err(StartError::Unreachable { source, .. } | StartError::Command(source))
                    if source.is_timeout() && began.elapsed() < PATIENCE => {}
                Err(error) => panic!("{error}"),
            }
        };
        // No event comes before these, not even about nodes that were dead already.
        let first = timeout(PATIENCE, events.next()).await.unwrap();
        assert!(
            matches!(first, Some(Event::Registered { .. })),
            "{first:?} before the registration"
        );
        let next = timeout(PATIENCE, events.next()).await.unwrap();
        assert_eq!(next, Some(Event::Ready));
        assert_eq!(*relay.state().borrow(), State::Ready);
        Self { relay, events }
    }

    /// Waits for the next matching event, and drops the others.
    pub(crate) async fn until<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut others = Vec::new();
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.events.next().await.expect("the relay goes on");
                if let Some(found) = wanted(&event) {
                    return found;
                }
                others.push(event);
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("no {what} among {others:?}"),
        }
    }

    pub(crate) async fn until_ready(&mut self) {
        self.until("readiness", |event| (*event == Event::Ready).then_some(()))
            .await;
        assert_eq!(*self.relay.state().borrow(), State::Ready);
    }

    pub(crate) async fn until_lost(&mut self) -> Loss {
        let loss = |event: &Event| match event {
            Event::Lost(loss) => Some(*loss),
            _ => None,
        };
        self.until("loss", loss).await
    }

    /// The offsets and bodies of the next messages of a room.
    pub(crate) async fn messages(&mut self, room: &Address, count: usize) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        while found.len() < count {
            let message = |event: &Event| match event {
                Event::Message {
                    address,
                    offset,
                    body,
                    ..
                } if address == room => Some((*offset, text(body))),
                _ => None,
            };
            found.push(self.until("message", message).await);
        }
        found
    }

    pub(crate) async fn publish(&self, room: &Address, body: &str) -> Published {
        self.relay.publish(&message(room, body)).await.unwrap()
    }

    /// Publishes under a key until it is acknowledged, as a host does when a publish is in doubt.
    pub(crate) async fn publish_surely(&self, room: &Address, body: &str) -> Published {
        let mut publish = message(room, body);
        publish.once = Some(once(body, 1));
        let began = Instant::now();
        loop {
            match self.relay.publish(&publish).await {
                Ok(published) => return published,
                Err(RelayError::InDoubt | RelayError::Unavailable(_))
                    if began.elapsed() < PATIENCE =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) async fn position(&self, room: &Address) -> Position {
        let read = Read::position(room.clone());
        self.relay.read(&read).await.unwrap().position
    }
}

/// Settings of tests. Heartbeats and probes are frequent, so that what they notice comes soon.
/// Timeouts are long: a server or a process that a busy machine holds up is not an outage, whose
/// loss a test would take for another one. Tests of silence set [`hasty`] times, or [`quiet`] ones.
pub(crate) fn settings(url: &str, set: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::new(url.parse().unwrap());
    settings.timing.heartbeat = Duration::from_millis(300);
    settings.timing.probe = Duration::from_millis(500);
    settings.timing.response = PATIENCE;
    settings.timing.connect = PATIENCE;
    settings.timing.silence = PATIENCE;
    settings.timing.backoff_max = Duration::from_millis(200);
    set(&mut settings);
    settings
}

/// Short timeouts, for tests in which something never answers.
pub(crate) fn hasty(settings: &mut Settings) {
    settings.timing.response = Duration::from_secs(2);
    settings.timing.connect = Duration::from_secs(2);
    settings.timing.silence = Duration::from_secs(4);
}

/// Calls of the test have a short timeout, and nothing else notices that the server stands still.
/// So the relay is not lost before the test has made its calls, however late they are.
pub(crate) fn quiet(settings: &mut Settings, response: Duration) {
    settings.timing.response = response;
    settings.timing.heartbeat = PATIENCE * 2;
    settings.timing.lease = PATIENCE * 4;
    settings.timing.probe = PATIENCE * 2;
    settings.timing.silence = PATIENCE * 2;
}

pub(crate) fn room(name: &str) -> Address {
    Address::room("ns", name)
}

pub(crate) fn message(room: &Address, body: &str) -> Publish {
    Publish {
        address: room.clone(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        retention: Retention {
            messages: 1_000,
            ..Retention::default()
        },
        once: None,
    }
}

pub(crate) fn once(key: &str, fingerprint: u64) -> Once {
    Once {
        key: key.into(),
        owner: None,
        fingerprint,
        expiry_ms: 600_000,
        attempt_id: Box::default(),
    }
}

pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
