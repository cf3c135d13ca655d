//! Rooms that come and go: so many are made, and dropped, in rounds.

use std::thread::sleep;
use std::time::Duration;

use roomcast_load::{Id, What};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::{Clients, EVENT, refuse};
use crate::meter::{Meter, resident_bytes};

const CONNECTIONS: usize = 10;
/// Out of the way of those who are measured beside.
const FIRST_ROOM: usize = 1000;
/// Requests of a connection on their way.
const AT_ONCE: usize = 10;
/// In which a server gives back what the last round needed.
const SETTLING: Duration = Duration::from_secs(2);

pub fn run(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let (rooms, rounds) = (
        arguments.number::<usize>("rooms"),
        arguments.number("rounds"),
    );
    let ids = clients.gather(CONNECTIONS, |_| None);
    let (mut resident, mut server_us) = (Vec::new(), 0.0);
    for _ in 0..rounds {
        let meter = Meter::start(server);
        each(
            clients,
            &ids,
            rooms,
            |clients, id, room| clients.join(id, room),
            &What::Joined,
        );
        each(
            clients,
            &ids,
            rooms,
            |clients, id, room| clients.leave(id, room),
            &What::Left,
        );
        server_us += meter.stop().server_us;
        sleep(SETTLING);
        resident.push(resident_bytes(server));
    }
    let each_us = server_us / (rooms * rounds) as f64;
    // The first rounds pay for what is made once.
    let kept = &resident[1.min(resident.len() - 1)..];
    let (least, most) = (kept.iter().min(), kept.iter().max());
    let ratio = most.map_or(0.0, |&most| most as f64) / least.map_or(1.0, |&least| least as f64);
    json!({ "us_each": each_us, "resident": resident, "resident_ratio": ratio })
}

/// Asks for each room, spread over the connections, and waits for all answers.
fn each(
    clients: &mut Clients,
    ids: &[Id],
    rooms: usize,
    ask: impl Fn(&mut Clients, Id, u32),
    answer: &What,
) {
    let (mut next, mut answered, mut events) = (vec![0; ids.len()], 0, Vec::new());
    let each = rooms / ids.len();
    let mut ask_next = |clients: &mut Clients, at: usize| {
        if next[at] < each {
            let room = FIRST_ROOM + at * each + next[at];
            next[at] += 1;
            ask(clients, ids[at], u32::try_from(room).expect("few"));
        }
    };
    for _ in 0..AT_ONCE {
        (0..ids.len()).for_each(|at| ask_next(clients, at));
    }
    while answered < each * ids.len() {
        clients.turn(EVENT, &mut events);
        for event in events.drain(..) {
            if event.what == *answer {
                answered += 1;
                let at = ids.iter().position(|&id| id == event.id);
                ask_next(clients, at.expect("it is one of them"));
            } else {
                refuse(&event.what);
            }
        }
    }
}
