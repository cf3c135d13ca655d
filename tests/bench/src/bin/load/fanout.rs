//! Publishing to rooms. In a closed loop so many messages are on their way at a time; paced, they
//! are published when the clock says so, whatever has arrived.

use std::time::{Duration, Instant};

use roomcast_load::{Arrival, Event, Id, InFlight, Latencies, Stamp, Wait, What, due};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::clients::{Clients, EVENT, refuse};
use crate::meter::{Meter, Used, memory_bytes};

const WARM_UP: Duration = Duration::from_millis(500);
/// Time after the last message of a paced run: a message that has not arrived by then was not
/// delivered in time.
const GRACE: Duration = Duration::from_millis(250);
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// For joins that are asked for in one write.
const JOINS_AT_ONCE: usize = 1000;
/// Receive buffer of the reader that does not read, small: what the server cannot hand to the
/// kernel shows soon.
const SLOW_RECEIVE_BYTES: usize = 4096;
/// Time in which a server may tell the slow reader that it is closed.
const CLOSE_TIME: Duration = Duration::from_secs(2);
const MEMORY_INTERVAL: Duration = Duration::from_millis(200);

pub fn run(clients: &mut Clients, server: u32, arguments: &Arguments) -> Value {
    let mut fanout = Fanout::set_up(clients, server, arguments);
    let seconds = Duration::from_secs_f64(arguments.number("seconds"));
    if arguments.number_or("rate", 0) == 0 {
        let messages = arguments.number_or("messages", usize::MAX);
        return fanout.closed_loop(arguments.number("window"), messages, seconds);
    }
    let slow = arguments.number_or("slow", 0) == 1;
    let watch_memory = arguments.number_or("watch_memory", 0) == 1;
    fanout.paced(arguments.number("rate"), seconds, slow, watch_memory)
}

struct Fanout<'a> {
    clients: &'a mut Clients,
    server: u32,
    /// Processes beside the server, such as another one and their relay.
    others: Vec<u32>,
    /// Members of each room. They come first, group by group: room `r` has the members of group
    /// `r % groups`.
    members: usize,
    groups: usize,
    rooms: Vec<InFlight>,
    /// Publishes to the only room. With several rooms their members publish.
    outsider: Option<Id>,
    bytes: usize,
    published: usize,
    /// Messages that have not arrived everywhere.
    under_way: u32,
    /// By connection: the number of the message that comes next, where one publisher orders all.
    next: Vec<u32>,
    deliveries: u64,
    latencies: Latencies,
    events: Vec<Event>,
    random: u64,
    progress: Instant,
    slow_reader: Option<Id>,
}

impl<'a> Fanout<'a> {
    fn set_up(clients: &'a mut Clients, server: u32, arguments: &Arguments) -> Self {
        let members = arguments.number::<usize>("members");
        let rooms = arguments.number_or("rooms", 1_usize);
        let groups = arguments.number_or("groups", rooms);
        clients.gather(groups * members, |at| Some(at / members));
        let bystanders = arguments.number_or("bystanders", 0);
        clients.gather(bystanders, |at| Some(rooms + at));
        let own_port = clients.set_port(arguments.number_or("publisher_port", clients.port()));
        let outsider = (rooms == 1).then(|| clients.gather(1, |_| None)[0]);
        clients.set_port(own_port);
        let in_flight = || {
            // One more, who publishes from outside.
            let mut in_flight = InFlight::new(members + 1);
            (0..members).for_each(|member| in_flight.join(member));
            in_flight
        };
        let mut fanout = Self {
            clients,
            server,
            others: arguments.numbers("others"),
            members,
            groups,
            rooms: (0..rooms).map(|_| in_flight()).collect(),
            outsider,
            bytes: arguments.number("bytes"),
            published: 0,
            under_way: 0,
            next: vec![0; groups * members],
            deliveries: 0,
            latencies: Latencies::default(),
            events: Vec::new(),
            random: 0x2545_f491_4f6c_dd1d,
            progress: Instant::now(),
            slow_reader: None,
        };
        fanout.join_more_rooms();
        fanout
    }

    /// Every connection is in the first room of its group by then.
    fn join_more_rooms(&mut self) {
        let members = self.members;
        let further = self.groups..self.rooms.len();
        let joins = further.flat_map(|room| {
            let first = room % self.groups * members;
            (first..first + members).map(move |id| (id, room as u32))
        });
        for joins in joins.collect::<Vec<_>>().chunks(JOINS_AT_ONCE) {
            for &(id, room) in joins {
                self.clients.join(id, room);
            }
            let mut joined = 0;
            while joined < joins.len() {
                self.clients.turn(EVENT, &mut self.events);
                for event in self.events.drain(..) {
                    match event.what {
                        What::Joined => joined += 1,
                        what => refuse(&what),
                    }
                }
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
        let others: Vec<_> = self.others.iter().map(|&id| Meter::start(id)).collect();
        let begun = self.published;
        self.keep(window, messages, seconds);
        if messages != usize::MAX {
            assert!(
                self.published == begun + messages,
                "not all were published in time"
            );
            self.drain();
        }
        let used = meter.stop();
        let published = (self.published - begun) as f64;
        let others = others
            .iter()
            .map(|meter| meter.stop().server_us / published);
        let mut result = self.result(&used, self.deliveries - before);
        result["others_us"] = others.collect();
        result
    }

    /// Until so many messages are published, or the time is over.
    fn keep(&mut self, window: usize, messages: usize, time: Duration) {
        let begun = Instant::now();
        let end = self.published.saturating_add(messages);
        while begun.elapsed() < time && self.published < end {
            while (self.under_way as usize) < window && self.published < end {
                self.publish(self.clients.now_ns());
            }
            self.turn();
        }
    }

    /// Until everything that was published has arrived everywhere.
    fn drain(&mut self) {
        while self.under_way > 0 {
            self.turn();
        }
    }

    /// Publishes `rate` messages a second. With `slow`, one more member reads nothing.
    fn paced(&mut self, rate: u32, time: Duration, slow: bool, watch_memory: bool) -> Value {
        self.keep(1, usize::MAX, WARM_UP);
        self.drain();
        self.latencies.clear();
        let memory_before = memory_bytes(self.server);
        let slow_reader = slow.then(|| self.add_slow_reader());
        let mut memory_peak = memory_before;
        let mut memory_read = Instant::now();
        let (before, meter) = (self.deliveries, Meter::start(self.server));
        let total = due(rate, time);
        let begun_ns = self.clients.now_ns();
        let mut published = 0;
        let mut ended = None::<Instant>;
        while ended.is_none_or(|ended| ended.elapsed() < GRACE) {
            // Timed from when it was due: a generator that is late must not flatter the server.
            let elapsed = Duration::from_nanos(self.clients.now_ns() - begun_ns);
            while published < total.min(1 + due(rate, elapsed)) {
                self.publish(begun_ns + published * 1_000_000_000 / u64::from(rate));
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

    fn result(&self, used: &Used, deliveries: u64) -> Value {
        json!({
            "value": used.server_us / deliveries as f64,
            "units": deliveries,
            "per_second": deliveries as f64 / used.seconds,
            "p50_us": self.latencies.quantile_us(0.50).unwrap_or_default(),
            "p99_us": self.latencies.quantile_us(0.99).unwrap_or_default(),
            "generator_share": used.generator_share,
        })
    }

    fn publish(&mut self, published_ns: u64) {
        let room = self.random(self.rooms.len());
        let member = self.random(self.members);
        let publisher = self.outsider.map_or(member, |_| self.members);
        let number = self.rooms[room].publish(publisher, true, published_ns);
        (self.published, self.under_way) = (self.published + 1, self.under_way + 1);
        let first = room % self.groups * self.members;
        let id = self.outsider.unwrap_or(first + member);
        let room = room as u32;
        self.clients.publish(id, Stamp { room, number }, self.bytes);
        // What the outsider publishes at one time leaves in one write.
        if self.outsider.is_none() {
            self.clients.flush(id);
        }
    }

    /// Sends what was published, and reads what has arrived.
    fn turn(&mut self) {
        if let Some(id) = self.outsider {
            self.clients.flush(id);
        }
        let mut events = std::mem::take(&mut self.events);
        self.clients.turn(Wait::Nap, &mut events);
        let before = self.deliveries;
        for event in events.drain(..) {
            match event.what {
                What::Message(_) if self.slow_reader == Some(event.id) => {}
                What::Message(stamp) => self.deliver(event.id, stamp, event.at_ns),
                What::Bye(_) | What::Ended(_) | What::Refusal(_) | What::Stray => {
                    refuse(&event.what)
                }
                _ => {}
            }
        }
        self.events = events;
        if self.deliveries > before {
            self.progress = Instant::now();
        }
        assert!(
            self.progress.elapsed() < SILENCE_MAX,
            "{} under way, then silence",
            self.under_way
        );
    }

    fn deliver(&mut self, id: Id, Stamp { room, number }: Stamp, at_ns: u64) {
        let at = room as usize;
        assert!(
            at % self.groups == id / self.members,
            "{id} is not in {room}"
        );
        let in_flight = &mut self.rooms[at];
        let before = in_flight.under_way();
        let arrival = in_flight.deliver(id % self.members, number);
        let Arrival::InOrder(published_ns) = arrival else {
            panic!("message {number} of {room} came {arrival:?}");
        };
        self.under_way -= before - in_flight.under_way();
        if self.outsider.is_some() {
            let next = &mut self.next[id];
            assert!(number == *next, "{number} came instead of {next}");
            *next += 1;
        }
        self.deliveries += 1;
        self.latencies.record_ns(at_ns.saturating_sub(published_ns));
    }

    fn add_slow_reader(&mut self) -> Id {
        let id = self.clients.open(Some(SLOW_RECEIVE_BYTES));
        self.slow_reader = Some(id);
        self.wait_for(id, SILENCE_MAX, |what| matches!(what, What::Ready(_)));
        self.clients.join(id, 0);
        assert!(
            self.wait_for(id, SILENCE_MAX, |what| *what == What::Joined),
            "the slow reader could not join"
        );
        self.clients.stop_reading(id);
        id
    }

    /// True when the server has closed it, which shows once it has read what came before.
    fn is_closed(&mut self, id: Id) -> bool {
        self.clients.read_again(id).expect("it can be watched");
        self.wait_for(id, CLOSE_TIME, |what| {
            matches!(what, What::Bye(_) | What::Ended(_))
        })
    }

    /// True when that came before the time was over.
    fn wait_for(&mut self, id: Id, time: Duration, is_it: impl Fn(&What) -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.clients.turn(EVENT, &mut self.events);
            let mut events = self.events.drain(..);
            if events.any(|event| event.id == id && is_it(&event.what)) {
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
