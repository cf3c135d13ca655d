//! Connections that come and go: connect, join, leave, close, until the server has closed as well.

use std::time::{Duration, Instant};

use roomcast_load::What;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::{Clients, EVENT, refuse};
use crate::meter::Meter;

const ROOMS: usize = 100;
const WARM_UP: Duration = Duration::from_millis(500);

pub fn run(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let at_once = arguments.number::<usize>("at_once");
    let seconds = Duration::from_secs_f64(arguments.number("seconds"));
    for _ in 0..at_once {
        clients.open(None);
    }
    let (mut events, mut cycles) = (Vec::new(), 0_u64);
    let (mut begun, mut meter) = (Instant::now(), None);
    loop {
        clients.turn(EVENT, &mut events);
        for event in events.drain(..) {
            let room = (event.id % ROOMS) as u32;
            match event.what {
                What::Ready(_) => clients.join(event.id, room),
                What::Joined => clients.leave(event.id, room),
                What::Left => clients.close(event.id),
                What::Ended(_) => {
                    cycles += 1;
                    clients.reset(event.id);
                    clients.open(None);
                }
                What::Refusal(_) => refuse(&event.what),
                _ => {}
            }
        }
        match &meter {
            None if begun.elapsed() >= WARM_UP => {
                (begun, cycles) = (Instant::now(), 0);
                meter = Some(Meter::start(server));
            }
            Some(meter) if begun.elapsed() >= seconds => {
                let used = meter.stop();
                return json!({
                    "value": used.server_us / cycles as f64,
                    "units": cycles,
                    "generator_share": used.generator_share,
                });
            }
            _ => {}
        }
    }
}
