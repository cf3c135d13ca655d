//! The counting of a run: connections, messages sent, deliveries.

use std::{ops::Range, time::Duration};

use roomcast_load::{Arrival, InFlight, Refusal, Stamp, Sum, Verdict};

use super::{
    super::replay::show::one_line,
    plan::Plan,
    tally::{Tally, count},
};

/// The state of a run. Connections are known by their slot; a slot's room is its number, modulo
/// the number of rooms. All times are nanoseconds, on one clock.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) plan: Plan,
    pub(super) tally: Tally,
    rooms: Vec<InFlight>,
    slots: Vec<Slot>,
    /// The slot that is to publish next.
    turn: usize,
    /// The number of slots that have opened or failed.
    decided: usize,
    /// The measured window.
    window: Range<u64>,
}

/// A place for a connection.
#[derive(Debug, Default, Clone)]
struct Slot {
    is_open: bool,
    refused: u64,
}

impl Load {
    /// A run without connections.
    pub(super) fn new(plan: Plan) -> Self {
        let rooms = (0..plan.rooms as usize).map(|room| InFlight::new(plan.members(room)));
        let mut tally = Tally::default();
        tally.connections.asked = plan.connections;
        tally.connections.rooms = plan.rooms;
        tally.messages.payload_bytes = plan.payload_bytes;
        Self {
            rooms: rooms.collect(),
            slots: vec![Slot::default(); plan.connections as usize],
            plan,
            tally,
            turn: 0,
            decided: 0,
            window: u64::MAX..u64::MAX,
        }
    }

    /// Records that a connection has joined its room.
    pub(super) fn opened(&mut self, slot: usize, connect: Duration) {
        let (room, member) = self.place(slot);
        self.rooms[room].join(member);
        self.slots[slot].is_open = true;
        self.tally.connect.record(connect);
        self.tally.connections.opened += 1;
        self.tally.connections.open_at_end += 1;
        self.decided += 1;
    }

    /// Records that a connection could not be made.
    pub(super) fn failed(&mut self, reason: &str) {
        self.decided += 1;
        if count(&mut self.tally.connections.failed, reason) {
            say!("roomcast: a connection failed: {reason}");
        }
    }

    /// Records that a connection ended before the end of the run. Walks over the messages in flight
    /// in its room.
    pub(super) fn closed(&mut self, slot: usize, code: u16) {
        let (room, member) = self.place(slot);
        self.rooms[room].leave(member);
        self.slots[slot].is_open = false;
        self.tally.connections.open_at_end -= 1;
        *self.tally.closes.entry(code).or_default() += 1;
    }

    /// Sets the measured window, which begins `after` from now and lasts for `duration`.
    pub(super) fn measure(&mut self, now_ns: u64, after: Duration, duration: Duration) {
        let start = now_ns + nanos(after);
        self.window = start..start + nanos(duration);
    }

    /// Ends the measured window: later deliveries count for no rate.
    pub(super) fn stop_measuring(&mut self, now_ns: u64) {
        self.window.end = self.window.end.min(now_ns);
    }

    /// Chooses the next open slot, and the message that it publishes. `None` if no slot is open, or
    /// the slot `takes` no message.
    pub(super) fn publish(
        &mut self,
        now_ns: u64,
        takes: impl Fn(usize) -> bool,
    ) -> Option<(usize, Stamp)> {
        let slots = self.slots.len();
        let mut turns = (0..slots).map(|step| (self.turn + step) % slots);
        let slot = turns.find(|&slot| self.slots[slot].is_open)?;
        self.turn = (slot + 1) % slots;
        if !takes(slot) {
            self.tally.messages.held_back += 1;
            return None;
        }
        let (room, member) = self.place(slot);
        let number = self.rooms[room].publish(member, false, now_ns);
        self.tally.messages.sent += 1;
        let room = self.room(slot);
        Some((slot, Stamp { room, number }))
    }

    /// Records a delivery to a connection.
    pub(super) fn delivered(&mut self, slot: usize, stamp: Stamp, now_ns: u64) {
        let (room, member) = self.place(slot);
        let arrival = if stamp.room == self.room(slot) {
            self.rooms[room].deliver(member, stamp.number)
        } else {
            Arrival::Stray
        };
        let sent_ns = match arrival {
            Arrival::InOrder(sent_ns) => sent_ns,
            Arrival::OutOfOrder(sent_ns) => {
                self.tally.deliveries.out_of_order += 1;
                sent_ns
            }
            Arrival::Again => {
                self.tally.deliveries.duplicated += 1;
                return;
            }
            Arrival::Stray => {
                self.tally.deliveries.stray += 1;
                return;
            }
        };
        self.tally.measured += u64::from(self.window.contains(&now_ns));
        if sent_ns >= self.window.start {
            let took = now_ns.saturating_sub(sent_ns);
            self.tally.latency.record_ns(took);
        }
    }

    /// Records a refusal by the server.
    pub(super) fn refused(&mut self, slot: usize, refusal: &Refusal) {
        let published = u64::from(refusal.published);
        self.slots[slot].refused += published;
        self.tally.messages.refused += published;
        if count(&mut self.tally.errors, &refusal.code) {
            let text = format!("{}: {}", refusal.code, refusal.message);
            say!("roomcast: the server answers {}", one_line(&text));
        }
    }

    /// The room of a connection.
    #[expect(clippy::cast_possible_truncation, reason = "less than the rooms")]
    pub(super) fn room(&self, slot: usize) -> u32 {
        self.place(slot).0 as u32
    }

    /// True when every connection has opened or failed.
    pub(super) fn is_decided(&self) -> bool {
        self.decided == self.slots.len()
    }

    /// True when every message has reached everybody. Walks over the rooms.
    pub(super) fn is_complete(&self) -> bool {
        self.rooms.iter().all(InFlight::is_complete)
    }

    /// The sums over all rooms; walks over them and their messages in flight.
    pub(super) fn sum(&self) -> Sum {
        let mut total = Sum::default();
        for sum in self.rooms.iter().map(InFlight::sum) {
            total.expected += sum.expected;
            total.received += sum.received;
            total.cut_off += sum.cut_off;
        }
        total
    }

    /// The fate of the messages that did not reach everybody.
    pub(super) fn verdict(&self) -> Verdict {
        let rooms = self.rooms.len();
        let mut total = Verdict::default();
        for (room, in_flight) in self.rooms.iter().enumerate() {
            let refused = |member: usize| self.slots[member * rooms + room].refused;
            let verdict = in_flight.verdict(refused);
            total.lost += verdict.lost;
            total.cut_off += verdict.cut_off;
            total.never_due += verdict.never_due;
        }
        total
    }

    /// True when the warm-up is over.
    pub(super) fn is_measuring(&self, now_ns: u64) -> bool {
        now_ns >= self.window.start
    }

    /// The time that was measured.
    pub(super) fn measured(&self) -> Duration {
        Duration::from_nanos(self.window.end.saturating_sub(self.window.start))
    }

    /// The room of a connection, and its member number there.
    fn place(&self, slot: usize) -> (usize, usize) {
        let rooms = self.rooms.len();
        (slot % rooms, slot / rooms)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::tally::Deliveries, *};

    /// Connections in rooms, all open and measured.
    fn load(connections: u32, rooms: u32) -> Load {
        let mut load = Load::new(Plan::of(connections, rooms));
        for slot in 0..connections as usize {
            load.opened(slot, Duration::from_millis(1));
        }
        load.measure(0, Duration::ZERO, Duration::from_secs(60));
        load
    }

    /// The next message, from the connection whose turn it is.
    fn publish(load: &mut Load) -> (usize, Stamp) {
        load.publish(0, |_| true).expect("somebody is there")
    }

    #[test]
    fn connections_publish_in_turns_and_all_others_receive() {
        let mut load = load(3, 1);
        for slot in [0, 1, 2, 0] {
            let (publisher, stamp) = publish(&mut load);
            assert_eq!(publisher, slot);
            assert!(!load.is_complete());
            for other in (0..3).filter(|&other| other != slot) {
                load.delivered(other, stamp, 1_000);
            }
        }
        let sum = load.sum();
        assert_eq!((sum.expected, sum.received), (8, 8));
        assert!(load.is_complete());
        assert_eq!((load.tally.messages.sent, load.tally.measured), (4, 8));
        assert_eq!(load.tally.latency.max_us(), Some(1));
    }

    #[test]
    fn connections_fill_the_rooms_evenly() {
        let mut load = load(11, 3);
        for (slot, others) in [(0, 3), (1, 3), (2, 2), (3, 3), (4, 3)] {
            let before = load.sum().expected;
            let (publisher, stamp) = publish(&mut load);
            assert_eq!((publisher, stamp.room as usize), (slot, slot % 3));
            assert_eq!(load.sum().expected - before, others);
        }
    }

    #[test]
    fn what_is_wrong_is_counted_by_what_it_is() {
        let mut load = load(3, 1);
        let stamps = [(); 4].map(|()| publish(&mut load).1);
        let elsewhere = Stamp {
            room: 1,
            ..stamps[0]
        };
        for (slot, stamp) in [
            (1, stamps[3]),
            (1, stamps[0]),
            (1, stamps[0]),
            (0, stamps[0]),
            (2, elsewhere),
        ] {
            load.delivered(slot, stamp, 0);
        }
        let Deliveries {
            out_of_order,
            duplicated,
            stray,
            ..
        } = load.tally.deliveries;
        assert_eq!((out_of_order, duplicated, stray), (1, 1, 2));
        let verdict = load.verdict();
        assert_eq!((verdict.lost, verdict.cut_off), (6, 0));
    }

    #[test]
    fn a_refusal_explains_what_nobody_got_of_its_publisher() {
        let mut load = load(6, 3);
        for _ in 0..6 {
            publish(&mut load);
        }
        let refusal = Refusal {
            published: true,
            code: "rate_limited".to_owned(),
            message: String::new(),
        };
        load.refused(4, &refusal);
        let verdict = load.verdict();
        assert_eq!((verdict.lost, verdict.never_due), (5, 1));
        assert_eq!(load.tally.errors["rate_limited"], 1);
    }

    #[test]
    fn a_closed_connection_has_no_turn_and_expects_nothing() {
        let mut load = load(3, 1);
        load.closed(0, 4409);
        assert_eq!([1, 2], [(); 2].map(|()| publish(&mut load).0));
        assert_eq!(load.tally.closes[&4409], 1);
        assert_eq!(
            (load.tally.connections.open_at_end, load.sum().expected),
            (2, 2)
        );
        load.closed(1, 1006);
        load.closed(2, 1006);
        assert!(load.publish(0, |_| true).is_none());
        assert_eq!(
            (load.tally.messages.sent, load.tally.messages.held_back),
            (2, 0)
        );
    }

    #[test]
    fn what_a_connection_does_not_take_is_held_back() {
        let mut load = load(2, 1);
        assert!(load.publish(0, |slot| slot != 0).is_none());
        assert_eq!(publish(&mut load).0, 1);
        assert_eq!(
            (load.tally.messages.sent, load.tally.messages.held_back),
            (1, 1)
        );
    }
}
