//! The memory that connections leave behind, after one crowd upon another.

use std::thread::sleep;
use std::time::{Duration, Instant};

use roomcast_load::What;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::{Clients, EVENT};
use crate::meter::resident_bytes;

/// In which a server gives back what the last crowd needed.
const SETTLING: Duration = Duration::from_secs(4);
const FIRST: usize = 100;
const CLOSING_MAX: Duration = Duration::from_secs(60);

pub fn run(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let at_once = arguments.number::<usize>("at_once");
    let crowds = arguments.number::<usize>("crowds");
    // A small one pays for what a server makes once.
    come_and_go(clients, FIRST);
    sleep(SETTLING);
    let before = resident_bytes(server);
    for _ in 0..crowds {
        come_and_go(clients, at_once);
    }
    sleep(SETTLING);
    let after = resident_bytes(server);
    json!({ "value": after as f64 / before as f64, "units": crowds * at_once })
}

/// So many connections at once, each in a room of its own; then they close.
fn come_and_go(clients: &mut Clients, count: usize) {
    for id in clients.gather(count, Some) {
        clients.close(id);
    }
    let (mut closed, mut events, begun) = (0, Vec::new(), Instant::now());
    while closed < count {
        assert!(begun.elapsed() < CLOSING_MAX, "{closed} of {count} closed");
        clients.turn(EVENT, &mut events);
        for event in events.drain(..) {
            if let What::Ended(_) = event.what {
                clients.reset(event.id);
                closed += 1;
            }
        }
    }
}
