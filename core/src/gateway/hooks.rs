//! The hooks of an application, as a trait.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{any::Any, time::Duration};

use super::{
    context::Context, failure::Failure, namespace_context::NamespaceContext, outcome::Outcome,
    outcome::Token, rejection::Rejection, upgrade::Admission, upgrade::UpgradeRequest,
    wait::NowOrLater,
};
use crate::wire::{DisconnectReason, Frame, Message};

/// Actions of a client on a room, by a protocol verb or a publish; see [`Gateway::admit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomAction {
    /// Joining it.
    Join,
    /// Leaving it.
    Leave,
    /// Publishing to it.
    Publish,
}

/// A decision about a connection, or about an action of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision<E> {
    /// Allowed.
    Allow,
    /// Refused, for this reason.
    Refuse(E),
    /// Not decided yet: the token is from [`Context::spawn_check`] or [`Context::spawn_then`].
    Later(Token),
}

impl<E> From<Result<(), E>> for Decision<E> {
    fn from(result: Result<(), E>) -> Self {
        result.map_or_else(Self::Refuse, |()| Self::Allow)
    }
}

/// The application of one namespace: its decisions about connections, rooms and messages.
///
/// An [`App`](crate::App) calls these hooks. None of them blocks or waits: an answer that takes
/// time is [`Outcome::Later`]. The same inputs should lead to the same calls of [`Context`] and
/// [`NamespaceContext`]; then the application can be replayed from a journal, and survives sleep.
///
/// Every hook has a default that does nothing. `()` is the namespace without an application. A
/// [`Router`](crate::Router) is a gateway made from typed handlers.
///
/// The hooks of one connection come in this order: `upgrade`, where there is HTTP; `connect`; then
/// `admit`, `message`, `joined` and `left`, as things happen; when it ends, `left` for each of its
/// rooms, and `disconnect` as the last. Where presence is wanted, `present` comes behind `joined`,
/// and `absent` when the user is really gone. A hook for a change runs after the operation that
/// caused the change, and its commands follow those of the operation.
#[allow(unused_variables)] // their names tell what they are
pub trait Gateway {
    /// Decides about a request to connect, before the WebSocket opens, while the answer can still
    /// be an HTTP status. It changes nothing: its results are in the [`Admission`].
    ///
    /// A future outlives the call, so it must own what it needs of the request and the state.
    fn upgrade(&self, request: &UpgradeRequest<'_>) -> NowOrLater<Result<Admission, Rejection>> {
        NowOrLater::Now(Ok(Admission::new()))
    }

    /// Decides about a connection that opened. Frames sent to it here come before anything else
    /// except `$welcome`.
    ///
    /// A refused connection leaves no trace, and `disconnect` is not called for it. Messages that
    /// were sent to others stay sent.
    ///
    /// With [`Decision::Later`] and the token of [`Context::spawn_check`] this is called again when
    /// the work ends as [`Outcome::Done`], and [`Context::passed`] tells where to continue. Before
    /// then the connection is in no audience and in no room, is sent nothing, and its messages
    /// wait. If it ends before then, it leaves no trace either.
    fn connect(&mut self, cx: &mut Context<'_>) -> Decision<Rejection> {
        Decision::Allow
    }

    /// Decides whether a client may act on a room. Called before each `$join` and `$leave` that
    /// names a room, and before the hub publishes a message that the gateway left
    /// [`Outcome::Unclaimed`]. Not called for actions of the application itself. A refusal is the
    /// client's answer.
    ///
    /// With [`Decision::Later`] and the token of [`Context::spawn_check`] the message and those
    /// behind it wait. This is called again when the work ends as [`Outcome::Done`], and
    /// [`Context::passed`] tells where to continue.
    fn admit(&mut self, cx: &mut Context<'_>, action: RoomAction, room: &str) -> Decision<Failure> {
        Decision::Allow
    }

    /// Handles a message: an application event, or a message to a room. With [`Outcome::Later`] and
    /// the token of [`Context::spawn_check`] it waits as in [`admit`](Self::admit), and this is
    /// called again.
    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        Outcome::Unclaimed
    }

    /// Continues after the work of [`Context::spawn_then`], with the `next` that was given there
    /// and the result. Returns the outcome of the message that waits; for a connection that waits,
    /// [`Outcome::Done`] or [`Outcome::Reject`].
    fn resume(&mut self, cx: &mut Context<'_>, next: Box<dyn Any>, result: &str) -> Outcome {
        Outcome::Fail(Failure::internal("the gateway does not go on behind work"))
    }

    /// True when the gateway decides about the requests of clients, by [`message`](Self::message)
    /// and [`admit`](Self::admit). Called once. False leaves all of it to the hub.
    fn wants_messages(&self) -> bool {
        true
    }

    /// True when messages have a format of the application, without envelopes: then
    /// [`frame`](Self::frame) gets them, and there are no protocol verbs; see
    /// [`Config::raw`](crate::Config::raw). Called once.
    fn is_raw(&self) -> bool {
        false
    }

    /// Handles a frame, in a namespace that [`is_raw`](Self::is_raw).
    fn frame(&mut self, cx: &mut Context<'_>, frame: Frame<'_>) {}

    /// Called when a connection has joined a room, at the client's request or the application's.
    fn joined(&mut self, cx: &mut Context<'_>, room: &str) {}

    /// Called when a connection has left a room, also because it ended.
    fn left(&mut self, cx: &mut Context<'_>, room: &str) {}

    /// Called when a connection has ended. [`Context::rooms`] still lists its rooms, although it is
    /// a member of none of them any more; frames sent to it go nowhere.
    fn disconnect(&mut self, cx: &mut Context<'_>, reason: DisconnectReason) {}

    /// Called when the first connection of a user has joined a room whose policy has presence,
    /// after [`joined`](Self::joined). Not called for connections without a user, and only called
    /// if [`wants_presence`](Self::wants_presence) is true.
    fn present(&mut self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str) {}

    /// Called when a user is gone from a room that it was [`present`](Self::present) in: its last
    /// connection left, or was lost and no other one joined within the grace period of the room's
    /// policy, no matter how long the host slept. Called once for each `present`, unless the room
    /// has lost its policy in between.
    ///
    /// In a room with more than `Limits::presence_list` users there is no grace period.
    fn absent(&mut self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str) {}

    /// The period of each schedule, at which [`tick`](Self::tick) is called. Called once.
    fn schedules(&self) -> Vec<Duration> {
        Vec::new()
    }

    /// Runs a schedule that is due; the index is the one in [`schedules`](Self::schedules).
    ///
    /// Schedules run while anyone is connected, for the first time one period after the first
    /// connection. If the host is late, one call stands for all missed ones, and the phase is kept.
    fn tick(&mut self, namespace: &mut NamespaceContext<'_>, schedule: usize) {}

    /// Called when the host is about to close all connections.
    fn drain(&mut self, namespace: &mut NamespaceContext<'_>) {}

    /// Descriptions of the messages that the gateway has handlers for, for people to read: a host
    /// logs them when it starts. Empty when the gateway cannot tell.
    fn events(&self) -> Vec<String> {
        Vec::new()
    }

    /// The state that must survive sleep, as text; `None` when there is none.
    fn save(&self) -> Option<String> {
        None
    }

    /// True when there is state that must survive sleep, so that the namespace must be kept even
    /// when nobody is connected.
    fn is_persistent(&self) -> bool {
        self.save().is_some()
    }

    /// True when there is more to do after [`joined`](Self::joined), [`left`](Self::left),
    /// [`disconnect`](Self::disconnect), [`present`](Self::present), [`absent`](Self::absent) or
    /// [`drain`](Self::drain) unwound: the hook is then called again with the same arguments, to
    /// continue after the code that unwound.
    fn take_unfinished(&mut self) -> bool {
        false
    }

    /// True when the result of [`save`](Self::save) may have changed since this was last called.
    fn take_changed(&mut self) -> bool {
        false
    }

    /// Restores the state that [`save`](Self::save) gave; false when it cannot.
    fn restore(&mut self, saved: &str) -> bool {
        true
    }

    /// True when `joined`, `left` and `disconnect` are to be called. False saves the hub the work
    /// of recording changes.
    fn wants_membership(&self) -> bool {
        true
    }

    /// True when `present` and `absent` are to be called. Called once. If true, a room with
    /// presence that everybody has left is kept until the grace periods of all its users are over.
    fn wants_presence(&self) -> bool {
        false
    }
}

/// No application: rooms only.
impl Gateway for () {
    fn wants_messages(&self) -> bool {
        false
    }

    fn wants_membership(&self) -> bool {
        false
    }
}

/// Forwards hooks to the gateway in the box.
macro_rules! hand_on {
    ($($hook:ident($me:ty $(, $arg:ident: $kind:ty)*) $(-> $result:ty)?;)*) => {
        $(fn $hook(self: $me $(, $arg: $kind)*) $(-> $result)? {
            (**self).$hook($($arg),*)
        })*
    };
}

impl<G: Gateway + ?Sized> Gateway for Box<G> {
    hand_on! {
        upgrade(&Self, request: &UpgradeRequest<'_>) -> NowOrLater<Result<Admission, Rejection>>;
        connect(&mut Self, cx: &mut Context<'_>) -> Decision<Rejection>;
        admit(&mut Self, cx: &mut Context<'_>, action: RoomAction, room: &str) -> Decision<Failure>;
        resume(&mut Self, cx: &mut Context<'_>, next: Box<dyn Any>, result: &str) -> Outcome;
        message(&mut Self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome;
        wants_messages(&Self) -> bool;
        is_raw(&Self) -> bool;
        frame(&mut Self, cx: &mut Context<'_>, frame: Frame<'_>);
        joined(&mut Self, cx: &mut Context<'_>, room: &str);
        left(&mut Self, cx: &mut Context<'_>, room: &str);
        disconnect(&mut Self, cx: &mut Context<'_>, reason: DisconnectReason);
        present(&mut Self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str);
        absent(&mut Self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str);
        schedules(&Self) -> Vec<Duration>;
        tick(&mut Self, namespace: &mut NamespaceContext<'_>, schedule: usize);
        drain(&mut Self, namespace: &mut NamespaceContext<'_>);
        events(&Self) -> Vec<String>;
        save(&Self) -> Option<String>;
        is_persistent(&Self) -> bool;
        take_unfinished(&mut Self) -> bool;
        take_changed(&mut Self) -> bool;
        restore(&mut Self, saved: &str) -> bool;
        wants_membership(&Self) -> bool;
        wants_presence(&Self) -> bool;
    }
}
