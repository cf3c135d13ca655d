//! Answers that come later.

use alloc::{boxed::Box, collections::BTreeMap, collections::BTreeSet, string::String, vec::Vec};

use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{hold::Hold, hold::Opening, read::Reads, work::Begun, work::Waiting, work::Work};
use crate::gateway::{failure::HandlerError, outcome::Outcome, outcome::Token};
use crate::{time::Timestamp, wire::Address, wire::ConnId, wire::OwnedAddress};

/// The error of an outcome that was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CompleteError {
    /// The connection that asked has ended.
    #[error("the connection that asked has ended")]
    Ended,
    /// The answer was given already, or the handler did not return the token.
    #[error("nobody waits for this answer: it was given, or its handler answered otherwise")]
    Answered,
    /// The outcome cannot answer the request, such as [`Outcome::Later`](crate::Outcome::Later) or
    /// [`Outcome::Unclaimed`](crate::Outcome::Unclaimed); the token can still be used. Not given
    /// for work, which has failed then: its failure is the answer.
    #[error("this is no answer: complete with a reply, a failure, or `Done`")]
    NotAnAnswer,
}

/// Pending answers of an application, its running work, and its failures.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct PendingReplies {
    pending: BTreeMap<Token, OwnedAddress>,
    next_number: u64,
    pub(in crate::gateway) work: Begun,
    /// Work that has not ended, whether or not the host has taken it.
    begun: BTreeSet<Token>,
    pub(in crate::gateway) waiting: Waiting,
    pub(in crate::gateway) reads: Reads,
    /// The continuations of tokens whose outcomes are not answers.
    holds: BTreeMap<Token, Hold>,
    /// Connections that the gateway has not decided about yet.
    pub(in crate::gateway) opening: BTreeMap<ConnId, Opening>,
    /// Joins to ask a backend about, which the host has not taken yet.
    pub(in crate::gateway) asked: Vec<Token>,
    pub(in crate::gateway) cancelled: Vec<Token>,
    pub(in crate::gateway) errors: Vec<HandlerError>,
}

impl Token {
    /// True when it names work, which ends once.
    pub(in crate::gateway) const fn is_work(self) -> bool {
        self.1 & PendingReplies::WORK != 0
    }
}

impl PendingReplies {
    /// The number of answers that one connection may wait for, and of its tasks that may run; more
    /// are a sign that they are never completed.
    pub(in crate::gateway) const PENDING_MAX: usize = 256;
    /// The bit of a token's number that marks work.
    const WORK: u64 = 1;
    /// The bit of a token's number that makes later messages wait for it.
    const SERIAL: u64 = 2;
    /// The number of errors kept until the host takes them. Further ones are dropped, since the
    /// first ones say the most.
    const ERRORS_MAX: usize = 256;

    pub(in crate::gateway) const fn token(&mut self, conn: ConnId) -> Token {
        let number = self.next_number;
        self.next_number += 4;
        Token(conn, number)
    }

    /// Starts work, unless too much work of the connection is running: then it is dropped, and the
    /// token names nothing. The number of a token tells its kind, so that a journal has it too.
    pub(in crate::gateway) fn begin(&mut self, conn: ConnId, serial: bool, work: Work) -> Token {
        let Token(_, number) = self.token(conn);
        let kind = Self::WORK | if serial { Self::SERIAL } else { 0 };
        let token = Token(conn, number | kind);
        if of(conn, &self.begun).count() < Self::PENDING_MAX {
            self.begun.insert(token);
            self.work.0.push((token, work));
        } else {
            let error = "too many tasks of one connection are running: this one was not started";
            self.report(Some(conn), "spawn", error.into());
        }
        token
    }

    /// Creates a token for a join that a backend is asked about; later messages wait for it.
    pub(in crate::gateway) fn ask_join(&mut self, conn: ConnId, text: Box<str>) -> Token {
        let Token(_, number) = self.token(conn);
        let token = Token(conn, number | Self::SERIAL);
        self.holds.insert(token, Hold::Join(text));
        self.asked.push(token);
        token
    }

    /// Starts work whose outcome a message, a connection or a handler continues with.
    pub(in crate::gateway) fn begin_hold(&mut self, conn: ConnId, work: Work, hold: Hold) -> Token {
        let token = self.begin(conn, true, work);
        if self.begun.contains(&token) {
            self.holds.insert(token, hold);
        }
        token
    }

    /// Stores the message to continue with after a guard, if the token is that of a guard.
    pub(in crate::gateway) fn keep(&mut self, token: Token, message: &str, is_unclaimed: bool) {
        if let Some(Hold::Check { passed, text }) = self.holds.get_mut(&token) {
            passed.unclaimed = is_unclaimed;
            *text = message.into();
        }
    }

    /// True when an outcome is of a kind that can complete this token.
    pub(in crate::gateway) fn fits(&self, token: Token, outcome: &Outcome) -> bool {
        match (self.holds.get(&token), outcome) {
            (_, Outcome::Later(_) | Outcome::Unclaimed) => false,
            (Some(hold), outcome) => hold.fits(outcome),
            (None, Outcome::Grant(_) | Outcome::Resume(_)) => false,
            (None, _) => true,
        }
    }

    /// Makes a connection, and its messages, wait for an outcome until the deadline; false when its
    /// work is not running, or too many answers are pending.
    pub(in crate::gateway) fn hold_connection(
        &mut self,
        token: Token,
        deadline: Option<Timestamp>,
    ) -> bool {
        let (event, id, room) = ("connect", None, None);
        let waits = self.wait(token, Address { event, id, room }, None);
        if waits {
            // Even if messages do not wait for this kind of token: nothing may overtake the opening
            // of a connection.
            self.waiting.hold(token, deadline);
        }
        waits
    }

    /// Makes the messages of a connection wait without end, for work that was lost in sleep.
    pub(in crate::gateway) fn abandon(&mut self, conn: ConnId) {
        self.waiting.hold(Token(conn, u64::MAX), None);
    }

    /// Takes the continuation of a token.
    pub(in crate::gateway) fn take_hold(&mut self, token: Token) -> Option<Hold> {
        self.holds.remove(&token)
    }

    /// True when the token is that of a guard, or of a hook that decides.
    pub(in crate::gateway) fn is_check(&self, token: Token) -> bool {
        matches!(self.holds.get(&token), Some(Hold::Check { .. }))
    }

    /// True when the request that waits for this token has not been carried out at all.
    pub(in crate::gateway) fn is_before(&self, token: Token) -> bool {
        let hold = self.holds.get(&token);
        matches!(hold, Some(Hold::Join(_) | Hold::Check { .. }))
    }

    /// Registers a pending answer; messages that wait for it do so until the deadline if there is
    /// one. False when too many are pending, or the token's work is not running.
    pub(in crate::gateway) fn wait(
        &mut self,
        token: Token,
        request: Address<'_>,
        deadline: Option<Timestamp>,
    ) -> bool {
        let few = if token.is_work() {
            self.begun.contains(&token)
        } else {
            self.pending_of(token.0).count() < Self::PENDING_MAX
        };
        if few {
            if token.1 & Self::SERIAL != 0 {
                self.waiting.hold(token, deadline);
            }
            self.pending.insert(token, request.to_owned());
        }
        few
    }

    #[inline]
    pub(in crate::gateway) const fn has_news(&self) -> bool {
        !(self.errors.is_empty()
            && self.work.0.is_empty()
            && self.cancelled.is_empty()
            && self.asked.is_empty())
    }

    pub(in crate::gateway) fn pending(&self, token: Token) -> Option<&OwnedAddress> {
        self.pending.get(&token)
    }

    pub(in crate::gateway) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.begun.is_empty()
    }

    /// Takes the request that an answer is for.
    pub(in crate::gateway) fn take(&mut self, token: Token) -> Option<OwnedAddress> {
        self.begun.remove(&token);
        self.waiting.answered(token);
        self.pending.remove(&token)
    }

    /// Cancels the answers that a connection waits for, and its running work.
    pub(in crate::gateway) fn cancel(&mut self, conn: ConnId) {
        let begun = of(conn, &self.begun);
        let tokens: BTreeSet<Token> = self.pending_of(conn).chain(begun).collect();
        for token in tokens {
            self.pending.remove(&token);
            self.begun.remove(&token);
            self.holds.remove(&token);
            self.cancelled.push(token);
        }
        self.waiting.forget(conn);
        self.opening.remove(&conn);
    }

    fn pending_of(&self, conn: ConnId) -> impl Iterator<Item = Token> {
        self.pending.range(all_of(conn)).map(|(&token, _)| token)
    }

    pub(in crate::gateway) fn report(&mut self, conn: Option<ConnId>, place: &str, error: String) {
        if self.errors.len() < Self::ERRORS_MAX {
            let place = place.into();
            self.errors.push(HandlerError { conn, place, error });
        }
    }
}

fn all_of(conn: ConnId) -> RangeInclusive<Token> {
    Token(conn, 0)..=Token(conn, u64::MAX)
}

fn of(conn: ConnId, tokens: &BTreeSet<Token>) -> impl Iterator<Item = Token> {
    tokens.range(all_of(conn)).copied()
}
