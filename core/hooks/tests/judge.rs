//! A judge of ten minutes of virtual time: receivers of every kind, random events and outcomes.
//!
//! It holds that what a receiver has accepted is in order, that every event was accepted or is
//! named by a gap, and that a line is never longer than its limits.

use std::{collections::BTreeMap, time::Duration};

use roomcast_core::Timestamp;
use roomcast_hooks::{
    Change, KeptEvent, Line, LineLimits, Outcome, Poll, Report,
    limits::{BATCH_EVENTS_MAX, GIVE_UP, RETRY_MAX},
};
use serde_json::Value;

/// A kind of receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// Answers after some seconds, sometimes too late.
    Slow,
    /// Never answers.
    Down,
    Redirecting,
    /// Wants no more after some requests.
    Gone,
    /// Is there and is not, and takes what it does not confirm.
    Flapping,
    /// Asks for a pause.
    Busy,
}

const KINDS: [Kind; 7] = [
    Kind::Good,
    Kind::Slow,
    Kind::Down,
    Kind::Redirecting,
    Kind::Gone,
    Kind::Flapping,
    Kind::Busy,
];

/// Randomness with a seed: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}

/// The records of a receiver: each event by its number, and the newest of each room.
#[derive(Default)]
struct Receiver {
    epoch: Option<String>,
    events: BTreeMap<u64, Value>,
    gaps: Vec<(u64, u64)>,
    /// The last number of each room that was new to it.
    newest: BTreeMap<String, u64>,
    requests: u64,
}

impl Receiver {
    fn take(&mut self, body: &str) {
        let body: Value = serde_json::from_str(body).expect("JSON");
        let epoch = body["epoch"].as_str().expect("an epoch").to_owned();
        assert_eq!(*self.epoch.get_or_insert_with(|| epoch.clone()), epoch);
        let events = body["events"].as_array().expect("events");
        assert!((1..=BATCH_EVENTS_MAX + 1).contains(&events.len()));
        for event in events {
            let seq = event["seq"].as_u64().expect("a number");
            if event["type"] == "gap" {
                self.gaps
                    .push((event["first_seq"].as_u64().expect("a number"), seq));
                continue;
            }
            let Some(known) = self.events.insert(seq, event.clone()) else {
                let room = event["room"].as_str().expect("a room").to_owned();
                let before = self.newest.insert(room, seq);
                assert!(
                    before.is_none_or(|before| before < seq),
                    "out of order: {seq}"
                );
                continue;
            };
            assert_eq!(known, *event, "another event of the same number");
        }
    }

    fn has(&self, seq: u64) -> bool {
        let in_gap = |&(first, last): &(u64, u64)| (first..=last).contains(&seq);
        self.events.contains_key(&seq) || self.gaps.iter().any(in_gap)
    }

    /// Takes a request, or not; gives the time that passes and the outcome.
    fn answer(
        &mut self,
        kind: Kind,
        body: &str,
        random: &mut Random,
    ) -> (Duration, Outcome<'static>) {
        self.requests += 1;
        let status = |status| Outcome::Answered {
            status,
            retry_after: None,
        };
        let short = Duration::from_millis(random.next() % 50);
        let (takes, time, outcome) = match kind {
            Kind::Good => (true, short, status(200)),
            Kind::Slow if random.one_in(4) => (true, Duration::from_secs(15), Outcome::Failed),
            Kind::Slow => (
                true,
                Duration::from_millis(random.next() % 9_000),
                status(202),
            ),
            Kind::Down => (false, short, Outcome::Failed),
            Kind::Redirecting => (false, short, status(302)),
            Kind::Gone if self.requests > 20 => (false, short, status(410)),
            Kind::Gone => (true, short, status(204)),
            Kind::Flapping if random.one_in(2) => (random.one_in(2), short, status(500)),
            Kind::Flapping => (true, short, status(200)),
            Kind::Busy if random.one_in(3) => {
                let outcome = Outcome::Answered {
                    status: 429,
                    retry_after: Some("7"),
                };
                (false, short, outcome)
            }
            Kind::Busy => (true, short, status(200)),
        };
        if takes {
            self.take(body);
        }
        (time, outcome)
    }
}

fn event(random: &mut Random) -> String {
    let room = random.next() % 5;
    let data = "x".repeat(usize::try_from(random.next() % 300).expect("small"));
    format!(r#"{{"type":"message.published","room":"r{room}","data":"{data}"}}"#)
}

/// Runs one receiver; gives what it has, the line, and the number of events.
fn run(kind: Kind, seed: u64, limits: LineLimits) -> (Receiver, Line, u64) {
    let mut random = Random(seed);
    let (mut line, mut receiver) = (Line::new("e", limits), Receiver::default());
    let (mut now, mut pushed) = (Timestamp::ZERO, 0);
    let end = now + Duration::from_secs(600);
    let mut under_way: Option<(Timestamp, Outcome<'static>)> = None;
    let mut paused_until = Timestamp::ZERO;
    loop {
        // The last ones get an hour to arrive.
        let is_over = now >= end;
        if is_over && (line.is_empty() || now >= end + Duration::from_secs(3600)) {
            break;
        }
        if !is_over && random.one_in(3) {
            for _ in 0..random.next() % 40 {
                line.push(now, now.as_millis(), "default", &event(&mut random));
                pushed += 1;
            }
        }
        assert!(
            line.len() <= limits.events_max + BATCH_EVENTS_MAX,
            "it is bounded"
        );
        assert!(line.bytes() <= limits.bytes_max, "its bytes are bounded");
        if let Some((at, outcome)) = under_way.take_if(|(at, _)| *at <= now) {
            let report = line.done(at, outcome, random.next());
            if let Report::Retry { at: next, .. } = report {
                assert!(next <= at + RETRY_MAX);
                paused_until = next;
            }
        }
        if let Poll::Send(request) = line.poll(now) {
            assert!(under_way.is_none(), "one request at a time");
            assert!(now >= paused_until, "before its time");
            let (time, outcome) = receiver.answer(kind, request.body(), &mut random);
            under_way = Some((now + time, outcome));
        }
        now = now + Duration::from_millis(if is_over { 1_000 } else { 100 });
    }
    (receiver, line, pushed)
}

#[test]
fn every_receiver_has_all_in_order_or_a_gap() {
    for kind in KINDS {
        for seed in 0..6 {
            let mut limits = LineLimits::default();
            if seed % 3 == 0 {
                limits.events_max = 500;
            }
            if seed % 3 == 1 {
                limits.bytes_max = 100_000;
            }
            let (receiver, line, pushed) = run(kind, seed, limits);
            let story = format!("{kind:?}, seed {seed}: {pushed} events");
            match kind {
                Kind::Down | Kind::Redirecting => {
                    assert!(receiver.events.is_empty(), "{story}");
                    // Everything is in the line, or counted.
                    assert_eq!(line.len() as u64 + line.dropped(), pushed, "{story}");
                    assert!(receiver.requests < 80, "{story}: {}", receiver.requests);
                }
                Kind::Gone => {
                    assert!(line.is_disabled() && line.is_empty(), "{story}");
                    assert_eq!(receiver.requests, 21, "{story}");
                    let told = receiver.events.len() as u64;
                    assert_eq!(told + line.dropped(), pushed, "{story}");
                }
                Kind::Good | Kind::Slow | Kind::Flapping | Kind::Busy => {
                    assert!(line.is_empty(), "{story}: {} left", line.len());
                    let lost: Vec<_> = (1..=pushed).filter(|&seq| !receiver.has(seq)).collect();
                    assert!(lost.is_empty(), "{story}: lost in silence {lost:?}");
                }
            }
            if kind == Kind::Good && limits == LineLimits::default() {
                assert_eq!(receiver.events.len() as u64, pushed, "{story}");
            }
        }
    }
}

#[test]
fn a_repetition_is_the_same_request() {
    let mut line = Line::new("e", LineLimits::default());
    line.push(
        Timestamp::ZERO,
        0,
        "n",
        r#"{"type":"room.occupied","room":"r"}"#,
    );
    let mut now = Timestamp::from_millis(1_000);
    let Poll::Send(first) = line.poll(now) else {
        panic!("due after a second");
    };
    assert_eq!(
        first.body(),
        r#"{"epoch":"e","events":[{"seq":1,"at_ms":0,"namespace":"n","type":"room.occupied","room":"r"}]}"#
    );
    line.push(now, 0, "n", r#"{"type":"room.vacated","room":"r"}"#);
    for failures in 1..20 {
        let Report::Retry { at, failures: told } = line.done(now, Outcome::Failed, 3) else {
            panic!("a retry");
        };
        assert_eq!(told, failures);
        assert_eq!(line.poll(now), Poll::WaitUntil(at));
        now = at;
        assert_eq!(line.poll(now), Poll::Send(first.clone()));
    }
    let good = Outcome::Answered {
        status: 204,
        retry_after: None,
    };
    assert_eq!(line.done(now, good, 0), Report::Accepted { events: 1 });
    assert!(matches!(line.poll(now), Poll::Send(next) if next.body().contains("vacated")));
}

#[test]
fn after_a_day_a_gap_takes_the_place_of_the_events() {
    let mut line = Line::new("e", LineLimits::default());
    let mut now = Timestamp::ZERO;
    for _ in 0..150 {
        line.push(now, 0, "n", r#"{"type":"room.occupied","room":"r"}"#);
    }
    let mut events = None;
    while events.is_none() {
        match line.poll(now) {
            Poll::Send(_) => {
                if let Report::GaveUp { events: count } = line.done(now, Outcome::Failed, 0) {
                    events = Some(count);
                }
            }
            Poll::WaitUntil(at) => now = at,
            Poll::Idle => panic!("it has events"),
        }
    }
    assert_eq!(events, Some(150));
    assert!(now >= Timestamp::ZERO + GIVE_UP && now < Timestamp::ZERO + GIVE_UP + RETRY_MAX);
    line.push(now, 5, "n", r#"{"type":"room.vacated","room":"r"}"#);
    let Poll::WaitUntil(at) = line.poll(now) else {
        panic!("a pause");
    };
    let Poll::Send(request) = line.poll(at) else {
        panic!("due");
    };
    let gap = r#"{"epoch":"e","events":[{"seq":150,"type":"gap","first_seq":1},{"seq":151,"#;
    assert!(request.body().starts_with(gap), "{}", request.body());
}

#[test]
fn a_busy_receiver_is_left_alone_for_as_long_as_it_asks() {
    for (status, retry_after, wanted_s) in [
        (429, Some("120"), 120),
        (503, Some(" 30 "), 30),
        (503, Some("99999999"), 3600),
        (503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), 1),
        (500, Some("120"), 1),
        (429, None, 1),
    ] {
        let mut line = Line::new("e", LineLimits::default());
        line.push(
            Timestamp::ZERO,
            0,
            "n",
            r#"{"type":"room.occupied","room":"r"}"#,
        );
        let now = Timestamp::from_millis(1_000);
        assert!(matches!(line.poll(now), Poll::Send(_)));
        let outcome = Outcome::Answered {
            status,
            retry_after,
        };
        let at = now + Duration::from_secs(wanted_s);
        let told = line.done(now, outcome, 0);
        assert_eq!(
            told,
            Report::Retry { at, failures: 1 },
            "{status} {retry_after:?}"
        );
    }
}

/// A disk: kept events by their numbers.
#[derive(Default)]
struct Disk(BTreeMap<u64, KeptEvent>);

impl Disk {
    fn save(&mut self, line: &mut Line) {
        for change in line.take_changes() {
            match change {
                Change::Keep(event) => drop(self.0.insert(event.seq, event)),
                Change::Forget {
                    first_seq,
                    last_seq,
                } => self
                    .0
                    .retain(|seq, _| !(first_seq..=last_seq).contains(seq)),
            }
        }
    }
}

/// The server is killed at any time, also while a request is under way.
#[test]
fn a_kept_line_tells_all_however_often_the_server_is_killed() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let (mut disk, mut receiver) = (Disk::default(), Receiver::default());
        let mut limits = LineLimits::default();
        limits.events_max = if seed % 2 == 0 { 150 } else { 100_000 };
        let (mut now, mut pushed, mut epoch) = (Timestamp::ZERO, 0, String::new());
        for run in 0..30 {
            if disk.0.is_empty() {
                // A line that begins with number 1 again.
                assert_all_told(&receiver, pushed, seed);
                (receiver, pushed, epoch) = (Receiver::default(), 0, format!("e{run}"));
            }
            let mut line = Line::new(&epoch, limits).with_changes();
            line.restore(now, disk.0.values().cloned());
            let is_last = run == 29;
            for _ in 0..if is_last { 2_000 } else { random.next() % 60 } {
                for _ in 0..if is_last { 0 } else { random.next() % 20 } {
                    line.push(now, 0, "n", &event(&mut random));
                    pushed += 1;
                }
                disk.save(&mut line);
                if let Poll::Send(request) = line.poll(now) {
                    let kind = if is_last { Kind::Good } else { Kind::Flapping };
                    let (_, outcome) = receiver.answer(kind, request.body(), &mut random);
                    if random.one_in(5) && !is_last {
                        break; // killed before the answer came
                    }
                    line.done(now, outcome, random.next());
                    disk.save(&mut line);
                }
                now = now + Duration::from_millis(700);
            }
        }
        assert!(disk.0.is_empty(), "seed {seed}: {} left", disk.0.len());
        assert_all_told(&receiver, pushed, seed);
    }
}

fn assert_all_told(receiver: &Receiver, pushed: u64, seed: u64) {
    let lost: Vec<_> = (1..=pushed).filter(|&seq| !receiver.has(seq)).collect();
    assert!(
        lost.is_empty(),
        "seed {seed}: lost in silence {lost:?} of {pushed}"
    );
}

/// A line that leaves memory between any two steps, where time goes on meanwhile.
#[test]
fn a_line_that_sleeps_goes_on_where_it_was() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let (mut disk, mut receiver) = (Disk::default(), Receiver::default());
        let mut progress = Line::new("e", LineLimits::default()).progress();
        let (mut now, mut pushed, mut not_before) = (Timestamp::ZERO, 0, Timestamp::ZERO);
        for step in 0..3_000 {
            let line = Line::new("e", LineLimits::default());
            let mut line = line.with_progress(progress).with_changes();
            line.restore(now, disk.0.values().cloned());
            let is_last = step >= 1_500;
            if !is_last && random.one_in(4) {
                line.push(now, 0, "n", &event(&mut random));
                pushed += 1;
            }
            disk.save(&mut line);
            let mut next = line.poll(now);
            if let Poll::WaitUntil(at) = next {
                next = line.poll(at);
            }
            if let Poll::Send(request) = next {
                now = now.max(not_before);
                let kind = if is_last { Kind::Good } else { Kind::Flapping };
                let (_, outcome) = receiver.answer(kind, request.body(), &mut random);
                let report = line.done(now, outcome, random.next());
                if let Report::Retry { at, failures } = report {
                    assert_eq!(failures, progress.failures + 1, "seed {seed}");
                    not_before = at;
                } else {
                    assert!(matches!(report, Report::Accepted { .. }), "{report:?}");
                }
                disk.save(&mut line);
                progress = line.progress();
            }
            now = now + Duration::from_millis(700);
        }
        assert!(disk.0.is_empty(), "seed {seed}: {} left", disk.0.len());
        assert_all_told(&receiver, pushed, seed);
        assert_eq!(
            progress.next_seq,
            pushed + 1,
            "seed {seed}: no number twice"
        );
    }
}
