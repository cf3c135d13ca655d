//! The connections of a session, which end together.

mod publishes;

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    aio::MultiplexedConnection, pipe,
};
use tokio::sync::Notify;

pub(crate) use self::publishes::Replicated;
use self::publishes::run_all;
use super::{
    script::{Script, is_forgotten},
    settings::millis,
};
use crate::event::Loss;

/// Topics that are subscribed to in one step.
const TOPICS_AT_ONCE: usize = 200;

/// Two connections to one server, and a third if replicas must acknowledge. When one ends, the
/// others end too, so that there is a single reconnect, which checks everything.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) commands: MultiplexedConnection,
    /// The connection of the subscriptions, for publishes: answers and messages arrive together.
    /// Its timeout is the silence after which a session ends, so that publishes keep their place
    /// when nobody waits for them any more.
    line: MultiplexedConnection,
    pub(crate) subscriptions: MultiplexedConnection,
    /// The connection of publishes that wait for replicas.
    pub(crate) replicated: Option<Replicated>,
    /// The lineage of the data when the connections were made.
    pub(crate) lineage: Box<str>,
    /// The time of the last read of the lineage, once a heartbeat.
    pub(crate) lineage_read: Moment,
}

/// A point in time that any thread can move to now.
#[derive(Debug)]
pub(crate) struct Moment {
    born: Instant,
    at_ms: AtomicU64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        let (born, at_ms) = (Instant::now(), AtomicU64::new(0));
        Self { born, at_ms }
    }

    /// Moves it to now, and returns the new time.
    pub(crate) fn touch(&self) -> Instant {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.born);
        self.at_ms.store(millis(since), Relaxed);
        now
    }

    /// The time since then.
    pub(crate) fn elapsed(&self) -> Duration {
        let at = Duration::from_millis(self.at_ms.load(Relaxed));
        self.born.elapsed().saturating_sub(at)
    }
}

/// Signals from connections and calls to the task that watches them.
#[derive(Debug)]
pub(crate) struct Signals {
    heard: Moment,
    loss: OnceLock<Loss>,
    lost: Notify,
    /// A call had no answer in time: the server is pinged at once.
    pub(crate) suspected: Notify,
    /// A probe came back.
    pub(crate) probed: Notify,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            heard: Moment::now(),
            loss: OnceLock::new(),
            lost: Notify::new(),
            suspected: Notify::new(),
            probed: Notify::new(),
        }
    }

    /// Ends the session. The first reason counts.
    pub(crate) fn fail(&self, loss: Loss) {
        if self.loss.set(loss).is_ok() {
            self.lost.notify_waiters();
        }
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.loss.get().copied()
    }

    /// Waits for the end of the session.
    pub(crate) async fn lost(&self) -> Loss {
        loop {
            // Registered before the check, so that an end in between wakes it too.
            let lost = self.lost.notified();
            if let Some(loss) = self.loss() {
                return loss;
            }
            lost.await;
        }
    }

    /// Records that the server pushed something, and returns the time.
    pub(crate) fn note_heard(&self) -> Instant {
        self.heard.touch()
    }

    /// The time since the last push of the server.
    pub(crate) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }
}

impl Session {
    /// A session of new connections. Publishes time out after `silence`.
    pub(crate) fn new(
        commands: MultiplexedConnection,
        subscriptions: MultiplexedConnection,
        replicated: Option<Replicated>,
        lineage: Box<str>,
        lineage_read: Moment,
        silence: Duration,
    ) -> Self {
        let mut line = subscriptions.clone();
        line.set_response_timeout(silence);
        Self {
            commands,
            line,
            subscriptions,
            replicated,
            lineage,
            lineage_read,
        }
    }

    /// Calls a script, with its text where the server has forgotten it.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        call: &Cmd,
    ) -> RedisResult<T> {
        let mut commands = self.commands.clone();
        match call.query_async(&mut commands).await {
            Err(error) if is_forgotten(&error) => {
                let whole = script.with_text(call);
                whole.query_async(&mut commands).await
            }
            answer => answer,
        }
    }

    /// Runs publishes in order, in one write. Returns the answer to each, and whether enough
    /// replicas have them.
    pub(crate) async fn publish(
        &self,
        script: &Script,
        calls: &Pipeline,
    ) -> RedisResult<(Vec<RedisResult<String>>, bool)> {
        match &self.replicated {
            Some(replicated) => replicated.run(script, calls).await,
            None => Ok((run_all(self.line.clone(), script, calls).await?, true)),
        }
    }

    /// Subscribes to topics, or unsubscribes from them. An answer confirms it.
    pub(crate) async fn subscribe(&self, verb: &str, topics: &[String]) -> RedisResult<()> {
        let mut connection = self.subscriptions.clone();
        for topics in topics.chunks(TOPICS_AT_ONCE) {
            // One command for each topic: each has one answer then, as the library expects.
            let mut commands = pipe();
            for topic in topics {
                commands.cmd(verb).arg(topic);
            }
            let answers = connection.send_packed_commands(&commands, 0, topics.len());
            for answer in answers.await? {
                if let Value::ServerError(error) = answer {
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
}

/// True when the server takes no writes: it is a replica, is loading its data, or has lost the slot
/// of Redis Cluster.
pub(crate) fn is_read_only(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
        )
    )
}
