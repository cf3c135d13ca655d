//! An application and its clients, without sockets and without waiting.

use std::{
    collections::BTreeSet,
    fmt,
    pin::pin,
    task::{self, Poll, Waker},
    time::Duration,
};

use roomcast_core::{
    Gateway, Limits, NamespaceHandle, Outcome, Policies,
    gateway::{CompleteError, Token},
};

use crate::{Actor, Answer, Core, Driver, DriverError, Event, Known, Op, Settings, Sleep};

mod asks;
mod expect;
mod look;

pub use self::asks::{Asking, Asks};

/// A namespace with an application, its clients, and a clock that moves only on request.
///
/// Each action is an [`Op`], given as a value or as its line in a [`Trace`](crate::Trace). The
/// events that clients got from it, in the order in which they were sent, are compared as lines
/// too.
///
/// ```
/// use std::time::Duration;
///
/// use roomcast_core::{Context, Router};
/// use roomcast_tests::World;
///
/// let mut world = World::new(|| {
///     Router::default()
///         .on("wave", |cx: &mut Context| cx.to(cx.others()).emit("waves", &()).map(|_| ()))
///         .every(Duration::from_secs(60), |namespace, _| {
///             namespace.broadcast("minute", &namespace.now().as_millis()).expect("a number");
///         })
/// });
/// world.tell("alice connects");
/// world.tell("bob connects");
/// world.tell(r#"alice sends {"event":"wave","id":1}"#);
/// world.expect([
///     r#"bob gets {"event":"waves","data":null}"#,
///     r#"alice gets {"event":"wave","id":1,"data":null}"#,
/// ]);
/// world.wait(Duration::from_secs(60));
/// world.expect([
///     r#"alice gets {"event":"minute","data":60000}"#,
///     r#"bob gets {"event":"minute","data":60000}"#,
/// ]);
/// ```
///
/// Each line must succeed: [`tell`](Self::tell) panics when an op is refused, or its actor is not
/// connected. [`expect_refused`](Self::expect_refused) expects a refusal. A request may have a
/// query, header fields and cookies:
///
/// ```
/// use roomcast_core::{Context, Rejection, Router, gateway::Admission};
/// use roomcast_tests::World;
///
/// let mut world = World::new(|| {
///     Router::new(0_u32)
///         .on_upgrade(|request, _| match request.cookie("sid") {
///             Some("1") => Ok(Admission::new().with_user("ann")),
///             _ => Err(Rejection::unauthorized("sign in first")),
///         })
///         .on("count", |_: &mut Context, count: &mut u32| *count += 1)
/// });
/// world.tell("ann connects with cookie sid=1 with header x-team=a with query seat=7");
/// let reason = world.expect_refused("eve connects", 401);
/// assert_eq!(reason, "unauthorized: sign in first");
/// world.tell(r#"ann sends {"event":"count"}"#);
/// assert_eq!(*world.state(), 1);
/// ```
///
/// For property tests, [`Cast::stories`](crate::Cast::stories) makes random stories, and
/// [`perform`](Self::perform) returns the results of each op. It ignores ops that make no sense.
///
/// # What it cannot do
///
/// - Upgrade requests have no peer. To test hooks and guards that read it, pass your own
///   [`UpgradeRequest`](roomcast_core::gateway::UpgradeRequest) to
///   [`Gateway::upgrade`](roomcast_core::Gateway::upgrade).
/// - A handler or hook that panics fails the test. Test the reaction of hosts with a host.
/// - Futures are polled without a runtime, and do not see this clock: test code that needs the
///   timers or sockets of tokio with a host. A future that is woken from elsewhere continues with
///   the next op, or with [`proceed`](Self::proceed). So does a client whose `on_upgrade` waits;
///   [`late_refusal`](Self::late_refusal) returns its refusal, if any.
pub struct World<G> {
    core: Core<G>,
    known: Known,
    story: Vec<Told>,
    heard: Vec<(Actor, Event)>,
    answer: Answer,
    asks: Asks,
    /// Upgrade requests that have waited, and were refused by the last op: status and reason.
    refused: Vec<(Actor, u16, String)>,
    /// All actors that an op named.
    actors: BTreeSet<Actor>,
    /// All rooms that existed after an op, with their namespaces.
    rooms_ever: BTreeSet<(Box<str>, Box<str>)>,
    /// Names that may be asked about although no op names them.
    named: BTreeSet<Box<str>>,
}

/// A part of the story.
struct Told {
    /// The op; `None` when code without a connection acted, or a future continued.
    op: Option<Op>,
    answer: Answer,
    /// The id of the connection that was opened.
    opened: Option<String>,
    heard: Vec<(Actor, Event)>,
}

impl<G: Gateway> World<G> {
    /// A namespace without connections, heartbeat and rate limits. The gateway is made again after
    /// each [sleep](Self::with_sleep).
    pub fn new(gateway: impl Fn() -> G + 'static) -> Self {
        let mut limits = Settings::default().limits();
        limits.heartbeat = None;
        Self::with_limits(&limits, gateway)
    }

    /// The same with these limits.
    pub fn with_limits(limits: &Limits, gateway: impl Fn() -> G + 'static) -> Self {
        Self {
            core: Core::with_gateways(limits, move |_| gateway()),
            known: Known::default(),
            story: Vec::new(),
            heard: Vec::new(),
            answer: Answer::none(),
            asks: Asks::default(),
            refused: Vec::new(),
            actors: BTreeSet::new(),
            rooms_ever: BTreeSet::new(),
            named: BTreeSet::new(),
        }
    }

    /// The same, with names of actors and rooms that may be [asked about](Self::members) even if a
    /// (random) story does not mention them. Asking about any other unknown name panics.
    #[must_use]
    pub fn with_names<N: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.named.extend(names.into_iter().map(Into::into));
        self
    }

    /// The same, with a sleep between any two ops: state that the application does not save is
    /// lost.
    #[must_use]
    pub fn with_sleep(mut self, sleep: Sleep) -> Self {
        self.core = self.core.with_sleep(sleep);
        self
    }

    /// The same with these room policies.
    #[must_use]
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.core = self.core.with_policies(policies);
        self
    }

    /// Performs the op; returns the events of all clients, in the order in which they were sent.
    ///
    /// An op that makes no sense, such as one of an actor that is not connected, does nothing. A
    /// client that is refused is not connected; see [`answer`](Self::answer).
    ///
    /// # Errors
    ///
    /// When the core is broken.
    pub fn perform(&mut self, op: &Op) -> Result<&[(Actor, Event)], DriverError> {
        // The default namespace must exist, whatever the op is.
        self.core.open("default");
        // Added first, so that the story includes an op that breaks the core.
        self.story.push(Told {
            op: Some(op.clone()),
            answer: Answer::none(),
            opened: None,
            heard: Vec::new(),
        });
        self.actors.extend(
            op.clone()
                .actors_mut()
                .into_iter()
                .map(|actor| actor.clone()),
        );
        self.answer = self.core.perform(&self.known.address(op))?;
        let mut opened = None;
        if let Op::Connect { actor, .. } = op
            && self.answer.status == 200
            && !self.core.is_connecting(actor)
            && let Some(id) = self.core.conn(actor)
        {
            self.known.connected(actor, op.namespace(), &*id);
            opened = Some(id);
        }
        self.listen()?;
        if let Some(told) = self.story.last_mut() {
            told.answer.clone_from(&self.answer);
            told.opened = opened;
            told.heard.clone_from(&self.heard);
        }
        Ok(&self.heard)
    }

    /// Polls the futures of handlers, as far as they get without waiting. Call it after something
    /// that one of them waits for has happened. Each op does so too.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use roomcast_core::{Context, Router};
    /// use roomcast_tests::World;
    /// use tokio::sync::Notify;
    ///
    /// let found = Arc::new(Notify::new());
    /// let database = found.clone();
    /// let mut world = World::new(move || {
    ///     let database = database.clone();
    ///     Router::default().on("row", move |cx: &mut Context| {
    ///         let database = database.clone();
    ///         cx.spawn(async move {
    ///             database.notified().await;
    ///             7
    ///         })
    ///     })
    /// });
    /// world.tell("alice connects");
    /// world.tell(r#"alice sends {"event":"row","id":1}"#);
    /// world.expect([]);
    /// found.notify_one();
    /// world.proceed()?;
    /// world.expect([r#"alice gets {"event":"row","id":1,"data":7}"#]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the core is broken.
    pub fn proceed(&mut self) -> Result<&[(Actor, Event)], DriverError> {
        self.listen()?;
        if !self.heard.is_empty() {
            let heard = self.heard.clone();
            self.story.push(Told {
                op: None,
                answer: Answer::none(),
                opened: None,
                heard,
            });
        }
        Ok(&self.heard)
    }

    /// Polls futures, and collects the events of all clients.
    fn listen(&mut self) -> Result<(), DriverError> {
        self.core.proceed()?;
        self.heard = self.core.take_all();
        self.refused.clear();
        for late in self.core.take_late() {
            if let Some(id) = self.core.conn(&late.actor)
                && late.answer.status == 200
            {
                self.known.connected(&late.actor, &late.namespace, id);
            } else {
                let reason = late.reason.unwrap_or_default();
                self.refused.push((late.actor, late.answer.status, reason));
            }
        }
        for (actor, event) in &self.heard {
            if matches!(event, Event::Closed { .. } | Event::Lost) {
                self.known.ended(actor);
            }
        }
        self.core.assert_consistent();
        for (namespace, room) in self.core.rooms() {
            let room = (namespace.into(), room.into());
            self.rooms_ever.insert(room);
        }
        Ok(())
    }

    /// Lets time pass, from one deadline to the next.
    ///
    /// # Panics
    ///
    /// When the core is broken.
    #[track_caller]
    pub fn wait(&mut self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if let Err(fault) = self.perform(&Op::Wait { millis }) {
            panic!("{fault}");
        }
    }

    /// Notifies the application that its server will close all connections soon, as at a shutdown.
    /// They stay open: use ops to close them.
    ///
    /// ```
    /// use roomcast_core::Router;
    /// use roomcast_tests::World;
    ///
    /// let mut world = World::new(|| {
    ///     Router::default().on_drain(|namespace, ()| {
    ///         namespace.broadcast("closing", &()).expect("null");
    ///     })
    /// });
    /// world.tell("alice connects");
    /// world.drain();
    /// world.expect([r#"alice gets {"event":"closing","data":null}"#]);
    /// ```
    ///
    /// # Panics
    ///
    /// When the core is broken.
    #[track_caller]
    pub fn drain(&mut self) -> &[(Actor, Event)] {
        let drained = self.core.drain("default");
        if let Err(fault) = drained.and_then(|()| self.proceed().map(|_| ())) {
            panic!("{fault}");
        }
        &self.heard
    }

    /// The handle of the namespace, for code without a connection: a route, a task. Its requests
    /// are answered by [`ask`](Self::ask).
    pub fn namespace(&self) -> NamespaceHandle<Asks> {
        NamespaceHandle::new("default", self.asks.clone())
    }

    /// Runs a future of the [`namespace`](Self::namespace) to its end. With
    /// [sleep](Self::with_sleep) the namespace sleeps after each change.
    ///
    /// ```
    /// use roomcast_core::policy::{HistoryPolicy, PresencePolicy};
    /// use roomcast_core::{Audience, Policies, RoomPolicy};
    /// use roomcast_tests::World;
    ///
    /// let mut log = RoomPolicy::new("log".parse()?);
    /// log.history = Some(HistoryPolicy::default());
    /// log.presence = PresencePolicy::Members;
    /// let mut world = World::new(|| ()).with_policies(Policies::new([log])?);
    /// world.tell("alice connects as ann");
    /// world.tell(r#"alice sends {"event":"$join","room":"log"}"#);
    ///
    /// let namespace = world.namespace();
    /// let sent = world.ask(namespace.send(Audience::room("log"), "note", &1))?;
    /// assert_eq!(sent.offset, Some(1));
    /// world.expect([r#"alice gets {"event":"note","room":"log","offset":1,"data":1}"#]);
    ///
    /// let page = world.ask(namespace.history("log", .., 10))?;
    /// assert_eq!(page.messages[0].data::<u32>()?, 1);
    /// let page = world.ask(namespace.presence("log", None, 10))?;
    /// assert_eq!(page.members[0].user.as_deref(), Some("ann"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    ///
    /// When the core is broken, or the future waits for anything but an answer.
    #[track_caller]
    pub fn ask<R>(&mut self, asking: impl Future<Output = R>) -> R {
        let mut asking = pin!(asking);
        loop {
            let cx = &mut task::Context::from_waker(Waker::noop());
            if let Poll::Ready(result) = asking.as_mut().poll(cx) {
                return result;
            }
            let request = self.asks.next();
            let request = request.expect("the future waits for an answer of this world");
            let answer = self.core.ask(&request.namespace, &request.ask);
            match answer.and_then(|answer| self.proceed().map(|_| answer)) {
                Ok(answer) => request.answer(answer),
                Err(fault) => panic!("{fault}"),
            }
        }
    }

    /// Supplies the answer that a handler promised.
    ///
    /// # Errors
    ///
    /// As for [`Input::Complete`](roomcast_core::Input::Complete).
    ///
    /// # Panics
    ///
    /// When the core is broken.
    pub fn complete(&mut self, token: Token, outcome: Outcome) -> Result<(), CompleteError> {
        let completed = match self.core.complete("default", token, outcome) {
            Ok(completed) => completed,
            Err(fault) => panic!("{fault}"),
        };
        if let Err(fault) = self.proceed() {
            panic!("{fault}");
        }
        completed
    }
}

/// The story so far, as the lines of a trace.
impl<G> fmt::Display for World<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ops = self.story.iter().filter_map(|told| told.op.as_ref());
        ops.try_for_each(|op| writeln!(f, "{op}"))
    }
}

impl<G: Gateway> fmt::Debug for World<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("story", &self.to_string())
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}
