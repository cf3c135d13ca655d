//! Requests and their answers: each connection has so many on their way and sends as many again
//! when all are answered.

use std::time::{Duration, Instant};

use roomcast_bench::frame;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::crowd::{Crowd, Wait, What};
use crate::latencies::Latencies;
use crate::meter::Meter;
use crate::payload;

const WARM_UP: Duration = Duration::from_millis(500);

pub fn run(crowd: &mut Crowd, server: u32, arguments: &Arguments) -> Value {
    let depth = arguments.number::<usize>("depth");
    let seconds = Duration::from_secs_f64(arguments.number("seconds"));
    let ids = crowd.gather(arguments.number("connections"), |_| None);
    let question = crowd
        .dialect
        .ask(&payload::text(0, arguments.number("bytes")));
    let mut questions = Vec::new();
    for _ in 0..depth {
        frame::from_client(frame::TEXT, question.as_bytes(), &mut questions);
    }
    // When the questions were sent, and how many are answered.
    let mut turns = vec![(crowd.now_ns(), 0); ids.len()];
    for &id in &ids {
        crowd.send_bytes(id, &questions);
    }
    let (mut events, mut latencies, mut answers) = (Vec::new(), Latencies::default(), 0_u64);
    let (mut begun, mut meter) = (Instant::now(), None);
    loop {
        crowd.turn(Wait::Nap, &mut events);
        for event in events.drain(..) {
            assert!(
                !matches!(event.what, What::Bye | What::Closed),
                "closed by the server"
            );
            if event.what != What::Answered {
                continue;
            }
            answers += 1;
            let (sent_ns, answered) = &mut turns[event.id];
            *answered += 1;
            if *answered == depth {
                latencies.add(event.at_ns - *sent_ns);
                (*sent_ns, *answered) = (crowd.now_ns(), 0);
                crowd.send_bytes(event.id, &questions);
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
                    "p99_us": latencies.percentile(99),
                    "generator_share": used.generator_share,
                });
            }
            _ => {}
        }
    }
}
