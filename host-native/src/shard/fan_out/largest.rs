//! The largest fan-out of some seconds, for the log.

use std::{borrow::Cow, mem};

use roomcast_core::Frame;
use serde::Deserialize;
use tracing::Level;

/// The largest fan-out of some seconds.
#[derive(Debug, Default)]
pub(in crate::shard) struct Largest {
    recipients: usize,
    /// Its room; `None` where messages have no envelope.
    room: Option<Box<str>>,
}

/// The room of an envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
}

impl Largest {
    /// Looks at a fan-out.
    #[inline]
    pub(in crate::shard) fn observe(&mut self, recipients: usize, frame: Frame<'_>) {
        if recipients > self.recipients {
            self.set(recipients, frame);
        }
    }

    /// Remembers a fan-out, if the log wants it; else none is looked at any more.
    #[cold]
    fn set(&mut self, recipients: usize, frame: Frame<'_>) {
        if !tracing::enabled!(Level::DEBUG) {
            self.recipients = usize::MAX;
            return;
        }
        let envelope = match frame {
            Frame::Text(text) => serde_json::from_str::<Envelope<'_>>(text).ok(),
            Frame::Binary(_) => None,
        };
        let room = envelope.and_then(|envelope| envelope.room);
        self.room = room.map(|room| room.into());
        self.recipients = recipients;
    }

    /// Logs the largest fan-out since the last call.
    pub(in crate::shard) fn tell(&mut self, namespace: &str) {
        if (1..usize::MAX).contains(&self.recipients) {
            let Self { recipients, room } = mem::take(self);
            let room = room.as_deref();
            tracing::debug!(namespace, room, recipients, "largest fan-out of 10 s");
        }
    }
}
