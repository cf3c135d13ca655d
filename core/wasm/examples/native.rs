//! Prints nanoseconds of one input, natively: the other column of `scripts/figures.mjs`.

// It measures and prints.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::{hint::black_box, time::Instant};

use roomcast_core::{
    App, Applied, Command, Config, ConnId, Handshake, Input, Limits, Outbox, Timestamp,
};

const MEMBERS: usize = 1_000;

struct Host {
    app: App<()>,
    out: Outbox,
    sent: usize,
}

impl Host {
    /// Applies an input, and touches each recipient as a host does.
    fn give(&mut self, input: &Input<'_>) -> Applied {
        self.out.clear();
        let applied = self.app.apply(Timestamp::ZERO, input, &mut self.out);
        for command in &self.out {
            if let Command::Send { to, frame, .. } = command {
                let frame = black_box(frame.as_bytes().to_vec());
                to.iter()
                    .for_each(|conn| self.sent += black_box(conn.slot()) & frame.len());
            }
        }
        applied
    }

    fn time(&mut self, calls: u32, input: &Input<'_>) -> f64 {
        (0..calls / 10).for_each(|_| drop(self.give(input)));
        let start = Instant::now();
        (0..calls).for_each(|_| drop(self.give(input)));
        start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    }
}

fn main() {
    let mut limits = Limits::default();
    (
        limits.inbound_messages,
        limits.inbound_bytes,
        limits.heartbeat,
    ) = (None, None, None);
    let config = Config::new("e").with_limits(limits);
    let (app, out) = (App::new(config, ()), Outbox::new());
    let mut host = Host { app, out, sent: 0 };
    let mut conns: Vec<ConnId> = Vec::new();
    for _ in 0..=MEMBERS {
        let mut handshake = Handshake::new();
        handshake.identity.rooms.push("lobby".into());
        if let Applied::Connected(Ok(conn)) = host.give(&Input::Connect(handshake)) {
            conns.push(conn);
        }
    }
    let data = "x".repeat(100);
    let text = format!(r#"{{"event":"said","room":"lobby","data":"{data}"}}"#);
    let conn = conns[0];
    let message = |text: &str| Input::Text {
        conn,
        text: text.to_owned().into(),
    };
    let crossing = host.time(1_000_000, &Input::Activity(conn));
    let answer = host.time(200_000, &message(r#"{"event":"$ping"}"#));
    let broadcast = host.time(20_000, &message(&text));
    println!(r#"{{"crossing":{crossing},"answer":{answer},"broadcast":{broadcast}}}"#);
}
