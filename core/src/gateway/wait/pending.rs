//! Answers that come later.

use alloc::{boxed::Box, collections::BTreeMap, collections::BTreeSet, string::String, vec::Vec};

use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{hold::Hold, hold::Opening, read::Reads, work::Begun, work::Waiting, work::Work};
use crate::gateway::{failure::HandlerError, outcome::Outcome, outcome::Token};
use crate::{time::Timestamp, wire::Address, wire::ConnId, wire::OwnedAddress};

/// An answer that reached nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CompleteError {
    /// The connection that asked has ended.
    #[error("the connection that asked has ended")]
    Ended,
    /// The answer was given already, or the handler did not return the token.
    #[error("nobody waits for this answer: it was given, or its handler answered otherwise")]
    Answered,
    /// [`Outcome::Later`](crate::Outcome::Later) or
    /// [`Outcome::Unclaimed`](crate::Outcome::Unclaimed); the token can still be used. Never of
    /// work: that has failed then, and its failure is the answer.
    #[error("this is no answer: complete with a reply, a failure, or `Done`")]
    NotAnAnswer,
}

/// Answers that an application still owes, its work under way, and its failures.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct PendingReplies {
    pending: BTreeMap<Token, OwnedAddress>,
    next_number: u64,
    pub(in crate::gateway) work: Begun,
    /// Work that has not come to its end, taken by the host or not.
    begun: BTreeSet<Token>,
    pub(in crate::gateway) waiting: Waiting,
    pub(in crate::gateway) reads: Reads,
    /// The ways on from outcomes that are no answers.
    holds: BTreeMap<Token, Hold>,
    /// Connections that the gateway has not decided about yet.
    pub(in crate::gateway) opening: BTreeMap<ConnId, Opening>,
    /// Joins to be asked for that the host has not taken yet.
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
    /// Answers that one connection may wait for, and work of it that may be under way; more are a
    /// sign that nobody completes them.
    pub(in crate::gateway) const PENDING_MAX: usize = 256;
    /// The bit of a token's number that says that it names work.
    const WORK: u64 = 1;
    /// The bit of a token's number that says that later messages wait for it.
    const SERIAL: u64 = 2;
    /// Errors kept until the host takes them; further ones are dropped, the first say the most.
    const ERRORS_MAX: usize = 256;

    pub(in crate::gateway) const fn token(&mut self, conn: ConnId) -> Token {
        let number = self.next_number;
        self.next_number += 4;
        Token(conn, number)
    }

    /// Begins work, unless too much of the connection's is under way: then it is dropped, and the
    /// token names nothing. The number of a token tells what it names, so that a journal knows it
    /// too.
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

    /// A token for a join that a backend is asked for: later messages wait.
    pub(in crate::gateway) fn ask_join(&mut self, conn: ConnId, text: Box<str>) -> Token {
        let Token(_, number) = self.token(conn);
        let token = Token(conn, number | Self::SERIAL);
        self.holds.insert(token, Hold::Join(text));
        self.asked.push(token);
        token
    }

    /// Begins work with whose outcome a message, a connection or a handler goes on.
    pub(in crate::gateway) fn begin_hold(&mut self, conn: ConnId, work: Work, hold: Hold) -> Token {
        let token = self.begin(conn, true, work);
        if self.begun.contains(&token) {
            self.holds.insert(token, hold);
        }
        token
    }

    /// Keeps a message that goes on behind the guard that the token is of, if it is.
    pub(in crate::gateway) fn keep(&mut self, token: Token, message: &str, is_unclaimed: bool) {
        if let Some(Hold::Check { passed, text }) = self.holds.get_mut(&token) {
            passed.unclaimed = is_unclaimed;
            *text = message.into();
        }
    }

    /// True when an outcome is one that somebody waits for with this token.
    pub(in crate::gateway) fn fits(&self, token: Token, outcome: &Outcome) -> bool {
        match (self.holds.get(&token), outcome) {
            (_, Outcome::Later(_) | Outcome::Unclaimed) => false,
            (Some(hold), outcome) => hold.fits(outcome),
            (None, Outcome::Grant(_) | Outcome::Resume(_)) => false,
            (None, _) => true,
        }
    }

    /// Lets a connection, and its messages, wait for an outcome until the deadline; false when
    /// nobody works on it.
    pub(in crate::gateway) fn hold_connection(
        &mut self,
        token: Token,
        deadline: Option<Timestamp>,
    ) -> bool {
        let (event, id, room) = ("connect", None, None);
        let waits = self.wait(token, Address { event, id, room }, None);
        if waits {
            // Also where the token is none that messages wait for: nothing may overtake the
            // beginning of a connection.
            self.waiting.hold(token, deadline);
        }
        waits
    }

    /// Lets the messages of a connection wait for the work of an earlier life, which has no end.
    pub(in crate::gateway) fn abandon(&mut self, conn: ConnId) {
        self.waiting.hold(Token(conn, u64::MAX), None);
    }

    /// Takes the way on from an outcome.
    pub(in crate::gateway) fn take_hold(&mut self, token: Token) -> Option<Hold> {
        self.holds.remove(&token)
    }

    /// True when the token is that of a guard, or of a hook that decides.
    pub(in crate::gateway) fn is_check(&self, token: Token) -> bool {
        matches!(self.holds.get(&token), Some(Hold::Check { .. }))
    }

    /// True when nothing is done yet of what waits for this token.
    pub(in crate::gateway) fn is_before(&self, token: Token) -> bool {
        let hold = self.holds.get(&token);
        matches!(hold, Some(Hold::Join(_) | Hold::Check { .. }))
    }

    /// Waits for an answer, where messages wait for it until the deadline if there is one; false
    /// when the connection waits for too many.
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

    /// Forgets the answers that a connection waits for, and the work under way for it.
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
