//! Connections that come and go: connect, join, leave, close, until the server has closed as well.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::crowd::{Crowd, Wait, What};
use crate::meter::Meter;

const ROOMS: usize = 100;
const WARM_UP: Duration = Duration::from_millis(500);

pub fn run(crowd: &mut Crowd, server: u32, arguments: &Arguments) -> Value {
    let at_once = arguments.number::<usize>("at_once");
    let seconds = Duration::from_secs_f64(arguments.number("seconds"));
    for _ in 0..at_once {
        crowd.open(None);
    }
    let (mut events, mut cycles) = (Vec::new(), 0_u64);
    let (mut begun, mut meter) = (Instant::now(), None);
    loop {
        crowd.turn(Wait::Event, &mut events);
        for event in events.drain(..) {
            let room = format!("room{}", event.id % ROOMS);
            match event.what {
                What::Ready => crowd.send(event.id, &crowd.dialect.join(&room)),
                What::Joined => crowd.send(event.id, &crowd.dialect.leave(&room)),
                What::Left => crowd.close(event.id),
                What::Closed => {
                    cycles += 1;
                    crowd.forget(event.id);
                    crowd.open(None);
                }
                What::Bye | What::Answered | What::Said(_) => {}
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
