//! WebSocket frames, as far as test clients and minimal servers need them.

use std::ops::Range;

/// A message in text.
pub const TEXT: u8 = 1;
/// A close frame, with its code.
pub const CLOSE: u8 = 8;
/// A ping, which must be answered.
pub const PING: u8 = 9;
/// The answer to a ping.
pub const PONG: u8 = 10;

/// The body of a close frame with code 1000.
pub const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// The place of the first frame in some bytes.
#[derive(Debug)]
pub struct Frame {
    /// False when the message continues in the next frame.
    pub is_last: bool,
    /// The kind; 0 continues a message.
    pub opcode: u8,
    /// The mask, which only frames of clients have.
    pub mask: Option<[u8; 4]>,
    /// The place of its payload.
    pub payload: Range<usize>,
}

impl Frame {
    /// Finds the first frame, or nothing while it is incomplete.
    pub fn first(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (length, mut at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let mut mask = None;
        if second & 0x80 != 0 {
            mask = Some(*bytes.get(at..)?.first_chunk()?);
            at += 4;
        }
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        (end <= bytes.len()).then_some(Self {
            is_last: first & 0x80 != 0,
            opcode: first & 0x0f,
            mask,
            payload: at..end,
        })
    }
}

/// Appends an unmasked frame, as a server sends it.
pub fn from_server(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    head(opcode, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

/// Appends a masked frame, as a client sends it. The mask is fixed: load has nothing to hide.
pub fn from_client(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    const MASK: [u8; 4] = [0xa5, 0x17, 0x6c, 0xd2];
    head(opcode, payload.len(), 0x80, out);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    apply(MASK, &mut out[start..]);
}

/// Masks or unmasks.
pub fn apply(mask: [u8; 4], bytes: &mut [u8]) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
}

fn head(opcode: u8, length: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_any_length_is_found_once_it_is_complete() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..=250).cycle().take(length).collect();
            for write in [from_client, from_server] {
                let mut bytes = Vec::new();
                write(TEXT, &payload, &mut bytes);
                assert!(Frame::first(&bytes[..bytes.len() - 1]).is_none());
                bytes.push(0);
                let frame = Frame::first(&bytes).expect("a frame");
                let read = &mut bytes[frame.payload];
                apply(frame.mask.unwrap_or_default(), read);
                assert_eq!(
                    (frame.opcode, frame.is_last, &*read),
                    (TEXT, true, &*payload)
                );
            }
        }
        assert!(Frame::first(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]).is_none());
    }
}
