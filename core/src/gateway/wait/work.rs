//! Work that takes time, and the messages that wait for it.

use alloc::{
    boxed::Box, collections::BTreeMap, collections::BTreeSet, collections::VecDeque, vec::Vec,
};
use core::{fmt, future::Future, mem, pin::Pin};

use crate::gateway::outcome::{Outcome, Token};
use crate::{hub::RequestError, time::Timestamp, wire::ConnId, wire::Frame};

/// A future that a handler began, for the host to poll; its outcome goes to
/// [`Input::Complete`](crate::Input::Complete).
///
/// It is polled on the thread of its namespace, so it need not be `Send`. It wakes its task like
/// any future: the core has no executor.
pub type Work = Pin<Box<dyn Future<Output = Outcome>>>;

/// Work that the host has not taken yet.
///
/// A clone is empty: a future cannot be copied, and a cloned application is for finding out what
/// would happen, not for asking a database twice.
#[derive(Default)]
pub(in crate::gateway) struct Begun(pub(in crate::gateway) Vec<(Token, Work)>);

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

/// Connections whose messages wait for the answer to an earlier one.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Waiting {
    lines: BTreeMap<ConnId, Line>,
    /// The times at which the wait for an answer is given up.
    deadlines: BTreeSet<(Timestamp, ConnId)>,
}

#[derive(Debug, Clone)]
struct Line {
    /// The answer that the messages wait for; `None` while they are being handled.
    answer: Option<Token>,
    deadline: Option<Timestamp>,
    frames: VecDeque<OwnedFrame>,
    /// The number of frames at the front that the server added: no limit counts them.
    exempt: usize,
    /// The bytes of the other frames.
    bytes: usize,
    /// The guards that the first frame has passed.
    passed: Passed,
}

/// A connection whose waiting messages are being handled after an answer.
#[derive(Debug, Clone)]
pub(in crate::gateway) struct Resumed {
    pub(in crate::gateway) conn: ConnId,
    /// The text of the message that is being handled.
    pub(in crate::gateway) text: Option<Box<str>>,
}

/// Guards that a message has passed.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::gateway) struct Passed {
    /// The number of guards; if the message is unclaimed, of the guards of rooms.
    pub(in crate::gateway) guards: usize,
    /// True when no handler has claimed the message.
    pub(in crate::gateway) unclaimed: bool,
}

#[derive(Debug, Clone)]
pub(in crate::gateway) enum OwnedFrame {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl OwnedFrame {
    pub(in crate::gateway) fn as_frame(&self) -> Frame<'_> {
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
    /// The number of messages of one connection that may wait: as many as a client sends in one
    /// burst. A client that sends more is not reading its answers.
    const FRAMES_MAX: usize = 64;
    /// The bytes of these messages; a single message may have more.
    const BYTES_MAX: usize = 256 * 1024;

    /// True when messages of this connection are to wait.
    #[inline]
    pub(in crate::gateway) fn holds(&self, conn: ConnId) -> bool {
        !self.lines.is_empty() && self.lines.contains_key(&conn)
    }

    /// Makes messages of the token's connection wait for this answer, until the deadline if there
    /// is one.
    pub(in crate::gateway) fn hold(&mut self, answer: Token, deadline: Option<Timestamp>) {
        let conn = answer.conn();
        let line = self.lines.entry(conn).or_insert_with(|| Line {
            answer: None,
            deadline: None,
            frames: VecDeque::new(),
            exempt: 0,
            bytes: 0,
            passed: Passed::default(),
        });
        line.answer = Some(answer);
        let before = mem::replace(&mut line.deadline, deadline);
        self.forget_deadline(conn, before);
        self.deadlines.extend(deadline.map(|at| (at, conn)));
    }

    fn forget_deadline(&mut self, conn: ConnId, deadline: Option<Timestamp>) {
        if let Some(at) = deadline {
            self.deadlines.remove(&(at, conn));
        }
    }

    /// The time of the next deadline.
    pub(in crate::gateway) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Takes an answer whose deadline has passed.
    pub(in crate::gateway) fn take_late(&mut self, now: Timestamp) -> Option<Token> {
        let &(at, conn) = self.deadlines.first().filter(|&&(at, _)| at <= now)?;
        self.deadlines.remove(&(at, conn));
        let line = self.lines.get_mut(&conn)?;
        line.deadline = None;
        line.answer
    }

    /// Appends a message.
    ///
    /// # Errors
    ///
    /// When too many messages or bytes wait; the message is not appended then.
    pub(in crate::gateway) fn push(
        &mut self,
        conn: ConnId,
        frame: Frame<'_>,
    ) -> Result<(), RequestError> {
        let full = |limit, noun| RequestError::Queued { limit, noun };
        let Some(line) = self.lines.get_mut(&conn) else {
            debug_assert!(false, "a message waits for nothing");
            return Err(RequestError::Internal);
        };
        let count = line.frames.len() - line.exempt;
        if count >= Self::FRAMES_MAX {
            return Err(full(Self::FRAMES_MAX, "message"));
        }
        if count > 0 && line.bytes + frame.len() > Self::BYTES_MAX {
            return Err(full(Self::BYTES_MAX, "byte"));
        }
        line.bytes += frame.len();
        line.frames.push_back(frame.into());
        Ok(())
    }

    /// Puts a message in front of the others, regardless of the limits: the one that they waited
    /// for, or a join that belongs before them.
    pub(in crate::gateway) fn push_first(&mut self, conn: ConnId, text: Box<str>, passed: Passed) {
        if let Some(line) = self.lines.get_mut(&conn) {
            line.exempt += 1;
            line.passed = passed;
            line.frames.push_front(OwnedFrame::Text(text));
        }
    }

    /// Ends the wait for an answer: it was given, or never will be.
    pub(in crate::gateway) fn answered(&mut self, token: Token) {
        let conn = token.conn();
        if let Some(line) = self.lines.get_mut(&conn)
            && line.answer == Some(token)
        {
            line.answer = None;
            let deadline = line.deadline.take();
            self.forget_deadline(conn, deadline);
        }
    }

    /// Takes the next message that need not wait any more. When all are taken, later messages need
    /// not wait either.
    pub(in crate::gateway) fn next(&mut self, conn: ConnId) -> Option<(OwnedFrame, Passed)> {
        let line = self.lines.get_mut(&conn)?;
        if line.answer.is_some() {
            return None;
        }
        let Some(frame) = line.frames.pop_front() else {
            self.lines.remove(&conn);
            return None;
        };
        match line.exempt.checked_sub(1) {
            Some(exempt) => line.exempt = exempt,
            None => line.bytes -= frame.as_frame().len(),
        }
        Some((frame, mem::take(&mut line.passed)))
    }

    pub(in crate::gateway) fn len(&self, conn: ConnId) -> usize {
        self.lines.get(&conn).map_or(0, |line| line.frames.len())
    }

    pub(in crate::gateway) fn forget(&mut self, conn: ConnId) {
        let line = self.lines.remove(&conn);
        self.forget_deadline(conn, line.and_then(|line| line.deadline));
    }
}
