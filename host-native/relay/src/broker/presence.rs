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
    position::Address,
    presence::{Arrival, Change, Member, Members, Node, Presence},
};

impl Shared {
    pub(crate) async fn set_present(&self, presence: &Presence) -> Result<Arrival, RelayError> {
        let address = &presence.address;
        check(presence)?;
        let incarnation = self.incarnation();
        let keys = self.keys_of_node(address, &incarnation);
        let script = &self.scripts.presence;
        let answer = self.call(Effect::Entry, script, &keys, |call| {
            call.arg(&*incarnation).arg(&*presence.user);
            call.arg(presence.connections);
            call.arg(listed(address)).arg(&presence.meta[..]);
        });
        let (change, epoch, notice, connections): (i8, String, u64, u64) = answer.await?;
        Ok(Arrival {
            change: match change {
                1 => Some(Change::Joined),
                -1 => Some(Change::Left),
                _ => None,
            },
            epoch: epoch.into(),
            notice,
            connections,
        })
    }

    pub(crate) async fn reconcile(
        &self,
        room: &Address,
        present: &[Presence],
    ) -> Result<usize, RelayError> {
        Keys::check(&room.namespace)?;
        present.iter().try_for_each(check)?;
        let incarnation = self.incarnation();
        let keys = self.keys_of_node(room, &incarnation);
        let script = &self.scripts.reconcile;
        let answer = self.call(Effect::Entry, script, &keys, |call| {
            call.arg(&*incarnation).arg(listed(room));
            for presence in present {
                call.arg(&*presence.user).arg(presence.connections);
                call.arg(&presence.meta[..]);
            }
        });
        let corrections = answer.await?;
        self.counters.count_corrections(corrections);
        Ok(corrections)
    }

    /// The keys of a script that changes users of a node in a room.
    fn keys_of_node(&self, address: &Address, incarnation: &str) -> [String; 8] {
        [
            self.keys.meta(address),
            self.keys.stream(address),
            self.keys.topic(address),
            self.keys.leases(),
            self.keys.rooms(incarnation),
            self.keys.own(address, incarnation),
            self.keys.users(address),
            self.keys.users_meta(address),
        ]
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
        // One that retires has a lease still, for its users.
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

/// Milliseconds that came as a double, as scores do: whole, and below 2<sup>53</sup>.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(score: f64) -> u64 {
    score as u64
}
