//! The wire format: envelopes, payloads, frames, close codes, error codes.

pub(crate) mod auth;
pub(crate) mod close;
pub(crate) mod conn_id;
pub(crate) mod counted;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod frame;
pub(crate) mod head;
mod members;
pub(crate) mod named;
pub(crate) mod once;
pub(crate) mod payload;
pub(crate) mod room_message;
pub(crate) mod room_name;

pub use self::{
    auth::AuthRequest,
    close::{CloseCode, DisconnectReason},
    counted::Counted,
    envelope::Message,
    error::{Coded, Details, EncodeError, EnvelopeError, ErrorBody, ErrorCode},
    event::Event,
    frame::Frame,
    head::{EVENT_BYTES_MAX, RequestId},
    payload::{Payload, PayloadError},
};
pub(crate) use self::{
    conn_id::ConnId,
    envelope::check_event,
    head::{
        Address, OwnedAddress, PREVIOUS_CONNS_MAX, write_bool, write_from, write_head,
        write_number, write_string,
    },
    once::{Once, PreviousConns},
    room_message::write_room_message,
};
