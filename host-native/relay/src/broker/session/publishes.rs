//! Publishes on their connection, and the wait for replicas that have them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{
    FromRedisValue, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection, cmd,
};
use tokio::sync::Mutex;

use crate::broker::{
    script::{Script, is_forgotten},
    settings::millis,
};

/// Runs calls of one script, with its text where the server has forgotten it.
pub(super) async fn run_all(
    mut line: MultiplexedConnection,
    script: &Script,
    calls: &Pipeline,
) -> RedisResult<Vec<RedisResult<String>>> {
    let answers = line.send_packed_commands(calls, 0, calls.len()).await?;
    let answers = answers.into_iter().map(Value::extract_error);
    let mut answers: Vec<_> = answers.collect();
    let forgotten = |answer: &RedisResult<Value>| answer.as_ref().is_err_and(is_forgotten);
    if answers.iter().any(forgotten) {
        let mut again = Pipeline::new();
        for (call, answer) in calls.cmd_iter().zip(&answers) {
            if forgotten(answer) {
                again.add_command(script.with_text(call));
            }
        }
        let retried = line.send_packed_commands(&again, 0, again.len()).await?;
        let open = answers.iter_mut().filter(|answer| forgotten(answer));
        for (answer, retried) in open.zip(retried) {
            *answer = retried.extract_error();
        }
    }
    let answers = answers.into_iter();
    Ok(answers
        .map(|answer| Ok(String::from_redis_value(answer?)?))
        .collect())
}

/// A connection for publishes alone. `WAIT` covers the writes of its own connection, and blocks
/// later commands there, so heartbeats and reads use another one. One `WAIT` serves all publishes
/// that were carried out before it.
#[derive(Debug)]
pub(crate) struct Replicated {
    commands: MultiplexedConnection,
    /// The same connection for publishes.
    line: MultiplexedConnection,
    /// Replicas that must have a publish, and the time for that.
    replicas: u64,
    time: Duration,
    /// Calls that were carried out.
    done: Arc<AtomicU64>,
    /// Locked while a `WAIT` is in flight.
    waited: Arc<Mutex<Waited>>,
}

/// The outcome of the last `WAIT`: the number of calls that it covered, and of replicas that have
/// them.
#[derive(Debug, Default, Clone, Copy)]
struct Waited {
    calls: u64,
    replicas: u64,
}

impl Replicated {
    /// A new connection, on which publishes time out after `silence`.
    pub(crate) fn new(
        commands: MultiplexedConnection,
        replicas: u8,
        time: Duration,
        silence: Duration,
    ) -> Self {
        let mut line = commands.clone();
        line.set_response_timeout(silence);
        Self {
            commands,
            line,
            replicas: replicas.into(),
            time,
            done: Arc::default(),
            waited: Arc::default(),
        }
    }

    /// Runs publishes. Returns the answer to each, and whether enough replicas have them.
    pub(super) async fn run(
        &self,
        script: &Script,
        calls: &Pipeline,
    ) -> RedisResult<(Vec<RedisResult<String>>, bool)> {
        let answers = run_all(self.line.clone(), script, calls).await?;
        let number = self.done.fetch_add(1, Relaxed) + 1;
        let replicas = self.wait(number).await?;
        Ok((answers, replicas >= self.replicas))
    }

    /// Returns the number of replicas that have a call.
    async fn wait(&self, number: u64) -> RedisResult<u64> {
        let mut waited = self.waited.clone().lock_owned().await;
        if waited.calls >= number {
            return Ok(waited.replicas);
        }
        let mut wait = cmd("WAIT");
        wait.arg(self.replicas).arg(millis(self.time));
        let (mut commands, done) = (self.commands.clone(), self.done.clone());
        // A separate task: when a publish times out, its `WAIT` still blocks the connection, and
        // another one would only queue behind it.
        let waiting = tokio::spawn(async move {
            let calls = done.load(Relaxed);
            let replicas = wait.query_async::<u64>(&mut commands).await?;
            *waited = Waited { calls, replicas };
            Ok(replicas)
        });
        let ended = waiting.await;
        ended.unwrap_or_else(|error| Err(RedisError::from(std::io::Error::other(error))))
    }

    /// Fails when the connection is lost. A `WAIT` in flight delays the answer.
    pub(crate) async fn ping(&self) -> RedisResult<()> {
        let mut commands = self.commands.clone();
        cmd("PING").query_async::<String>(&mut commands).await?;
        Ok(())
    }
}
