//! Well-behaved members beside something else that happens to the server: each publishes now and
//! then, and what they wait for is told for each phase. A line on standard input ends a phase.
//!
//! Members do not agree on when they publish, so the times of messages are random: as many as the
//! rate says, anywhere in a second. Each second has the same ones, or phases could not be compared.
//!
//! A phase is cut into windows, and told is the p99 of each: what the server does to its members is
//! in every window, and a pause of the machine is in few.

use std::io::stdin;
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use fastrand::Rng;
use roomcast_load::{Arrival, InFlight, Latencies, Stamp, Wait, What};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::{Clients, refuse};

const ROOM: u32 = 0;
const WARM_UP: Duration = Duration::from_millis(500);
/// Some two thousand deliveries: more windows without a pause than with one.
const WINDOW: Duration = Duration::from_millis(100);
/// A message that has not reached everybody by then is lost.
const LATE_MAX: Duration = Duration::from_secs(30);

pub fn run(clients: &mut Clients, arguments: &Arguments) -> Value {
    let (members, rate) = (arguments.number("members"), arguments.number("rate"));
    let mut witness = Witness::set_up(clients, members, arguments.number("bytes"));
    witness.phase(rate, |begun| begun.elapsed() >= WARM_UP);
    println!("ready");
    let lines = lines();
    loop {
        let mut is_over = false;
        let told = witness.phase(rate, |_| {
            is_over = match lines.try_recv() {
                Ok(()) => return true,
                Err(error) => error == std::sync::mpsc::TryRecvError::Disconnected,
            };
            is_over
        });
        if is_over {
            return told;
        }
        println!("{told}");
    }
}

/// Lines of standard input, until its end.
fn lines() -> Receiver<()> {
    let (sender, receiver) = channel();
    spawn(move || {
        for _ in stdin().lines() {
            let _ = sender.send(());
        }
    });
    receiver
}

const SECOND_NS: u64 = 1_000_000_000;

/// The times at which messages are due, since the begin of a phase.
struct Due {
    /// Within each second.
    offsets_ns: Vec<u64>,
    count: usize,
}

impl Due {
    fn new(rate: usize) -> Self {
        let mut random = Rng::with_seed(1);
        let mut offsets_ns: Vec<u64> = (0..rate).map(|_| random.u64(..SECOND_NS)).collect();
        offsets_ns.sort_unstable();
        let count = 0;
        Self { offsets_ns, count }
    }

    /// The next one, if it is due by then.
    fn next_by(&mut self, elapsed_ns: u64) -> Option<u64> {
        let rate = self.offsets_ns.len();
        let due_ns = (self.count / rate) as u64 * SECOND_NS + self.offsets_ns[self.count % rate];
        let is_due = due_ns <= elapsed_ns;
        self.count += usize::from(is_due);
        is_due.then_some(due_ns)
    }
}

struct Witness<'a> {
    clients: &'a mut Clients,
    members: usize,
    bytes: usize,
    room: InFlight,
    published: usize,
    /// The latencies of the window.
    latencies: Latencies,
    /// The latencies of the phase.
    whole: Latencies,
}

impl<'a> Witness<'a> {
    fn set_up(clients: &'a mut Clients, members: usize, bytes: usize) -> Self {
        clients.gather(members, |_| Some(ROOM as usize));
        let mut room = InFlight::new(members);
        (0..members).for_each(|member| room.join(member));
        Self {
            clients,
            members,
            bytes,
            room,
            published: 0,
            latencies: Latencies::default(),
            whole: Latencies::default(),
        }
    }

    /// Publishes `rate` messages a second until the phase is over and all have arrived.
    fn phase(&mut self, rate: usize, mut is_over: impl FnMut(Instant) -> bool) -> Value {
        self.latencies.clear();
        self.whole.clear();
        let (begun, begun_ns) = (Instant::now(), self.clients.now_ns());
        let (mut due, mut window, mut windows) = (Due::new(rate), begun, Vec::new());
        while !is_over(begun) {
            // Timed from when it was due: a generator that is late must not flatter the server.
            while let Some(due_ns) = due.next_by(self.clients.now_ns() - begun_ns) {
                self.publish(begun_ns + due_ns);
            }
            self.turn();
            if window.elapsed() >= WINDOW {
                (window, _) = (Instant::now(), windows.push(self.window()));
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        let last = Instant::now();
        while self.room.under_way() > 0 {
            assert!(last.elapsed() < LATE_MAX, "messages are lost");
            self.turn();
        }
        if self.latencies.quantile_us(0.99).is_some() {
            // What came late.
            windows.push(self.window());
        }
        let quantile = |of| self.whole.quantile_us(of).unwrap_or(u64::MAX);
        json!({
            "messages": due.count,
            "seconds": seconds,
            "p50_us": quantile(0.50),
            "p99_us": windows,
            "max_us": self.whole.max_us(),
        })
    }

    /// The p99 since the last window. Where nothing arrived, everybody waited.
    fn window(&mut self) -> u64 {
        let p99_us = self.latencies.quantile_us(0.99).unwrap_or(u64::MAX);
        self.latencies.clear();
        p99_us
    }

    fn publish(&mut self, due_ns: u64) {
        let member = self.published % self.members;
        self.published += 1;
        let number = self.room.publish(member, true, due_ns);
        let stamp = Stamp { room: ROOM, number };
        self.clients.publish(member, stamp, self.bytes);
        self.clients.flush(member);
    }

    fn turn(&mut self) {
        let mut events = Vec::new();
        self.clients.turn(Wait::Nap, &mut events);
        for event in events {
            match event.what {
                What::Message(Stamp { number, .. }) => {
                    let arrival = self.room.deliver(event.id, number);
                    let Arrival::InOrder(due_ns) = arrival else {
                        panic!("message {number} came {arrival:?}");
                    };
                    let took_ns = event.at_ns.saturating_sub(due_ns);
                    self.latencies.record_ns(took_ns);
                    self.whole.record_ns(took_ns);
                }
                What::Bye(_) | What::Ended(_) | What::Refusal(_) | What::Stray => {
                    refuse(&event.what)
                }
                _ => {}
            }
        }
    }
}
