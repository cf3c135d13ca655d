//! The messages in flight in a room.

use std::collections::VecDeque;

/// The messages of one room that have not yet reached all members they were sent to.
///
/// Messages are numbered in the order in which they were sent. Each keeps one bit per member until
/// the last member has it. So memory grows with the messages in flight, not with the pairs of
/// publishers and members, and the cost of an arrival does not depend on the size of the room.
///
/// A publisher outside the room counts as a member that never joins.
#[derive(Debug)]
pub struct InFlight {
    /// The members that have joined.
    present: Bits,
    /// The last message that each member published.
    latest: Vec<Option<u32>>,
    /// The number of the first message in `entries`.
    first: u32,
    entries: VecDeque<Entry>,
    sum: Sum,
}

/// The sums over all messages of a room.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// Expected deliveries.
    pub expected: u64,
    /// Actual deliveries, each counted once.
    pub received: u64,
    /// Missing deliveries that will never come, because the connection of the member has ended.
    pub cut_off: u64,
}

/// The fate of the messages that did not reach everybody.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Deliveries missing on connections that stayed open.
    pub lost: u64,
    /// Deliveries missing because a connection ended.
    pub cut_off: u64,
    /// Deliveries of refused messages, which were never due.
    pub never_due: u64,
}

/// An arrival at a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A message in the order of its publisher, with the time at which it was sent.
    InOrder(u64),
    /// A message that arrived after a later one of its publisher, with the time at which it was
    /// sent.
    OutOfOrder(u64),
    /// A message that had arrived before.
    Again,
    /// A message that was never sent, or that this member itself sent.
    Stray,
}

#[derive(Debug)]
struct Entry {
    publisher: usize,
    sent_ns: u64,
    /// The next message of the same publisher.
    next: Option<u32>,
    /// The members that the message has not reached yet.
    missing: Bits,
    expected: u64,
    received: u64,
    cut_off: u64,
}

impl InFlight {
    /// A room of `members` members, none of whom has joined.
    pub fn new(members: usize) -> Self {
        Self {
            present: Bits::new(members),
            latest: vec![None; members],
            first: 0,
            entries: VecDeque::new(),
            sum: Sum::default(),
        }
    }

    /// Records that a member has joined, and expects later messages.
    pub fn join(&mut self, member: usize) {
        self.present.set(member);
    }

    /// Records that a member's connection has ended. Walks over the messages in flight.
    pub fn leave(&mut self, member: usize) {
        self.present.clear(member);
        for entry in &mut self.entries {
            if entry.missing.clear(member) {
                entry.cut_off += 1;
            }
        }
        self.trim();
    }

    /// Records that a member publishes, and returns the number of the message. The publisher
    /// expects it too if it `echoes`.
    pub fn publish(&mut self, publisher: usize, echoes: bool, sent_ns: u64) -> u32 {
        let number = self.first + self.under_way();
        if let Some(previous) = self.latest[publisher].replace(number)
            && let Some(entry) = self.entry(previous)
        {
            entry.next = Some(number);
        }
        let mut missing = self.present.clone();
        if !echoes {
            missing.clear(publisher);
        }
        let expected = missing.count();
        self.sum.expected += expected;
        self.entries.push_back(Entry {
            publisher,
            sent_ns,
            next: None,
            missing,
            expected,
            received: 0,
            cut_off: 0,
        });
        self.trim();
        number
    }

    /// Records that a message has reached a member.
    pub fn deliver(&mut self, member: usize, number: u32) -> Arrival {
        if number >= self.first + self.under_way() {
            return Arrival::Stray;
        }
        let Some(entry) = self.entry(number) else {
            return Arrival::Again;
        };
        if !entry.missing.clear(member) {
            let own = entry.publisher == member;
            return if own { Arrival::Stray } else { Arrival::Again };
        }
        entry.received += 1;
        let (next, sent_ns) = (entry.next, entry.sent_ns);
        self.sum.received += 1;
        let overtaken = next.is_some_and(|next| {
            let entry = self.entry(next);
            entry.is_none_or(|entry| !entry.missing.has(member))
        });
        self.trim();
        if overtaken {
            Arrival::OutOfOrder(sent_ns)
        } else {
            Arrival::InOrder(sent_ns)
        }
    }

    /// The sums so far; walks over the messages in flight.
    pub fn sum(&self) -> Sum {
        let under_way: u64 = self.entries.iter().map(|entry| entry.cut_off).sum();
        Sum {
            cut_off: self.sum.cut_off + under_way,
            ..self.sum
        }
    }

    /// True when every message has reached all members that are still connected.
    pub fn is_complete(&self) -> bool {
        self.entries.is_empty()
    }

    /// Judges the messages that have not arrived at the end. `refused` returns the number of a
    /// member's messages that the server refused. An error does not identify the message, but it is
    /// one that nobody received.
    pub fn verdict(&self, refused: impl Fn(usize) -> u64) -> Verdict {
        let mut verdict = Verdict {
            cut_off: self.sum.cut_off,
            ..Verdict::default()
        };
        let mut refused: Vec<u64> = (0..self.latest.len()).map(refused).collect();
        for entry in &self.entries {
            let unheard = entry.received == 0;
            let missing = entry.missing.count();
            if unheard && refused[entry.publisher] > 0 {
                refused[entry.publisher] -= 1;
                verdict.never_due += entry.expected;
            } else if unheard && !self.present.has(entry.publisher) {
                verdict.cut_off += missing + entry.cut_off;
            } else {
                verdict.lost += missing;
                verdict.cut_off += entry.cut_off;
            }
        }
        verdict
    }

    fn entry(&mut self, number: u32) -> Option<&mut Entry> {
        let index = number.checked_sub(self.first)?;
        self.entries.get_mut(index as usize)
    }

    /// The number of messages since the first one that has not reached everybody.
    pub fn under_way(&self) -> u32 {
        // More would not fit into memory.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Removes the oldest messages that have arrived everywhere.
    fn trim(&mut self) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.missing.is_empty()) {
            self.sum.cut_off += entry.cut_off;
            self.first += 1;
        }
    }
}

/// A set of members.
#[derive(Debug, Clone)]
struct Bits {
    words: Box<[u64]>,
    count: u64,
}

impl Bits {
    fn new(members: usize) -> Self {
        Self {
            words: vec![0; members.div_ceil(64)].into(),
            count: 0,
        }
    }

    fn set(&mut self, member: usize) {
        self.count += u64::from(!self.has(member));
        self.words[member / 64] |= 1 << (member % 64);
    }

    /// Removes a member; false when it was not in the set.
    fn clear(&mut self, member: usize) -> bool {
        let had = self.has(member);
        self.count -= u64::from(had);
        self.words[member / 64] &= !(1 << (member % 64));
        had
    }

    fn has(&self, member: usize) -> bool {
        self.words[member / 64] & 1 << (member % 64) != 0
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Arrival::{Again, Stray};
    use super::*;

    const IN_ORDER: Arrival = Arrival::InOrder(5);
    const OUT_OF_ORDER: Arrival = Arrival::OutOfOrder(5);

    fn room(members: usize) -> InFlight {
        let mut in_flight = InFlight::new(members);
        (0..members).for_each(|member| in_flight.join(member));
        in_flight
    }

    impl InFlight {
        fn say(&mut self, publisher: usize) -> u32 {
            self.publish(publisher, false, 5)
        }
    }

    fn verdict(in_flight: &InFlight, refused: &[u64]) -> (u64, u64, u64) {
        let of = |member| refused.get(member).copied().unwrap_or_default();
        let verdict = in_flight.verdict(of);
        (verdict.lost, verdict.cut_off, verdict.never_due)
    }

    #[test]
    fn everybody_else_expects_a_message_once() {
        let mut in_flight = room(70);
        let number = in_flight.say(69);
        for member in 0..69 {
            assert!(!in_flight.is_complete());
            assert_eq!(in_flight.deliver(member, number), IN_ORDER);
        }
        assert!(in_flight.is_complete());
        let sum = in_flight.sum();
        assert_eq!((sum.expected, sum.received, sum.cut_off), (69, 69, 0));
        assert_eq!(verdict(&in_flight, &[]), (0, 0, 0));
    }

    #[test]
    fn what_comes_twice_or_was_never_sent_is_told_apart() {
        let mut in_flight = room(3);
        let number = in_flight.say(0);
        assert_eq!(in_flight.deliver(1, number), IN_ORDER);
        assert_eq!(in_flight.deliver(1, number), Again);
        assert_eq!(in_flight.deliver(0, number), Stray, "its own");
        assert_eq!(in_flight.deliver(1, number + 1), Stray);
        assert_eq!(in_flight.deliver(2, number), IN_ORDER);
        assert_eq!(
            in_flight.deliver(2, number),
            Again,
            "also once it is complete"
        );
        assert_eq!(in_flight.sum().received, 2);
    }

    #[test]
    fn order_is_that_of_one_publisher() {
        let mut in_flight = room(3);
        let (a, b, c) = (in_flight.say(0), in_flight.say(1), in_flight.say(0));
        // The server decides the order of two publishers.
        assert_eq!(in_flight.deliver(2, b), IN_ORDER);
        assert_eq!(in_flight.deliver(2, c), IN_ORDER);
        assert_eq!(in_flight.deliver(2, a), OUT_OF_ORDER);
        assert_eq!(in_flight.deliver(1, a), IN_ORDER);
        assert_eq!(in_flight.deliver(1, c), IN_ORDER);
    }

    #[test]
    fn what_a_publisher_sends_after_a_complete_message_is_in_order() {
        let mut in_flight = room(2);
        for _ in 0..3 {
            let number = in_flight.say(0);
            assert_eq!(in_flight.deliver(1, number), IN_ORDER);
            assert!(in_flight.is_complete());
        }
    }

    #[test]
    fn a_message_that_skips_somebody_is_lost() {
        let mut in_flight = room(3);
        let (a, b) = (in_flight.say(0), in_flight.say(0));
        for (member, number) in [(1, a), (1, b), (2, b)] {
            assert_eq!(in_flight.deliver(member, number), IN_ORDER);
        }
        assert_eq!(verdict(&in_flight, &[]), (1, 0, 0));
    }

    #[test]
    fn what_a_close_cuts_off_is_not_lost() {
        let mut in_flight = room(3);
        in_flight.say(0);
        in_flight.leave(2);
        assert_eq!(in_flight.sum().cut_off, 1);
        // A member that has left expects nothing more.
        in_flight.say(1);
        assert_eq!(in_flight.sum().expected, 3);
        assert_eq!(verdict(&in_flight, &[]), (2, 1, 0));
        // The first message may have died with its publisher, who does not get the second either.
        in_flight.leave(0);
        assert_eq!(verdict(&in_flight, &[]), (0, 3, 0));
    }

    #[test]
    fn what_is_refused_was_never_due() {
        let mut in_flight = room(3);
        let (_, b, _) = (in_flight.say(0), in_flight.say(0), in_flight.say(0));
        assert_eq!(in_flight.deliver(1, b), IN_ORDER);
        // One refusal for two that nobody got: the other one is lost, and half of the one between.
        assert_eq!(verdict(&in_flight, &[1]), (3, 0, 2));
        assert_eq!(verdict(&in_flight, &[2]), (1, 0, 4));
    }

    #[test]
    fn an_echo_is_expected_by_the_publisher_too() {
        let mut in_flight = room(2);
        let number = in_flight.publish(0, true, 5);
        assert_eq!(in_flight.deliver(1, number), IN_ORDER);
        assert_eq!(in_flight.deliver(0, number), IN_ORDER);
        assert!(in_flight.is_complete());
    }
}
