//! Connection serials that the relay gave to this node.

use std::collections::VecDeque;

/// The number of serials that are taken from the relay at once: this many connections can start
/// while it is down.
pub(crate) const SERIAL_BLOCK: u64 = 65_536;

/// Blocks of serials. Each serial is used once.
#[derive(Debug, Default)]
pub(super) struct Serials {
    /// The first serial of each block, and the number that is left of it.
    blocks: VecDeque<(u64, u64)>,
    left: u64,
    end: u64,
    /// True while more serials are requested.
    is_asking: bool,
}

impl Serials {
    /// Takes up to `count` consecutive serials. The second value is true when more should be
    /// requested.
    pub(super) fn take(&mut self, count: u64) -> (Option<(u64, u64)>, bool) {
        let taken = self.blocks.front_mut().map(|(first, left)| {
            let taken = (*first, count.min(*left));
            *first += taken.1;
            *left -= taken.1;
            taken
        });
        if self.blocks.front().is_some_and(|(_, left)| *left == 0) {
            self.blocks.pop_front();
        }
        self.left -= taken.map_or(0, |(_, count)| count);
        let asks = self.left < SERIAL_BLOCK / 2 && !self.is_asking;
        self.is_asking |= asks;
        (taken, asks)
    }

    pub(super) fn add(&mut self, first: u64, count: u64) {
        self.blocks.push_back((first, count));
        self.left += count;
        self.end = self.end.max(first + count);
        self.is_asking = false;
    }

    /// The first serial above all that were added.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_serial_is_taken_once_and_more_are_asked_for_once() {
        let mut serials = Serials::default();
        assert_eq!(serials.take(5), (None, true));
        assert_eq!(serials.take(5), (None, false), "asked already");
        serials.add(10, 7);
        assert_eq!(serials.take(5), (Some((10, 5)), true));
        assert_eq!(serials.take(5), (Some((15, 2)), false), "fewer");
        assert_eq!(serials.take(5), (None, false));
        serials.add(100, SERIAL_BLOCK);
        assert_eq!(serials.take(5), (Some((100, 5)), false), "enough are left");
        assert_eq!(serials.end(), 100 + SERIAL_BLOCK);
    }
}
