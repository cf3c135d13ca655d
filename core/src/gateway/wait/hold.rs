//! Messages, connections and handlers that go on with the outcome of work.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{any::Any, fmt};

use super::work::{OwnedFrame, Passed};
use crate::gateway::outcome::{Outcome, Token};
use crate::wire::{Address, ConnId, Message, write_head};
use crate::{outbox::Mark, outbox::Outbox, time::Timestamp};

/// The way on from the outcome of a token, where that is no answer.
#[derive(Debug, Clone)]
pub(in crate::gateway) enum Hold {
    /// A join that a backend is asked for, as a message.
    Join(Box<str>),
    /// A guard, or a hook of `connect`. The message goes on behind it; a connection has none.
    Check { passed: Passed, text: Box<str> },
    /// A handler, or a hook of `connect`.
    Then { passed: usize, next: Next },
}

impl Hold {
    /// True when an outcome of this kind is one to go on with.
    pub(in crate::gateway) fn fits(&self, outcome: &Outcome) -> bool {
        match self {
            Self::Join(_) => !matches!(outcome, Outcome::Resume(_) | Outcome::Reject(_)),
            Self::Check { .. } => {
                // A journal does not tell it from `Done`.
                matches!(outcome, Outcome::Replies(replies) if replies.is_empty())
                    || matches!(
                        outcome,
                        Outcome::Done | Outcome::Fail(_) | Outcome::Reject(_)
                    )
            }
            Self::Then { .. } => matches!(
                outcome,
                Outcome::Resume(_) | Outcome::Fail(_) | Outcome::Reject(_)
            ),
        }
    }
}

/// The part of a gateway that goes on behind work; see [`Gateway::resume`](crate::Gateway::resume).
///
/// A clone has none, like that of [`Begun`](super::work::Begun).
pub(in crate::gateway) struct Next(pub(in crate::gateway) Option<Box<dyn Any>>);

impl Clone for Next {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Next").finish_non_exhaustive()
    }
}

/// A verb as a client sends it.
pub(in crate::gateway) fn written(request: &Message<'_>) -> String {
    let mut text = String::new();
    let Address { event, id, room } = request.address();
    write_head(&mut text, event, id, room);
    text.push_str(r#","data":"#);
    text.push_str(request.data.as_str());
    text.push('}');
    text
}

/// A connection that the gateway has not decided about yet.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Opening {
    /// The word that decides.
    pub(in crate::gateway) token: Token,
    pub(in crate::gateway) entry: Entry,
    /// Frames that it gets when it is let in; true with those that are messages.
    pub(in crate::gateway) frames: Vec<(OwnedFrame, bool)>,
}

/// The way by which a connection comes in.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Entry {
    /// True when the client is greeted as the first.
    pub(in crate::gateway) welcome: bool,
    /// Rooms that it joins at once.
    pub(in crate::gateway) rooms: Vec<Box<str>>,
    /// True when the client has been greeted, and said later who it is.
    pub(in crate::gateway) late: bool,
    /// The end of the wait, once it waits.
    pub(in crate::gateway) deadline: Option<Timestamp>,
}

impl Entry {
    /// Takes back what a connection was sent since a mark: frames that it gets when it is let in,
    /// without the greeting.
    pub(in crate::gateway) fn hold_back(
        &self,
        conn: ConnId,
        mark: Mark,
        out: &mut Outbox,
    ) -> Vec<(OwnedFrame, bool)> {
        let sent = out.sent_to(mark, conn).skip(usize::from(self.welcome));
        let frames = sent.map(|(frame, is_message)| (OwnedFrame::from(frame), is_message));
        let frames = frames.collect();
        out.retract(mark, conn);
        frames
    }
}
