//! Requests that wait for a room's messages.

use alloc::{borrow::Cow, boxed::Box};

use crate::wire::{Message, OwnedAddress, Payload, conn_id::ConnId};

/// A request that waits for a room's messages.
#[derive(Debug, Clone)]
pub(crate) struct PendingRead {
    pub(crate) conn: ConnId,
    address: OwnedAddress,
    data: Box<str>,
}

impl PendingRead {
    pub(crate) fn new(request: &Message<'_>) -> Self {
        Self {
            conn: request.conn,
            address: request.address().to_owned(),
            data: request.data.as_str().into(),
        }
    }

    /// True when it waits for this room.
    pub(crate) fn is_for(&self, room: &str) -> bool {
        self.address.borrow().room == Some(room)
    }

    /// The request as it came.
    pub(crate) fn request(&self) -> Message<'_> {
        let address = self.address.borrow();
        Message {
            conn: self.conn,
            event: Cow::Borrowed(address.event),
            id: address.id.cloned(),
            room: address.room.map(Cow::Borrowed),
            echo: None,
            data: Payload::from_serialized(&self.data).unwrap_or(Payload::NULL),
            once: None,
        }
    }
}
