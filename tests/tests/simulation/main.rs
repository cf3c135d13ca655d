//! Clients that lose their connections, come back with the positions they have, and keep lists of who
//! is there: the invariants of history and presence, each under its number, from what they see alone.
//!
//! `ROOMCAST_SEEDS=10000` runs more of it. The same seed gives the same story, byte for byte.

use std::{
    collections::hash_map::DefaultHasher,
    env,
    hash::{Hash, Hasher},
    time::Instant,
};

use roomcast_tests::{Actor, Core, Driver, Op, Settings, Sleep};

mod client;
mod log;
mod random;

use client::Client;
use log::Log;
use random::Random;

const ROOMS: [&str; 3] = ["log", "den", "hall"];
const STEPS: usize = 60;

fn settings() -> Settings {
    let settings: Settings = "heartbeat_ms=off presence_list=3"
        .parse()
        .expect("known settings");
    let rooms = [
        "log history.messages=8 history.age_s=30",
        "den history.messages=4 history.age_s=60 presence=members presence_grace_s=5",
        "hall presence=members presence_grace_s=0",
    ];
    rooms.iter().fold(settings, |settings, line| {
        settings.with_rooms(line).expect("a policy")
    })
}

/// One story: some clients, a backend, and time.
struct Story {
    core: Core,
    random: Random,
    clients: Vec<Client>,
    log: Log,
    hash: DefaultHasher,
    said: u64,
}

impl Story {
    fn new(seed: u64, sleep: Sleep) -> Self {
        let settings = settings();
        let core = Core::new(&settings.limits()).with_policies(settings.policies());
        let users = [Some("ann"), Some("ann"), Some("ben"), None, None];
        let names = ["alice", "bob", "carol", "dave", "erin"];
        let clients = names.iter().zip(users);
        Self {
            core: core.with_sleep(sleep),
            random: Random::new(seed),
            clients: clients
                .map(|(name, user)| Client::new(name, user))
                .collect(),
            log: Log::default(),
            hash: DefaultHasher::new(),
            said: 0,
        }
    }

    fn perform(&mut self, op: &Op) -> String {
        op.to_string().hash(&mut self.hash);
        let answer = self
            .core
            .perform(op)
            .unwrap_or_else(|fault| panic!("{op}: {fault}"));
        self.core.assert_consistent();
        for client in &mut self.clients {
            for event in self.core.take(client.actor()) {
                event.to_string().hash(&mut self.hash);
                client.sees(&event, &mut self.log);
            }
        }
        answer.body
    }

    fn send(&mut self, at: usize, text: String) {
        let actor = self.clients[at].actor().clone();
        let times = 1;
        self.perform(&Op::Text { actor, text, times });
    }

    fn step(&mut self) {
        let at = self.random.below(self.clients.len());
        let room = ROOMS[self.random.below(ROOMS.len())];
        match self.random.below(16) {
            0..=2 => self.connect(at),
            3 => self.disconnect(at),
            4..=6 => self.join(at, room),
            7 => self.send(at, format!(r#"{{"event":"$leave","room":"{room}"}}"#)),
            8..=11 => self.publish(at, room),
            12..=13 => self.push(room),
            14 => {
                let millis = [1, 1_000, 5_000, 31_000][self.random.below(4)];
                self.perform(&Op::Wait { millis });
            }
            _ => self.look(at, room),
        }
    }

    fn connect(&mut self, at: usize) {
        if self.clients[at].is_connected() {
            return;
        }
        let op = self.clients[at].connects();
        self.perform(&op);
        let id = self.core.conn(self.clients[at].actor());
        self.clients[at].connected(id.expect("it is connected"));
        // What a client library does: it joins its rooms again.
        for room in self.clients[at].rooms() {
            self.join(at, &room);
        }
    }

    fn disconnect(&mut self, at: usize) {
        let actor: Actor = self.clients[at].actor().clone();
        self.clients[at].disconnected();
        let lost = self.random.below(2) == 0;
        self.perform(&if lost {
            Op::Vanish { actor }
        } else {
            Op::Disconnect { actor }
        });
    }

    fn join(&mut self, at: usize, room: &str) {
        if self.clients[at].is_connected() {
            let text = self.clients[at].joins(room);
            self.send(at, text);
            if room != "log" {
                self.look(at, room);
            }
        }
    }

    fn publish(&mut self, at: usize, room: &str) {
        if self.clients[at].is_connected() {
            self.said += 1;
            let (said, echo) = (self.said, self.random.below(2) == 0);
            self.clients[at].publishes(said, echo);
            let text = format!(
                r#"{{"event":"said","id":{said},"room":"{room}","echo":{echo},"data":{said}}}"#
            );
            self.send(at, text);
        }
    }

    /// The backend sends under a key, and again.
    fn push(&mut self, room: &str) {
        self.said += 1;
        let said = self.said;
        let line = format!(
            r#"server with key k{said} sends {{"audience":{{"rooms":["{room}"]}},"event":"said","data":{said}}}"#
        );
        let op: Op = line.parse().expect("an op");
        let first = self.perform(&op);
        let second = self.perform(&op);
        assert_eq!(first, second, "I34: {op}");
        assert_eq!(first.contains("offset"), room != "hall", "{op}: {first}");
    }

    fn look(&mut self, at: usize, room: &str) {
        if self.clients[at].is_in(room) && room != "log" {
            self.send(
                at,
                format!(r#"{{"event":"$members","id":0,"room":"{room}"}}"#),
            );
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        let Some(hub) = self.core.hub("default") else {
            return;
        };
        for (room, messages_max) in [("log", 8), ("den", 4)] {
            let Some(page) = hub.history(room, None, None, 100) else {
                continue;
            };
            assert!(page.len() <= messages_max, "I29: {} messages", page.len());
            if !hub.is_away(room) {
                log::i29_a_contiguous_suffix(room, &page, hub.position(room).offset);
            }
        }
    }

    /// Everybody comes back and takes what there is.
    fn end(&mut self) {
        for at in 0..self.clients.len() {
            self.connect(at);
            for room in ROOMS {
                self.join(at, room);
            }
            self.check();
        }
        for client in &self.clients {
            client.i13_i30_nothing_is_missing(&self.log);
        }
    }
}

/// The hash of the story of a seed.
fn tell(seed: u64, sleep: Sleep) -> u64 {
    let mut story = Story::new(seed, sleep);
    for _ in 0..STEPS {
        story.step();
        story.check();
    }
    story.end();
    story.hash.finish()
}

#[test]
#[allow(clippy::print_stdout, reason = "a simulation says how much it did")]
fn i10_to_i37_hold_for_honest_clients() {
    let seeds = env::var("ROOMCAST_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok());
    let seeds: u64 = seeds.unwrap_or(1_000);
    let start = Instant::now();
    for seed in 0..seeds {
        let sleep = if seed % 4 == 3 {
            Sleep::Persisted
        } else {
            Sleep::Never
        };
        tell(seed, sleep);
    }
    let rate = (seeds as f64 * STEPS as f64 / start.elapsed().as_secs_f64()).round();
    println!("{seeds} seeds of {STEPS} steps, {rate} steps per second");
}

#[test]
fn the_same_seed_gives_the_same_story_asleep_or_awake() {
    for seed in 0..50 {
        let hash = tell(seed, Sleep::Never);
        assert_eq!(hash, tell(seed, Sleep::Never), "seed {seed}");
        assert_eq!(hash, tell(seed, Sleep::Persisted), "seed {seed}");
    }
}
