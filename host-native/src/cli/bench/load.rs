//! A run as it is counted: who is connected, what was sent, what arrived.

use std::{ops::Range, time::Duration};

use roomcast_load::{Arrival, Ledger, Refusal, Stamp, Sum, Verdict};

use super::{
    super::replay::show::one_line,
    plan::Plan,
    tally::{Tally, count},
};

/// The state of a run. Connections are known by their seat; a seat's room is its number, modulo
/// the number of rooms. All times are nanoseconds, on one clock.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) plan: Plan,
    pub(super) tally: Tally,
    rooms: Vec<Ledger>,
    seats: Vec<Seat>,
    /// The seat that is to publish next.
    turn: usize,
    /// How many were opened.
    pub(super) opened: usize,
    /// How many are open, or were at the end of the run.
    pub(super) open: usize,
    /// How many have been opened, or have failed to.
    settled: usize,
    /// The time that is measured.
    window: Range<u64>,
}

/// A place for a connection.
#[derive(Debug, Default, Clone)]
struct Seat {
    is_open: bool,
    refused: u64,
}

impl Load {
    /// A run without connections.
    pub(super) fn new(plan: Plan) -> Self {
        let rooms = (0..plan.rooms as usize).map(|room| Ledger::new(plan.members(room)));
        Self {
            rooms: rooms.collect(),
            seats: vec![Seat::default(); plan.connections as usize],
            plan,
            tally: Tally::default(),
            turn: 0,
            opened: 0,
            open: 0,
            settled: 0,
            window: u64::MAX..u64::MAX,
        }
    }

    /// A connection is in its room.
    pub(super) fn opened(&mut self, seat: usize, connect: Duration) {
        let (room, member) = self.place(seat);
        self.rooms[room].join(member);
        self.seats[seat].is_open = true;
        self.tally.connect.record(connect);
        self.opened += 1;
        self.open += 1;
        self.settled += 1;
    }

    /// A connection did not come about.
    pub(super) fn failed(&mut self, reason: &str) {
        self.settled += 1;
        if count(&mut self.tally.failed, reason) {
            say!("roomcast: a connection failed: {reason}");
        }
    }

    /// A connection has ended otherwise than by the end of the run. Walks over what is under way
    /// in its room.
    pub(super) fn closed(&mut self, seat: usize, code: u16) {
        let (room, member) = self.place(seat);
        self.rooms[room].leave(member);
        self.seats[seat].is_open = false;
        self.open -= 1;
        *self.tally.closes.entry(code).or_default() += 1;
    }

    /// Measures from so long after now, for so long.
    pub(super) fn measure(&mut self, now_ns: u64, after: Duration, duration: Duration) {
        let start = now_ns + nanos(after);
        self.window = start..start + nanos(duration);
    }

    /// Ends the measuring: what comes from now on counts for no rate.
    pub(super) fn stop_measuring(&mut self, now_ns: u64) {
        self.window.end = self.window.end.min(now_ns);
    }

    /// The next message and the seat that is to publish it, if that one `takes` a message.
    pub(super) fn publish(
        &mut self,
        now_ns: u64,
        takes: impl Fn(usize) -> bool,
    ) -> Option<(usize, Stamp)> {
        let seats = self.seats.len();
        let mut turns = (0..seats).map(|step| (self.turn + step) % seats);
        let seat = turns.find(|&seat| self.seats[seat].is_open)?;
        self.turn = (seat + 1) % seats;
        if !takes(seat) {
            self.tally.held_back += 1;
            return None;
        }
        let (room, member) = self.place(seat);
        let number = self.rooms[room].publish(member, false, now_ns);
        self.tally.sent += 1;
        let room = self.room(seat);
        Some((seat, Stamp { room, number }))
    }

    /// A message has come to a connection.
    pub(super) fn delivered(&mut self, seat: usize, stamp: Stamp, now_ns: u64) {
        let (room, member) = self.place(seat);
        let arrival = if stamp.room == self.room(seat) {
            self.rooms[room].arrive(member, stamp.number)
        } else {
            Arrival::Stray
        };
        let sent_ns = match arrival {
            Arrival::InOrder(sent_ns) => sent_ns,
            Arrival::OutOfOrder(sent_ns) => {
                self.tally.out_of_order += 1;
                sent_ns
            }
            Arrival::Again => {
                self.tally.duplicated += 1;
                return;
            }
            Arrival::Stray => {
                self.tally.stray += 1;
                return;
            }
        };
        self.tally.measured += u64::from(self.window.contains(&now_ns));
        if sent_ns >= self.window.start {
            let took = now_ns.saturating_sub(sent_ns);
            self.tally.latency.record_ns(took);
        }
    }

    /// The server has refused something to a connection.
    pub(super) fn refused(&mut self, seat: usize, refusal: &Refusal) {
        let published = u64::from(refusal.published);
        self.seats[seat].refused += published;
        self.tally.refused += published;
        if count(&mut self.tally.errors, &refusal.code) {
            let text = format!("{}: {}", refusal.code, refusal.message);
            say!("roomcast: the server answers {}", one_line(&text));
        }
    }

    /// The room of a connection.
    #[expect(clippy::cast_possible_truncation, reason = "less than the rooms")]
    pub(super) fn room(&self, seat: usize) -> u32 {
        self.place(seat).0 as u32
    }

    /// True when every connection has been opened, or has failed to.
    pub(super) fn is_settled(&self) -> bool {
        self.settled == self.seats.len()
    }

    /// True when every message has reached everybody. Walks over the rooms.
    pub(super) fn is_complete(&self) -> bool {
        self.rooms.iter().all(Ledger::is_complete)
    }

    /// Sums of all rooms; walks over them and what is under way in them.
    pub(super) fn sum(&self) -> Sum {
        let mut total = Sum::default();
        for sum in self.rooms.iter().map(Ledger::sum) {
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
        for (room, ledger) in self.rooms.iter().enumerate() {
            let refused = |member: usize| self.seats[member * rooms + room].refused;
            let verdict = ledger.verdict(refused);
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

    /// How long was measured.
    pub(super) fn measured(&self) -> Duration {
        Duration::from_nanos(self.window.end.saturating_sub(self.window.start))
    }

    /// The room of a connection, and which of its members that is.
    fn place(&self, seat: usize) -> (usize, usize) {
        let rooms = self.rooms.len();
        (seat % rooms, seat / rooms)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections in rooms, all open and measured.
    fn load(connections: u32, rooms: u32) -> Load {
        let mut load = Load::new(Plan::of(connections, rooms));
        for seat in 0..connections as usize {
            load.opened(seat, Duration::from_millis(1));
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
        for seat in [0, 1, 2, 0] {
            let (publisher, stamp) = publish(&mut load);
            assert_eq!(publisher, seat);
            assert!(!load.is_complete());
            for other in (0..3).filter(|&other| other != seat) {
                load.delivered(other, stamp, 1_000);
            }
        }
        let sum = load.sum();
        assert_eq!((sum.expected, sum.received), (8, 8));
        assert!(load.is_complete());
        assert_eq!((load.tally.sent, load.tally.measured), (4, 8));
        assert_eq!(load.tally.latency.max_us(), Some(1));
    }

    #[test]
    fn connections_fill_the_rooms_evenly() {
        let mut load = load(11, 3);
        for (seat, others) in [(0, 3), (1, 3), (2, 2), (3, 3), (4, 3)] {
            let before = load.sum().expected;
            let (publisher, stamp) = publish(&mut load);
            assert_eq!((publisher, stamp.room as usize), (seat, seat % 3));
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
        for (seat, stamp) in [
            (1, stamps[3]),
            (1, stamps[0]),
            (1, stamps[0]),
            (0, stamps[0]),
            (2, elsewhere),
        ] {
            load.delivered(seat, stamp, 0);
        }
        let Tally {
            out_of_order,
            duplicated,
            stray,
            ..
        } = load.tally;
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
        assert_eq!((load.open, load.sum().expected), (2, 2));
        load.closed(1, 1006);
        load.closed(2, 1006);
        assert!(load.publish(0, |_| true).is_none());
        assert_eq!((load.tally.sent, load.tally.held_back), (2, 0));
    }

    #[test]
    fn what_a_connection_does_not_take_is_held_back() {
        let mut load = load(2, 1);
        assert!(load.publish(0, |seat| seat != 0).is_none());
        assert_eq!(publish(&mut load).0, 1);
        assert_eq!((load.tally.sent, load.tally.held_back), (1, 1));
    }
}
