//! Cost of one broadcast in the hub: time and heap allocations.
//!
//! ```text
//! cargo bench -p roomcast-core
//! ```
//!
//! A harness of its own, because the number that must not move is the count of allocations: zero
//! for a warm broadcast, whatever the size of the room. The usual harnesses measure time only. This
//! one counts both in the same process on the same operation, and fails when an allocation is
//! counted. Time is never a failure: it depends on the machine and on who else uses it. Compare
//! minima of one run with each other, not runs.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clock measures the core from outside"
)]

use std::{array, hint::black_box, process::ExitCode, time::Instant};

use allocation_counter::{AllocationInfo, measure};
use roomcast_core::{
    Audience, Config, ConnId, Frame, Handshake, Hub, Limits, Outbox, Payload, Timestamp,
};

const NOW: Timestamp = Timestamp::ZERO;
const ROOM: &str = "lobby";
/// 128 bytes, a chat line with its members.
const DATA: &str = r#"{"text":"Is the harbour ferry still running? The board says 9:40, and nobody is in sight.","lang":"en","at":1795234567890,"n":7}"#;

/// The number of repetitions of everything.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    /// Divides the operations of a round.
    divisor: usize,
}

/// Cost of one operation, in nanoseconds.
#[derive(Clone, Copy)]
struct Cost {
    min: f64,
    median: f64,
}

fn main() -> ExitCode {
    let given = |flag| std::env::args().any(|argument| argument == flag);
    if given("--list") {
        // A test runner asks which tests are in here.
        return ExitCode::SUCCESS;
    }
    // Without optimisation the times mean nothing, so one quick run will do; the count still holds.
    let effort = if given("--test") || cfg!(debug_assertions) {
        Effort {
            rounds: 1,
            divisor: 100,
        }
    } else {
        Effort {
            rounds: 300,
            divisor: 1,
        }
    };
    let allocations = broadcasts(effort);
    memberships(effort);
    crowds(effort);
    if allocations == 0 {
        println!("\nNo warm broadcast allocated.");
        ExitCode::SUCCESS
    } else {
        println!("\nFAILED: warm broadcasts allocated {allocations} times, 0 are allowed.");
        ExitCode::FAILURE
    }
}

/// Rooms of growing size. Returns how often anything was allocated.
fn broadcasts(effort: Effort) -> u64 {
    println!(
        "One broadcast of {} bytes of data to a room, outbox warm\n",
        DATA.len()
    );
    println!(
        "{:>8} {:>24} {:>24} {:>10} {:>12}",
        "", "receive + publish, ns", "send, ns", "ns per", "allocations"
    );
    println!(
        "{:>8} {:>12} {:>11} {:>12} {:>11} {:>10} {:>12}",
        "members", "min", "median", "min", "median", "member", "counted"
    );
    let mut total = 0;
    for members in [10, 100, 1_000, 10_000] {
        let mut stage = Stage::new(members);
        let mut allocations = 0;
        // The first runs grow the buffers of the outbox, once for all that follow.
        for warm in [false, true] {
            let AllocationInfo { count_total, .. } = measure(|| {
                for _ in 0..16 {
                    stage.publish();
                    stage.send();
                }
            });
            if warm {
                allocations = count_total;
            }
        }
        let count = 2_000_000 / (members + 1_000) / effort.divisor;
        let [publish, send] = rounds(effort, || {
            let publish = each(count, |_| stage.publish());
            [publish, each(count, |_| stage.send())]
        });
        #[allow(clippy::cast_precision_loss, reason = "at most 10,000")]
        let per_member = publish.min / members as f64;
        println!(
            "{members:>8} {:>12.0} {:>11.0} {:>12.0} {:>11.0} {per_member:>10.2} {allocations:>12}",
            publish.min, publish.median, send.min, send.median,
        );
        total += allocations;
    }
    total
}

/// Joins and leaves of rooms of growing size.
fn memberships(effort: Effort) {
    println!("\nOne membership, ns (min)\n");
    println!(
        "{:>8} {:>12} {:>12} {:>26}",
        "members", "join", "leave", "leave + join of the oldest"
    );
    for members in [10, 100, 1_000, 10_000] {
        let mut stage = Stage::new(members);
        let [join, leave, oldest] = rounds(effort, || {
            let [join, leave] = stage.join_and_leave();
            [join, leave, each(100, |_| stage.move_the_oldest())]
        });
        println!(
            "{members:>8} {:>12.0} {:>12.0} {:>26.0}",
            join.min, leave.min, oldest.min
        );
    }
}

/// The same room among strangers: what does not concern it must not cost it.
fn crowds(effort: Effort) {
    println!("\nA room of 100, ns (min), and how many times that of the room alone\n");
    println!(
        "{:<28} {:>15} {:>15} {:>15}",
        "", "publish", "join", "leave"
    );
    let mut stages = [Stage::new(100), Stage::new(100), Stage::new(100)];
    for index in 0..10_000 {
        stages[1].newcomer(&format!("room-{index}"));
    }
    for _ in 0..100_000 {
        stages[2].newcomer("hall");
    }
    // Interleaved, so that a disturbance of the machine meets all three.
    let costs = rounds(effort, || {
        let [alone, rooms, connections] = stages.each_mut().map(|stage| {
            let publish = each(1_000 / effort.divisor, |_| stage.publish());
            let [join, leave] = stage.join_and_leave();
            [publish, join, leave]
        });
        let mut all = [0.0; 9];
        all[..3].copy_from_slice(&alone);
        all[3..6].copy_from_slice(&rooms);
        all[6..].copy_from_slice(&connections);
        all
    });
    let names = ["alone", "10,000 other rooms", "100,000 other connections"];
    for (name, row) in names.iter().zip(costs.chunks(3)) {
        print!("{name:<28}");
        for (cost, alone) in row.iter().zip(&costs[..3]) {
            print!(" {:>7.0} ({:.2}x)", cost.min, cost.min / alone.min);
        }
        println!();
    }
}

/// A hub with one room, and somebody in it who speaks.
struct Stage {
    hub: Hub,
    out: Outbox,
    speaker: ConnId,
    oldest: ConnId,
    /// Connections that are not in the room.
    guests: Vec<ConnId>,
    said: String,
    audience: Audience,
}

impl Stage {
    fn new(members: usize) -> Self {
        let mut limits = Limits::default();
        // A benchmark is a flood.
        limits.inbound_messages = None;
        limits.inbound_bytes = None;
        let mut stage = Self {
            hub: Hub::new(Config::new("bench").with_limits(limits)),
            out: Outbox::new(),
            speaker: "0".parse().expect("an id"),
            oldest: "0".parse().expect("an id"),
            guests: Vec::new(),
            said: format!(r#"{{"event":"said","room":"{ROOM}","data":{DATA}}}"#),
            audience: Audience::room(ROOM),
        };
        let joined: Vec<_> = (0..members).map(|_| stage.newcomer(ROOM)).collect();
        stage.oldest = joined[0];
        stage.speaker = joined[members / 2];
        stage.guests = (0..100).map(|_| stage.connect()).collect();
        stage
    }

    fn connect(&mut self) -> ConnId {
        let conn = self.hub.connect(NOW, Handshake::new(), &mut self.out);
        self.out.clear();
        conn.expect("the hub is not full")
    }

    fn newcomer(&mut self, room: &str) -> ConnId {
        let conn = self.connect();
        self.join(conn, room);
        conn
    }

    fn join(&mut self, conn: ConnId, room: &str) {
        let joined = self.hub.join(NOW, conn, room, &mut self.out);
        black_box(joined).expect("joined");
        self.out.clear();
    }

    fn leave(&mut self, conn: ConnId) {
        let left = self.hub.leave(NOW, conn, ROOM, &mut self.out);
        assert!(black_box(left).expect("alive"), "was a member");
        self.out.clear();
    }

    /// Receives and publishes a text message as a host does, up to its sockets.
    fn publish(&mut self) {
        let frame = Frame::Text(black_box(&self.said));
        let received = self.hub.receive(NOW, self.speaker, frame, &mut self.out);
        let message = received.expect("alive").expect("a publish");
        let delivery = self.hub.publish(NOW, &message, &mut self.out);
        black_box(delivery).expect("alive");
        self.carry_out();
    }

    fn send(&mut self) {
        let data = Payload::parse(black_box(DATA)).expect("JSON");
        let sent = self
            .hub
            .send(NOW, &self.audience, "said", data, &mut self.out);
        black_box(sent).expect("sent");
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for command in &self.out {
            black_box(command);
        }
        self.out.clear();
    }

    /// Nanoseconds per join and per leave of guests, who are younger than every member.
    fn join_and_leave(&mut self) -> [f64; 2] {
        let guests = std::mem::take(&mut self.guests);
        let join = each(guests.len(), |at| self.join(guests[at], ROOM));
        let leave = each(guests.len(), |at| self.leave(guests[at]));
        self.guests = guests;
        [join, leave]
    }

    /// The worst place in the room: all other members move.
    fn move_the_oldest(&mut self) {
        self.leave(self.oldest);
        self.join(self.oldest, ROOM);
    }
}

/// Runs an operation `count` times and at least once; nanoseconds for one.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn each(count: usize, mut operation: impl FnMut(usize)) -> f64 {
    let count = count.max(1);
    let start = Instant::now();
    for at in 0..count {
        operation(at);
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

/// Repeats a round that measures several operations in turn.
fn rounds<const N: usize>(effort: Effort, mut round: impl FnMut() -> [f64; N]) -> [Cost; N] {
    let results: Vec<[f64; N]> = (0..effort.rounds).map(|_| round()).collect();
    array::from_fn(|at| {
        let mut times: Vec<f64> = results.iter().map(|result| result[at]).collect();
        times.sort_by(f64::total_cmp);
        Cost {
            min: times[0],
            median: times[times.len() / 2],
        }
    })
}
