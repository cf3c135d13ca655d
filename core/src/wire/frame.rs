//! A WebSocket message, in either direction.

/// The content of one WebSocket message, borrowed.
///
/// An inbound frame is a slice of the host's read buffer, an outbound one a slice of the
/// [`Outbox`](crate::Outbox): encoded once, whatever the number of recipients. A host that keeps it
/// longer copies it, once per message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// The payload bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload's length in bytes.
    pub const fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// True when the payload is empty.
    pub const fn is_empty(self) -> bool {
        self.as_bytes().is_empty()
    }
}
