//! Messages of a story: who is to get them, and the positions that the relay gave them.

use std::collections::BTreeMap;

use roomcast_core::{ConnId, relay::Topic};

use super::broker::{Broker, Continued, Placed};

/// A message that was published, or tried to be.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) publisher: Publisher,
    /// The key and the text of a publish that may be sent again.
    pub(crate) key: Option<String>,
    /// The times that a client published it.
    pub(crate) attempts: u32,
    pub(crate) acked: bool,
    /// The losses of the relay when it was first published.
    pub(crate) losses: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Publisher {
    /// A client, with the connections under which it published.
    Client {
        client: usize,
        conns: Vec<ConnId>,
        echo: bool,
    },
    /// A backend, and those it left out.
    Backend {
        user: Option<&'static str>,
        /// Several rooms, whose members change while it is on its way.
        rooms: Vec<&'static str>,
        except_user: Option<&'static str>,
        except_conn: Option<ConnId>,
    },
}

/// Tells if a connection must, must not or may receive a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Owed,
    Never,
    /// May or may not arrive: the client published it under an earlier connection.
    Maybe,
}

/// A client as a recipient.
pub(crate) struct Recipient<'a> {
    pub(crate) client: usize,
    pub(crate) user: Option<&'static str>,
    pub(crate) conn: ConnId,
    pub(crate) conns: &'a [ConnId],
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) messages: BTreeMap<u64, Message>,
    /// The positions in the log of each message.
    positions: BTreeMap<u64, Vec<usize>>,
    /// The positions in the log of each topic.
    topics: BTreeMap<Topic, Vec<usize>>,
    pub(crate) continued: Continued,
    seen: usize,
}

impl Truth {
    /// Looks at what the relay gave positions since.
    pub(crate) fn follow(&mut self, broker: &Broker) {
        let log: &[Placed] = &broker.log;
        self.continued.follow(&broker.continued);
        for (at, placed) in log.iter().enumerate().skip(self.seen) {
            self.positions.entry(placed.id).or_default().push(at);
            let topic = self.topics.entry(placed.topic.clone());
            topic.or_default().push(at);
        }
        self.seen = log.len();
    }

    pub(crate) fn positions(&self, id: u64) -> &[usize] {
        self.positions.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The positions of a topic in a part of the log.
    pub(crate) fn positions_in(&self, topic: &Topic, from: usize, to: usize) -> &[usize] {
        let all = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let end = all.partition_point(|&at| at < to);
        let start = all.partition_point(|&at| at < from).min(end);
        &all[start..end]
    }

    /// The claim of a connection to a message of a topic that it follows.
    pub(crate) fn claim(&self, id: u64, to: &Recipient<'_>) -> Claim {
        match &self.messages[&id].publisher {
            Publisher::Client {
                client,
                conns,
                echo,
            } => {
                if *echo || *client != to.client {
                    Claim::Owed
                } else if conns.as_slice() == [to.conn] {
                    Claim::Never
                } else {
                    Claim::Maybe
                }
            }
            Publisher::Backend {
                user,
                rooms,
                except_user,
                except_conn,
            } => {
                let is_user = |user: Option<&str>| user.is_some() && user == to.user;
                let is_other = user.is_some() && !is_user(*user);
                if is_other || is_user(*except_user) || *except_conn == Some(to.conn) {
                    Claim::Never
                } else if !rooms.is_empty()
                    || except_conn.is_some_and(|conn| to.conns.contains(&conn))
                {
                    Claim::Maybe
                } else {
                    Claim::Owed
                }
            }
        }
    }
}
