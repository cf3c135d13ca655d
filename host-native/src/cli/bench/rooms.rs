//! All rooms of a run, as the connections see them.

use std::rc::Rc;

use super::{
    ledger::{Arrival, Ledger, Sum, Verdict},
    plan::Plan,
};

/// The rooms, and who sits in which: connections are known by their seat.
#[derive(Debug)]
pub(super) struct Rooms(Vec<Room>);

#[derive(Debug)]
struct Room {
    name: Rc<str>,
    ledger: Ledger,
}

impl Rooms {
    /// Empty rooms. `run` makes their names different from those of any other run.
    pub(super) fn new(plan: &Plan, run: u32) -> Self {
        let rooms = (0..plan.rooms as usize).map(|room| Room {
            name: Plan::room(run, room).into(),
            ledger: Ledger::new(plan.members(room)),
        });
        Self(rooms.collect())
    }

    pub(super) fn join(&mut self, seat: usize) {
        let (room, member) = self.find(seat);
        room.ledger.join(member);
    }

    /// Walks over what is under way in the room.
    pub(super) fn leave(&mut self, seat: usize) {
        let (room, member) = self.find(seat);
        room.ledger.leave(member);
    }

    /// The number of the next message, and the name of the room it goes to.
    pub(super) fn publish(&mut self, seat: usize) -> (u32, &str) {
        let (room, member) = self.find(seat);
        (room.ledger.publish(member), &room.name)
    }

    /// A message has arrived; also says whether it was the last one under way in its room.
    pub(super) fn arrive(&mut self, seat: usize, number: u32) -> (Arrival, bool) {
        let (room, member) = self.find(seat);
        let arrival = room.ledger.arrive(member, number);
        (arrival, room.ledger.is_complete())
    }

    pub(super) fn name(&self, seat: usize) -> &Rc<str> {
        &self.0[seat % self.0.len()].name
    }

    /// Whether every message has reached everybody. Walks over the rooms.
    pub(super) fn is_complete(&self) -> bool {
        self.0.iter().all(|room| room.ledger.is_complete())
    }

    /// Walks over the rooms and what is under way in them.
    pub(super) fn sum(&self) -> Sum {
        let mut total = Sum::default();
        for sum in self.0.iter().map(|room| room.ledger.sum()) {
            total.expected += sum.expected;
            total.received += sum.received;
            total.cut_off += sum.cut_off;
        }
        total
    }

    /// What became of the messages that did not reach everybody. `refused` says how many messages
    /// of a connection the server refused.
    pub(super) fn verdict(&self, refused: impl Fn(usize) -> u64) -> Verdict {
        let rooms = self.0.len();
        let mut total = Verdict::default();
        for (at, room) in self.0.iter().enumerate() {
            let verdict = room.ledger.verdict(|member| refused(member * rooms + at));
            total.lost += verdict.lost;
            total.cut_off += verdict.cut_off;
            total.never_due += verdict.never_due;
        }
        total
    }

    /// The room of a connection, and which of its members that is.
    fn find(&mut self, seat: usize) -> (&mut Room, usize) {
        let rooms = self.0.len();
        (&mut self.0[seat % rooms], seat / rooms)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        plan: Plan,
    }

    #[test]
    fn connections_fill_the_rooms_evenly() {
        let args = ["bench", "--connections", "11", "--rooms", "3"];
        let plan = Command::try_parse_from(args).expect("valid").plan;
        let mut rooms = Rooms::new(&plan, 1);
        (0..11).for_each(|seat| rooms.join(seat));
        for (seat, others) in [(0, 3), (1, 3), (2, 2), (3, 3), (10, 3)] {
            let before = rooms.sum().expected;
            let (_, name) = rooms.publish(seat);
            assert_eq!(name, Plan::room(1, seat % 3));
            assert_eq!(rooms.sum().expected - before, others);
        }
    }

    #[test]
    fn refusals_are_those_of_the_publisher() {
        let args = ["bench", "--connections", "6", "--rooms", "3"];
        let plan = Command::try_parse_from(args).expect("valid").plan;
        let mut rooms = Rooms::new(&plan, 1);
        (0..6).for_each(|seat| rooms.join(seat));
        rooms.publish(4);
        rooms.publish(5);
        let verdict = rooms.verdict(|seat| u64::from(seat == 4));
        assert_eq!((verdict.never_due, verdict.lost), (1, 1));
    }
}
