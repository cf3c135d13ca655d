//! Calls of the host: messages, streams and topics.

mod publish;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use redis::{FromRedisValue, Value, cmd};
use tokio::{sync::watch, time::timeout};

use super::{
    keys::Keys,
    lease::Ended,
    session::{Session, Signals},
    shared::{Effect, Shared},
    start::RedisRelay,
    topics::Topic,
};
use crate::{
    counters::Counters,
    error::RelayError,
    position::{Address, Kept, Page, Position, Read, RoomList, Start},
    presence::{Arrival, Corrections, Members, Node, Presence},
    publish::{Publish, Published},
    relay::{Answer, Answers, Destination, Relay, State},
    wire::{Envelope, Kind},
    withdrawn::Withdrawn,
};

/// The largest number of rooms in one call of the positions script, some 100 µs of server time.
const ROOMS_AT_ONCE: usize = 100;

/// A position (epoch, offset, notice), the time of the server, the oldest offset, and messages.
type Found = (String, u64, u64, u64, u64, Vec<Kept>);

impl Relay for RedisRelay {
    fn publish_all<'a>(&'a self, publishes: &'a [Publish]) -> Answers<'a, Published> {
        Box::pin(self.shared.publish_all(publishes))
    }

    fn read<'a>(&'a self, read: &'a Read) -> Answer<'a, Page> {
        Box::pin(self.shared.read(read))
    }

    fn positions<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, Vec<Position>> {
        Box::pin(self.shared.positions(rooms))
    }

    fn subscribe<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut topics = Vec::with_capacity(rooms.len());
            for room in rooms {
                Keys::check(&room.namespace)?;
                topics.push((self.shared.keys.topic(room), Topic::Messages(room.clone())));
            }
            self.shared.subscribe(topics).await
        })
    }

    fn unsubscribe<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, ()> {
        let names = rooms.iter().map(|room| self.shared.keys.topic(room));
        Box::pin(self.shared.unsubscribe(names.collect()))
    }

    fn set_present<'a>(&'a self, presence: &'a Presence) -> Answer<'a, Arrival> {
        Box::pin(self.shared.set_present(presence))
    }

    fn reconcile<'a>(
        &'a self,
        room: &'a Address,
        present: &'a [Presence],
    ) -> Answer<'a, Corrections> {
        Box::pin(self.shared.reconcile(room, present))
    }

    fn rooms<'a>(&'a self, list: &'a RoomList) -> Answer<'a, Vec<Box<str>>> {
        Box::pin(self.shared.rooms(list))
    }

    fn members<'a>(&'a self, room: &'a Address, users_max: u32) -> Answer<'a, Members> {
        Box::pin(self.shared.members(room, users_max))
    }

    fn send<'a>(&'a self, to: &'a Destination, body: Bytes) -> Answer<'a, usize> {
        Box::pin(self.shared.send(to, body))
    }

    fn nodes(&self) -> Answer<'_, Vec<Node>> {
        Box::pin(self.shared.nodes())
    }

    fn withdraw<'a>(
        &'a self,
        namespace: &'a str,
        users: &'a Withdrawn,
        users_max: u32,
    ) -> Answer<'a, ()> {
        Box::pin(self.shared.withdraw(namespace, users, users_max))
    }

    fn withdrawn<'a>(&'a self, namespace: &'a str) -> Answer<'a, Withdrawn> {
        Box::pin(self.shared.withdrawn(namespace))
    }

    fn take_serials(&self, count: u64, floor: u64) -> Answer<'_, u64> {
        Box::pin(self.shared.take_serials(count, floor))
    }

    fn retire(&self) -> Answer<'_, ()> {
        Box::pin(self.shared.retire(Duration::ZERO))
    }

    fn retire_after(&self, time: Duration) -> Answer<'_, ()> {
        Box::pin(self.shared.retire(time))
    }

    fn node(&self) -> Arc<str> {
        self.shared.node.clone()
    }

    fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl Shared {
    async fn read(&self, read: &Read) -> Result<Page, RelayError> {
        Keys::check(&read.address.namespace)?;
        let keys = [
            self.keys.meta(&read.address),
            self.keys.stream(&read.address),
        ];
        let (start, epoch, offset) = match &read.start {
            Start::Nothing => ("", "", 0),
            Start::After { epoch, offset } => ("after", &**epoch, *offset),
            Start::Above(offset) => ("after", "", *offset),
            Start::Before(offset) => ("before", "", offset.unwrap_or(1 << 53)),
        };
        let script = &self.scripts.history;
        let answer = self.call::<Vec<Value>>(Effect::Read, script, &keys, |call| {
            call.arg(start).arg(epoch).arg(offset);
            call.arg(read.messages_max.max(1)).arg(read.bytes_max);
        });
        let (epoch, offset, notice, now_ms, first, found) = found(answer.await?)?;
        let position = Position {
            epoch: epoch.into(),
            offset,
            notice,
        };
        Ok(Page::new(read, position, first, now_ms, found))
    }

    async fn positions(&self, rooms: &[Address]) -> Result<Vec<Position>, RelayError> {
        let mut positions = Vec::with_capacity(rooms.len());
        for rooms in rooms.chunks(ROOMS_AT_ONCE) {
            let keys = rooms.iter();
            let keys = keys.flat_map(|room| [self.keys.meta(room), self.keys.stream(room)]);
            let keys: Vec<_> = keys.collect();
            let script = &self.scripts.positions;
            let answer = self.call::<Vec<Value>>(Effect::Read, script, &keys, |_| {});
            let mut values = answer.await?.into_iter();
            for _ in rooms {
                positions.push(Position {
                    epoch: next::<String>(&mut values)?.into(),
                    offset: next(&mut values)?,
                    notice: next(&mut values)?,
                });
            }
        }
        Ok(positions)
    }

    /// Subscribes to topics. If that fails, the new ones are removed again.
    async fn subscribe(&self, topics: Vec<(String, Topic)>) -> Result<(), RelayError> {
        let _turn = self.turn_of_topics().await?;
        let new = self.topics.add(topics);
        let subscribed = self.change_topics("SSUBSCRIBE", &new).await;
        if subscribed.is_err() {
            self.topics.remove(&new);
        }
        subscribed
    }

    /// Ends subscriptions. The topics are removed even if the call fails, so that the next session
    /// does not subscribe to them.
    async fn unsubscribe(&self, names: Vec<String>) -> Result<(), RelayError> {
        let turn = self.turn_of_topics().await;
        // Done even without the turn: messages that still arrive in this session are dropped.
        self.topics.remove(&names);
        let _turn = turn?;
        self.change_topics("SUNSUBSCRIBE", &names).await
    }

    async fn turn_of_topics(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, RelayError> {
        let turn = timeout(self.settings.timing.response, self.topics_turn.lock()).await;
        turn.map_err(|_| RelayError::Unavailable("too many calls wait for it"))
    }

    async fn change_topics(&self, verb: &str, names: &[String]) -> Result<(), RelayError> {
        if names.is_empty() {
            return Ok(());
        }
        let (session, signals) = self.session()?;
        let answer = session.subscribe(verb, names);
        self.within(Effect::Read, &signals, answer).await
    }

    async fn send(&self, to: &Destination, body: Bytes) -> Result<usize, RelayError> {
        let (namespace, topic) = match to {
            Destination::Nodes(namespace) => (namespace, self.keys.bus()),
            Destination::Node { namespace, node } => (namespace, self.keys.node_bus(node)),
        };
        Keys::check(namespace)?;
        let envelope = Envelope {
            kind: Kind::Bus,
            epoch: (*self.node).into(),
            number: 0,
            user: (**namespace).into(),
            body,
        };
        let too_long = |_| RelayError::Invalid("the message is longer than an envelope");
        let body = envelope.encode().map_err(too_long)?;
        let (session, signals) = self.session()?;
        let mut publish = cmd("SPUBLISH");
        publish.arg(topic).arg(body);
        let mut commands = session.commands.clone();
        let answer = publish.query_async(&mut commands);
        self.within(Effect::Write, &signals, answer).await
    }

    async fn take_serials(&self, count: u64, floor: u64) -> Result<u64, RelayError> {
        let floor = floor.max(self.serials_end.load(Relaxed));
        let (session, signals) = self.session()?;
        let script = &self.scripts.serials;
        let keys = [self.keys.serials(), self.keys.serials_lineage()];
        let mut call = script.call(&keys);
        call.arg(floor).arg(count).arg(&*session.lineage);
        let answer = session.run(script, &call);
        let first: u64 = self.within(Effect::Write, &signals, answer).await?;
        self.serials_end.fetch_max(first + count, Relaxed);
        Ok(first)
    }

    async fn retire(&self, time: Duration) -> Result<(), RelayError> {
        self.is_retiring.store(true, Relaxed);
        let incarnation = self.incarnation();
        let gone = match self.session() {
            Ok((session, signals)) if time.is_zero() => {
                self.give_up(&session, &signals, &incarnation).await
            }
            Ok((session, signals)) => {
                let ends = self.end_lease(&session, &incarnation, time);
                self.within(Effect::Write, &signals, ends).await
            }
            // Without a connection, other nodes remove the users when the lease has ended.
            Err(error) => Err(error),
        };
        self.stop.notify_one();
        gone
    }

    async fn give_up(
        &self,
        session: &Session,
        signals: &Signals,
        incarnation: &str,
    ) -> Result<(), RelayError> {
        let ended = Ended::default();
        let claim = self.claim(session, incarnation, true, &ended);
        self.within(Effect::Write, signals, claim).await?;
        // Each step has its own timeout: together they may take longer than one call.
        let cleared = self.clear(session, signals, incarnation).await;
        match signals.loss() {
            None => cleared.map_err(|_| RelayError::InDoubt),
            Some(_) => Err(RelayError::InDoubt),
        }
    }
}

/// Converts the next of several values of an answer.
pub(crate) fn next<T: FromRedisValue>(
    values: &mut impl Iterator<Item = Value>,
) -> Result<T, RelayError> {
    let value = values.next().unwrap_or(Value::Nil);
    T::from_redis_value(value).map_err(|error| RelayError::Foreign(error.to_string().into()))
}

fn found(values: Vec<Value>) -> Result<Found, RelayError> {
    let mut values = values.into_iter();
    let epoch = next(&mut values)?;
    let offset = next(&mut values)?;
    let notice = next(&mut values)?;
    let now_ms = next(&mut values)?;
    let first = next(&mut values)?;
    let mut messages = Vec::with_capacity(values.len() / 3);
    while values.len() > 0 {
        messages.push(Kept {
            offset: next(&mut values)?,
            at_ms: next(&mut values)?,
            body: next::<Vec<u8>>(&mut values)?.into(),
        });
    }
    Ok((epoch, offset, notice, now_ms, first, messages))
}
