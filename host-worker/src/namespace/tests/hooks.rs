//! Backends that receive events, on a platform that fails and loses state.

use roomcast_hooks::{Hook, Keys, limits::GIVE_UP};
use serde_json::Value;

use super::bench::{Alarm, Bench, Call, Posted, Setup, Text, User, Wait};
use crate::hooks::{Backends, PostKind};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SEND: (&str, &str) = ("POST", "/api/v1/d/send");

fn hook(url: &str) -> (Hook, Keys) {
    let events = ["message.published", "connection.opened"];
    let kinds = events.map(|kind| serde_json::from_value(kind.into()).expect("a kind"));
    let source = KEY.parse().expect("a source");
    let rooms = "log*".parse().expect("a pattern");
    let hook = Hook::new(url.parse().expect("a URL"), kinds, rooms, vec![source]);
    let keys = Keys::new([KEY.parse().expect("a key")]);
    (hook.expect("a hook"), keys.expect("a key"))
}

fn told() -> Setup {
    Setup {
        backends: Backends {
            told: vec![hook("https://backend.example/hook")],
            asked: None,
        },
        ..Setup::default()
    }
}

impl Bench {
    fn publish(&mut self, number: u64) -> Vec<String> {
        let body = format!(r#"{{"audience":{{"rooms":["log"]}},"event":"said","data":{number}}}"#);
        self.run(Call(SEND.0, SEND.1, "", String::leak(body)))
    }

    /// The request that was sent, if one was: its number, and the numbers in its messages.
    fn posted(&mut self) -> Option<(u32, Vec<u64>)> {
        let post = self.fake.0.borrow_mut().posts.pop()?;
        assert_eq!(post.url, "https://backend.example/hook");
        let signed = post.headers.chunks(2).any(|pair| {
            let [name, value] = pair else { return false };
            name == "webhook-signature" && value.starts_with("v1,")
        });
        assert!(signed, "{:?}", post.headers);
        let body: Value = serde_json::from_str(&post.body).expect("JSON");
        let events = body["events"].as_array().expect("events").iter();
        let messages = events.filter_map(|event| event["message"]["data"].as_u64());
        let PostKind::Tell(number) = post.kind else {
            panic!("{post:?}");
        };
        Some((number, messages.collect()))
    }

    /// Goes on to the time of the alarm, and rings.
    fn ring(&mut self) {
        let alarm = self.fake.0.borrow_mut().alarm.take();
        let alarm = alarm.expect("one is set");
        let now = self.fake.0.borrow().now;
        self.run(Wait(alarm.as_millis().saturating_sub(now)));
        self.run(Alarm);
    }

    fn waiting(&self) -> usize {
        let world = self.fake.0.borrow();
        world
            .storage
            .lines
            .values()
            .map(|line| line.events.len())
            .sum()
    }
}

#[test]
fn events_are_told_when_the_alarm_rings_and_forgotten_when_they_are_taken() {
    let mut bench = Bench::new(&told());
    bench.publish(1);
    bench.publish(2);
    assert_eq!((bench.posted(), bench.waiting()), (None, 2));
    bench.ring();
    let (number, messages) = bench.posted().expect("a request");
    assert_eq!(messages, [1, 2]);
    bench.run(Posted(number, 204));
    assert_eq!(bench.waiting(), 0);
    // The numbers go on, also when nothing waits.
    bench.evict();
    bench.publish(3);
    bench.ring();
    assert_eq!(bench.posted().expect("a request").1, [3]);
    let line = bench.fake.0.borrow().storage.lines.values().next().cloned();
    assert_eq!(line.expect("a line").events[0].1.seq, 3);
}

#[test]
fn what_waits_is_told_after_an_eviction_by_the_alarm_alone() {
    let mut bench = Bench::new(&told());
    bench.publish(1);
    bench.evict();
    bench.ring();
    let (first, messages) = bench.posted().expect("a request");
    assert_eq!(messages, [1]);
    // The pending request is lost with the object.
    bench.evict();
    bench.ring();
    let (_, messages) = bench.posted().expect("the same again");
    assert_eq!(messages, [1]);
    // The answer to the first is nobody's.
    bench.run(Posted(first.wrapping_add(7), 204));
    assert_eq!(bench.waiting(), 1);
}

#[test]
fn pauses_grow_although_nothing_is_in_memory_between_them() {
    let mut bench = Bench::new(&told());
    bench.publish(1);
    let mut pauses = Vec::new();
    let mut failed = 0;
    for _ in 0..10 {
        // An alarm may ring before its time.
        let number = loop {
            bench.ring();
            if let Some((number, _)) = bench.posted() {
                break number;
            }
        };
        let now = bench.fake.0.borrow().now;
        pauses.push(now - failed);
        failed = now;
        bench.run(Posted(number, 500));
        bench.evict();
    }
    assert!(pauses[1] < 2_000 && pauses[9] > 100_000, "{pauses:?}");
    assert!(pauses.is_sorted(), "{pauses:?}");
}

#[test]
fn one_that_wants_no_more_is_left_alone_for_a_day() {
    let mut bench = Bench::new(&told());
    bench.publish(1);
    bench.ring();
    let (number, _) = bench.posted().expect("a request");
    bench.run(Posted(number, 410));
    bench.evict();
    bench.publish(2);
    assert_eq!((bench.posted(), bench.waiting()), (None, 0));
    let day = u64::try_from(GIVE_UP.as_millis()).expect("a day");
    bench.run(Wait(day));
    bench.evict();
    bench.publish(3);
    bench.ring();
    assert_eq!(bench.posted().expect("a request").1, [3]);
}

#[test]
fn a_line_without_an_endpoint_is_dropped_and_others_stay() {
    let mut bench = Bench::new(&told());
    bench
        .setup
        .backends
        .told
        .push(hook("https://other.example/hook"));
    bench.evict();
    bench.publish(1);
    assert_eq!(bench.waiting(), 2);
    bench.setup.backends.told.pop();
    bench.evict();
    bench.publish(2);
    assert_eq!(
        (bench.waiting(), bench.fake.0.borrow().storage.lines.len()),
        (2, 1)
    );
}

/// Each event of an answered call is reported, in order, whatever fails or is lost.
#[test]
fn what_was_answered_is_told_whatever_fails() {
    for seed in 0..200_u64 {
        let mut bench = Bench::new(&told());
        let mut random = seed;
        let mut next = move |bound: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(random >> 33).expect("31 bits") % bound
        };
        let (mut answered, mut told) = (Vec::new(), Vec::new());
        let mut sent = None;
        for number in 0..60 {
            bench.fake.0.borrow_mut().writes_left = (next(4) == 0).then(|| next(3));
            match next(6) {
                0 | 1 => {
                    let seen = bench.publish(number);
                    let done = seen.last().is_some_and(|said| said.contains("matched"));
                    assert!(
                        done || seen.last().is_some_and(|said| said.contains("failed")),
                        "{seen:?}"
                    );
                    answered.extend(done.then_some(number));
                }
                2 => drop(bench.run(Wait(next(3_000) as u64))),
                3 => drop(bench.run(Alarm)),
                4 if next(3) == 0 => bench.evict(),
                _ => {
                    if let Some(number) = sent.take() {
                        bench.run(Posted(number, [204, 500, 0][next(3)]));
                    }
                }
            }
            while let Some((number, messages)) = bench.posted() {
                told.extend(messages);
                sent = Some(number);
            }
        }
        bench.fake.0.borrow_mut().writes_left = None;
        for _ in 0..200 {
            if bench.waiting() == 0 {
                break;
            }
            if let Some(number) = sent.take() {
                bench.run(Posted(number, 204));
            }
            bench.ring();
            while let Some((number, messages)) = bench.posted() {
                told.extend(messages);
                sent = Some(number);
            }
        }
        assert_eq!(bench.waiting(), 0, "seed {seed}");
        let mut firsts: Vec<u64> = Vec::new();
        for number in told {
            if !firsts.contains(&number) {
                firsts.push(number);
            }
        }
        assert_eq!(
            firsts, answered,
            "seed {seed}: in order, and nothing lost or made up"
        );
    }
}

#[test]
fn nobody_is_told_where_no_hook_is() {
    let mut bench = Bench::new(&Setup::default());
    bench.run(User("ann"));
    bench.run(Text(0, r#"{"event":"$join","room":"log"}"#));
    bench.publish(1);
    assert_eq!((bench.waiting(), bench.fake.0.borrow().posts.len()), (0, 0));
}
