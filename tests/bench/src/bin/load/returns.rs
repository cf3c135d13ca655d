//! Many connections at once: strangers that come, and clients that come back into their rooms.

use std::io::stdin;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use roomcast_load::{Event, Id, What, due};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::{Clients, EVENT, refuse};
use crate::meter::Meter;

/// Out of the way of those who are measured beside.
const FIRST_ROOM: usize = 1000;
const ROOMS: usize = 500;
const BACK_TIME_MAX: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_micros(200);

/// So many connections in a second.
pub fn accepts(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let count = arguments.number::<usize>("connections");
    begin();
    let (begun, meter) = (Instant::now(), Meter::start(server));
    let (mut opened, mut ready, mut again, mut events) = (0, 0, 0, Vec::new());
    while ready < count {
        let rate = u32::try_from(count).expect("few");
        while opened < due(rate, begun.elapsed()).min(count as u64) {
            clients.connect(server_of(arguments)).expect("a socket");
            opened += 1;
        }
        clients.turn(roomcast_load::Wait::Event(SOON), &mut events);
        for Event { id, what, .. } in events.drain(..) {
            match what {
                What::Ready(_) => ready += 1,
                What::Ended(_) => {
                    clients.reset(id);
                    clients.connect(server_of(arguments)).expect("a socket");
                    again += 1;
                }
                What::Bye(_) | What::Refusal(_) => refuse(&what),
                _ => {}
            }
        }
        assert!(begun.elapsed() < BACK_TIME_MAX, "{ready} of {count} came");
    }
    told(begun, &meter, count, again)
}

/// Connections that are all lost, and all come back at once into so many rooms each.
pub fn returns(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let (count, rooms) = (
        arguments.number::<usize>("connections"),
        arguments.number("rooms"),
    );
    let ids = clients.gather(count, |_| None);
    joined(clients, &ids, rooms);
    begin();
    for id in ids {
        clients.reset(id);
    }
    let (begun, meter) = (Instant::now(), Meter::start(server));
    let address = server_of(arguments);
    let ids = (0..count).map(|_| clients.connect(address).expect("a socket"));
    let ids = ids.collect::<Vec<_>>();
    let mut left = vec![rooms; 2 * count + ids.len()];
    let (mut back, mut again, mut events) = (0, 0, Vec::new());
    while back < count {
        clients.turn(EVENT, &mut events);
        for Event { id, what, .. } in events.drain(..) {
            match what {
                What::Ready(_) => join_all(clients, id, rooms),
                What::Joined => {
                    left[id] -= 1;
                    back += usize::from(left[id] == 0);
                }
                What::Ended(_) => {
                    clients.reset(id);
                    let id = clients.connect(address).expect("a socket");
                    left[id] = rooms;
                    again += 1;
                }
                What::Bye(_) | What::Refusal(_) => refuse(&what),
                _ => {}
            }
        }
        assert!(
            begun.elapsed() < BACK_TIME_MAX,
            "{back} of {count} are back"
        );
    }
    told(begun, &meter, count, again)
}

/// Says that all is set up, and waits until it is to begin.
fn begin() {
    println!("ready");
    let _ = stdin().read_line(&mut String::new());
}

fn server_of(arguments: &Arguments) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.number::<u16>("port")))
}

/// `again` counts connections that the server ended because they took too long.
fn told(begun: Instant, meter: &Meter, count: usize, again: usize) -> Value {
    let (took, used) = (begun.elapsed(), meter.stop());
    json!({ "took_s": took.as_secs_f64(), "us_each": used.server_us / count as f64, "again": again })
}

fn join_all(clients: &mut Clients, id: Id, rooms: usize) {
    for step in 0..rooms {
        let room = FIRST_ROOM + (id + step * ROOMS / rooms) % ROOMS;
        clients.join(id, u32::try_from(room).expect("few"));
    }
}

fn joined(clients: &mut Clients, ids: &[Id], rooms: usize) {
    for few in ids.chunks(100) {
        for &id in few {
            join_all(clients, id, rooms);
        }
        let (mut joins, mut events) = (0, Vec::new());
        while joins < few.len() * rooms {
            clients.turn(EVENT, &mut events);
            for event in events.drain(..) {
                match event.what {
                    What::Joined => joins += 1,
                    what => refuse(&what),
                }
            }
        }
    }
}
