//! WebSocket framing (RFC 6455), as far as it is implemented here for speed.

mod decode;
mod encode;
pub(crate) mod queue;

pub(crate) use decode::{Decoder, Event, Guards};
pub(crate) use encode::{PING, close_frame, header, message};
