//! Requests and their answers: each connection has so many on their way and sends as many again
//! when all are answered.

use std::time::{Duration, Instant};

use roomcast_load::{Latencies, Wait, What};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::{Clients, refuse};
use crate::meter::Meter;

const WARM_UP: Duration = Duration::from_millis(500);

pub fn run(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let depth = arguments.number::<usize>("depth");
    let seconds = Duration::from_secs_f64(arguments.number("seconds"));
    let ids = clients.gather(arguments.number("connections"), |_| None);
    let questions = clients.questions(arguments.number("bytes"), depth);
    // When the questions were sent, and how many are answered.
    let mut turns = vec![(clients.now_ns(), 0); ids.len()];
    for &id in &ids {
        clients.send_frames(id, &questions);
    }
    let (mut events, mut latencies, mut answers) = (Vec::new(), Latencies::default(), 0_u64);
    let (mut begun, mut meter) = (Instant::now(), None);
    loop {
        clients.turn(Wait::Nap, &mut events);
        for event in events.drain(..) {
            match event.what {
                What::Answered => {}
                What::Bye(_) | What::Ended(_) | What::Refusal(_) => refuse(&event.what),
                _ => continue,
            }
            answers += 1;
            let (sent_ns, answered) = &mut turns[event.id];
            *answered += 1;
            if *answered == depth {
                latencies.record_ns(event.at_ns - *sent_ns);
                (*sent_ns, *answered) = (clients.now_ns(), 0);
                clients.send_frames(event.id, &questions);
            }
        }
        match &meter {
            None if begun.elapsed() >= WARM_UP => {
                (begun, answers) = (Instant::now(), 0);
                latencies.clear();
                meter = Some(Meter::start(server));
            }
            Some(meter) if begun.elapsed() >= seconds => {
                let used = meter.stop();
                return json!({
                    "value": used.server_us / answers as f64,
                    "units": answers,
                    "p99_us": latencies.quantile_us(0.99).unwrap_or_default(),
                    "generator_share": used.generator_share,
                });
            }
            _ => {}
        }
    }
}
