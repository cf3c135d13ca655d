//! Frames from clients.
//!
//! Nearly all of them are whole text messages in one frame: these are checked, unmasked where they
//! lie in the read buffer, and handed on without a copy or an allocation. Everything else goes, one
//! whole frame at a time, to tungstenite's state machine, which is made when it is first needed:
//! its rules for fragments, control frames and closing apply. What it does not limit is limited
//! here, before a byte is buffered: the declared length, the number of fragments, the rate of
//! control frames.

use std::io::{self, Read, Write};

use roomcast_core::{CloseCode, Rate, Timestamp, hub::Bucket};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

/// The limits below the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guards {
    pub(crate) message_bytes_max: usize,
    pub(crate) fragments_max: usize,
    pub(crate) control: Option<Rate>,
}

/// Event of a connection: something that the client did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// A control frame; the bytes answer it.
    Control(&'a [u8]),
    /// A close frame; the bytes answer it.
    Close(Option<u16>, &'a [u8]),
}

/// A broken rule: close with this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
}

impl Fault {
    const fn new(code: CloseCode, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

const TOO_BIG: Fault = Fault::new(CloseCode::TOO_BIG, "message over the size limit");
const NOT_UTF8: Fault = Fault::new(CloseCode::INVALID_TEXT, "text is not UTF-8");
const FRAMING: Fault = Fault::new(CloseCode::PROTOCOL, "broken WebSocket framing");
const FRAGMENTS: Fault = Fault::new(CloseCode::POLICY, "too many fragments in one message");
const CONTROL: Fault = Fault::new(CloseCode::RATE_LIMITED, "too many control frames");

/// Control frames over their rate that are dropped before the connection is closed: as many as
/// the hub refuses messages.
const CONTROL_REFUSALS: Rate = Rate {
    per_second: 1,
    burst: 100,
};

const CLOSE: u8 = 8;

/// The state between two reads of one connection; two words while nothing unusual happens.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The begin of a frame whose end has not come.
    part: Vec<u8>,
    odd: Option<Box<Odd>>,
    /// The peer has said goodbye; what it says after that is not heard.
    closed: bool,
}

/// State that only unusual clients need.
#[derive(Debug)]
struct Odd {
    rules: WebSocketContext,
    fragments: usize,
    /// Bytes of the message being put together.
    assembled: usize,
    control: Option<Bucket>,
    control_refusals: Bucket,
}

impl Odd {
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
        })
    }
}

/// The head of a client's frame.
struct Head {
    fin: bool,
    rsv: u8,
    opcode: u8,
    masked: bool,
    /// Bytes of the head, mask included.
    len: usize,
    payload_len: u64,
    /// True when the length takes no more bytes than it needs, as it must (RFC 6455, 5.2), and is
    /// below 2^63.
    shortest: bool,
}

impl Head {
    /// `None` when the head is not complete.
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
    /// True when a message was begun and has not ended.
    pub(crate) fn is_amid_message(&self) -> bool {
        let amid = !self.part.is_empty() || self.odd.as_ref().is_some_and(|odd| odd.fragments > 0);
        // Behind a close it never will.
        amid && !self.closed
    }

    /// Takes what was read, and tells what the client did, in order. The bytes are overwritten.
    pub(crate) fn feed(
        &mut self,
        read: &mut [u8],
        guards: Guards,
        now: Timestamp,
        mut on: impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        if self.closed {
            return Ok(());
        }
        // What is left of a frame moves only when more of it comes.
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
            let assembled = self.odd.as_ref().map_or(0, |odd| odd.assembled);
            let room = guards.message_bytes_max - assembled.min(guards.message_bytes_max);
            if head.is_control() && (head.payload_len > 125 || !head.fin)
                || head.rsv != 0
                || !head.masked
                || !head.shortest
            {
                // Broken for certain: no need to wait for the rest of it.
                return Err(FRAMING);
            }
            if head.payload_len > room as u64 && !head.is_control() {
                return Err(TOO_BIG);
            }
            let Some(len) = usize::try_from(head.payload_len)
                .ok()
                .map(|len| head.len + len)
                .filter(|&len| len <= rest.len())
            else {
                break;
            };
            let frame = &mut rest[..len];
            let amid = self.odd.as_ref().is_some_and(|odd| odd.fragments > 0);
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
                self.odd(&head, frame, guards, now, &mut on)?;
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

    /// Takes one whole frame that is a fragment, a control frame, or no frame at all.
    fn odd(
        &mut self,
        head: &Head,
        frame: &[u8],
        guards: Guards,
        now: Timestamp,
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        let odd = self.odd.get_or_insert_with(|| Odd::new(guards, now));
        if head.is_control() {
            // A close is always heard: it is the last one anyway.
            if head.opcode != CLOSE
                && let Some((bucket, rate)) = odd.control.as_mut().zip(guards.control)
                && !bucket.take(rate, now, 1)
            {
                return if odd.control_refusals.take(CONTROL_REFUSALS, now, 1) {
                    Ok(())
                } else {
                    Err(CONTROL)
                };
            }
        } else {
            odd.fragments += 1;
            odd.assembled += frame.len() - head.len;
            if odd.fragments > guards.fragments_max {
                return Err(FRAGMENTS);
            }
            if head.fin {
                (odd.fragments, odd.assembled) = (0, 0);
            }
        }
        let mut pipe = Pipe {
            input: frame,
            output: Vec::new(),
        };
        loop {
            match odd.rules.read(&mut pipe) {
                Ok(Message::Text(text)) => on(Event::Text(&text)),
                Ok(Message::Binary(bytes)) => on(Event::Binary(&bytes)),
                Ok(Message::Ping(_) | Message::Pong(_)) => {
                    let _ = odd.rules.flush(&mut pipe);
                    on(Event::Control(&pipe.output));
                    pipe.output.clear();
                }
                Ok(Message::Close(close)) => {
                    self.closed = true;
                    let _ = odd.rules.flush(&mut pipe);
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
                Err(fault) => return Err(classify(&fault)),
            }
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm)] // tungstenite adds variants; all others are framing
fn classify(fault: &tungstenite::Error) -> Fault {
    match fault {
        tungstenite::Error::Utf8(_) => NOT_UTF8,
        tungstenite::Error::Capacity(_) => TOO_BIG,
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

/// Stream that tungstenite reads from and writes to: a frame that is there, answers to be sent.
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

#[cfg(test)]
mod tests {
    use super::*;

    const GUARDS: Guards = Guards {
        message_bytes_max: 1000,
        fragments_max: 3,
        control: Some(Rate {
            per_second: 1,
            burst: 2,
        }),
    };

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let len = payload.len();
        let mut bytes = vec![first];
        if len < 126 {
            bytes.push(0x80 | u8::try_from(len).expect("short"));
        } else {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).expect("short").to_be_bytes());
        }
        bytes.extend(mask);
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m);
        bytes.extend(masked);
        bytes
    }

    /// Returns the events that come out when the bytes arrive in pieces of the given size, and the
    /// result.
    fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Result<(), Fault>) {
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut read = piece.to_vec();
            let fed = decoder.feed(&mut read, GUARDS, Timestamp::ZERO, |event| {
                seen.push(match event {
                    Event::Text(text) => format!("text {text}"),
                    Event::Binary(bytes) => format!("binary {bytes:?}"),
                    Event::Control(answer) => format!("control {answer:?}"),
                    Event::Close(code, answer) => format!("close {code:?} {answer:?}"),
                });
            });
            if fed.is_err() {
                return (seen, fed);
            }
        }
        (seen, Ok(()))
    }

    #[test]
    fn the_pieces_in_which_bytes_arrive_do_not_matter() {
        let long = "x".repeat(300);
        let mut bytes = frame(0x81, "héllo".as_bytes());
        bytes.extend(frame(0x81, long.as_bytes()));
        bytes.extend(frame(0x82, &[7]));
        bytes.extend(frame(0x01, b"a"));
        bytes.extend(frame(0x89, b"p"));
        bytes.extend(frame(0x80, b"b"));
        bytes.extend(frame(0x88, &[3, 232]));
        let expected = [
            "text héllo".to_owned(),
            format!("text {long}"),
            "binary [7]".into(),
            "control [138, 1, 112]".into(),
            "text ab".into(),
            "close Some(1000) [136, 2, 3, 232]".into(),
        ];
        for piece in [1, 2, 3, 7, 100, 10_000] {
            assert_eq!(
                decode(&bytes, piece),
                (expected.to_vec(), Ok(())),
                "{piece}"
            );
        }
    }

    #[test]
    fn faults_have_their_codes() {
        let huge = [
            0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0,
        ];
        let mut fragments = frame(0x01, b"");
        let mut split = frame(0x01, &[0; 600]);
        split.extend(frame(0x80, &[0; 600]));
        for _ in 0..3 {
            fragments.extend(frame(0x00, b""));
        }
        for (bytes, fault) in [
            (huge.to_vec(), TOO_BIG),
            (frame(0x81, &[b'x'; 1001]), TOO_BIG),
            (split, TOO_BIG),
            (frame(0x81, &[0xff]), NOT_UTF8),
            (fragments, FRAGMENTS),
            (frame(0xc1, b"rsv"), FRAMING),
            (frame(0x83, b"reserved"), FRAMING),
            (frame(0x80, b"nothing to continue"), FRAMING),
            (frame(0x89, &[0; 126]), FRAMING),
            (frame(0x09, b"fragmented ping"), FRAMING),
            (vec![0x81, 1, b'x'], FRAMING),
            (frame(0x88, &[0]), FRAMING),
        ] {
            assert_eq!(decode(&bytes, 10_000).1, Err(fault), "{bytes:?}");
            assert_eq!(decode(&bytes, 1).1, Err(fault), "{bytes:?}");
        }
    }

    /// A frame whose length has so many further bytes.
    fn lengthy(first: u8, payload: &[u8], extended: usize) -> Vec<u8> {
        let mut bytes = vec![first, 0x80 | if extended == 2 { 126 } else { 127 }];
        let len = (payload.len() as u64).to_be_bytes();
        bytes.extend(&len[8 - extended..]);
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_length_takes_the_shortest_form() {
        let guards = Guards {
            message_bytes_max: 1 << 20,
            ..GUARDS
        };
        let fed = |bytes: &[u8]| {
            let mut decoder = Decoder::default();
            let mut read = bytes.to_vec();
            decoder.feed(&mut read, guards, Timestamp::ZERO, |_| ())
        };
        let (long, longer) = (vec![b'x'; 126], vec![b'x'; 0x1_0000]);
        for (extended, payload) in [(2, &long[..]), (2, &longer[1..]), (8, &longer)] {
            // Whole messages, and what goes to the rules for the unusual.
            for first in [0x81, 0x82, 0x01, 0x02] {
                assert_eq!(fed(&lengthy(first, payload, extended)), Ok(()));
                let shorter =
                    &payload[..payload.len().min(if extended == 2 { 125 } else { 0xffff })];
                assert_eq!(fed(&lengthy(first, shorter, extended)), Err(FRAMING));
            }
        }
        for first in [0x80, 0x81, 0x82, 0x01, 0x02, 0x88, 0x89, 0x8a] {
            for payload in [&b""[..], b"\x03\xe8", &long[1..]] {
                for extended in [2, 8] {
                    let bytes = lengthy(first, payload, extended);
                    assert_eq!(fed(&bytes), Err(FRAMING), "{first:x} {extended}");
                    // As soon as its head is there, also amid a message.
                    let amid = [frame(0x01, b"a"), bytes[..2 + extended + 4].to_vec()].concat();
                    assert_eq!(fed(&amid), Err(FRAMING), "{first:x} {extended}");
                }
            }
            let high = [&[first, 0xff, 0x80][..], &[0; 7], &[0; 4]].concat();
            assert_eq!(fed(&high), Err(FRAMING), "{first:x}");
        }
    }

    #[test]
    fn nothing_is_heard_after_a_close() {
        let mut bytes = frame(0x88, &[3, 232]);
        bytes.extend(frame(0x81, b"late"));
        bytes.extend(frame(0x83, b"broken"));
        for piece in [1, 10_000] {
            let (seen, fed) = decode(&bytes, piece);
            assert_eq!((seen.len(), fed), (1, Ok(())));
        }
    }

    #[test]
    fn pings_over_the_rate_are_dropped_and_then_end_it() {
        let ping = frame(0x89, b"");
        let (answered, fed) = decode(&ping.repeat(102), 10_000);
        assert_eq!((answered.len(), fed), (2, Ok(())));
        assert_eq!(decode(&ping.repeat(103), 10_000).1, Err(CONTROL));
    }
}
