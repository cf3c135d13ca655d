//! The namespace, as an API call sees it.

use roomcast_core::{
    Audience, CloseCode, ConnId, Delivery, EncodeError, Event, Hub, JoinError, Outbox, Payload,
    SendError, Timestamp, UnknownConn,
};
use roomcast_http::ApiHost;
use serde_json::value::RawValue;

use crate::{
    namespace::{AnyApp, kept::history_loaded},
    platform::{Fault, Platform},
};

/// Does what a call asks for; what follows from it is left in the outbox.
#[derive(Debug)]
pub(crate) struct ApiCaller<'a, P> {
    now: Timestamp,
    app: &'a mut AnyApp,
    out: &'a mut Outbox,
    platform: &'a mut P,
    learned: Result<Option<String>, Fault>,
}

impl<'a, P> ApiCaller<'a, P> {
    pub(crate) const fn new(
        now: Timestamp,
        app: &'a mut AnyApp,
        out: &'a mut Outbox,
        platform: &'a mut P,
    ) -> Self {
        Self {
            now,
            app,
            out,
            platform,
            learned: Ok(None),
        }
    }

    /// The idempotency key that the hub did not know before.
    ///
    /// # Errors
    ///
    /// When a history could not be read: then nothing is to be answered.
    pub(crate) fn into_learned(self) -> Result<Option<String>, Fault> {
        self.learned
    }
}

impl<P: Platform> ApiHost for ApiCaller<'_, P> {
    fn ask<R>(&self, question: impl FnOnce(&Hub) -> R) -> Option<R> {
        Some(question(self.app.hub()))
    }

    fn load_history(&mut self, room: &str) {
        if self.app.hub().is_away(room)
            && let Err(fault) = history_loaded(self.platform, self.now, self.app, room, self.out)
        {
            self.learned = Err(fault);
        }
    }

    fn send(
        &mut self,
        key: Option<&str>,
        audience: &Audience,
        event: Event<'_>,
        data: &RawValue,
    ) -> Result<Delivery, SendError> {
        let data = Payload::parse(data.get()).map_err(EncodeError::from)?;
        let Some(key) = key else {
            let sent = self.app.send(self.now, audience, event, data, self.out);
            return sent.map_err(SendError::from);
        };
        let known = self.app.hub().key_state(self.now, key).is_some();
        let sent = self
            .app
            .send_once(self.now, key, audience, event, data, self.out)?;
        self.learned = Ok((!known).then(|| key.to_owned()));
        Ok(sent)
    }

    fn join(&mut self, conn: ConnId, room: &str) -> Result<bool, JoinError> {
        let joined = self.app.join(self.now, conn, room, self.out)?;
        Ok(joined.already)
    }

    fn leave(&mut self, conn: ConnId, room: &str) -> Result<bool, UnknownConn> {
        self.app.leave(self.now, conn, room, self.out)
    }

    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) -> Result<(), UnknownConn> {
        self.app.close(self.now, conn, code, reason, self.out)
    }

    /// The platform does not say what it has queued.
    fn queued_bytes(&mut self, _conn: ConnId) -> usize {
        0
    }

    fn unix_ms(&self, time: Timestamp) -> u64 {
        time.as_millis() // as the platform's clock counts
    }
}
