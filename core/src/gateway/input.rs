//! Inputs of a namespace, as one enum, and their results.

use alloc::{borrow::Cow, borrow::ToOwned, boxed::Box};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    outcome::Outcome, outcome::Token, rejection::ConnectError, rejection::Rejection,
    wait::CompleteError,
};
use crate::hub::{Audience, Delivery, Handshake, JoinError, SendError, UnknownConn};
use crate::wire::{CloseCode, ConnId, DisconnectReason, Frame};
use crate::{
    identity::Identity, policy::Policies, policy::Subscriptions, relay::RelayEvent,
    room::HistoryMessage,
};

/// An input of [`App::apply`](crate::App::apply): anything that may change a namespace.
///
/// A list of inputs with their times is a journal: applied to a new namespace with the same
/// configuration and the same gateway, it gives the same outbox, byte for byte. It does not contain
/// the gateway's actions, except for answers that came later.
///
/// Large and frequent values are borrowed. An `Input<'static>` can be sent to another thread.
///
/// Exhaustive on purpose: a new variant must break every host and every replay.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input<'a> {
    /// A connection opened: [`Hub::connect`](crate::Hub::connect), if the gateway accepts it.
    Connect(Handshake),
    /// A client sent the verb `$auth`, and the host has verified its token:
    /// [`Hub::authenticate`](crate::Hub::authenticate), and for a first identity
    /// [`Gateway::connect`](crate::Gateway::connect).
    Authenticate {
        /// The sender.
        conn: ConnId,
        /// The message without its token: see [`AuthRequest`](crate::wire::AuthRequest).
        text: Cow<'a, str>,
        /// The identity that the token gives; `None` when the token is refused.
        identity: Option<Box<Identity>>,
        /// True when the token is refused only for now: the host has no keys to verify it with yet.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        unavailable: bool,
    },
    /// A text message arrived: the hub checks and reads it, then the gateway handles it, and
    /// [`Hub::publish`](crate::Hub::publish) gets it if the gateway leaves it unclaimed.
    Text {
        /// The sender.
        conn: ConnId,
        /// The message.
        text: Cow<'a, str>,
    },
    /// A binary message arrived.
    Binary {
        /// The sender.
        conn: ConnId,
        /// The message.
        bytes: Cow<'a, [u8]>,
    },
    /// [`Hub::note_activity`](crate::Hub::note_activity).
    #[serde(rename = "heard")]
    Activity(ConnId),
    /// [`Hub::disconnect`](crate::Hub::disconnect).
    Disconnect {
        /// The connection that is gone.
        conn: ConnId,
        /// The cause.
        reason: DisconnectReason,
    },
    /// [`Hub::handle_timeout`](crate::Hub::handle_timeout), then each schedule that is due at most
    /// once, the earliest first.
    Timeout,
    /// Moves the schedules that are due to their next time, as if they had run: for a host that
    /// cannot catch panics, and would otherwise run a panicking schedule again and again.
    SkipDue,
    /// [`Hub::join`](crate::Hub::join), or with metadata
    /// [`Hub::join_with`](crate::Hub::join_with).
    Join {
        /// The connection.
        conn: ConnId,
        /// The room.
        room: Cow<'a, str>,
        /// Metadata that presence shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meta: Option<Cow<'a, RawValue>>,
    },
    /// [`Hub::leave`](crate::Hub::leave).
    Leave {
        /// The connection.
        conn: ConnId,
        /// The room.
        room: Cow<'a, str>,
    },
    /// [`Hub::send`](crate::Hub::send), or with a key [`Hub::send_once`](crate::Hub::send_once).
    Send {
        /// The idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Cow<'a, str>>,
        /// The recipients.
        audience: Cow<'a, Audience>,
        /// The event name.
        event: Cow<'a, str>,
        /// The label of the push.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<Cow<'a, str>>,
        /// The payload.
        data: Cow<'a, RawValue>,
    },
    /// [`Hub::send_frame`](crate::Hub::send_frame) of a text.
    SendText {
        /// The recipients.
        audience: Cow<'a, Audience>,
        /// The whole message.
        text: Cow<'a, str>,
    },
    /// [`Hub::send_frame`](crate::Hub::send_frame) of bytes.
    SendBinary {
        /// The recipients.
        audience: Cow<'a, Audience>,
        /// The whole message.
        bytes: Cow<'a, [u8]>,
    },
    /// [`Hub::set_delivery`](crate::Hub::set_delivery).
    #[serde(rename = "settle_once")]
    SetDelivery {
        /// The idempotency key.
        key: Cow<'a, str>,
        /// The delivery that repeated sends with this key are answered from now on.
        delivery: Delivery,
    },
    /// [`Hub::close`](crate::Hub::close), or with a delay
    /// [`Hub::close_for`](crate::Hub::close_for).
    Close {
        /// The connection.
        conn: ConnId,
        /// The code of the close frame.
        code: CloseCode,
        /// The reason in the close frame.
        reason: Cow<'a, str>,
        /// The time before which the client is not to reconnect, in milliseconds from now.
        #[serde(default, skip_serializing_if = "crate::time::is_zero")]
        away_ms: u64,
    },
    /// [`Hub::history_loaded`](crate::Hub::history_loaded).
    #[serde(rename = "give_back")]
    HistoryLoaded {
        /// The room.
        room: Cow<'a, str>,
        /// The messages of the room.
        messages: Cow<'a, [HistoryMessage]>,
    },
    /// [`Hub::set_unix_zero_ms`](crate::Hub::set_unix_zero_ms).
    WallClock {
        /// The wall-clock time of `Timestamp::ZERO`, in milliseconds since 1970.
        unix_zero_ms: u64,
    },
    /// [`Hub::trim_histories`](crate::Hub::trim_histories).
    TrimHistories {
        /// The number of bytes to keep, at most.
        bytes_max: usize,
    },
    /// [`Hub::trim_client_keys`](crate::Hub::trim_client_keys).
    TrimClientKeys {
        /// The number of keys to keep, at most.
        keys_max: usize,
    },
    /// [`Hub::set_policies`](crate::Hub::set_policies).
    SetPolicies {
        /// The new policies.
        policies: Cow<'a, Policies>,
    },
    /// [`Hub::set_backends`](crate::Hub::set_backends).
    SetBackends {
        /// The events that are reported to backends from now on.
        subscriptions: Cow<'a, Subscriptions>,
        /// True when a backend is asked about joins from now on.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        asks_join: bool,
    },
    /// An answer that a handler promised with [`Outcome::Later`]. The messages of the connection
    /// that waited for it, at most 64, are handled right after it.
    Complete {
        /// The token of the promise.
        #[serde(with = "Token")]
        token: Token,
        /// The answer.
        #[serde(with = "Outcome")]
        outcome: Outcome,
    },
    /// [`Hub::withdraw`](crate::Hub::withdraw).
    Withdraw {
        /// The user.
        user: Cow<'a, str>,
        /// Identities that were issued before this time, in seconds since 1970, are refused.
        not_before_s: u64,
    },
    /// An event from the relay of a clustered namespace, or from the host about the relay.
    Relay(Box<RelayEvent>),
    /// The host will close all connections soon: [`Gateway::drain`](crate::Gateway::drain).
    Drain,
}

// There is one for each client message in flight in a host, also between threads.
const _: () = assert!(size_of::<Input<'_>>() <= 248 && size_of::<Applied>() <= 48);

fn own<T: ToOwned + ?Sized + 'static>(cow: Cow<'_, T>) -> Cow<'static, T> {
    Cow::Owned(cow.into_owned())
}

fn own_some<T: ToOwned + ?Sized + 'static>(cow: Option<Cow<'_, T>>) -> Option<Cow<'static, T>> {
    cow.map(own)
}

/// Makes an input owned: each borrowed field is converted by the function named after it.
macro_rules! owned {
    ($input:ident: $($one:ident($member:ident)),*; $($many:ident { $($field:ident $(: $own:ident)?),* },)*) => {
        match $input {
            $(Self::$one($member) => Input::$one($member),)*
            $(Self::$many { $($field),* } => Input::$many { $($field: owned!($field $($own)?)),* },)*
        }
    };
    ($field:ident) => { $field };
    ($field:ident $own:ident) => { $own($field) };
}

impl<'a> Input<'a> {
    /// The input for a client's message.
    pub const fn message(conn: ConnId, frame: Frame<'a>) -> Self {
        match frame {
            Frame::Text(text) => Self::Text {
                conn,
                text: Cow::Borrowed(text),
            },
            Frame::Binary(bytes) => Self::Binary {
                conn,
                bytes: Cow::Borrowed(bytes),
            },
        }
    }

    /// Converts this into an owned input, which can be sent to another thread.
    pub fn into_owned(self) -> Input<'static> {
        owned! { self:
            Connect(handshake), Activity(conn), Relay(event);
            Timeout {}, SkipDue {}, Drain {},
            Authenticate { conn, text: own, identity, unavailable }, Withdraw { user: own, not_before_s },
            Text { conn, text: own }, Binary { conn, bytes: own },
            Disconnect { conn, reason },
            Join { conn, room: own, meta: own_some }, Leave { conn, room: own },
            Send { key: own_some, audience: own, event: own, path: own_some, data: own },
            SendText { audience: own, text: own }, SendBinary { audience: own, bytes: own },
            SetDelivery { key: own, delivery },
            Close { conn, code, reason: own, away_ms },
            HistoryLoaded { room: own, messages: own }, TrimHistories { bytes_max },
            TrimClientKeys { keys_max },
            WallClock { unix_zero_ms }, SetPolicies { policies: own },
            SetBackends { subscriptions: own, asks_join },
            Complete { token, outcome },
        }
    }

    /// The input that closes a connection whose client may reconnect at once.
    pub fn close(conn: ConnId, code: CloseCode, reason: impl Into<Cow<'a, str>>) -> Self {
        Self::Close {
            conn,
            code,
            reason: reason.into(),
            away_ms: 0,
        }
    }
}

/// The result of an input. An input that failed has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Done, without a result.
    Done,
    /// The input named a connection that is not alive, and changed nothing.
    UnknownConn(UnknownConn),
    /// The result of [`Input::Connect`]. A connection that was refused leaves no trace.
    Connected(Result<ConnId, ConnectError>),
    /// The result of [`Input::Send`], [`Input::SendText`] and [`Input::SendBinary`].
    Sent(Result<Delivery, SendError>),
    /// The result of the same inputs in a clustered namespace: the relay was asked, and
    /// [`App::take_send_outcomes`](crate::App::take_send_outcomes) gives its answer by this token.
    Relayed(u64),
    /// The result of [`Input::Join`]: true when the connection was in the room already.
    Joined(Result<bool, JoinError>),
    /// The result of [`Input::Withdraw`]: the number of connections that ended.
    Withdrawn(usize),
    /// The result of [`Input::Leave`]: true when the connection was in the room.
    Left(bool),
    /// The result of [`Input::Complete`].
    Completed(Result<(), CompleteError>),
}

impl Applied {
    /// The result of an input during which the gateway unwound; see
    /// [`App::unwound`](crate::App::unwound). A hook runs after the change that it reports, so the
    /// change remains.
    #[allow(clippy::wildcard_enum_match_arm)] // the others have no result of their own
    pub fn unwound(input: &Input<'_>) -> Self {
        match input {
            Input::Connect(_) => {
                Self::Connected(Err(ConnectError::Rejected(Rejection::internal())))
            }
            Input::Join { .. } => Self::Joined(Ok(false)),
            Input::Leave { .. } => Self::Left(true),
            Input::Complete { .. } => Self::Completed(Ok(())),
            _ => Self::Done,
        }
    }
}

impl From<Result<(), UnknownConn>> for Applied {
    fn from(result: Result<(), UnknownConn>) -> Self {
        result.map_or_else(Self::UnknownConn, |()| Self::Done)
    }
}
