//! WebSocket frames, as far as a load generator and the floor need them: whole, unfragmented.

use std::ops::Range;

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The body of a close frame with code 1000.
pub const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// Where the first frame of some bytes lies.
pub struct Frame {
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
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
        let end = at + usize::try_from(length).ok()?;
        let payload = at..end;
        (end <= bytes.len()).then_some(Self {
            opcode: first & 0x0f,
            mask,
            payload,
        })
    }
}

/// Appends an unmasked frame: what a server sends.
pub fn from_server(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    head(opcode, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

/// Appends a masked frame: what a client sends. The mask is fixed, since nothing hides here.
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
    for (byte, key) in bytes.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn head(opcode: u8, length: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    if length < 126 {
        out.push(masked | length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(masked | 126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(masked | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}
