//! Inspection of a relay from outside, for operators.

use std::collections::{BTreeSet, HashMap};

use redis::{
    AsyncConnectionConfig, FromRedisValue, RedisError, Value, aio::MultiplexedConnection, cmd, pipe,
};
use tokio::time::timeout;

use crate::{
    broker::{Keys, Settings, StartError, info_field, next, read_nodes},
    error::RelayError,
    position::Address,
    presence::Node,
};

/// Keys that the server visits in one step of a search.
const KEYS_AT_ONCE: usize = 1_000;
/// Rooms that are read in one step.
const ROOMS_AT_ONCE: usize = 200;

/// The pattern for names of rooms, without those that [count nodes](Address::occupied).
const ROOMS: &str = "[^\u{1}]*";

/// A read-only connection to a relay. It has no lease, and makes no checks, so it also works with a
/// server that no node would use.
#[derive(Debug)]
pub struct Inspector {
    connection: MultiplexedConnection,
    keys: Keys,
}

/// Facts about the server of a relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFacts {
    /// `Redis` or `Valkey`, and its version.
    pub version: Box<str>,
    /// True for a replica, which takes no writes.
    pub is_replica: bool,
    /// Replicas that are connected to it.
    pub replicas: u64,
    /// The id of its replication.
    pub replication: Box<str>,
    /// The lineage that is kept with the data, where a node has used [`Lineage::Data`].
    ///
    /// [`Lineage::Data`]: crate::Lineage::Data
    pub data: Option<Box<str>>,
    /// True with an append-only file.
    pub is_append_only: bool,
    /// `appendfsync`; `None` when the server hides it.
    pub append_sync: Option<Box<str>>,
    /// `save`; `None` when the server hides it.
    pub save: Option<Box<str>>,
    /// Memory that it uses, in bytes.
    pub memory_bytes: u64,
    /// Memory that it may use, in bytes; 0 is no limit.
    pub memory_bytes_max: u64,
    /// `maxmemory-policy`.
    pub eviction: Box<str>,
    /// The time since its start, in seconds.
    pub uptime_s: u64,
}

/// A room as the relay has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomFacts {
    /// Its name.
    pub room: Box<str>,
    /// The epoch.
    pub epoch: Box<str>,
    /// The offset of the last message.
    pub offset: u64,
    /// Messages that its stream keeps.
    pub kept: u64,
    /// Users in it, on all nodes.
    pub users: u64,
    /// The lineage of the data that the room belongs to. If the server's lineage differs, the room
    /// begins a new epoch as soon as somebody touches it.
    pub lineage: Box<str>,
}

impl Inspector {
    /// Connects to the server.
    ///
    /// # Errors
    ///
    /// [`StartError::Unreachable`].
    pub async fn connect(settings: &Settings) -> Result<Self, StartError> {
        let (url, timing) = (&settings.url, &settings.timing);
        let keys = Keys::new(&settings.prefix);
        let unreachable = |source: RedisError| StartError::Unreachable {
            url: url.to_string().into(),
            source,
        };
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(timing.response * 5))
            .set_connection_timeout(Some(timing.connect));
        let connected = timeout(timing.connect * 5, async {
            let client = url.client(&keys.leases()).await?;
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
        });
        let connected = connected.await;
        let connected = connected.unwrap_or_else(|late| Err(std::io::Error::from(late).into()));
        Ok(Self {
            connection: connected.map_err(unreachable)?,
            keys,
        })
    }

    /// Reads facts about the server.
    ///
    /// # Errors
    ///
    /// When it hides `INFO`, or does not answer.
    pub async fn server(&mut self) -> Result<ServerFacts, RelayError> {
        let info: String = self.ask(&cmd("INFO")).await?;
        let field = |name| info_field(&info, name).unwrap_or_default();
        let number = |name| field(name).parse().unwrap_or_default();
        let version = match info_field(&info, "valkey_version") {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", field("redis_version")),
        };
        let mut lineage = cmd("GET");
        lineage.arg(self.keys.lineage());
        Ok(ServerFacts {
            version: version.into(),
            is_replica: field("role") == "slave",
            replicas: number("connected_slaves"),
            replication: field("master_replid").into(),
            data: self.ask::<Option<String>>(&lineage).await?.map(Into::into),
            is_append_only: field("aof_enabled") == "1",
            append_sync: self.config("appendfsync").await,
            save: self.config("save").await,
            memory_bytes: number("used_memory"),
            memory_bytes_max: number("maxmemory"),
            eviction: field("maxmemory_policy").into(),
            uptime_s: number("uptime_in_seconds"),
        })
    }

    /// A setting of the server; `None` when it is hidden.
    async fn config(&mut self, name: &str) -> Option<Box<str>> {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg(name);
        let found = self.ask::<HashMap<String, String>>(&get).await.ok()?;
        found.into_values().next().map(Into::into)
    }

    /// Lists the nodes with a lease, and dead nodes whose users are not removed yet. The latter
    /// have no `about`, and no time left.
    ///
    /// # Errors
    ///
    /// When the server refuses, or does not answer.
    pub async fn nodes(&mut self) -> Result<Vec<Node>, RelayError> {
        let mut nodes = read_nodes(&mut self.connection, &self.keys)
            .await
            .map_err(told)?;
        let mut members = cmd("SMEMBERS");
        members.arg(self.keys.dead());
        let dead: Vec<String> = self.ask(&members).await?;
        nodes.extend(dead.into_iter().map(|incarnation| Node {
            incarnation: incarnation.into(),
            lease_ms: 0,
            about: bytes::Bytes::new(),
        }));
        Ok(nodes)
    }

    /// Reads rooms by their names. Those that the relay does not know are left out.
    ///
    /// # Errors
    ///
    /// When the name of the namespace is invalid, or the server refuses or does not answer.
    pub async fn rooms(
        &mut self,
        namespace: &str,
        rooms: impl IntoIterator<Item = &str>,
    ) -> Result<Vec<RoomFacts>, RelayError> {
        Keys::check(namespace)?;
        let rooms: Vec<&str> = rooms.into_iter().collect();
        self.read_rooms(namespace, &rooms).await
    }

    /// Finds up to `rooms_max` rooms of a namespace; true when there are more.
    ///
    /// Work: up to all keys of the server, in small steps.
    ///
    /// # Errors
    ///
    /// As [`rooms`](Self::rooms).
    pub async fn all_rooms(
        &mut self,
        namespace: &str,
        rooms_max: usize,
    ) -> Result<(Vec<RoomFacts>, bool), RelayError> {
        Keys::check(namespace)?;
        let begin = self.keys.meta(&Address::room(namespace, ""));
        let (mut found, mut cursor) = (BTreeSet::new(), 0);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("{}{ROOMS}", escaped(&begin)));
            scan.arg("COUNT").arg(KEYS_AT_ONCE);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask(&scan).await?;
            for key in keys {
                let key = String::from_utf8(key).unwrap_or_default();
                if let Some(room) = key.strip_prefix(&*begin) {
                    // A search may find a key twice.
                    found.insert(room.to_owned());
                }
            }
            cursor = next;
            if cursor == 0 || found.len() > rooms_max {
                break;
            }
        }
        let has_more = found.len() > rooms_max;
        let rooms: Vec<&str> = found.iter().map(String::as_str).take(rooms_max).collect();
        Ok((self.read_rooms(namespace, &rooms).await?, has_more))
    }

    async fn read_rooms(
        &mut self,
        namespace: &str,
        rooms: &[&str],
    ) -> Result<Vec<RoomFacts>, RelayError> {
        type Meta = (Option<String>, Option<u64>, Option<String>);
        let mut found = Vec::with_capacity(rooms.len());
        for rooms in rooms.chunks(ROOMS_AT_ONCE) {
            let mut questions = pipe();
            for room in rooms {
                let address = Address::room(namespace, *room);
                questions.cmd("HMGET").arg(self.keys.meta(&address));
                questions.arg("e").arg("o").arg("l");
                questions.cmd("XLEN").arg(self.keys.stream(&address));
                questions.cmd("HLEN").arg(self.keys.users(&address));
            }
            let answers = questions.query_async::<Vec<Value>>(&mut self.connection);
            let mut answers = answers.await.map_err(told)?.into_iter();
            for room in rooms {
                let (epoch, offset, lineage) = next::<Meta>(&mut answers)?;
                let (kept, users) = (next(&mut answers)?, next(&mut answers)?);
                // The room may have been forgotten since it was found.
                found.extend(epoch.map(|epoch| RoomFacts {
                    room: (*room).into(),
                    epoch: epoch.into(),
                    offset: offset.unwrap_or_default(),
                    kept,
                    users,
                    lineage: lineage.unwrap_or_default().into(),
                }));
            }
        }
        Ok(found)
    }

    async fn ask<T: FromRedisValue>(&mut self, question: &redis::Cmd) -> Result<T, RelayError> {
        let answer = question.query_async(&mut self.connection).await;
        answer.map_err(told)
    }
}

fn told(error: RedisError) -> RelayError {
    match error.code() {
        Some(_) => RelayError::Refusal(error.to_string().into()),
        None => RelayError::Unavailable("it does not answer"),
    }
}

/// Escapes a text for patterns of the server, so that it matches only itself.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if "*?[]\\^".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_themselves() {
        assert_eq!(escaped("a:{b}*[c]"), "a:{b}\\*\\[c\\]");
    }
}
