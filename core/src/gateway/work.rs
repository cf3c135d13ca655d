//! Work that takes time, and the messages that wait for it.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use core::{fmt, future::Future, pin::Pin};

use super::{
    Gateway,
    app::App,
    later::{CompleteError, Request, Token},
    outcome::Outcome,
};
use crate::{
    hub::conn::ConnId,
    hub::error::{RequestError, UnknownConn},
    outbox::Outbox,
    time::Timestamp,
    wire::envelope::Envelope,
    wire::error::ErrorBody,
    wire::frame::Frame,
};

/// A future that a handler began, for the host to poll; its outcome goes to
/// [`Input::Complete`](crate::Input::Complete).
///
/// It is polled on the thread of its namespace, so that it need not be `Send`. It wakes its task when
/// there is something to do, like any future: the core brings no executor.
pub type Work = Pin<Box<dyn Future<Output = Outcome>>>;

/// Work that the host has not taken yet.
///
/// A clone has none: a future cannot be copied, and a clone of an application is there to see what
/// would happen, not to ask a database twice.
#[derive(Default)]
pub(super) struct Begun(Vec<(Token, Work)>);

impl Begun {
    pub(super) fn push(&mut self, token: Token, work: Work) {
        self.0.push((token, work));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<(Token, Work)> {
        core::mem::take(&mut self.0)
    }
}

impl Clone for Begun {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(t, _)| t))
            .finish()
    }
}

/// Connections whose messages wait until the answer to an earlier one is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(BTreeMap<ConnId, Line>);

#[derive(Debug, Clone)]
struct Line {
    /// What they wait for; `None` while they are dealt with.
    answer: Option<Token>,
    frames: VecDeque<OwnedFrame>,
    bytes: usize,
}

/// A connection that goes on after an answer.
#[derive(Debug, Clone)]
pub(super) struct Resumed {
    pub(super) conn: ConnId,
    /// The text of the message that is dealt with.
    pub(super) text: Option<Box<str>>,
}

#[derive(Debug, Clone)]
pub(super) enum OwnedFrame {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl OwnedFrame {
    pub(super) fn as_frame(&self) -> Frame<'_> {
        match self {
            Self::Text(text) => Frame::Text(text),
            Self::Binary(bytes) => Frame::Binary(bytes),
        }
    }
}

impl From<Frame<'_>> for OwnedFrame {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Text(text) => Self::Text(text.into()),
            Frame::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl Waiting {
    /// Messages of one connection that may wait: what a client sends in one go, and more is a client
    /// that does not look at its answers.
    const FRAMES_MAX: usize = 64;
    /// Their bytes; one message may have more.
    const BYTES_MAX: usize = 256 * 1024;

    /// Whether messages of this connection are to wait.
    #[inline]
    pub(super) fn holds(&self, conn: ConnId) -> bool {
        !self.0.is_empty() && self.0.contains_key(&conn)
    }

    /// From now on messages of its connection wait for this answer.
    pub(super) fn hold(&mut self, answer: Token) {
        let line = self.0.entry(answer.conn()).or_insert_with(|| Line {
            answer: None,
            frames: VecDeque::new(),
            bytes: 0,
        });
        line.answer = Some(answer);
    }

    /// Puts a message behind the others.
    ///
    /// # Errors
    ///
    /// When too much waits; the message is not kept then.
    fn push(&mut self, conn: ConnId, frame: Frame<'_>) -> Result<(), RequestError> {
        let full = |limit, noun| RequestError::Queued { limit, noun };
        let Some(line) = self.0.get_mut(&conn) else {
            debug_assert!(false, "a message waits for nothing");
            return Err(RequestError::Internal);
        };
        if line.frames.len() >= Self::FRAMES_MAX {
            return Err(full(Self::FRAMES_MAX, "message"));
        }
        if !line.frames.is_empty() && line.bytes + frame.len() > Self::BYTES_MAX {
            return Err(full(Self::BYTES_MAX, "byte"));
        }
        line.bytes += frame.len();
        line.frames.push_back(frame.into());
        Ok(())
    }

    /// The answer was given, or will not be.
    pub(super) fn answered(&mut self, token: Token) {
        if let Some(line) = self.0.get_mut(&token.conn())
            && line.answer == Some(token)
        {
            line.answer = None;
        }
    }

    /// The next message that need not wait any more. When there is none, later ones need not either.
    fn next(&mut self, conn: ConnId) -> Option<OwnedFrame> {
        let line = self.0.get_mut(&conn)?;
        if line.answer.is_some() {
            return None;
        }
        let frame = line.frames.pop_front();
        match &frame {
            Some(frame) => line.bytes -= frame.as_frame().len(),
            None => {
                self.0.remove(&conn);
            }
        }
        frame
    }

    fn len(&self, conn: ConnId) -> usize {
        self.0.get(&conn).map_or(0, |line| line.frames.len())
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.remove(&conn);
    }
}

impl<G: Gateway> App<G> {
    /// Gives an answer that a handler promised with [`Outcome::Later`], and goes on with the messages
    /// of the connection that waited for it.
    ///
    /// Work: that of the messages that waited, at most 64.
    ///
    /// # Errors
    ///
    /// When nobody waits for it, or it is none; nothing reaches the client then.
    pub(super) fn complete(
        &mut self,
        now: Timestamp,
        token: Token,
        outcome: &Outcome,
        out: &mut Outbox,
    ) -> Result<(), CompleteError> {
        self.namespace(now, out).complete(token, outcome)?;
        self.resume(now, token.conn(), out);
        Ok(())
    }

    /// The futures that handlers began since this was last asked, each with the token to complete. A
    /// host polls them all; those of [`take_cancelled`](Self::take_cancelled) it drops.
    pub fn take_work(&mut self) -> Vec<(Token, Work)> {
        self.replies.work.take()
    }

    /// Whether messages of this connection wait for the answer to an earlier one.
    pub fn is_waiting(&self, conn: ConnId) -> bool {
        self.replies.waiting.len(conn) > 0
    }

    /// The answer to be given in place of one that will never come: for a host that can lose its
    /// work together with this value, and knows the text before. `None` when nobody waits.
    pub fn lost_answer(&self, token: Token) -> Option<String> {
        let Request { event, id, room } = self.replies.pending(token)?;
        let mut text = String::new();
        let error = ErrorBody::from(&RequestError::Internal);
        error.write(&mut text, event, id.as_ref(), room.as_deref());
        Some(text)
    }

    /// Lets a message wait, unless it is a `$ping`: that asks whether the server is there, and it is.
    #[cold]
    #[inline(never)]
    pub(super) fn wait(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        if !self.hub.check_rate(now, conn, frame, out)? {
            self.settle(now, out);
        } else if let Frame::Text(text) = frame
            && let Ok(ping) = Envelope::decode(text)
            && ping.event == "$ping"
        {
            self.hub.verb(now, conn, &ping, out);
        } else if let Err(error) = self.replies.waiting.push(conn, frame) {
            self.hub.decline(conn, frame, error, out)?;
        }
        Ok(())
    }

    /// Goes on with what waited, as far as it need not wait any more.
    pub(super) fn resume(&mut self, now: Timestamp, conn: ConnId, out: &mut Outbox) {
        while let Some(frame) = self.replies.waiting.next(conn) {
            if self.hub.connection(conn).is_none() {
                self.replies.waiting.forget(conn);
                break;
            }
            let text = match &frame {
                OwnedFrame::Text(text) => Some(text.clone()),
                OwnedFrame::Binary(_) => None,
            };
            self.resumed = Some(Resumed { conn, text });
            let received = self.hub.read(now, conn, frame.as_frame(), out);
            self.act_on(now, conn, received, out);
        }
        self.resumed = None;
    }
}
