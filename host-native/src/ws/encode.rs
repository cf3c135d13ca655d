//! Frames from the server. They are not masked, so all recipients get the same bytes.

use bytes::{BufMut, Bytes, BytesMut};
use roomcast_core::{CloseCode, Frame, outbox::CLOSE_REASON_BYTES_MAX};

const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// An empty ping.
pub(crate) const PING: Bytes = Bytes::from_static(&[FIN | 9, 0]);

/// The header of a whole message, in the first bytes of the array.
#[inline]
#[allow(clippy::cast_possible_truncation)] // each arm fits its field
pub(crate) fn header(frame: Frame<'_>) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = FIN
        | match frame {
            Frame::Text(_) => TEXT,
            Frame::Binary(_) => BINARY,
        };
    let len = frame.len();
    let used = match len {
        0..126 => {
            header[1] = len as u8;
            2
        }
        126..0x1_0000 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    (header, used)
}

/// A whole message in a separate buffer.
pub(crate) fn message(frame: Frame<'_>) -> Bytes {
    let (head, used) = header(frame);
    let mut bytes = BytesMut::with_capacity(used + frame.len());
    bytes.put_slice(&head[..used]);
    bytes.put_slice(frame.as_bytes());
    bytes.freeze()
}

/// A close frame. The hub ensures that the reason has at most [`CLOSE_REASON_BYTES_MAX`] bytes.
pub(crate) fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    debug_assert!(reason.len() <= CLOSE_REASON_BYTES_MAX);
    let mut frame = Vec::with_capacity(4 + reason.len());
    frame.push(FIN | CLOSE);
    frame.push(u8::try_from(2 + reason.len()).unwrap_or(2));
    frame.extend_from_slice(&code.as_u16().to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        for (len, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(len);
            let whole = message(Frame::Text(&text));
            assert_eq!(&whole[..header.len()], header, "{len}");
            assert_eq!(&whole[header.len()..], text.as_bytes());
        }
        assert_eq!(&message(Frame::Binary(&[7]))[..], b"\x82\x01\x07");
    }

    #[test]
    fn a_close_frame_has_code_and_reason() {
        let frame = close_frame(CloseCode::AWAY, "bye");
        assert_eq!(&frame[..], b"\x88\x05\x03\xe9bye");
    }
}
