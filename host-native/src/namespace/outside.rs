//! What is wanted of a namespace from outside of its connections: by the HTTP API, by a
//! [`Server`](crate::Server), by the shard.

use std::{borrow::Cow, rc::Rc, time::Duration};

use roomcast_core::{
    Audience, CloseCode, ConnId, Delivery, EncodeError, Event, Frame, Input, JoinError, Outbox,
    Payload, Policies, SendError, Timestamp, UnknownConn,
};
use serde_json::value::RawValue;

use super::{Namespace, application::AnyApp};
use crate::shard::Shard;

impl Namespace {
    pub(crate) fn close(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), UnknownConn> {
        self.close_for(shard, conn, code, reason, Duration::ZERO)
    }

    /// Closes, and asks the client to stay away for a while.
    pub(crate) fn close_for(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
        away: Duration,
    ) -> Result<(), UnknownConn> {
        let input = || Input::Close {
            conn,
            code,
            reason: reason.into(),
            away_ms: u64::try_from(away.as_millis()).unwrap_or(u64::MAX),
        };
        {
            let inner = &mut *self.inner.borrow_mut();
            inner.fan_out.part(shard, shard.now(), conn);
        }
        let closed = self.drive(shard, input, |app, now, out| {
            app.close_for(now, conn, code, reason, away, out)
        });
        // Hooks, which may panic, run when it is closed.
        closed.unwrap_or(Ok(()))
    }

    /// Tells the application where the wall clock is.
    pub(crate) fn set_unix_zero_ms(self: &Rc<Self>, shard: &Shard, unix_zero_ms: u64) {
        let input = || Input::WallClock { unix_zero_ms };
        // No hook runs.
        let _ = self.drive(shard, input, |app, _, _| app.set_unix_zero_ms(unix_zero_ms));
    }

    /// Drops histories until they take at most so many bytes of memory.
    ///
    /// What they take then is counted as at any input.
    pub(crate) fn trim_histories(self: &Rc<Self>, shard: &Shard, bytes_max: usize) {
        let input = || Input::TrimHistories { bytes_max };
        // No hook runs.
        let _ = self.drive(shard, input, |app, _, out| {
            app.trim_histories(bytes_max, out);
        });
    }

    /// Puts other policies in the place of those in force.
    pub(crate) fn set_policies(self: &Rc<Self>, shard: &Shard, policies: &Policies) {
        let input = || Input::SetPolicies {
            policies: Cow::Borrowed(policies),
        };
        // A panic of a hook was noted down.
        let _ = self.drive(shard, input, |app, now, out| {
            app.set_policies(now, policies.clone(), out);
        });
    }

    /// Joins, with something to show or without; says whether the connection was in.
    pub(crate) fn join(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        room: &str,
        meta: Option<&RawValue>,
    ) -> Result<bool, JoinError> {
        let shown = meta.map_or(Ok(Payload::NULL), |meta| Payload::parse(meta.get()));
        let shown = shown.map_err(EncodeError::from)?;
        let input = || Input::Join {
            conn,
            room: room.into(),
            meta: meta.map(ToOwned::to_owned),
        };
        let joined = self.drive(shard, input, |app, now, out| {
            Ok(app.join_with(now, conn, room, shown, out)?.already)
        });
        // Hooks, which may panic, run when it is new in the room.
        joined.unwrap_or(Ok(false))
    }

    /// Leaves; says whether the connection was in.
    pub(crate) fn leave(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        room: &str,
    ) -> Result<bool, UnknownConn> {
        let input = || Input::Leave {
            conn,
            room: room.into(),
        };
        let left = self.drive(shard, input, |app, now, out| {
            app.leave(now, conn, room, out)
        });
        // Hooks, which may panic, run when it was in.
        left.unwrap_or(Ok(true))
    }

    /// Sends, and says what became of it: the queues are looked at, not only the rooms.
    pub(crate) fn send(
        self: &Rc<Self>,
        shard: &Shard,
        audience: &Audience,
        event: Event<'_>,
        data: &RawValue,
    ) -> Result<Delivery, EncodeError> {
        let payload = Payload::parse(data.get())?;
        let input = || sent(None, audience, event, data);
        self.deliver(shard, None, input, |app, now, out| {
            app.send(now, audience, event, payload, out)
        })
    }

    /// Sends once for a key.
    pub(crate) fn send_once(
        self: &Rc<Self>,
        shard: &Shard,
        key: &str,
        audience: &Audience,
        event: Event<'_>,
        data: &RawValue,
    ) -> Result<Delivery, SendError> {
        let payload = Payload::parse(data.get()).map_err(EncodeError::from)?;
        let input = || sent(Some(key), audience, event, data);
        let delivery = self.deliver(shard, Some(key), input, |app, now, out| {
            app.send_once(now, key, audience, event, payload, out)
        })?;
        if delivery.dropped > 0 {
            let inner = &mut *self.inner.borrow_mut();
            inner.application.app_mut().0.settle_once(key, delivery);
            inner.keep_key(shard, &self.name, shard.now(), key);
        }
        Ok(delivery)
    }

    /// Sends a frame of the application's own.
    pub(crate) fn send_frame(
        self: &Rc<Self>,
        shard: &Shard,
        audience: &Audience,
        frame: Frame<'_>,
    ) -> Result<Delivery, EncodeError> {
        let input = || {
            let audience = Cow::Borrowed(audience);
            match frame {
                Frame::Text(text) => Input::SendText {
                    audience,
                    text: text.into(),
                },
                Frame::Binary(bytes) => Input::SendBinary {
                    audience,
                    bytes: bytes.into(),
                },
            }
        };
        self.deliver(shard, None, input, |app, now, out| {
            app.send_frame(now, audience, frame, out)
        })
    }

    fn deliver<'a, E>(
        self: &Rc<Self>,
        shard: &Shard,
        key: Option<&str>,
        input: impl FnOnce() -> Input<'a>,
        send: impl FnOnce(&mut AnyApp, Timestamp, &mut Outbox) -> Result<Delivery, E>,
    ) -> Result<Delivery, E> {
        let now = shard.now();
        shard.record(&self.name, now, input);
        let inner = &mut *self.inner.borrow_mut();
        inner.fan_out.end_run(shard, now);
        inner.settle_overflow(shard, &self.name, now);
        // A send runs no code of the application's.
        let (app, out) = inner.application.app_mut();
        let sent = send(app, now, out);
        if let Some(key) = key {
            inner.keep_key(shard, &self.name, now, key);
        }
        inner.carry_out(shard, &self.name, now);
        inner.fan_out.end_run(shard, now);
        let dropped = inner.fan_out.overflowed();
        self.finish(shard, now, inner);
        let mut delivery = sent?;
        // A repeated key answers what the first one did, and that may be a loss.
        delivery.dropped += dropped;
        delivery.queued -= dropped.min(delivery.queued);
        Ok(delivery)
    }
}

fn sent<'a>(
    key: Option<&'a str>,
    audience: &'a Audience,
    event: Event<'a>,
    data: &RawValue,
) -> Input<'a> {
    Input::Send {
        key: key.map(Into::into),
        audience: Cow::Borrowed(audience),
        event: event.name().into(),
        path: event.path().map(Into::into),
        data: data.to_owned(),
    }
}
