//! State that callers, connections and the session task share.

mod change_numbers;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult};
use tokio::{
    select,
    sync::{Notify, Semaphore, SemaphorePermit, watch},
    time::{Instant, timeout_at},
};

use self::change_numbers::ChangeNumbers;
use super::{
    id::random_id,
    keys::Keys,
    script::{Script, Scripts},
    server::lineage::Lineage,
    session::{Session, Signals, is_read_only},
    settings::{Settings, millis},
    topics::Topics,
};
use crate::{
    counters::Counters, error::RelayError, event::Loss, relay::State, ring::Ring, ring::locked,
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) topics: Arc<Topics>,
    /// Locked while subscriptions change: a later change must not overtake an earlier one.
    pub(crate) topics_turn: tokio::sync::Mutex<()>,
    pub(crate) ring: Arc<Ring>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) node: Arc<str>,
    pub(crate) state: watch::Sender<State>,
    /// True while this node removes a dead one.
    pub(crate) is_reaping: AtomicBool,
    pub(crate) is_retiring: AtomicBool,
    pub(crate) stop: Notify,
    /// The serial above all that this node was given. Heartbeats report it to the relay.
    pub(crate) serials_end: AtomicU64,
    pub(crate) change_numbers: ChangeNumbers,
    permits: Semaphore,
    /// Permits for changes of users: other calls do not delay them, which could change their order.
    entry_permits: Semaphore,
    /// Permits for publishes: other calls do not delay them. So a host with at most this many in
    /// flight never sees one fail in the queue before later ones.
    publish_permits: Semaphore,
    registrations: AtomicU64,
    about: Mutex<Bytes>,
    incarnation: Mutex<Arc<str>>,
    /// The last incarnation that the host was notified of.
    told: Mutex<Option<Arc<str>>>,
    /// The lineage of the data in which the incarnation is registered.
    lineage: Mutex<Option<Box<str>>>,
    session: Mutex<Option<(Arc<Session>, Arc<Signals>)>>,
    fault: Mutex<Option<Box<str>>>,
}

/// The effect that an unanswered call may have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Something may have changed.
    Write,
    /// The users of a room may have changed.
    Entry,
    /// Nothing that matters has changed.
    Read,
}

impl Shared {
    pub(crate) fn new(settings: Settings, ring: Arc<Ring>) -> Self {
        let node: Arc<str> = random_id().into();
        let incarnation = Mutex::new(format!("{node}.0").into());
        Self {
            keys: Keys::new(&settings.prefix),
            scripts: Arc::new(Scripts::new()),
            topics: Arc::default(),
            topics_turn: tokio::sync::Mutex::default(),
            ring,
            counters: Arc::default(),
            state: watch::Sender::new(State::Lost),
            is_reaping: AtomicBool::new(false),
            is_retiring: AtomicBool::new(false),
            stop: Notify::new(),
            serials_end: AtomicU64::new(0),
            change_numbers: ChangeNumbers::default(),
            permits: Semaphore::new(settings.limits.calls_max),
            entry_permits: Semaphore::new(settings.limits.calls_max),
            publish_permits: Semaphore::new(settings.limits.calls_max),
            registrations: AtomicU64::new(0),
            about: Mutex::new(settings.about.clone()),
            incarnation,
            told: Mutex::new(None),
            lineage: Mutex::new(None),
            session: Mutex::new(None),
            fault: Mutex::new(None),
            node,
            settings,
        }
    }

    /// The session, if there is one.
    pub(crate) fn session(&self) -> Result<(Arc<Session>, Arc<Signals>), RelayError> {
        let session = locked(&self.session).clone();
        session.ok_or(RelayError::Unavailable("there is no connection"))
    }

    pub(crate) fn set_session(&self, session: Option<(Arc<Session>, Arc<Signals>)>) {
        *locked(&self.session) = session;
    }

    /// The last error that kept the relay from becoming ready.
    pub(crate) fn fault(&self) -> Option<Box<str>> {
        locked(&self.fault).clone()
    }

    pub(crate) fn note_fault(&self, fault: String) {
        *locked(&self.fault) = Some(fault.into());
    }

    /// Data that the node publishes about itself.
    pub(crate) fn about(&self) -> Bytes {
        locked(&self.about).clone()
    }

    pub(crate) fn set_about(&self, about: Bytes) {
        *locked(&self.about) = about;
    }

    /// The incarnation that owns the users of this node.
    pub(crate) fn incarnation(&self) -> Arc<str> {
        locked(&self.incarnation).clone()
    }

    /// The incarnation, and the lineage of the data in which it is registered.
    pub(crate) fn registration(&self) -> (Arc<str>, Option<Box<str>>) {
        (self.incarnation(), locked(&self.lineage).clone())
    }

    /// Records the lineage of the data in which the incarnation is registered.
    pub(crate) fn note_lineage(&self, lineage: &str) {
        *locked(&self.lineage) = Some(lineage.into());
    }

    /// Records that the host is notified of an incarnation. False when it was already.
    pub(crate) fn note_told(&self, incarnation: &Arc<str>) -> bool {
        let before = locked(&self.told).replace(incarnation.clone());
        before.as_ref() != Some(incarnation)
    }

    /// Takes a fresh incarnation: one whose lease was taken away is never used again.
    pub(crate) fn renew_incarnation(&self) -> Arc<str> {
        let number = self.registrations.fetch_add(1, Relaxed) + 1;
        let fresh: Arc<str> = format!("{}.{number}", self.node).into();
        locked(&self.incarnation).clone_from(&fresh);
        self.change_numbers.clear();
        fresh
    }

    /// Begins the arguments of a script of rooms, see `lua/room.lua`.
    pub(crate) fn begin_arguments(&self, call: &mut Cmd, session: &Session) {
        self.begin_arguments_as(call, session, &random_id());
    }

    /// Begins the arguments with a given id for the epoch that may begin.
    pub(crate) fn begin_arguments_as(&self, call: &mut Cmd, session: &Session, id: &str) {
        // A frozen node has missed heartbeats, and perhaps a failover there and back.
        let is_old = session.lineage_read.elapsed() > self.settings.timing.heartbeat * 2;
        let may_ask = self.settings.lineage == Lineage::Replication;
        let ask = match may_ask {
            true if self.settings.asks_lineage || is_old => "ask",
            true => "compare",
            // Other lineages are not compared: scripts can only read `master_replid`.
            false => "",
        };
        let room_ms = millis(self.settings.timing.room);
        call.arg(&*session.lineage).arg(ask);
        call.arg(id).arg(room_ms);
    }

    /// Calls a script of rooms.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        effect: Effect,
        script: &Script,
        keys: &[String],
        arguments: impl FnOnce(&mut Cmd),
    ) -> Result<T, RelayError> {
        let (session, signals) = self.session()?;
        let mut call = script.call(keys);
        self.begin_arguments(&mut call, &session);
        arguments(&mut call);
        self.within(effect, &signals, session.run(script, &call))
            .await
    }

    /// Waits for a permit and then for the answer, together within the response timeout.
    pub(crate) async fn within<T>(
        &self,
        effect: Effect,
        signals: &Signals,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, RelayError> {
        let deadline = Instant::now() + self.settings.timing.response;
        let permits = match effect {
            Effect::Entry => &self.entry_permits,
            Effect::Write | Effect::Read => &self.permits,
        };
        let _permit = permit(permits, deadline, signals).await?;
        let answered = timeout_at(deadline, answer).await;
        outcome(effect, signals, answered.ok())
    }

    /// Does the same for publishes. A publish that nobody waits for any more keeps its place while
    /// the session lives. Otherwise the library would skip it and send later ones, and its retry
    /// would come after those.
    pub(crate) async fn in_line<T: Send + 'static>(
        &self,
        signals: &Arc<Signals>,
        answer: impl Future<Output = RedisResult<T>> + Send + 'static,
    ) -> Result<T, RelayError> {
        let deadline = Instant::now() + self.settings.timing.response;
        let _permit = permit(&self.publish_permits, deadline, signals).await?;
        let mut answer = Box::pin(answer);
        let answered = timeout_at(deadline, &mut answer).await;
        if answered.is_err() {
            let signals = signals.clone();
            tokio::spawn(async move {
                select! {
                    _ = answer => {}
                    _ = signals.lost() => {}
                }
            });
        }
        outcome(Effect::Write, signals, answered.ok())
    }
}

async fn permit<'a>(
    permits: &'a Semaphore,
    deadline: Instant,
    signals: &Signals,
) -> Result<SemaphorePermit<'a>, RelayError> {
    let permit = timeout_at(deadline, permits.acquire()).await;
    // A permit at the deadline is useless: the call would be sent, and its answer not awaited.
    let permit = permit.ok().filter(|_| Instant::now() < deadline);
    permit.and_then(Result::ok).ok_or_else(|| {
        signals.suspected.notify_one();
        RelayError::Unavailable("too many calls wait for it")
    })
}

/// Judges the answer to a call; `None` is an answer that did not come in time.
pub(crate) fn outcome<T>(
    effect: Effect,
    signals: &Signals,
    answered: Option<RedisResult<T>>,
) -> Result<T, RelayError> {
    let error = match answered {
        Some(Ok(value)) => return Ok(value),
        Some(Err(error)) if error.is_timeout() => RelayError::InDoubt,
        Some(Err(error)) => classify(&error, signals),
        None => RelayError::InDoubt,
    };
    if error == RelayError::InDoubt {
        signals.suspected.notify_one();
        if effect == Effect::Read {
            return Err(RelayError::Unavailable("it does not answer"));
        }
    }
    Err(error)
}

fn classify(error: &RedisError, signals: &Signals) -> RelayError {
    if is_read_only(error) {
        signals.fail(Loss::ReadOnly);
        return RelayError::Unavailable("its server takes no writes");
    }
    match error.code() {
        Some("FENCED") => {
            signals.suspected.notify_one();
            return RelayError::Fenced;
        }
        Some("KEYREUSED") => return RelayError::KeyReused,
        _ => {}
    }
    let kind = error.kind();
    let text = || error.to_string().into();
    if matches!(
        kind,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed
    ) {
        RelayError::Refusal(text())
    } else if matches!(kind, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) {
        RelayError::Foreign(text())
    } else {
        RelayError::InDoubt
    }
}
