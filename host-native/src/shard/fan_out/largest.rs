//! The largest fan-out of a period, for the log.

use std::{borrow::Cow, mem};

use roomcast_core::Frame;
use serde::Deserialize;
use tracing::Level;

/// The largest fan-out of a period.
#[derive(Debug, Default)]
pub(in crate::shard) struct Largest {
    recipients: usize,
    /// The room; `None` for messages without an envelope.
    room: Option<Box<str>>,
}

/// The room of an envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
}

impl Largest {
    /// Records a fan-out if it is the largest.
    #[inline]
    pub(in crate::shard) fn observe(&mut self, recipients: usize, frame: Frame<'_>) {
        if recipients > self.recipients {
            self.set(recipients, frame);
        }
    }

    /// Records a fan-out if it will be logged. Otherwise stops all further recording.
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
