//! Messages, connections and handlers that continue with the outcome of work.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{any::Any, fmt};

use super::work::{OwnedFrame, Passed};
use crate::gateway::outcome::{Outcome, Token};
use crate::wire::{Address, ConnId, Message, write_head};
use crate::{outbox::Mark, outbox::Outbox, time::Timestamp};

/// The continuation of a token whose outcome is not itself an answer.
#[derive(Debug, Clone)]
pub(in crate::gateway) enum Hold {
    /// A join that a backend is asked about, as a message.
    Join(Box<str>),
    /// A guard, or a hook of `connect`. The message `text` continues after it; it is empty for a
    /// connection.
    Check { passed: Passed, text: Box<str> },
    /// A handler, or a hook of `connect`.
    Then { passed: usize, next: Next },
}

impl Hold {
    /// True when an outcome is of a kind that this can continue with.
    pub(in crate::gateway) fn fits(&self, outcome: &Outcome) -> bool {
        match self {
            Self::Join(_) => !matches!(outcome, Outcome::Resume(_) | Outcome::Reject(_)),
            Self::Check { .. } => {
                // A journal does not distinguish this from `Done`.
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

/// The continuation of a gateway after work; see [`Gateway::resume`](crate::Gateway::resume).
///
/// A clone is empty, as with [`Begun`](super::work::Begun).
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

/// Serializes a verb as a client sends it.
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
    /// The token whose outcome decides.
    pub(in crate::gateway) token: Token,
    pub(in crate::gateway) entry: Entry,
    /// Frames to send when it is admitted; the flag is true for messages.
    pub(in crate::gateway) frames: Vec<(OwnedFrame, bool)>,
}

/// Data for admitting a connection, at once or after a wait.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Entry {
    /// True when the first frame that the client gets is a greeting.
    pub(in crate::gateway) welcome: bool,
    /// Rooms that it joins at once.
    pub(in crate::gateway) rooms: Vec<Box<str>>,
    /// True when the client was greeted before it authenticated.
    pub(in crate::gateway) late: bool,
    /// The end of the wait; `None` before the first wait.
    pub(in crate::gateway) deadline: Option<Timestamp>,
}

impl Entry {
    /// Retracts the frames sent to a connection since the mark, and returns them without the
    /// greeting: it gets them when it is admitted.
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
