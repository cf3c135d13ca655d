//! A gateway made from typed handlers.

mod admission;
mod dispatch;
mod extract;
mod functions;
mod handler;
mod path;
mod persist;
mod then;
mod trail;

use alloc::boxed::Box;
use core::{fmt, panic::Location, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use self::{
    functions::{Event, Functions, Lens},
    path::Pattern,
    persist::{Persist, Whole},
};
use crate::gateway::{
    Admission, Context, Failure, IntoNowOrLater, NamespaceContext, Rejection, RoomAction,
    UpgradeRequest,
};
use crate::wire::{DisconnectReason, Frame, Message, check_event};

#[cfg(feature = "garde")]
pub use self::extract::Valid;
pub use self::{
    extract::{Extract, Path, Raw, Request, ViaPayload, ViaSelf},
    handler::{Handler, OnePayload},
    then::{Answer, Connecting, IntoAnswer, IntoConnecting, Then},
};

/// A [`Gateway`](crate::Gateway) made from handlers, guards and hooks around a state of type `S`.
///
/// # Which handler
///
/// A message belongs to the handler of its event. Where handlers of one event have paths, the path
/// is the message's `room`: `{"event":"join","room":"/chat/lobby"}` fits `/chat/{room}`. If several
/// patterns fit, they are compared at the first segment where they differ, and a text wins over a
/// parameter. If no pattern fits, the handler without a path is called; without such a handler, the
/// [`fallback`](Self::fallback); without a fallback, the message is published to its room.
///
/// # Guards
///
/// Guards decide and change nothing. Each may wait, by [`later`](crate::later). The first guard
/// that refuses ends the request, and its [`Failure`] is the answer. A message passes the guards of
/// the namespace ([`guard`](Self::guard)), then those of its event
/// ([`guard_event`](Self::guard_event)), each in the order in which they were added; then the
/// handler's arguments are made, and the handler runs. Guards of rooms
/// ([`guard_rooms`](Self::guard_rooms)) run before `$join` and `$leave`, and before a message that
/// no handler claimed is published. Guards of upgrades ([`guard_upgrade`](Self::guard_upgrade)) run
/// before [`on_upgrade`](Self::on_upgrade).
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
    persist: Option<Box<dyn Persist<S>>>,
    functions: Functions<S>,
    progress: Progress,
}

/// Progress through the hooks of one kind.
#[derive(Debug, Default)]
struct Progress {
    begun: usize,
    of: usize,
}

impl Progress {
    /// Calls each hook that was not started yet.
    fn run<H: ?Sized>(&mut self, hooks: &mut [Box<H>], mut call: impl FnMut(&mut H)) {
        self.of = hooks.len();
        while let Some(hook) = hooks.get_mut(self.begun) {
            self.begun += 1;
            call(hook);
        }
        *self = Self::default();
    }
}

/// Methods that add guards and hooks, each to the list of its kind.
macro_rules! hooks {
    ($($(#[$doc:meta])* $add:ident $list:ident: $kind:ident($($arg:ty),*) $(-> $result:ty)?;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $add(mut self, hook: impl $kind($($arg),*) $(-> $result)? + 'static) -> Self {
            self.functions.hooks.$list.push(Box::new(hook));
            self.of_one_kind()
        })*
    };
}

/// A router without state.
impl Default for Router {
    fn default() -> Self {
        Self::new(())
    }
}

impl<S> Router<S> {
    /// Creates a gateway around this state, which does nothing yet.
    pub const fn new(state: S) -> Self {
        Self {
            state,
            changed: false,
            persist: None,
            functions: Functions::new(),
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
    #[track_caller]
    pub fn on<A, M, H>(mut self, event: &str, handler: H) -> Self
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<S, M>> + 'static,
    {
        let route = self.functions.route(handler, Location::caller());
        self.event(event).set_plain(event, route);
        self.of_one_kind()
    }

    /// Adds the handler of an event for the rooms that fit a pattern such as `/chat/{room}`.
    ///
    /// # Panics
    ///
    /// When the pattern is not valid, when it has a handler already, and as for [`on`](Self::on).
    #[must_use]
    #[track_caller]
    pub fn on_path<A, M, H>(mut self, event: &str, path: &str, handler: H) -> Self
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<S, M>> + 'static,
    {
        let route = self.functions.route(handler, Location::caller());
        self.event(event).add_path(event, Pattern::new(path), route);
        self.of_one_kind()
    }

    /// Adds the handler of messages that no other handler takes. A message that it leaves
    /// [`Outcome::Unclaimed`](crate::Outcome::Unclaimed) is published.
    ///
    /// # Panics
    ///
    /// When there is a fallback already.
    #[must_use]
    #[track_caller]
    pub fn fallback<A, M, H>(mut self, handler: H) -> Self
    where
        H: Handler<S, A, Arguments: OnePayload, Returned: IntoAnswer<S, M>> + 'static,
    {
        let route = self.functions.route(handler, Location::caller());
        self.functions.set_fallback(route);
        self.of_one_kind()
    }

    /// Makes the namespace one without envelopes, and adds the handler of all its frames; see
    /// [`Gateway::is_raw`](crate::Gateway::is_raw).
    ///
    /// # Panics
    ///
    /// When there are handlers of events too, or guards of messages or rooms: they would never be
    /// called. When frames have a handler already.
    #[must_use]
    #[track_caller]
    pub fn on_frame(
        mut self,
        handler: impl FnMut(&mut Context<'_>, &mut S, Frame<'_>) + 'static,
    ) -> Self {
        let added = Location::caller();
        self.functions.set_frame(Box::new(handler), added);
        self.of_one_kind()
    }

    /// Adds a guard for all messages except protocol verbs.
    #[must_use]
    pub fn guard<R>(mut self, guard: impl Fn(&Context<'_>, &S, &Message<'_>) -> R + 'static) -> Self
    where
        R: IntoNowOrLater<Result<(), Failure>>,
    {
        let guard = self.functions.guard(guard);
        self.functions.guards.push(guard);
        self.of_one_kind()
    }

    /// Adds a guard for the messages of one event.
    ///
    /// # Panics
    ///
    /// When the name of the event is not valid.
    #[must_use]
    pub fn guard_event<R>(
        mut self,
        event: &str,
        guard: impl Fn(&Context<'_>, &S, &Message<'_>) -> R + 'static,
    ) -> Self
    where
        R: IntoNowOrLater<Result<(), Failure>>,
    {
        let guard = self.functions.guard(guard);
        self.event(event).guards.push(guard);
        self.of_one_kind()
    }

    /// Sets the hook that decides who connects, after the guards; see
    /// [`Gateway::upgrade`](crate::Gateway::upgrade). It may wait, by [`later`](crate::later).
    ///
    /// # Panics
    ///
    /// When there is such a hook already.
    #[must_use]
    pub fn on_upgrade<R>(mut self, hook: impl Fn(&UpgradeRequest<'_>, &S) -> R + 'static) -> Self
    where
        R: IntoNowOrLater<Result<Admission, Rejection>>,
    {
        let hooks = &mut self.functions.hooks.upgrade;
        assert!(hooks.is_empty(), "there is a hook for upgrades already");
        hooks.push(Box::new(move |request, state| {
            hook(request, state).into_now_or_later()
        }));
        self
    }

    /// Adds a guard for all requests for a WebSocket.
    #[must_use]
    pub fn guard_upgrade<R>(
        mut self,
        guard: impl Fn(&UpgradeRequest<'_>, &S) -> R + 'static,
    ) -> Self
    where
        R: IntoNowOrLater<Result<(), Rejection>>,
    {
        let guards = &mut self.functions.hooks.upgrade_guards;
        guards.push(Box::new(move |request, state| {
            guard(request, state).into_now_or_later()
        }));
        self
    }

    /// Adds a guard for actions of clients on rooms; see
    /// [`Gateway::admit`](crate::Gateway::admit). It may wait, by [`later`](crate::later).
    #[must_use]
    pub fn guard_rooms<R>(
        mut self,
        guard: impl Fn(&Context<'_>, &S, RoomAction, &str) -> R + 'static,
    ) -> Self
    where
        R: IntoNowOrLater<Result<(), Failure>>,
    {
        let guards = &mut self.functions.hooks.room_guards;
        guards.push(Box::new(move |cx, state, action, room| {
            guard(cx, state, action, room).into_now_or_later()
        }));
        self.of_one_kind()
    }

    /// Adds a hook for [`Gateway::connect`](crate::Gateway::connect). Hooks of one kind run in the
    /// order in which they were added; none runs after one that refuses the connection. A hook may
    /// wait, by [`later`](crate::later), and continue after that, by
    /// [`then`](crate::gateway::Later::then): the hooks added after it wait too.
    #[must_use]
    pub fn on_connect<R: IntoConnecting<S>>(
        mut self,
        mut hook: impl FnMut(&mut Context<'_>, &mut S) -> R + 'static,
    ) -> Self {
        let hook = move |cx: &mut Context<'_>, state: &mut S| hook(cx, state).into_connecting();
        self.functions.connect.push(Box::new(hook));
        self
    }

    hooks! {
        /// Adds a hook for [`Gateway::disconnect`](crate::Gateway::disconnect).
        on_disconnect disconnect: FnMut(&mut Context<'_>, &mut S, DisconnectReason);
        /// Adds a hook for [`Gateway::joined`](crate::Gateway::joined).
        on_joined joined: FnMut(&mut Context<'_>, &mut S, &str);
        /// Adds a hook for [`Gateway::left`](crate::Gateway::left).
        on_left left: FnMut(&mut Context<'_>, &mut S, &str);
        /// Adds a hook for [`Gateway::present`](crate::Gateway::present), with a room, and a user
        /// who has come.
        on_present present: FnMut(&mut NamespaceContext<'_>, &mut S, &str, &str);
        /// Adds a hook for [`Gateway::absent`](crate::Gateway::absent), with a room, and a user who
        /// is gone from it, after the grace period for reconnects.
        ///
        /// ```
        /// use roomcast_core::Router;
        ///
        /// # fn post(_: &str) {}
        /// // To notify a backend, `post` could use a channel to a task that calls it.
        /// let router = Router::default()
        ///     .on_absent(|_, (), room, user| post(&format!("{user} has left {room}")));
        /// # let _ = router;
        /// ```
        on_absent absent: FnMut(&mut NamespaceContext<'_>, &mut S, &str, &str);
        /// Adds a hook for [`Gateway::drain`](crate::Gateway::drain).
        on_drain drain: FnMut(&mut NamespaceContext<'_>, &mut S);
    }

    /// Adds a schedule; see [`Gateway::tick`](crate::Gateway::tick). A period below a millisecond
    /// is one millisecond.
    #[must_use]
    pub fn every(
        mut self,
        period: Duration,
        hook: impl FnMut(&mut NamespaceContext<'_>, &mut S) + 'static,
    ) -> Self {
        self.functions.schedules.push((period, Box::new(hook)));
        self
    }

    /// Combines this router with another one to serve one namespace, each with its own state, for
    /// clients that have one connection to both.
    ///
    /// A message whose event or path has a handler passes the guards of the router that the handler
    /// was added to, and its handler has that router's state. All else concerns both: messages
    /// without a handler pass the message guards of both, and rooms and upgrades pass the guards of
    /// both too. Hooks, schedules and `on_upgrade` of both are called, those of this router first.
    /// The user, the grants, the session and the subprotocol of an [`Admission`] may come from
    /// either; it is an internal error if they differ.
    ///
    /// The state is the pair of both states. If one of them is
    /// [`persistent`](Self::persistent), it is still saved. Handlers and hooks that are added to
    /// the result have the pair as their state, and guards that are added to it guard all handlers.
    ///
    /// ```
    /// use roomcast_core::{Context, Failure, Router};
    ///
    /// fn chat() -> Router<Vec<String>> {
    ///     Router::new(Vec::new()).on(
    ///         "say",
    ///         |cx: &mut Context, lines: &mut Vec<String>, line: String| {
    ///             lines.push(line);
    ///             cx.broadcast("lines", &lines.len()).map(|_| ())
    ///         },
    ///     )
    /// }
    ///
    /// fn votes() -> Router<u32> {
    ///     Router::new(0)
    ///         .guard(|cx, _, _| cx.user().map(|_| ()).ok_or(Failure::unauthorized("sign in")))
    ///         .on("vote", |_: &mut Context, votes: &mut u32| {
    ///             *votes += 1;
    ///             *votes
    ///         })
    /// }
    ///
    /// let both = chat().merge(votes());
    /// assert_eq!(both.state(), &(vec![], 0));
    /// ```
    ///
    /// # Panics
    ///
    /// When both have a handler for the same event and path, a fallback, or a handler of frames:
    /// the message names both places. When one has a handler of frames, and the other handles or
    /// guards envelopes.
    #[must_use]
    #[track_caller]
    pub fn merge<T: 'static>(self, other: Router<T>) -> Router<(S, T)>
    where
        S: 'static,
    {
        let first = self.functions.within(&Lens {
            part: |(first, _)| first,
            part_mut: |(first, _)| first,
        });
        let second = other.functions.within(&Lens {
            part: |(_, second)| second,
            part_mut: |(_, second)| second,
        });
        let merged = Router {
            state: (self.state, other.state),
            changed: self.changed || other.changed,
            persist: persist::of_both(self.persist, other.persist),
            functions: first.merge(second),
            progress: Progress::default(),
        };
        merged.of_one_kind()
    }

    /// The state.
    pub const fn state(&self) -> &S {
        &self.state
    }

    #[track_caller]
    fn of_one_kind(self) -> Self {
        let functions = &self.functions;
        let enveloped = !functions.events.is_empty()
            || functions.fallback.is_some()
            || !functions.guards.is_empty()
            || !functions.hooks.room_guards.is_empty();
        assert!(
            functions.frame.is_none() || !enveloped,
            "with `on_frame` there are no events and no protocol verbs to handle or guard: give it a \
             namespace of its own"
        );
        self
    }

    #[track_caller]
    fn event(&mut self, event: &str) -> &mut Event<S> {
        if let Err(error) = check_event(event) {
            panic!("{event:?}: {error}");
        }
        self.functions.events.entry(event.into()).or_default()
    }
}

impl<S: Serialize + DeserializeOwned> Router<S> {
    /// Saves the state as JSON while the host sleeps.
    ///
    /// # Panics
    ///
    /// When the state cannot be serialized as JSON.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        let saved = Whole.save(&self.state);
        assert!(saved.is_some(), "the state has no form in JSON");
        self.persist = Some(Box::new(Whole));
        self
    }
}

impl<S: fmt::Debug> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("state", &self.state)
            .field("events", &self.functions.events.keys())
            .finish_non_exhaustive()
    }
}
