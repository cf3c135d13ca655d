//! What is going on in a run: who is connected, what was sent, what arrived.

use std::{
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use hdrhistogram::CreationError;
use tokio::sync::{Notify, mpsc};

use super::{
    super::replay::one_line,
    frame::{self, Arrived, Stamp},
    ledger::{Arrival, Sum, Verdict},
    plan::Plan,
    rooms::Rooms,
    tally::{Tally, count},
};

/// The state of a run, which its connections share on their one thread.
#[derive(Debug)]
pub(super) struct Load {
    plan: Plan,
    rooms: Rooms,
    seats: Vec<Seat>,
    /// Whose turn it is to publish.
    turn: usize,
    opened: usize,
    open: usize,
    /// How many have been opened, or have failed to.
    settled: usize,
    /// How many clients are at work, or about to end.
    working: usize,
    is_over: bool,
    begun: Instant,
    /// The time that is measured, in microseconds since `begun`.
    window: Range<u64>,
    tally: Tally,
    changed: Rc<Notify>,
}

/// A place for a connection.
#[derive(Debug, Default)]
struct Seat {
    /// Where it takes what it is to send, while it is open.
    outgoing: Option<mpsc::Sender<String>>,
    refused: u64,
}

impl Load {
    /// A run without connections. `run` makes its rooms different from those of any other.
    ///
    /// # Errors
    ///
    /// None in practice: the bounds of the histograms are constants.
    pub(super) fn new(plan: Plan, run: u32) -> Result<Self, CreationError> {
        Ok(Self {
            rooms: Rooms::new(&plan, run),
            seats: (0..plan.connections).map(|_| Seat::default()).collect(),
            plan,
            turn: 0,
            opened: 0,
            open: 0,
            settled: 0,
            working: 0,
            is_over: false,
            begun: Instant::now(),
            window: u64::MAX..u64::MAX,
            tally: Tally::new()?,
            changed: Rc::default(),
        })
    }

    /// A connection is in its room.
    pub(super) fn opened(
        &mut self,
        seat: usize,
        connect: Duration,
        outgoing: mpsc::Sender<String>,
    ) {
        self.rooms.join(seat);
        // One that comes too late has nothing to take, and ends.
        self.seats[seat].outgoing = (!self.is_over).then_some(outgoing);
        self.tally.connect.record(connect);
        self.opened += 1;
        self.open += 1;
        self.settled += 1;
        self.working += 1;
        self.changed.notify_one();
    }

    /// A connection did not come about.
    pub(super) fn failed(&mut self, reason: &str) {
        self.settled += 1;
        if count(&mut self.tally.failed, reason) {
            say!("roomcast: a connection failed: {reason}");
        }
        self.changed.notify_one();
    }

    /// A connection has ended otherwise than by the end of the run.
    pub(super) fn closed(&mut self, seat: usize, code: u16) {
        if self.seats[seat].outgoing.take().is_none() {
            return;
        }
        self.rooms.leave(seat);
        self.open -= 1;
        *self.tally.closes.entry(code).or_default() += 1;
        self.changed.notify_one();
    }

    /// A client has ended, whatever the reason.
    pub(super) fn left(&mut self) {
        self.working -= 1;
        self.changed.notify_one();
    }

    /// Measures from so long after now, for so long.
    pub(super) fn measure(&mut self, after: Duration, duration: Duration) {
        let start = self.begun.elapsed() + after;
        self.window = micros(start)..micros(start + duration);
    }

    /// What comes from now on counts for no rate.
    pub(super) fn stop_measuring(&mut self) {
        self.window.end = self.window.end.min(micros(self.begun.elapsed()));
    }

    /// Publishes so many messages, each by the connection whose turn it is; so late.
    pub(super) fn publish(&mut self, count: u64, lag: Duration) {
        self.tally.lag.record(lag);
        for _ in 0..count {
            self.publish_one();
        }
    }

    /// A frame has come to a connection.
    pub(super) fn arrived(&mut self, seat: usize, text: &str) {
        match Arrived::read(text, self.rooms.name(seat)) {
            Arrived::Message(stamp) => self.delivered(seat, stamp),
            Arrived::Refused {
                published,
                code,
                message,
            } => {
                self.seats[seat].refused += u64::from(published);
                self.tally.refused += u64::from(published);
                if count(&mut self.tally.errors, &code) {
                    let text = format!("{code}: {message}");
                    say!("roomcast: the server answers {}", one_line(&text));
                }
            }
            Arrived::Stray => self.tally.stray += 1,
            Arrived::Welcome(_) | Arrived::Joined | Arrived::Other => {}
        }
    }

    /// Lets all connections end. Closes that follow are the end of the run, and are not counted.
    pub(super) fn release(&mut self) {
        self.is_over = true;
        self.seats.iter_mut().for_each(|seat| seat.outgoing = None);
    }

    /// The room of a connection.
    pub(super) fn room(&self, seat: usize) -> Rc<str> {
        self.rooms.name(seat).clone()
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Wakes who waits for something to change.
    pub(super) fn changed(&self) -> Rc<Notify> {
        self.changed.clone()
    }

    /// How many connections were opened.
    pub(super) fn opened_count(&self) -> usize {
        self.opened
    }

    /// How many connections are open, or were at the end of the run.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Whether every connection has been opened, or has failed to.
    pub(super) fn is_settled(&self) -> bool {
        self.settled == self.seats.len()
    }

    /// Whether all clients have ended.
    pub(super) fn is_deserted(&self) -> bool {
        self.working == 0
    }

    /// Whether every message has reached everybody. Walks over the rooms.
    pub(super) fn is_complete(&self) -> bool {
        self.rooms.is_complete()
    }

    /// Sums of all rooms; walks over them and what is under way in them.
    pub(super) fn sum(&self) -> Sum {
        self.rooms.sum()
    }

    /// What became of the messages that did not reach everybody.
    pub(super) fn verdict(&self) -> Verdict {
        self.rooms.verdict(|seat| self.seats[seat].refused)
    }

    /// Whether the warm-up is over.
    pub(super) fn is_measuring(&self) -> bool {
        micros(self.begun.elapsed()) >= self.window.start
    }

    /// How long was measured.
    pub(super) fn measured(&self) -> Duration {
        Duration::from_micros(self.window.end.saturating_sub(self.window.start))
    }

    fn delivered(&mut self, seat: usize, stamp: Stamp) {
        let (arrival, is_last) = self.rooms.arrive(seat, stamp.number);
        match arrival {
            Arrival::InOrder => {}
            Arrival::OutOfOrder => self.tally.out_of_order += 1,
            Arrival::Again => {
                self.tally.duplicated += 1;
                return;
            }
            Arrival::Stray => {
                self.tally.stray += 1;
                return;
            }
        }
        let now = micros(self.begun.elapsed());
        self.tally.measured += u64::from(self.window.contains(&now));
        if stamp.at_us >= self.window.start {
            let took = now.saturating_sub(stamp.at_us);
            self.tally.latency.record_us(took);
        }
        if is_last {
            self.changed.notify_one();
        }
    }

    fn publish_one(&mut self) {
        let seats = self.seats.len();
        let mut turns = (0..seats).map(|step| (self.turn + step) % seats);
        let Some(seat) = turns.find(|&seat| self.seats[seat].outgoing.is_some()) else {
            return;
        };
        self.turn = (seat + 1) % seats;
        let Some(Ok(permit)) = self.seats[seat]
            .outgoing
            .as_ref()
            .map(mpsc::Sender::try_reserve)
        else {
            self.tally.held_back += 1;
            return;
        };
        let (number, name) = self.rooms.publish(seat);
        let stamp = Stamp {
            number,
            at_us: micros(self.begun.elapsed()),
        };
        permit.send(frame::publish(name, stamp, self.plan.payload_bytes));
        self.tally.sent += 1;
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections in one room, whose network is this test.
    struct World {
        load: Load,
        wires: Vec<mpsc::Receiver<String>>,
    }

    impl World {
        fn new(connections: u32) -> Self {
            let plan = Plan {
                connections,
                rooms: 1,
                rate: 100,
                payload_bytes: 64,
                duration_s: 1,
                warmup_s: 0,
                connect_rate: 100,
            };
            let mut load = Load::new(plan, 1).expect("valid bounds");
            let wires = (0..connections as usize).map(|seat| {
                let (sender, receiver) = mpsc::channel(2);
                load.opened(seat, Duration::from_millis(1), sender);
                receiver
            });
            let wires = wires.collect();
            load.measure(Duration::ZERO, Duration::from_secs(60));
            Self { load, wires }
        }

        fn publish(&mut self, count: u64) {
            self.load.publish(count, Duration::ZERO);
        }

        /// The next message of a connection.
        fn sent_by(&mut self, seat: usize) -> String {
            self.wires[seat].try_recv().expect("a message")
        }
    }

    #[test]
    fn connections_publish_in_turns_and_all_others_receive() {
        let mut world = World::new(3);
        world.publish(4);
        for seat in [0, 1, 2, 0] {
            let text = world.sent_by(seat);
            assert!(!world.load.is_complete());
            for other in (0..3).filter(|&other| other != seat) {
                world.load.arrived(other, &text);
            }
        }
        let sum = world.load.sum();
        assert_eq!((sum.expected, sum.received), (8, 8));
        assert!(world.load.is_complete());
        assert_eq!(
            (world.load.tally().sent, world.load.tally().measured),
            (4, 8)
        );
    }

    #[test]
    fn what_is_wrong_is_counted_by_what_it_is() {
        let mut world = World::new(3);
        world.publish(4);
        let (first, last) = (world.sent_by(0), world.sent_by(0));
        for (seat, text) in [(1, &last), (1, &first), (1, &first), (0, &first)] {
            world.load.arrived(seat, text);
        }
        world.load.arrived(
            2,
            r#"{"event":"bench","room":"lobby","data":{"n":0,"at":0}}"#,
        );
        let tally = world.load.tally();
        assert_eq!(
            (tally.out_of_order, tally.duplicated, tally.stray),
            (1, 1, 2)
        );
        let verdict = world.load.verdict();
        assert_eq!((verdict.lost, verdict.cut_off), (6, 0));
    }

    #[test]
    fn a_refusal_explains_what_nobody_got() {
        let mut world = World::new(2);
        world.publish(1);
        let error = r#"{"event":"bench","room":"r","error":{"code":"rate_limited","message":""}}"#;
        world.load.arrived(0, error);
        let verdict = world.load.verdict();
        assert_eq!((verdict.lost, verdict.never_due), (0, 1));
        assert_eq!(world.load.tally().errors["rate_limited"], 1);
    }

    #[test]
    fn a_closed_connection_has_no_turn_and_expects_nothing() {
        let mut world = World::new(3);
        world.load.closed(0, 4409);
        world.load.closed(0, 1006);
        world.publish(2);
        assert_eq!(world.load.tally().closes[&4409], 1);
        assert_eq!((world.load.open(), world.load.sum().expected), (2, 2));
        world.sent_by(1);
        world.sent_by(2);
        world.load.closed(1, 1006);
        world.load.closed(2, 1006);
        world.publish(1);
        assert_eq!(world.load.tally().sent, 2);
    }

    #[test]
    fn what_a_connection_does_not_take_is_held_back() {
        let mut world = World::new(2);
        world.publish(6);
        let tally = world.load.tally();
        assert_eq!((tally.sent, tally.held_back), (4, 2));
    }
}
