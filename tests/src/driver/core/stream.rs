//! The byte streams from a server to clients that may stop reading.

use std::{collections::BTreeMap, rc::Rc};

use roomcast_core::{
    ConnId, Frame,
    queue::{Pushed, QueueLimits, SendQueue, Tag, gap_notice},
};

use crate::{Actor, Event};

/// The streams of clients that do not read, and overflows.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) limits: QueueLimits,
    stalled: BTreeMap<Actor, Stream>,
    /// Connections that must be closed.
    overflowed: Vec<ConnId>,
    overflows: Overflows,
}

/// Counts of the outcomes of queues that passed their limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overflows {
    /// Closed connections.
    pub closed: usize,
    /// Drops of the oldest messages of a room.
    pub dropped: usize,
    /// Drops of messages for newer ones.
    pub replaced: usize,
}

#[derive(Debug, Clone)]
struct Stream {
    queue: SendQueue<Rc<[u8]>>,
    /// Bytes read of a frame that is not complete yet.
    begun: Vec<u8>,
}

impl Streams {
    pub(super) const fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            stalled: BTreeMap::new(),
            overflowed: Vec::new(),
            overflows: Overflows {
                closed: 0,
                dropped: 0,
                replaced: 0,
            },
        }
    }

    pub(super) const fn overflows(&self) -> Overflows {
        self.overflows
    }

    pub(super) fn queue(&self, actor: &Actor) -> Option<&SendQueue<Rc<[u8]>>> {
        self.stalled.get(actor).map(|stream| &stream.queue)
    }

    pub(super) fn is_stalled(&self, actor: &Actor) -> bool {
        self.stalled.contains_key(actor)
    }

    pub(super) fn stall(&mut self, actor: &Actor) {
        let limits = self.limits;
        let stream = || Stream {
            queue: SendQueue::new(limits),
            begun: Vec::new(),
        };
        self.stalled.entry(actor.clone()).or_insert_with(stream);
    }

    /// Removes the stream of a client whose connection has ended.
    pub(super) fn drop(&mut self, actor: &Actor) {
        self.stalled.remove(actor);
    }

    /// Removes all streams.
    pub(super) fn clear(&mut self) {
        *self = Self {
            overflows: self.overflows,
            ..Self::new(self.limits)
        };
    }

    /// Returns the events in the next `bytes` bytes. With `None` they are the events in all bytes,
    /// and the client reads normally from then on.
    pub(super) fn read(&mut self, actor: &Actor, bytes: Option<u32>) -> Vec<Event> {
        let Some(stream) = self.stalled.get_mut(actor) else {
            return Vec::new();
        };
        let waiting = stream.queue.bytes();
        let count = bytes.map_or(waiting, |bytes| waiting.min(bytes as usize));
        let taken = stream.queue.chunks().flatten().take(count);
        stream.begun.extend(taken.copied());
        stream.queue.advance(count);
        let mut events = Vec::new();
        let mut rest = &*stream.begun;
        while let Some((event, behind)) = decode(rest) {
            events.push(event);
            rest = behind;
        }
        stream.begun = rest.to_vec();
        if bytes.is_none() {
            self.stalled.remove(actor);
        }
        events
    }

    /// Queues a frame for a client that does not read.
    pub(super) fn push(&mut self, actor: &Actor, conn: ConnId, bytes: Rc<[u8]>, tag: Tag) {
        let Some(Stream { queue, .. }) = self.stalled.get_mut(actor) else {
            return;
        };
        if queue.push(bytes, 1, tag) {
            return;
        }
        // Each buffer has one frame, so a frame that is partly read stays.
        match queue.enforce_limits(|_, _| 1, notice) {
            Pushed::Queued | Pushed::Ended => {}
            Pushed::Overflow => {
                self.overflows.closed += 1;
                self.overflowed.push(conn);
            }
            Pushed::Dropped { .. } => self.overflows.dropped += 1,
            Pushed::Replaced { .. } => self.overflows.replaced += 1,
        }
    }

    pub(super) fn push_last(&mut self, actor: &Actor, bytes: Rc<[u8]>) {
        if let Some(stream) = self.stalled.get_mut(actor) {
            stream.queue.push_last(bytes);
        }
    }

    pub(super) fn admit_bye(&mut self, actor: &Actor) {
        if let Some(stream) = self.stalled.get_mut(actor) {
            stream.queue.admit_bye();
        }
    }

    pub(super) fn take_overflowed(&mut self) -> Option<ConnId> {
        self.overflowed.pop()
    }
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// Encodes a frame by RFC 6455, so that bytes count as they do on a socket.
pub(super) fn frame(frame: Frame<'_>) -> Rc<[u8]> {
    match frame {
        Frame::Text(text) => encode(TEXT, text.as_bytes()),
        Frame::Binary(bytes) => encode(BINARY, bytes),
    }
}

fn notice(room: &str, after: u64) -> Rc<[u8]> {
    frame(Frame::Text(&gap_notice(room, after)))
}

pub(super) fn ping() -> Rc<[u8]> {
    encode(PING, b"")
}

pub(super) fn close(code: u16, reason: &str) -> Rc<[u8]> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    encode(CLOSE, &payload)
}

fn encode(head: u8, payload: &[u8]) -> Rc<[u8]> {
    let mut bytes = vec![head];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..126), _) => bytes.push(len),
        (_, Ok(len)) => {
            bytes.push(126);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// Decodes the first frame, and returns the rest; `None` when the frame is incomplete.
fn decode(bytes: &[u8]) -> Option<(Event, &[u8])> {
    let (&[head, short], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match short {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*len).into(), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::try_from(u64::from_be_bytes(*len)).ok()?, rest)
        }
        short => (short.into(), rest),
    };
    let (payload, rest) = rest.split_at_checked(len)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let event = match head {
        TEXT => Event::Text(text(payload)),
        BINARY => Event::Binary(payload.to_vec()),
        PING => Event::Ping,
        CLOSE => {
            let (code, reason) = payload.split_first_chunk()?;
            let (code, reason) = (u16::from_be_bytes(*code), text(reason));
            Event::Closed { code, reason }
        }
        // No frame is encoded with another first byte.
        _ => Event::Lost,
    };
    Some((event, rest))
}
