//! Limits that the connections of a user share.

use std::rc::Rc;

use roomcast_core::{
    CloseCode, ConnId, Frame, Identity, Input, Timestamp, hub::Excess, hub::RequestError,
};
use roomcast_http::Reason;

use crate::{
    shard::{Home, Shard},
    shared::permits::Permit,
};

/// A connection's share in the limits of its user.
pub(super) struct Place {
    pub(super) permit: Permit,
    /// Bytes that were read and belong to no complete message yet.
    loose: u32,
    /// True when messages are in a format of the application, without envelopes.
    pub(super) raw: bool,
    /// True until the client has identified itself.
    pub(super) unidentified: bool,
    /// A limit that was exceeded: the connection is to be closed.
    over: Option<Over>,
}

/// A limit of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Connections,
    Rate,
}

impl Over {
    /// The code and the reason of the close.
    pub(super) const fn close(self) -> (CloseCode, &'static str) {
        match self {
            Self::Connections => (
                CloseCode::OVERLOADED,
                "too many connections of this user: close others first",
            ),
            Self::Rate => (
                CloseCode::RATE_LIMITED,
                "over the rate of all connections of this user for too long",
            ),
        }
    }
}

impl Place {
    pub(super) const fn new(permit: Permit, raw: bool, unidentified: bool) -> Self {
        Self {
            permit,
            loose: 0,
            raw,
            unidentified,
            over: None,
        }
    }

    /// Counts the connection for the user that its token names. Returns false if the user has too
    /// many: the message, without its token, is then answered with the limit, and the close
    /// follows.
    pub(super) fn admit(
        &mut self,
        shard: &Shard,
        home: &Home,
        conn: ConnId,
        rest: &str,
        identity: Option<&Identity>,
    ) -> bool {
        self.unidentified &= identity.is_none();
        if let Some(user) = identity.and_then(|it| it.user.as_deref())
            && let Err(limit) = self.permit.name_user(home.namespace(), user)
        {
            shard.egress.tell_refusal(Reason::ConnectionsPerUser);
            home.decline(shard, conn, rest, RequestError::UserConnections { limit });
            self.over = Some(Over::Connections);
        }
        self.over.is_none()
    }

    /// Takes the limit that was exceeded, if any: the connection is to be closed because of it.
    pub(super) const fn take_over(&mut self) -> Option<Over> {
        self.over.take()
    }

    /// True when a limit was exceeded.
    pub(super) const fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Counts bytes that were read, before their messages are known. Called where the user's rates
    /// are limited.
    pub(super) fn read(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.loose = self.loose.saturating_add(bytes);
    }

    /// True when the rates of the user admit a message. Otherwise the message is answered like one
    /// over the rate of its connection, after the answers to all messages before it.
    pub(super) fn let_through(
        &mut self,
        shard: &Rc<Shard>,
        home: &Home,
        conn: ConnId,
        frame: Frame<'_>,
    ) -> bool {
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        self.loose = self.loose.saturating_sub(bytes);
        let Some(meter) = self.permit.meter() else {
            return true;
        };
        let Err(excess) = meter.message(shard.now(), frame.len()) else {
            return true;
        };
        shard.metrics().count_refusal(Reason::RatePerUser);
        match (excess, frame) {
            (Excess::Close, _) => self.over = Some(Over::Rate),
            (Excess::Refuse(_), _) if self.raw => home.input(shard, Input::Activity(conn)),
            // The hub closes the connection: binary messages are not allowed here.
            (Excess::Refuse(_), Frame::Binary(_)) => return true,
            (Excess::Refuse(error), Frame::Text(text)) => {
                home.input(shard, Input::Activity(conn));
                home.decline(shard, conn, text, error);
            }
        }
        false
    }

    /// Charges bytes that belong to no message to the rates of the user, while no message is
    /// incomplete. There is nothing to answer: an excess is counted, and a lasting one closes the
    /// connection.
    pub(super) fn take_loose(&mut self, shard: &Shard, now: Timestamp) {
        let bytes = std::mem::take(&mut self.loose) as usize;
        if bytes > 0
            && self.over.is_none()
            && let Some(meter) = self.permit.meter()
            && let Err(excess) = meter.overhead(now, bytes)
        {
            shard.metrics().count_refusal(Reason::RatePerUser);
            if excess == Excess::Close {
                self.over = Some(Over::Rate);
            }
        }
    }
}
