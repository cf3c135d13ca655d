//! The bounded ring between the connection that receives and the host that delivers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::event::Event;

/// The bytes that each event counts in addition to its body.
const EVENT_BYTES: usize = 256;

/// The ring. The Redis library hands messages over without back pressure, so this is the only
/// limit.
#[derive(Debug)]
pub(crate) struct Ring {
    queue: Mutex<Queue>,
    filled: Notify,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Events, and the times at which they came.
    events: VecDeque<(Instant, Event)>,
    bytes: usize,
    is_closed: bool,
}

/// The events that have come and that the host has not taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Their number.
    pub events: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The time for which the oldest waits.
    pub age: Duration,
}

/// A message that the ring has no space for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Ring {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> (Arc<Self>, Events) {
        let ring = Arc::new(Self {
            queue: Mutex::default(),
            filled: Notify::new(),
            events_max,
            bytes_max,
        });
        (ring.clone(), Events { ring })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        locked(&self.queue)
    }

    /// Appends a received message, if there is space.
    pub(crate) fn push(&self, now: Instant, event: Event) -> Result<(), Full> {
        let bytes = bytes_of(&event);
        let mut queue = self.queue();
        if queue.events.len() >= self.events_max || queue.bytes + bytes > self.bytes_max {
            return Err(Full);
        }
        queue.put(now, event, bytes);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Appends an event about the relay itself, without a limit: there are few, and none may be
    /// lost.
    pub(crate) fn tell(&self, event: Event) {
        let bytes = bytes_of(&event);
        self.queue().put(Instant::now(), event, bytes);
        self.filled.notify_one();
    }

    pub(crate) fn backlog(&self) -> Backlog {
        let queue = self.queue();
        let oldest = queue.events.front();
        Backlog {
            events: queue.events.len(),
            bytes: queue.bytes,
            age: oldest.map_or(Duration::ZERO, |(came, _)| came.elapsed()),
        }
    }

    /// Closes the ring. Events in it can still be taken.
    pub(crate) fn close(&self) {
        self.queue().is_closed = true;
        self.filled.notify_one();
    }
}

impl Queue {
    fn put(&mut self, now: Instant, event: Event, bytes: usize) {
        if !self.is_closed {
            self.bytes += bytes;
            self.events.push_back((now, event));
        }
    }

    fn take(&mut self) -> Option<Event> {
        let (_, event) = self.events.pop_front()?;
        self.bytes -= bytes_of(&event);
        Some(event)
    }
}

fn bytes_of(event: &Event) -> usize {
    let bytes = match event {
        Event::Message { body, .. } | Event::Bus { body, .. } => body.len(),
        Event::Presence { user, meta, .. } => user.len() + meta.len(),
        Event::Reaped { users, .. } => users.iter().map(|user| user.len() + 16).sum(),
        Event::Lost(_) | Event::Ready | Event::Registered { .. } => 0,
    };
    EVENT_BYTES + bytes
}

/// The events of a relay, for the one task of the host that delivers them.
#[derive(Debug)]
pub struct Events {
    ring: Arc<Ring>,
}

impl Events {
    /// Waits for the next event; `None` when the relay has ended. Dropping the future early loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut queue = self.ring.queue();
                if let Some(event) = queue.take() {
                    return Some(event);
                }
                if queue.is_closed {
                    return None;
                }
            }
            self.ring.filled.notified().await;
        }
    }

    /// The next event, if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.ring.queue().take()
    }
}

/// Locks a mutex, even after another holder panicked.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Loss;

    fn message(bytes: usize) -> Event {
        Event::Bus {
            namespace: "n".into(),
            from: "f".into(),
            body: vec![0; bytes].into(),
        }
    }

    #[test]
    fn the_ring_is_bounded_in_events_and_bytes() {
        let now = Instant::now();
        let (ring, mut events) = Ring::new(3, 2 * EVENT_BYTES + 10);
        assert_eq!(ring.push(now, message(11)), Ok(()));
        assert_eq!(ring.push(now, message(0)), Err(Full), "bytes");
        assert_eq!(events.try_next(), Some(message(11)));
        assert_eq!(ring.push(now, message(5)), Ok(()));
        assert_eq!(ring.push(now, message(5)), Ok(()));
        assert_eq!(ring.push(now, message(0)), Err(Full), "bytes of all");
        let backlog = ring.backlog();
        assert_eq!((backlog.events, backlog.bytes), (2, 2 * (EVENT_BYTES + 5)));
        ring.tell(Event::Lost(Loss::Overflow));
        let (ring, _events) = Ring::new(1, 10 * EVENT_BYTES);
        assert_eq!(ring.push(now, message(0)), Ok(()));
        assert_eq!(ring.push(now, message(0)), Err(Full), "events");
    }
}
