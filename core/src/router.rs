//! A gateway made from typed handlers.

mod dispatch;
mod extract;
mod handler;
mod path;
mod trail;

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::{fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use self::path::Pattern;
use crate::gateway::{
    Admission, Context, Failure, NamespaceContext, Outcome, Rejection, RoomAction, UpgradeRequest,
};
use crate::wire::{DisconnectReason, Frame, Message, check_event};

#[cfg(feature = "garde")]
pub use self::extract::Valid;
pub use self::{
    extract::{Extract, Path, Raw, Request, ViaPayload, ViaSelf},
    handler::{Handler, IntoAnswer, OnePayload},
};

/// A [`Gateway`](crate::Gateway) made from handlers, guards and hooks around a state of type `S`.
///
/// # Which handler
///
/// A message belongs to the handler of its event. Where handlers of one event have paths, the path is
/// the message's `room`: `{"event":"join","room":"/chat/lobby"}` fits `/chat/{room}`. Of several
/// patterns that fit, the one counts that has a text where the other has a parameter, at the first
/// place where they differ. Without a pattern that fits it is the handler without a path; without
/// one the [`fallback`](Self::fallback); without that, the message is published to its room.
///
/// # Guards
///
/// Guards look and do not touch. The first one that refuses ends it, and its [`Failure`] is the
/// answer. For a message: those of the namespace ([`guard`](Self::guard)), then those of the event
/// ([`guard_event`](Self::guard_event)), each in the order in which they were added; then the
/// handler's arguments are made, then the handler runs. For a room ([`guard_rooms`](Self::guard_rooms)):
/// before `$join`, `$leave`, and before what no handler claimed is published. For a WebSocket
/// ([`guard_upgrade`](Self::guard_upgrade)): before [`on_upgrade`](Self::on_upgrade).
///
/// ```
/// use roomcast_core::{Context, Failure, Path, Router, ok};
///
/// #[derive(serde::Deserialize)]
/// struct Say {
///     text: String,
/// }
///
/// #[derive(Default)]
/// struct Board {
///     lines: Vec<String>,
/// }
///
/// let board = Router::new(Board::default())
///     .guard(|cx, _, _| match cx.user() {
///         Some(_) => Ok(()),
///         None => Err(Failure::unauthorized("say who you are")),
///     })
///     .on("say", |cx: &mut Context, board: &mut Board, say: Say| {
///         board.lines.push(say.text);
///         cx.broadcast("lines", &board.lines.len()).map(|_| ())
///     })
///     .on("lines", |_: &mut Context, board: &mut Board| board.lines.clone())
///     .on_path("join", "/board/{name}", |cx: &mut Context, Path(name): Path<String>| {
///         cx.join_here()?;
///         ok(format!("welcome to {name}"))
///     });
/// # let _: Router<Board> = board;
/// ```
pub struct Router<S = ()> {
    state: S,
    changed: bool,
    persist: Option<Persist<S>>,
    events: BTreeMap<Box<str>, Event<S>>,
    fallback: Option<Route<S>>,
    guards: Vec<Guard<S>>,
    room_guards: Vec<RoomGuard<S>>,
    upgrade_guards: Vec<UpgradeGuard<S>>,
    upgrade: Option<UpgradeHook<S>>,
    connect: Vec<ConnectHook<S>>,
    disconnect: Vec<DisconnectHook<S>>,
    joined: Vec<RoomHook<S>>,
    left: Vec<RoomHook<S>>,
    present: Vec<UserHook<S>>,
    absent: Vec<UserHook<S>>,
    schedules: Vec<(Duration, DeskHook<S>)>,
    drain: Vec<DeskHook<S>>,
    frame: Option<FrameHandler<S>>,
    progress: Progress,
}

/// How far the hooks of the kind at hand are.
#[derive(Debug, Default)]
struct Progress {
    begun: usize,
    of: usize,
}

impl Progress {
    /// Calls each hook that was not begun yet.
    fn run<H: ?Sized>(&mut self, hooks: &mut [Box<H>], mut call: impl FnMut(&mut H)) {
        self.of = hooks.len();
        while let Some(hook) = hooks.get_mut(self.begun) {
            self.begun += 1;
            call(hook);
        }
        *self = Self::default();
    }
}

type Call<S> = Box<dyn FnMut(&mut Context<'_>, &mut S, &Request<'_>) -> Outcome>;
type Guard<S> = Box<dyn Fn(&Context<'_>, &S, &Message<'_>) -> Result<(), Failure>>;
type RoomGuard<S> = Box<dyn Fn(&Context<'_>, &S, RoomAction, &str) -> Result<(), Failure>>;
type UpgradeGuard<S> = Box<dyn Fn(&UpgradeRequest<'_>, &S) -> Result<(), Rejection>>;
type UpgradeHook<S> = Box<dyn Fn(&UpgradeRequest<'_>, &S) -> Result<Admission, Rejection>>;
type ConnectHook<S> = Box<dyn FnMut(&mut Context<'_>, &mut S) -> Result<(), Rejection>>;
type DisconnectHook<S> = Box<dyn FnMut(&mut Context<'_>, &mut S, DisconnectReason)>;
type FrameHandler<S> = Box<dyn FnMut(&mut Context<'_>, &mut S, Frame<'_>)>;
type RoomHook<S> = Box<dyn FnMut(&mut Context<'_>, &mut S, &str)>;
type UserHook<S> = Box<dyn FnMut(&mut NamespaceContext<'_>, &mut S, &str, &str)>;
type DeskHook<S> = Box<dyn FnMut(&mut NamespaceContext<'_>, &mut S)>;

/// How the state becomes text, and text the state.
struct Persist<S> {
    save: fn(&S) -> Option<String>,
    load: fn(&str) -> Option<S>,
}

struct Event<S> {
    guards: Vec<Guard<S>>,
    /// The more special ones first.
    paths: Vec<(Pattern, Route<S>)>,
    plain: Option<Route<S>>,
}

impl<S> Default for Event<S> {
    fn default() -> Self {
        Self {
            guards: Vec::new(),
            paths: Vec::new(),
            plain: None,
        }
    }
}

struct Route<S> {
    call: Call<S>,
    stateful: bool,
}

impl<S> Route<S> {
    fn new<A, M, H>(mut handler: H) -> Self
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<M>> + 'static,
    {
        Self {
            call: Box::new(
                move |cx, state, request| match handler.call(cx, state, request) {
                    Ok(returned) => returned.into_answer(cx),
                    Err(failure) => Outcome::Fail(failure),
                },
            ),
            stateful: H::STATEFUL,
        }
    }
}

/// Methods that add guards and hooks, each to the list of its kind.
macro_rules! hooks {
    ($($(#[$doc:meta])* $add:ident $list:ident: $kind:ident($($arg:ty),*) $(-> $result:ty)?;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $add(mut self, hook: impl $kind($($arg),*) $(-> $result)? + 'static) -> Self {
            self.$list.push(Box::new(hook));
            self.of_one_kind()
        })*
    };
}

/// Without state.
impl Default for Router {
    fn default() -> Self {
        Self::new(())
    }
}

impl<S> Router<S> {
    /// A gateway that does nothing yet, around this state.
    pub const fn new(state: S) -> Self {
        Self {
            state,
            changed: false,
            persist: None,
            events: BTreeMap::new(),
            fallback: None,
            guards: Vec::new(),
            room_guards: Vec::new(),
            upgrade_guards: Vec::new(),
            upgrade: None,
            connect: Vec::new(),
            disconnect: Vec::new(),
            joined: Vec::new(),
            left: Vec::new(),
            present: Vec::new(),
            absent: Vec::new(),
            schedules: Vec::new(),
            drain: Vec::new(),
            frame: None,
            progress: Progress { begun: 0, of: 0 },
        }
    }

    /// Adds the handler of an event, whatever room the message names.
    ///
    /// # Panics
    ///
    /// When the event has such a handler already, or its name is empty, over 128 bytes, or begins
    /// with `$`.
    #[must_use]
    pub fn on<A, M, H>(mut self, event: &str, handler: H) -> Self
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<M>> + 'static,
    {
        let before = self.event(event).plain.replace(Route::new(handler));
        assert!(before.is_none(), "`{event}` has a handler already");
        self.of_one_kind()
    }

    /// Adds the handler of an event for the rooms that fit a pattern such as `/chat/{room}`.
    ///
    /// # Panics
    ///
    /// When the pattern is not one, when a handler has it already, and as for [`on`](Self::on).
    #[must_use]
    pub fn on_path<A, M, H>(mut self, event: &str, path: &str, handler: H) -> Self
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<M>> + 'static,
    {
        let (pattern, paths) = (Pattern::new(path), &mut self.event(event).paths);
        let same = paths.iter().any(|(other, _)| other.is_like(&pattern));
        assert!(!same, "`{event}` has a handler for {path} already");
        let rank = pattern.rank();
        let at = paths.partition_point(|(other, _)| other.rank() <= rank);
        paths.insert(at, (pattern, Route::new(handler)));
        self.of_one_kind()
    }

    /// Handles what no other handler takes. What it leaves [`Outcome::Unclaimed`] is published.
    #[must_use]
    pub fn fallback<A, M, H>(mut self, handler: H) -> Self
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<M>> + 'static,
    {
        self.fallback = Some(Route::new(handler));
        self.of_one_kind()
    }

    /// Makes the namespace one without envelopes, and this the handler of every frame; see
    /// [`Gateway::is_raw`](crate::Gateway::is_raw).
    ///
    /// # Panics
    ///
    /// When there are handlers of events too, or guards of messages or rooms: there is nothing that
    /// they would be called for.
    #[must_use]
    pub fn on_frame(
        mut self,
        handler: impl FnMut(&mut Context<'_>, &mut S, Frame<'_>) + 'static,
    ) -> Self {
        self.frame = Some(Box::new(handler));
        self.of_one_kind()
    }

    /// Adds a guard before the messages of one event.
    ///
    /// # Panics
    ///
    /// When the event has no valid name.
    #[must_use]
    pub fn guard_event(
        mut self,
        event: &str,
        guard: impl Fn(&Context<'_>, &S, &Message<'_>) -> Result<(), Failure> + 'static,
    ) -> Self {
        self.event(event).guards.push(Box::new(guard));
        self.of_one_kind()
    }

    /// Says who connects, behind the guards; see [`Gateway::upgrade`](crate::Gateway::upgrade).
    ///
    /// # Panics
    ///
    /// When this is said already.
    #[must_use]
    pub fn on_upgrade(
        mut self,
        hook: impl Fn(&UpgradeRequest<'_>, &S) -> Result<Admission, Rejection> + 'static,
    ) -> Self {
        let before = self.upgrade.replace(Box::new(hook));
        assert!(before.is_none(), "there is a hook for upgrades already");
        self
    }

    hooks! {
        /// Adds a guard before every message but protocol verbs.
        guard guards: Fn(&Context<'_>, &S, &Message<'_>) -> Result<(), Failure>;
        /// Adds a guard before what clients do to rooms; see
        /// [`Gateway::admit`](crate::Gateway::admit).
        guard_rooms room_guards: Fn(&Context<'_>, &S, RoomAction, &str) -> Result<(), Failure>;
        /// Adds a guard before every request for a WebSocket.
        guard_upgrade upgrade_guards: Fn(&UpgradeRequest<'_>, &S) -> Result<(), Rejection>;
        /// Adds a hook for [`Gateway::connect`](crate::Gateway::connect). Hooks of one kind run in the
        /// order in which they were added; the first one that refuses a connection is the last.
        on_connect connect: FnMut(&mut Context<'_>, &mut S) -> Result<(), Rejection>;
        /// Adds a hook for [`Gateway::disconnect`](crate::Gateway::disconnect).
        on_disconnect disconnect: FnMut(&mut Context<'_>, &mut S, DisconnectReason);
        /// Adds a hook for [`Gateway::joined`](crate::Gateway::joined).
        on_joined joined: FnMut(&mut Context<'_>, &mut S, &str);
        /// Adds a hook for [`Gateway::left`](crate::Gateway::left).
        on_left left: FnMut(&mut Context<'_>, &mut S, &str);
        /// Adds a hook for [`Gateway::present`](crate::Gateway::present): a room, and a user who has
        /// come.
        on_present present: FnMut(&mut NamespaceContext<'_>, &mut S, &str, &str);
        /// Adds a hook for [`Gateway::absent`](crate::Gateway::absent): a room, and a user who is
        /// really gone from it, after the grace for those who reconnect.
        ///
        /// ```
        /// use roomcast_core::Router;
        ///
        /// # fn post(_: &str) {}
        /// // Where a backend has to hear of it: a channel to a task that calls it, for example.
        /// let router = Router::default()
        ///     .on_absent(|_, (), room, user| post(&format!("{user} has left {room}")));
        /// # let _ = router;
        /// ```
        on_absent absent: FnMut(&mut NamespaceContext<'_>, &mut S, &str, &str);
        /// Adds a hook for [`Gateway::drain`](crate::Gateway::drain).
        on_drain drain: FnMut(&mut NamespaceContext<'_>, &mut S);
    }

    /// Adds a schedule; see [`Gateway::tick`](crate::Gateway::tick). A period below a millisecond is
    /// one millisecond.
    #[must_use]
    pub fn every(
        mut self,
        period: Duration,
        hook: impl FnMut(&mut NamespaceContext<'_>, &mut S) + 'static,
    ) -> Self {
        self.schedules.push((period, Box::new(hook)));
        self
    }

    /// The state.
    pub const fn state(&self) -> &S {
        &self.state
    }

    fn of_one_kind(self) -> Self {
        let enveloped = !self.events.is_empty()
            || self.fallback.is_some()
            || !self.guards.is_empty()
            || !self.room_guards.is_empty();
        assert!(
            self.frame.is_none() || !enveloped,
            "with `on_frame` there are no events and no protocol verbs to handle or guard"
        );
        self
    }

    fn event(&mut self, event: &str) -> &mut Event<S> {
        assert!(
            check_event(event).is_ok(),
            "an event has 1 to 128 bytes and does not begin with `$`: {event}"
        );
        self.events.entry(event.into()).or_default()
    }
}

impl<S: Serialize + DeserializeOwned> Router<S> {
    /// Keeps the state while the host sleeps, as JSON.
    ///
    /// # Panics
    ///
    /// When the state has no form in JSON.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        let persist = Persist {
            save: |state| serde_json::to_string(state).ok(),
            load: |text| serde_json::from_str(text).ok(),
        };
        let saved = (persist.save)(&self.state);
        assert!(saved.is_some(), "the state has no form in JSON");
        self.persist = Some(persist);
        self
    }
}

impl<S: fmt::Debug> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("state", &self.state)
            .field("events", &self.events.keys())
            .finish_non_exhaustive()
    }
}
