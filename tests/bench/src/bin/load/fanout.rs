//! Publishing to rooms. In a closed loop so many messages are on their way at a time; paced, they
//! are published when the clock says so, whatever has arrived.

use std::time::{Duration, Instant};

use roomcast_bench::frame;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::crowd::{Crowd, Event, Id, Wait, What};
use crate::latencies::Latencies;
use crate::meter::{Meter, Used, memory_bytes};
use crate::payload;

const WARM_UP: Duration = Duration::from_millis(500);
/// After the last message of a paced run: what has not arrived by then was not delivered in time.
const GRACE: Duration = Duration::from_millis(250);
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// For joins that are asked for in one write.
const JOINS_AT_ONCE: usize = 1000;
/// Of the reader that does not read: what the server cannot hand to the kernel shows soon.
const SLOW_RECEIVE_BYTES: usize = 4096;
/// In which a server may tell the slow reader that it is closed.
const FAREWELL: Duration = Duration::from_secs(2);
const MEMORY_INTERVAL: Duration = Duration::from_millis(200);

pub fn run(crowd: &mut Crowd, server: u32, arguments: &Arguments) -> Value {
    let mut fanout = Fanout::set_up(crowd, server, arguments);
    let seconds = Duration::from_secs_f64(arguments.number("seconds"));
    if arguments.number_or("rate", 0) == 0 {
        let messages = arguments.number_or("messages", usize::MAX);
        return fanout.closed_loop(arguments.number("window"), messages, seconds);
    }
    let slow = arguments.number_or("slow", 0) == 1;
    let watch_memory = arguments.number_or("watch_memory", 0) == 1;
    fanout.paced(arguments.number("rate"), seconds, slow, watch_memory)
}

/// A message on its way.
#[derive(Clone, Copy)]
struct Message {
    published_ns: u64,
    arrived: usize,
}

struct Fanout<'a> {
    crowd: &'a mut Crowd,
    server: u32,
    /// Members of each room.
    members: usize,
    rooms: Vec<String>,
    /// Connections by group: room `r` has the members of group `r % groups`.
    groups: Vec<Vec<Id>>,
    /// Publishes to the only room. With several rooms their members publish.
    outsider: Option<Id>,
    bytes: usize,
    messages: Vec<Message>,
    completed: usize,
    /// By connection: the number of the message that comes next, where one publisher orders all.
    next: Vec<u64>,
    deliveries: u64,
    latencies: Latencies,
    events: Vec<Event>,
    /// Frames of the outsider: what is published at one time leaves in one write.
    outgoing: Vec<u8>,
    random: u64,
    progress: Instant,
    slow_reader: Option<Id>,
}

impl<'a> Fanout<'a> {
    fn set_up(crowd: &'a mut Crowd, server: u32, arguments: &Arguments) -> Self {
        let members = arguments.number::<usize>("members");
        let rooms = arguments.number_or("rooms", 1_usize);
        let groups = arguments.number_or("groups", rooms);
        let rooms = (0..rooms)
            .map(|room| format!("room{room}"))
            .collect::<Vec<_>>();
        let ids = crowd.gather(groups * members, |at| Some(rooms[at / members].clone()));
        let groups = ids.chunks(members).map(<[Id]>::to_vec).collect::<Vec<_>>();
        crowd.gather(arguments.number_or("bystanders", 0), |at| {
            Some(format!("elsewhere{at}"))
        });
        let outsider = (rooms.len() == 1).then(|| crowd.gather(1, |_| None)[0]);
        let mut fanout = Self {
            crowd,
            server,
            members,
            rooms,
            groups,
            outsider,
            bytes: arguments.number("bytes"),
            messages: Vec::new(),
            completed: 0,
            next: Vec::new(),
            deliveries: 0,
            latencies: Latencies::default(),
            events: Vec::new(),
            outgoing: Vec::new(),
            random: 0x2545_f491_4f6c_dd1d,
            progress: Instant::now(),
            slow_reader: None,
        };
        fanout.join_more_rooms();
        fanout
    }

    /// Every connection is in the first room of its group by then.
    fn join_more_rooms(&mut self) {
        let further = self.rooms.iter().enumerate().skip(self.groups.len());
        let joins = further.flat_map(|(at, room)| {
            let group = &self.groups[at % self.groups.len()];
            group.iter().map(|&id| (id, self.crowd.dialect.join(room)))
        });
        for joins in joins.collect::<Vec<_>>().chunks(JOINS_AT_ONCE) {
            for (id, join) in joins {
                self.crowd.send(*id, join);
            }
            let mut joined = 0;
            while joined < joins.len() {
                self.crowd.turn(Wait::Event, &mut self.events);
                joined += self
                    .events
                    .drain(..)
                    .filter(|event| event.what == What::Joined)
                    .count();
            }
        }
    }

    /// Keeps `window` messages on their way, and meters after a warm-up. With a number of messages
    /// it is over when all of them have arrived, otherwise with the time.
    fn closed_loop(&mut self, window: usize, messages: usize, seconds: Duration) -> Value {
        self.keep(window, usize::MAX, WARM_UP);
        if messages != usize::MAX {
            self.drain();
        }
        self.latencies.clear();
        let (before, meter) = (self.deliveries, Meter::start(self.server));
        let begun = self.messages.len();
        self.keep(window, messages, seconds);
        if messages != usize::MAX {
            assert!(
                self.messages.len() == begun + messages,
                "not all were published in time"
            );
            self.drain();
        }
        let used = meter.stop();
        self.result(&used, self.deliveries - before)
    }

    /// Until so many messages are published, or the time is over.
    fn keep(&mut self, window: usize, messages: usize, time: Duration) {
        let begun = Instant::now();
        let end = self.messages.len().saturating_add(messages);
        while begun.elapsed() < time && self.messages.len() < end {
            while self.messages.len() - self.completed < window && self.messages.len() < end {
                self.publish(self.crowd.now_ns());
            }
            self.turn();
        }
    }

    /// Until everything that was published has arrived everywhere.
    fn drain(&mut self) {
        while self.completed < self.messages.len() {
            self.turn();
        }
    }

    /// Publishes `rate` messages a second. With `slow`, one more member reads nothing.
    fn paced(&mut self, rate: u64, time: Duration, slow: bool, watch_memory: bool) -> Value {
        self.keep(1, usize::MAX, WARM_UP);
        self.drain();
        self.latencies.clear();
        let memory_before = memory_bytes(self.server);
        let slow_reader = slow.then(|| self.add_slow_reader());
        let mut memory_peak = memory_before;
        let mut memory_read = Instant::now();
        let (before, meter) = (self.deliveries, Meter::start(self.server));
        let interval_ns = 1_000_000_000 / rate;
        let total = (time.as_secs_f64() * rate as f64) as u64;
        let begun_ns = self.crowd.now_ns();
        let mut published = 0;
        let mut ended = None::<Instant>;
        while ended.is_none_or(|ended| ended.elapsed() < GRACE) {
            // Timed from when it was due: a generator that is late must not flatter the server.
            while published < total && begun_ns + published * interval_ns <= self.crowd.now_ns() {
                self.publish(begun_ns + published * interval_ns);
                published += 1;
            }
            if published == total && ended.is_none() {
                ended = Some(Instant::now());
            }
            self.turn();
            // Reading it disturbs the server: both of two runs that are compared do it, or neither.
            if watch_memory && memory_read.elapsed() > MEMORY_INTERVAL {
                memory_peak = memory_peak.max(memory_bytes(self.server));
                memory_read = Instant::now();
            }
        }
        let used = meter.stop();
        let delivered = self.deliveries - before;
        let mut result = self.result(&used, delivered);
        result["share"] = json!(delivered as f64 / (total * self.members as u64) as f64);
        if let Some(id) = slow_reader {
            result["memory_grown"] = json!(memory_peak - memory_before);
            result["slow_closed"] = json!(self.is_closed(id));
        }
        result
    }

    fn result(&mut self, used: &Used, deliveries: u64) -> Value {
        json!({
            "value": used.server_us / deliveries as f64,
            "units": deliveries,
            "per_second": deliveries as f64 / used.seconds,
            "p50_us": self.latencies.percentile(50),
            "p99_us": self.latencies.percentile(99),
            "generator_share": used.generator_share,
        })
    }

    fn publish(&mut self, published_ns: u64) {
        let text = payload::text(self.messages.len() as u64, self.bytes);
        self.messages.push(Message {
            published_ns,
            arrived: 0,
        });
        let room = self.random(self.rooms.len());
        let group = room % self.groups.len();
        let member = self.random(self.members);
        let message = self.crowd.dialect.publish(&self.rooms[room], &text);
        if self.outsider.is_some() {
            frame::from_client(frame::TEXT, message.as_bytes(), &mut self.outgoing);
        } else {
            self.crowd.send(self.groups[group][member], &message);
        }
    }

    /// Sends what was published, and reads what has arrived.
    fn turn(&mut self) {
        if let Some(id) = self.outsider
            && !self.outgoing.is_empty()
        {
            self.crowd.send_bytes(id, &self.outgoing);
            self.outgoing.clear();
        }
        self.crowd.turn(Wait::Nap, &mut self.events);
        for event in self.events.drain(..) {
            match event.what {
                What::Said(_) if self.slow_reader == Some(event.id) => {}
                What::Said(number) => {
                    let message = &mut self.messages[number as usize];
                    message.arrived += 1;
                    assert!(
                        message.arrived <= self.members,
                        "message {number} came twice"
                    );
                    if self.outsider.is_some() {
                        self.next.resize(self.next.len().max(event.id + 1), 0);
                        let next = &mut self.next[event.id];
                        assert!(number == *next, "{number} came instead of {next}");
                        *next += 1;
                    }
                    self.completed += usize::from(message.arrived == self.members);
                    self.deliveries += 1;
                    self.latencies
                        .add(event.at_ns.saturating_sub(message.published_ns));
                    self.progress = Instant::now();
                }
                What::Bye | What::Closed => panic!("the server closed a connection that reads"),
                What::Ready | What::Joined | What::Left | What::Answered => {}
            }
        }
        assert!(
            self.progress.elapsed() < SILENCE_MAX,
            "{} completed, then silence",
            self.completed
        );
    }

    fn add_slow_reader(&mut self) -> Id {
        let id = self.crowd.open(Some(SLOW_RECEIVE_BYTES));
        self.slow_reader = Some(id);
        self.wait_for(id, What::Ready, SILENCE_MAX);
        self.crowd
            .send(id, &self.crowd.dialect.join(&self.rooms[0]));
        assert!(
            self.wait_for(id, What::Joined, SILENCE_MAX),
            "the slow reader could not join"
        );
        self.crowd.stop_reading(id);
        id
    }

    /// Whether the server has closed it, which shows once it has read what came before.
    fn is_closed(&mut self, id: Id) -> bool {
        self.crowd.read_again(id);
        self.wait_for(id, What::Bye, FAREWELL)
    }

    /// Whether that came before the time was over. The end of the stream counts for a close frame.
    fn wait_for(&mut self, id: Id, what: What, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.crowd.turn(Wait::Event, &mut self.events);
            let found = self.events.drain(..).any(|event| {
                let ended = what == What::Bye && event.what == What::Closed;
                event.id == id && (event.what == what || ended)
            });
            if found {
                return true;
            }
        }
        false
    }

    /// A number below `below`, by xorshift: the same ones in every run.
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }
}
