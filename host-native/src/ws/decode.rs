//! Frames from clients.
//!
//! Nearly all frames are whole text messages. These are checked, unmasked in place in the read
//! buffer, and passed on without a copy or an allocation. Everything else goes, one whole frame at
//! a time, to tungstenite's state machine, which is created when it is first needed: its rules for
//! fragments, control frames and closing apply. Limits that it lacks are enforced here, before a
//! byte is buffered: the declared length, the number of fragments, the rate of control frames, and
//! the bytes outside of messages.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
};

use roomcast_core::{CloseCode, Rate, Timestamp, hub::Bucket};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

/// The limits that apply before the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guards {
    pub(crate) message_bytes_max: usize,
    pub(crate) fragments_max: usize,
    pub(crate) control: Option<Rate>,
    /// The rate of bytes outside of messages: control frames, and headers of fragments.
    pub(crate) framing: Option<Rate>,
}

/// An event of a connection: an action of the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// A control frame, with the bytes of the answer.
    Control(&'a [u8]),
    /// A close frame, with the bytes of the answer.
    Close(Option<u16>, &'a [u8]),
}

/// A violation of the rules, with the code and the reason for the close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: CloseCode,
    pub(crate) reason: Cow<'static, str>,
}

impl Violation {
    const fn new(code: CloseCode, reason: &'static str) -> Self {
        let reason = Cow::Borrowed(reason);
        Self { code, reason }
    }

    fn too_big(guards: Guards) -> Self {
        Self {
            code: CloseCode::TOO_BIG,
            reason: CloseCode::too_big_reason(guards.message_bytes_max).into(),
        }
    }

    fn too_many_fragments(guards: Guards) -> Self {
        Self {
            code: CloseCode::POLICY,
            reason: format!("message in more than {} fragments", guards.fragments_max).into(),
        }
    }
}

const NOT_UTF8: Violation = Violation::new(CloseCode::INVALID_TEXT, "text is not UTF-8");
const FRAMING: Violation = Violation::new(CloseCode::PROTOCOL, "broken WebSocket framing");
const CONTROL: Violation = Violation::new(CloseCode::RATE_LIMITED, "too many control frames");
const OVERHEAD: Violation = Violation::new(
    CloseCode::RATE_LIMITED,
    "too many bytes in no message: fewer fragments, fewer pings",
);

/// The excess control frames that are dropped before the connection is closed: as many as messages
/// that the hub refuses.
const CONTROL_REFUSALS: Rate = Rate {
    per_second: 1,
    burst: 100,
};

const CLOSE: u8 = 8;

/// The state between two reads of one connection; small while nothing unusual happens.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The beginning of an incomplete frame.
    part: Vec<u8>,
    slow: Option<Box<SlowPath>>,
    /// True after the peer's close frame; later frames are ignored.
    closed: bool,
}

/// The state of the slow path, which only unusual clients need.
#[derive(Debug)]
struct SlowPath {
    rules: WebSocketContext,
    fragments: usize,
    /// The number of bytes of the message that is being assembled.
    assembled: usize,
    control: Option<Bucket>,
    control_refusals: Bucket,
    framing: Option<Bucket>,
}

impl SlowPath {
    fn new(guards: Guards, now: Timestamp) -> Box<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(0)
            .write_buffer_size(0)
            .max_write_buffer_size(1 << 16)
            .max_message_size(Some(guards.message_bytes_max))
            .max_frame_size(Some(guards.message_bytes_max));
        Box::new(Self {
            rules: WebSocketContext::new(Role::Server, Some(config)),
            fragments: 0,
            assembled: 0,
            control: guards.control.map(|rate| Bucket::full(rate, now)),
            control_refusals: Bucket::full(CONTROL_REFUSALS, now),
            framing: guards.framing.map(|rate| Bucket::full(rate, now)),
        })
    }
}

/// The head of a client's frame.
struct Head {
    fin: bool,
    rsv: u8,
    opcode: u8,
    masked: bool,
    /// The number of bytes of the head, including the mask.
    len: usize,
    payload_len: u64,
    /// True when the length is in its shortest form, as it must be (RFC 6455, 5.2), and below 2^63.
    shortest: bool,
}

impl Head {
    /// Parses a head; `None` when it is incomplete.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let masked = second & 0x80 != 0;
        let (extended, payload_len): (_, u64) = match second & 0x7f {
            126 => (
                2,
                u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(),
            ),
            127 => (8, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            len => (0, len.into()),
        };
        let shortest = match extended {
            0 => true,
            2 => payload_len >= 126,
            _ => payload_len > u16::MAX.into() && payload_len >> 63 == 0,
        };
        let len = 2 + extended + if masked { 4 } else { 0 };
        (bytes.len() >= len).then_some(Self {
            fin: first & 0x80 != 0,
            rsv: first & 0x70,
            opcode: first & 0x0f,
            masked,
            len,
            payload_len,
            shortest,
        })
    }

    const fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }
}

impl Decoder {
    /// True when a message has started and not ended.
    pub(crate) fn is_amid_message(&self) -> bool {
        let amid =
            !self.part.is_empty() || self.slow.as_ref().is_some_and(|slow| slow.fragments > 0);
        // After a close it never ends.
        amid && !self.closed
    }

    /// Decodes what was read, and reports the client's actions in order. The bytes are overwritten.
    pub(crate) fn feed(
        &mut self,
        read: &mut [u8],
        guards: Guards,
        now: Timestamp,
        mut on: impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        if self.closed {
            return Ok(());
        }
        // The rest of a frame is moved only when more of it arrives.
        let mut part = std::mem::take(&mut self.part);
        let joined = !part.is_empty();
        let bytes = if joined {
            part.extend_from_slice(read);
            &mut part[..]
        } else {
            read
        };
        let mut used = 0;
        while let Some(head) = Head::read(&bytes[used..]) {
            let rest = &mut bytes[used..];
            let assembled = self.slow.as_ref().map_or(0, |slow| slow.assembled);
            let room = guards.message_bytes_max - assembled.min(guards.message_bytes_max);
            if head.is_control() && (head.payload_len > 125 || !head.fin)
                || head.rsv != 0
                || !head.masked
                || !head.shortest
            {
                // The frame is invalid: there is no need to wait for the rest of it.
                return Err(FRAMING);
            }
            if head.payload_len > room as u64 && !head.is_control() {
                return Err(Violation::too_big(guards));
            }
            let Some(len) = usize::try_from(head.payload_len)
                .ok()
                .map(|len| head.len + len)
                .filter(|&len| len <= rest.len())
            else {
                break;
            };
            let frame = &mut rest[..len];
            let amid = self.slow.as_ref().is_some_and(|slow| slow.fragments > 0);
            if head.fin && matches!(head.opcode, 1 | 2) && !amid {
                let (head_bytes, payload) = frame.split_at_mut(head.len);
                unmask(payload, &head_bytes[head.len - 4..]);
                if head.opcode == 1 {
                    on(Event::Text(
                        std::str::from_utf8(payload).map_err(|_| NOT_UTF8)?,
                    ));
                } else {
                    on(Event::Binary(payload));
                }
            } else {
                self.take_slow_path(&head, frame, guards, now, &mut on)?;
            }
            if self.closed {
                return Ok(());
            }
            used += len;
        }
        if used < bytes.len() {
            if joined {
                part.drain(..used);
            } else {
                part = bytes[used..].to_vec();
            }
            self.part = part;
        }
        Ok(())
    }

    /// Handles one whole frame that is a fragment, a control frame, or invalid.
    fn take_slow_path(
        &mut self,
        head: &Head,
        frame: &[u8],
        guards: Guards,
        now: Timestamp,
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Violation> {
        let slow = self.slow.get_or_insert_with(|| SlowPath::new(guards, now));
        // Payloads of fragments belong to a message, which the hub counts.
        let bytes = if head.is_control() {
            frame.len()
        } else {
            head.len
        };
        if head.opcode != CLOSE
            && let Some((bucket, rate)) = slow.framing.as_mut().zip(guards.framing)
            && !bucket.take(rate, now, bytes as u64)
        {
            return Err(OVERHEAD);
        }
        if head.is_control() {
            // A close is always accepted: it is the last frame anyway.
            if head.opcode != CLOSE
                && let Some((bucket, rate)) = slow.control.as_mut().zip(guards.control)
                && !bucket.take(rate, now, 1)
            {
                return if slow.control_refusals.take(CONTROL_REFUSALS, now, 1) {
                    Ok(())
                } else {
                    Err(CONTROL)
                };
            }
        } else {
            slow.fragments += 1;
            slow.assembled += frame.len() - head.len;
            if slow.fragments > guards.fragments_max {
                return Err(Violation::too_many_fragments(guards));
            }
            if head.fin {
                (slow.fragments, slow.assembled) = (0, 0);
            }
        }
        let mut pipe = Pipe {
            input: frame,
            output: Vec::new(),
        };
        loop {
            match slow.rules.read(&mut pipe) {
                Ok(Message::Text(text)) => on(Event::Text(&text)),
                Ok(Message::Binary(bytes)) => on(Event::Binary(&bytes)),
                Ok(Message::Ping(_) | Message::Pong(_)) => {
                    let _ = slow.rules.flush(&mut pipe);
                    on(Event::Control(&pipe.output));
                    pipe.output.clear();
                }
                Ok(Message::Close(close)) => {
                    self.closed = true;
                    let _ = slow.rules.flush(&mut pipe);
                    on(Event::Close(
                        close.map(|close| close.code.into()),
                        &pipe.output,
                    ));
                    return Ok(());
                }
                Ok(Message::Frame(_)) => {}
                Err(tungstenite::Error::Io(fault)) if fault.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Err(fault) => return Err(classify(&fault, guards)),
            }
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // tungstenite adds variants; all others are framing
fn classify(fault: &tungstenite::Error, guards: Guards) -> Violation {
    match fault {
        tungstenite::Error::Utf8(_) => NOT_UTF8,
        tungstenite::Error::Capacity(_) => Violation::too_big(guards),
        _ => FRAMING,
    }
}

/// Removes the mask, eight bytes at a time.
#[inline]
fn unmask(payload: &mut [u8], mask: &[u8]) {
    let mask = [mask[0], mask[1], mask[2], mask[3]];
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, tail) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// A stream for tungstenite: it reads the given frame, and collects the answers.
struct Pipe<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// Explicit, since the fuzz targets compile this file a second time and need the path too.
#[cfg(test)]
#[path = "decode/tests.rs"]
mod tests;
