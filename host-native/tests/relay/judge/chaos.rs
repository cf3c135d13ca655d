//! Seeded faults of the relay, of servers, and of the network between them, all at once.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    check::Promise,
    random::Random,
    servers::{NODES, Servers},
};

/// Longer than a lease of ten seconds and a heartbeat.
const PAST_LEASE: (u64, u64) = (11_500, 14_000);

/// The faults of a run.
pub(super) struct Chaos {
    began: Instant,
    until: Instant,
    random: Random,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

/// A fault, and its name.
type Harm = (&'static str, fn(&Servers, &mut Random));

/// Faults of a relay that keep everything on its disk.
const RELAY: [Harm; 5] = [
    ("relay killed", |servers, random| {
        servers.kill_relay(random.millis(100, 2_000));
    }),
    ("relay stopped", |servers, random| {
        servers.with_relay(|redis| {
            redis.signal(Signal::STOP);
            thread::sleep(random.millis(500, 4_000));
            redis.signal(Signal::CONT);
        });
    }),
    ("subscriptions killed", |servers, _| {
        servers.with_relay(|redis| drop(redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"])));
    }),
    ("tiny output buffer", |servers, random| {
        servers.with_relay(|redis| {
            let limit = |size: &str| {
                redis.run(&["CONFIG", "SET", "client-output-buffer-limit", size]);
            };
            limit("pubsub 1024 0 0");
            thread::sleep(random.millis(500, 2_000));
            limit("pubsub 33554432 8388608 60");
        });
    }),
    ("memory full", |servers, random| {
        servers.with_relay(|redis| {
            redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
            thread::sleep(random.millis(300, 3_000));
            redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
        });
    }),
];

/// Faults by which the relay loses messages that were acknowledged.
const LOSSES: [Harm; 4] = [
    ("stale replica promoted", |servers, random| {
        let (behind, moves) = (random.millis(100, 1_500), random.millis(0, 200));
        servers.promote(true, || thread::sleep(behind), || thread::sleep(moves));
    }),
    (
        "stale replica promoted, primary lives",
        |servers, random| {
            let (behind, moves) = (random.millis(100, 1_500), random.millis(0, 200));
            servers.promote(false, || thread::sleep(behind), || thread::sleep(moves));
        },
    ),
    ("there and back", |servers, random| {
        let (behind, away) = (random.millis(100, 1_500), random.millis(100, 4_000));
        servers.go_there_and_back(|| thread::sleep(behind), || thread::sleep(away));
    }),
    ("flushed", |servers, _| {
        servers.with_relay(|redis| drop(redis.run(&["FLUSHALL"])));
    }),
];

const NODE: [Harm; 3] = [
    ("server killed", |servers, random| {
        let node = random.below(NODES);
        servers.kill_node(node);
        thread::sleep(random.millis(300, 4_000));
        servers.start_node(node);
    }),
    ("server stopped past its lease", |servers, random| {
        stop(servers, random, PAST_LEASE);
    }),
    ("server stopped", |servers, random| {
        stop(servers, random, (300, 3_000));
    }),
];

const NETWORK: [Harm; 6] = [
    ("half open", |servers, random| {
        mute(servers, random, (true, true));
    }),
    ("silent to the relay", |servers, random| {
        mute(servers, random, (true, false));
    }),
    ("silent from the relay", |servers, random| {
        mute(servers, random, (false, true));
    }),
    ("slow", |servers, random| {
        let proxy = &servers.proxies[random.below(NODES)];
        proxy.set_delay(random.millis(20, 400));
        thread::sleep(random.millis(1_000, 4_000));
        proxy.heal();
    }),
    ("cut", |servers, random| {
        let proxy = &servers.proxies[random.below(NODES)];
        proxy.cut_short();
        thread::sleep(random.millis(100, 500));
        proxy.set_refuses(true);
        proxy.cut();
        thread::sleep(random.millis(100, 2_000));
        proxy.set_refuses(false);
    }),
    ("cut in the middle", |servers, random| {
        servers.proxies[random.below(NODES)].cut_short();
    }),
];

fn stop(servers: &Servers, random: &mut Random, (from, to): (u64, u64)) {
    let node = random.below(NODES);
    servers.signal_node(node, Signal::STOP);
    thread::sleep(random.millis(from, to));
    servers.signal_node(node, Signal::CONT);
}

fn mute(servers: &Servers, random: &mut Random, (up, down): (bool, bool)) {
    let proxy = &servers.proxies[random.below(NODES)];
    proxy.set_mute(up, down);
    thread::sleep(random.millis(1_000, 11_000));
    proxy.heal();
}

impl Chaos {
    pub(super) fn new(random: &Random, length: Duration) -> Self {
        let began = Instant::now();
        Self {
            began,
            until: began + length,
            random: random.fork(0),
            counts: Mutex::default(),
        }
    }

    /// Causes all kinds of faults until the time is over. The relay keeps the data that the promise
    /// requires.
    pub(super) fn rage(&self, servers: &Servers, promise: Promise) {
        let relay = match promise {
            Promise::Told => [&RELAY[..], &LOSSES].concat(),
            Promise::Whole => RELAY.to_vec(),
        };
        thread::scope(|scope| {
            scope.spawn(|| self.repeat(servers, relay, 1));
            scope.spawn(|| self.repeat(servers, NODE.to_vec(), 2));
            scope.spawn(|| self.repeat(servers, NETWORK.to_vec(), 3));
        });
    }

    /// Causes one fault after another: each kind once, in random order, and then again.
    fn repeat(&self, servers: &Servers, faults: Vec<Harm>, number: u64) {
        let mut random = self.random.fork(number);
        let mut left: Vec<Harm> = Vec::new();
        while Instant::now() < self.until {
            if left.is_empty() {
                left.clone_from(&faults);
            }
            let (name, fault) = left.swap_remove(random.below(left.len()));
            let at = self.began.elapsed();
            servers.note(&format!("{at:.1?} {name}"));
            *self
                .counts
                .lock()
                .expect("no panic")
                .entry(name)
                .or_default() += 1;
            fault(servers, &mut random);
            let at = self.began.elapsed();
            servers.note(&format!("{at:.1?} {name}: over"));
            thread::sleep(random.millis(500, 2_500));
        }
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &*self.counts.lock().expect("no panic") {
            writeln!(f, "{count:>6}  {name}")?;
        }
        Ok(())
    }
}
