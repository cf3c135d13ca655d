//! Everything that can be put into a hub, as one value.

use alloc::{borrow::Cow, boxed::Box};
use core::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    gateway::{App, Gateway, Outcome, Token, outcome_wire, token_wire},
    hub::Hub,
    hub::audience::Audience,
    hub::conn::{ConnId, Handshake},
    outbox::Outbox,
    policy::Policies,
    room::history::HistoryMessage,
    time::Timestamp,
    wire::close::{CloseCode, DisconnectReason},
    wire::event::Event,
    wire::frame::Frame,
    wire::payload::Payload,
};

/// One call of an [`App`] method that may change it; without an application, of a [`Hub`] method.
///
/// A list of inputs with their times is a journal: applied to a new hub with the same
/// configuration and the same gateway, it gives the same outbox, byte for byte. What the gateway
/// does is not in it, but for answers that came later.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input<'a> {
    /// [`Hub::connect`].
    Connect(Handshake),
    /// [`App::receive`] of a text message; without an application [`Hub::receive`], then
    /// [`Hub::publish`] of what it returned.
    Text {
        /// Whose message it is.
        conn: ConnId,
        /// The message.
        text: Cow<'a, str>,
    },
    /// [`Hub::receive`] of a binary message.
    Binary {
        /// Whose message it is.
        conn: ConnId,
        /// The message.
        bytes: Cow<'a, [u8]>,
    },
    /// [`Hub::heard`].
    Heard(ConnId),
    /// [`Hub::disconnect`].
    Disconnect {
        /// Who is gone.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
    },
    /// [`Hub::handle_timeout`].
    Timeout,
    /// [`Hub::join`], or with something to show [`Hub::join_with`].
    Join {
        /// Who joins.
        conn: ConnId,
        /// Which room.
        room: Cow<'a, str>,
        /// What presence shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meta: Option<Box<RawValue>>,
    },
    /// [`Hub::leave`].
    Leave {
        /// Who leaves.
        conn: ConnId,
        /// Which room.
        room: Cow<'a, str>,
    },
    /// [`Hub::send`], or with a key [`Hub::send_once`].
    Send {
        /// The idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Cow<'a, str>>,
        /// Who receives it.
        audience: Cow<'a, Audience>,
        /// The event name.
        event: Cow<'a, str>,
        /// The label of the push.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<Cow<'a, str>>,
        /// The payload.
        data: Box<RawValue>,
    },
    /// [`Hub::send_frame`] of a text.
    SendText {
        /// Who receives it.
        audience: Cow<'a, Audience>,
        /// The whole message.
        text: Cow<'a, str>,
    },
    /// [`Hub::send_frame`] of bytes.
    SendBinary {
        /// Who receives it.
        audience: Cow<'a, Audience>,
        /// The whole message.
        bytes: Cow<'a, [u8]>,
    },
    /// [`Hub::close`], or with a delay [`Hub::close_for`].
    Close {
        /// Which connection.
        conn: ConnId,
        /// With which code.
        code: CloseCode,
        /// With which reason.
        reason: Cow<'a, str>,
        /// How long the client is to stay away, in milliseconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        away_ms: u64,
    },
    /// [`Hub::history_loaded`].
    GiveBack {
        /// Which room.
        room: Cow<'a, str>,
        /// Its messages.
        messages: Cow<'a, [HistoryMessage]>,
    },
    /// [`Hub::set_unix_zero_ms`].
    WallClock {
        /// The wall-clock time of `Timestamp::ZERO`, in milliseconds since 1970.
        unix_zero_ms: u64,
    },
    /// [`Hub::trim_histories`].
    TrimHistories {
        /// To how many bytes.
        bytes_max: usize,
    },
    /// [`Hub::set_policies`].
    SetPolicies {
        /// The policies from now on.
        policies: Cow<'a, Policies>,
    },
    /// [`App::complete`].
    Complete {
        /// Which answer.
        #[serde(with = "token_wire")]
        token: Token,
        /// The answer.
        #[serde(with = "outcome_wire")]
        outcome: Outcome,
    },
    /// [`App::drain`].
    Drain,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Performs an input; most are the same call of a [`Hub`] and of an [`App`].
macro_rules! apply {
    ($target:expr, $now:expr, $input:expr, $out:expr, { $($own:tt)* }) => {
        match $input {
            Input::Connect(handshake) => {
                let _ = $target.connect($now, handshake.clone(), $out);
            }
            Input::Heard(conn) => {
                let _ = $target.heard($now, *conn);
            }
            Input::Disconnect { conn, reason } => {
                let _ = $target.disconnect($now, *conn, *reason, $out);
            }
            Input::Timeout => $target.handle_timeout($now, $out),
            Input::Join { conn, room, meta } => {
                let meta = meta.as_deref().map_or(Ok(Payload::NULL), Payload::from_raw);
                if let Ok(meta) = meta {
                    let _ = $target.join_with($now, *conn, room, meta, $out);
                }
            }
            Input::Leave { conn, room } => {
                let _ = $target.leave($now, *conn, room, $out);
            }
            Input::Send {
                key,
                audience,
                event,
                path,
                data,
            } => {
                if let Ok(data) = Payload::from_raw(data) {
                    let event = Event::new(event).with_path(path.as_deref());
                    let _ = match key {
                        Some(key) => $target.send_once($now, key, audience, event, data, $out),
                        None => $target
                            .send($now, audience, event, data, $out)
                            .map_err(Into::into),
                    };
                }
            }
            Input::SendText { audience, text } => {
                let _ = $target.send_frame($now, audience, Frame::Text(text), $out);
            }
            Input::SendBinary { audience, bytes } => {
                let _ = $target.send_frame($now, audience, Frame::Binary(bytes), $out);
            }
            Input::Close {
                conn,
                code,
                reason,
                away_ms,
            } => {
                let away = Duration::from_millis(*away_ms);
                let _ = $target.close_for($now, *conn, *code, reason, away, $out);
            }
            Input::GiveBack { room, messages } => {
                $target.history_loaded($now, room, messages.iter().cloned(), $out);
            }
            Input::WallClock { unix_zero_ms } => $target.set_unix_zero_ms(*unix_zero_ms),
            Input::TrimHistories { bytes_max } => $target.trim_histories(*bytes_max, $out),
            Input::SetPolicies { policies } => {
                $target.set_policies($now, Policies::clone(policies), $out);
            }
            $($own)*
        }
    };
}

impl Hub {
    /// Does what the input says. What the method would return, an error included, is dropped: what
    /// clients see is in the outbox, and an error changes nothing.
    ///
    /// A hub has no application: inputs that are for one do nothing.
    pub fn apply(&mut self, now: Timestamp, input: &Input<'_>, out: &mut Outbox) {
        apply!(self, now, input, out, {
            Input::Text { conn, text } => self.dispatch(now, *conn, Frame::Text(text), out),
            Input::Binary { conn, bytes } => self.dispatch(now, *conn, Frame::Binary(bytes), out),
            Input::Complete { .. } | Input::Drain => {}
        });
    }

    fn dispatch(&mut self, now: Timestamp, conn: ConnId, frame: Frame<'_>, out: &mut Outbox) {
        if let Ok(Some(message)) = self.receive(now, conn, frame, out) {
            let _ = self.publish(now, &message, out);
        }
    }
}

impl<G: Gateway> App<G> {
    /// Does what the input says. What the method would return, an error included, is dropped: what
    /// clients see is in the outbox, and an error changes nothing.
    pub fn apply(&mut self, now: Timestamp, input: &Input<'_>, out: &mut Outbox) {
        apply!(self, now, input, out, {
            Input::Text { conn, text } => {
                let _ = self.receive(now, *conn, Frame::Text(text), out);
            }
            Input::Binary { conn, bytes } => {
                let _ = self.receive(now, *conn, Frame::Binary(bytes), out);
            }
            Input::Complete { token, outcome } => {
                let _ = self.complete(now, *token, outcome.clone(), out);
            }
            Input::Drain => self.drain(now, out),
        });
    }
}
