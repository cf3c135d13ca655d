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

/// A decision about a connection, or about what a client wants to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision<E> {
    /// Allowed.
    Allow,
    /// Refused, for this reason.
    Refuse(E),
    /// Not decided yet: the token is of [`Context::spawn_check`] or [`Context::spawn_then`].
    Later(Token),
}

impl<E> From<Result<(), E>> for Decision<E> {
    fn from(result: Result<(), E>) -> Self {
        result.map_or_else(Self::Refuse, |()| Self::Allow)
    }
}

/// The application of one namespace: what it decides about connections, rooms and messages.
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
/// and `absent` when the user is really gone. A hook for a change runs when what caused the change
/// is done, and its commands come after.
#[allow(unused_variables)] // their names tell what they are
pub trait Gateway {
    /// Somebody wants to connect. This is asked before the WebSocket opens, while an HTTP status
    /// can still be answered, and it changes nothing: its findings go on in the [`Admission`].
    ///
    /// A future outlives the call: it takes along what it needs of the request and the state.
    fn upgrade(&self, request: &UpgradeRequest<'_>) -> NowOrLater<Result<Admission, Rejection>> {
        NowOrLater::Now(Ok(Admission::new()))
    }

    /// A connection opened. Frames sent to it here come before anything else, but `$welcome`.
    ///
    /// One that is refused leaves no trace, and `disconnect` is not called. What was sent to others
    /// stays sent.
    ///
    /// With [`Decision::Later`] and the token of [`Context::spawn_check`] this is called once more
    /// when the work ends as [`Outcome::Done`], and [`Context::passed`] says how far it was. Until
    /// then the connection is in no audience and in no room, is sent nothing, and its messages
    /// wait; an end leaves no trace either.
    fn connect(&mut self, cx: &mut Context<'_>) -> Decision<Rejection> {
        Decision::Allow
    }

    /// Decides if a client may act on a room. Called before each `$join` and `$leave` that names
    /// one, and before a message is published that the gateway left [`Outcome::Unclaimed`]. Not
    /// called for actions of the application itself. A refusal is the client's answer.
    ///
    /// With [`Decision::Later`] and the token of [`Context::spawn_check`] the message waits, and
    /// those behind it. This is called once more when the work ends as [`Outcome::Done`], and
    /// [`Context::passed`] says how far it was.
    fn admit(&mut self, cx: &mut Context<'_>, action: RoomAction, room: &str) -> Decision<Failure> {
        Decision::Allow
    }

    /// A message arrived: an application event, or a message to a room. With [`Outcome::Later`]
    /// and the token of [`Context::spawn_check`] it waits as in [`admit`](Self::admit), to be given
    /// here once more.
    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        Outcome::Unclaimed
    }

    /// The work of [`Context::spawn_then`] has a result: to go on with what was given there. Gives
    /// the outcome of the message that waits; in [`connect`](Self::connect)
    /// [`Outcome::Done`] or [`Outcome::Reject`].
    fn resume(&mut self, cx: &mut Context<'_>, next: Box<dyn Any>, result: &str) -> Outcome {
        Outcome::Fail(Failure::internal("the gateway does not go on behind work"))
    }

    /// True when the gateway decides about the requests of clients, by [`message`](Self::message)
    /// and [`admit`](Self::admit). Called once. False leaves all of it to the hub.
    fn wants_messages(&self) -> bool {
        true
    }

    /// True when messages are the application's own, without envelopes: then [`frame`](Self::frame)
    /// gets them, and there are no protocol verbs; see [`Config::raw`](crate::Config::raw). Called
    /// once.
    fn is_raw(&self) -> bool {
        false
    }

    /// A frame arrived in a namespace that [`is_raw`](Self::is_raw).
    fn frame(&mut self, cx: &mut Context<'_>, frame: Frame<'_>) {}

    /// A connection is in a room that it was not in before, by its own wish or the application's.
    fn joined(&mut self, cx: &mut Context<'_>, room: &str) {}

    /// A connection is out of a room that it was in, also because it ended.
    fn left(&mut self, cx: &mut Context<'_>, room: &str) {}

    /// A connection ended. [`Context::rooms`] still says which rooms it was in, while no room has
    /// it as a member any more; frames sent to it go nowhere.
    fn disconnect(&mut self, cx: &mut Context<'_>, reason: DisconnectReason) {}

    /// A user is in a room that it was not in before, by the first of its connections there; in
    /// rooms whose policy has presence, and not for connections without a user. Comes behind
    /// [`joined`](Self::joined). Only called where [`wants_presence`](Self::wants_presence).
    fn present(&mut self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str) {}

    /// A user is gone from a room that it was [`present`](Self::present) in: its last connection
    /// left it, or was lost and no other one joined within the grace of the room's policy, however
    /// long the host slept meanwhile. Once for each `present`, unless the room has lost its policy
    /// in between.
    ///
    /// In a crowd of more than `Limits::presence_list` nobody is waited for.
    fn absent(&mut self, namespace: &mut NamespaceContext<'_>, room: &str, user: &str) {}

    /// The period of each schedule, by which [`tick`](Self::tick) is called. Asked for once.
    fn schedules(&self) -> Vec<Duration> {
        Vec::new()
    }

    /// A schedule is due; the index is the one in [`schedules`](Self::schedules).
    ///
    /// Schedules run while somebody is connected, the first time one period after the first
    /// connection. A host that is late calls once for all that was missed, and keeps the phase.
    fn tick(&mut self, namespace: &mut NamespaceContext<'_>, schedule: usize) {}

    /// The host will close all connections soon.
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

    /// True when there is state that must survive sleep, for which the namespace must stay when
    /// nobody is connected.
    fn is_persistent(&self) -> bool {
        self.save().is_some()
    }

    /// True when there is more to do after [`joined`](Self::joined), [`left`](Self::left),
    /// [`disconnect`](Self::disconnect), [`present`](Self::present), [`absent`](Self::absent) or
    /// [`drain`](Self::drain) unwound: it is then called once more for the same reason, to continue
    /// after the code that unwound.
    fn take_unfinished(&mut self) -> bool {
        false
    }

    /// True when the result of [`save`](Self::save) may have changed since this was last called.
    fn take_changed(&mut self) -> bool {
        false
    }

    /// Takes what [`save`](Self::save) gave; false when it cannot.
    fn restore(&mut self, saved: &str) -> bool {
        true
    }

    /// True when `joined`, `left` and `disconnect` are to be called. False saves the hub the work
    /// of recording changes.
    fn wants_membership(&self) -> bool {
        true
    }

    /// True when `present` and `absent` are to be called. Called once. With true, a room with
    /// presence that everybody has left is remembered until it waits for no user any more.
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

/// Hands hooks on to the gateway in the box.
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
