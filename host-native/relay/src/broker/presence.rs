//! Calls of the host: users of rooms, and nodes.

use std::collections::HashMap;

use redis::{RedisResult, Value, aio::MultiplexedConnection, pipe};

use super::{
    calls::next,
    keys::{Keys, listed},
    shared::{Effect, Shared},
};
use crate::{
    error::RelayError,
    position::{Address, RoomList},
    presence::{Arrival, Change, Corrections, Member, Members, Node, Presence, connections_of},
};

/// The time for which the server remembers changes, in milliseconds: long enough for a call to be
/// retried when the relay is back.
const CHANGE_MS: u64 = 60_000;
/// Rooms of the index that one call looks at: some 500 µs of server time.
const ROOMS_AT_ONCE: usize = 250;

impl Shared {
    pub(crate) async fn set_present(&self, presence: &Presence) -> Result<Arrival, RelayError> {
        let address = &presence.address;
        check(presence)?;
        let incarnation = self.incarnation();
        let user = &*presence.user;
        let mut keys = self.keys_of_node(address, &incarnation);
        keys.push(self.keys.changes(address, &incarnation, user));
        let (number, first) = self.change_numbers.begin(address, user);
        let script = &self.scripts.presence;
        let answer = self.call(Effect::Entry, script, &keys, |call| {
            call.arg(&*incarnation).arg(user);
            call.arg(presence.weight());
            call.arg(listed(address)).arg(&presence.meta[..]);
            call.arg(number).arg(first).arg(CHANGE_MS);
        });
        let answer: Result<(Vec<i64>, String, u64, u64), _> = answer.await;
        if answer.as_ref().is_err_and(|it| *it != RelayError::InDoubt) {
            self.change_numbers.failed(address, user, number);
        }
        let (changes, epoch, notice, weight) = answer?;
        let changes = changes.chunks_exact(2);
        let changes = changes.map(|it| (it[0].unsigned_abs(), it[1]));
        let changes: Vec<_> = changes.collect();
        self.change_numbers.note(address, user, weight > 0);
        let change = self
            .change_numbers
            .answered(address, user, number, &changes);
        Ok(Arrival {
            // Another node may have reported the opposite since.
            change: change.filter(|it| (*it == Change::Joined) == (weight > 0)),
            epoch: epoch.into(),
            notice,
            connections: connections_of(weight),
        })
    }

    pub(crate) async fn reconcile(
        &self,
        room: &Address,
        present: &[Presence],
    ) -> Result<Corrections, RelayError> {
        Keys::check(&room.namespace)?;
        present.iter().try_for_each(check)?;
        let incarnation = self.incarnation();
        let keys = self.keys_of_node(room, &incarnation);
        let script = &self.scripts.reconcile;
        type Answer = (usize, Vec<(String, i64)>);
        let _reconciling = self.change_numbers.reconcile();
        let answer = self.call::<Answer>(Effect::Entry, script, &keys, |call| {
            call.arg(&*incarnation).arg(listed(room));
            for presence in present {
                call.arg(&*presence.user).arg(presence.weight());
                call.arg(&presence.meta[..]);
            }
        });
        let (count, changes) = answer.await?;
        self.counters.count_corrections(count);
        let changes = changes.into_iter().filter_map(|(user, change)| {
            let change = self.change_numbers.corrected(room, &user, change)?;
            Some((user.into(), change))
        });
        let changes = changes.collect();
        Ok(Corrections { count, changes })
    }

    /// The keys of a script that changes users of a node in a room.
    pub(crate) fn keys_of_node(&self, address: &Address, incarnation: &str) -> Vec<String> {
        let mut keys = vec![
            self.keys.meta(address),
            self.keys.stream(address),
            self.keys.topic(address),
            self.keys.leases(),
            self.keys.rooms(incarnation),
            self.keys.own(address, incarnation),
            self.keys.users(address),
            self.keys.users_meta(address),
        ];
        if let Some(room) = address.occupied() {
            keys.extend([self.keys.meta(&room), self.keys.index(&room)]);
        }
        keys
    }

    /// Lists rooms by the index, part by part.
    pub(crate) async fn rooms(&self, list: &RoomList) -> Result<Vec<Box<str>>, RelayError> {
        let any = Address::room(list.namespace.clone(), "");
        Keys::check(&any.namespace)?;
        let (metas, streams) = (self.keys.meta(&any), self.keys.stream(&any));
        let begin = format!("{metas}{}", list.prefix);
        let after = list.after.as_ref().map(|after| format!("{metas}{after}"));
        let mut from = match after {
            Some(after) if after > begin => format!("({after}"),
            _ => format!("[{begin}"),
        };
        let (keys, mut rooms) = ([self.keys.index(&any)], Vec::new());
        while rooms.len() < list.rooms_max && !from.is_empty() {
            let script = &self.scripts.rooms;
            let answer = self.call::<Vec<String>>(Effect::Read, script, &keys, |call| {
                call.arg(&metas).arg(&streams).arg(&*list.prefix);
                call.arg(&from).arg(ROOMS_AT_ONCE);
            });
            let mut found = answer.await?.into_iter();
            from = found.next().unwrap_or_default();
            rooms.extend(found.map(Into::into));
        }
        rooms.truncate(list.rooms_max);
        Ok(rooms)
    }

    pub(crate) async fn members(
        &self,
        room: &Address,
        users_max: u32,
    ) -> Result<Members, RelayError> {
        Keys::check(&room.namespace)?;
        let keys = [
            self.keys.meta(room),
            self.keys.stream(room),
            self.keys.users(room),
            self.keys.users_meta(room),
        ];
        let script = &self.scripts.members;
        let answer = self.call::<Vec<Value>>(Effect::Read, script, &keys, |call| {
            call.arg(users_max);
        });
        let mut values = answer.await?.into_iter();
        let mut members = Members {
            epoch: next::<String>(&mut values)?.into(),
            notice: next(&mut values)?,
            total: next(&mut values)?,
            connections: next(&mut values)?,
            users: Vec::with_capacity(values.len() / 3),
        };
        while values.len() > 0 {
            members.users.push(Member {
                user: next::<String>(&mut values)?.into(),
                connections: next(&mut values)?,
                meta: next::<Vec<u8>>(&mut values)?.into(),
            });
        }
        Ok(members)
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, RelayError> {
        let (session, signals) = self.session()?;
        let mut commands = session.commands.clone();
        let answer = read_nodes(&mut commands, &self.keys);
        self.within(Effect::Read, &signals, answer).await
    }
}

/// Reads the nodes that have a lease.
pub(crate) async fn read_nodes(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> RedisResult<Vec<Node>> {
    let mut questions = pipe();
    questions.cmd("ZRANGE").arg(keys.leases());
    questions.arg(0).arg(-1).arg("WITHSCORES");
    questions.cmd("HGETALL").arg(keys.nodes());
    questions.cmd("TIME");
    type Answers = (Vec<(String, f64)>, HashMap<String, Vec<u8>>, (u64, u64));
    let (leases, mut about, (seconds, micros)): Answers = questions.query_async(connection).await?;
    let now_ms = seconds * 1_000 + micros / 1_000;
    let node = |(incarnation, ends): (String, f64)| {
        // A node that retires may keep its lease for a while, for its users, but is unlisted.
        let about = about.remove(&incarnation)?.into();
        Some(Node {
            lease_ms: whole(ends).saturating_sub(now_ms),
            about,
            incarnation: incarnation.into(),
        })
    };
    Ok(leases.into_iter().filter_map(node).collect())
}

fn check(presence: &Presence) -> Result<(), RelayError> {
    if presence.user.len() > usize::from(u16::MAX) {
        return Err(RelayError::Invalid("a user has 65,535 bytes at most"));
    }
    Keys::check(&presence.address.namespace)
}

/// Converts the milliseconds of a score, which is a double: whole, and below 2<sup>53</sup>.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(score: f64) -> u64 {
    score as u64
}
