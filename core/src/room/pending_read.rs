//! Requests that wait for a room's messages.

use alloc::{borrow::Cow, boxed::Box};

use crate::wire::{conn_id::ConnId, envelope::Envelope, head::RequestId, payload::Payload};

/// A request that waits for a room's messages.
#[derive(Debug, Clone)]
pub(crate) struct PendingRead {
    pub(crate) conn: ConnId,
    pub(crate) room: Box<str>,
    event: Box<str>,
    id: Option<RequestId<'static>>,
    data: Box<str>,
}

impl PendingRead {
    pub(crate) fn new(conn: ConnId, room: &str, request: &Envelope<'_>) -> Self {
        Self {
            conn,
            room: room.into(),
            event: request.event.as_ref().into(),
            id: request.id.clone().map(RequestId::into_owned),
            data: request.data.as_str().into(),
        }
    }

    /// The request as it came.
    pub(crate) fn request(&self) -> Envelope<'_> {
        Envelope {
            event: Cow::Borrowed(&*self.event),
            id: self.id.clone(),
            room: Some(Cow::Borrowed(&*self.room)),
            echo: None,
            data: Payload::from_written(&self.data).unwrap_or(Payload::NULL),
        }
    }
}
