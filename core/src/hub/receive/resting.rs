//! A timer wheel: numbers with due times, earliest first.

use alloc::vec::Vec;

use crate::time::Timestamp;

/// Slots of the wheel: one bit of a word each.
const SLOTS: u64 = 64;

/// Numbers with a due time each, such as those of users whose [`Meter`](super::allowance::Meter) is
/// not full.
///
/// A wheel of 64 slots: each operation takes constant time, however many numbers there are. The
/// order is therefore exact only to a slot, a 62nd of the span.
#[derive(Debug, Clone)]
pub struct Resting {
    slot_ms: u64,
    /// The slot of the latest time seen, counted from zero.
    base: u64,
    /// A bit for each slot that holds a number.
    occupied: u64,
    slots: Vec<Vec<usize>>,
    /// By number: its slot, and its place there.
    positions: Vec<Option<(usize, usize)>>,
    len: usize,
}

impl Resting {
    /// An empty wheel. Times should be at most `span_ms` milliseconds ahead; numbers with later
    /// times come due early.
    pub fn new(span_ms: u64) -> Self {
        Self {
            slot_ms: span_ms / (SLOTS - 2) + 1,
            base: 0,
            occupied: 0,
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            positions: Vec::new(),
            len: 0,
        }
    }

    /// Adds a number, replacing its earlier time. Numbers should be small: a table has one entry
    /// for each up to the largest.
    pub fn insert(&mut self, number: usize, at: Timestamp) {
        self.remove(number);
        let tick = (at.as_millis() / self.slot_ms).clamp(self.base, self.base + SLOTS - 1);
        let slot = slot(tick);
        if self.positions.len() <= number {
            self.positions.resize(number + 1, None);
        }
        self.positions[number] = Some((slot, self.slots[slot].len()));
        self.slots[slot].push(number);
        self.occupied |= 1 << slot;
        self.len += 1;
    }

    /// Removes a number; false when it was not there.
    pub fn remove(&mut self, number: usize) -> bool {
        let position = self.positions.get_mut(number).and_then(Option::take);
        let Some((slot, index)) = position else {
            return false;
        };
        let numbers = &mut self.slots[slot];
        numbers.swap_remove(index);
        if let Some(&moved) = numbers.get(index) {
            self.positions[moved] = Some((slot, index));
        }
        if numbers.is_empty() {
            *numbers = Vec::new();
            self.occupied &= !(1 << slot);
        }
        self.len -= 1;
        true
    }

    /// Takes a number whose time has passed, up to a slot later; call it until it returns `None`.
    pub fn take_due(&mut self, now: Timestamp) -> Option<usize> {
        let tick = now.as_millis() / self.slot_ms;
        match self.first() {
            Some((first, number)) if first < tick => {
                self.base = self.base.max(first);
                self.remove(number);
                Some(number)
            }
            _ => {
                self.base = self.base.max(tick);
                None
            }
        }
    }

    /// Takes a number from the earliest slot.
    pub fn take_first(&mut self) -> Option<usize> {
        let (_, number) = self.first()?;
        self.remove(number);
        Some(number)
    }

    /// The first slot that holds something, counted from zero, and a number in it.
    fn first(&self) -> Option<(u64, usize)> {
        let turned = self
            .occupied
            .rotate_right(u32::try_from(self.base % SLOTS).ok()?);
        let tick = self.base + u64::from(turned.trailing_zeros());
        let number = *self.slots[slot(tick)].last()?;
        Some((tick, number))
    }

    /// The number of entries.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when there are no entries.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

const fn slot(tick: u64) -> usize {
    (tick % SLOTS) as usize
}
