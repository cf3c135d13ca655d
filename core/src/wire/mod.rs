//! What stands on the wire: envelopes, payloads, frames, close codes, error codes.

pub(crate) mod close;
pub(crate) mod counted;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod named;
pub(crate) mod payload;

pub use self::{
    close::{CloseCode, DisconnectReason},
    counted::Counted,
    envelope::{Message, RequestId},
    error::{Coded, Details, EncodeError, EnvelopeError, ErrorBody, ErrorCode},
    event::Event,
    frame::Frame,
    payload::{Payload, PayloadError},
};
