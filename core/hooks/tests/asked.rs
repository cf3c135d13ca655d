//! Questions to backends of every kind, in virtual time.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use roomcast_core::Timestamp;
use roomcast_hooks::{
    Ask, AskLimits, AskOutcome, AskPoll, AskReport, Asked, Question, Verdict,
    limits::ASK_ANSWER_BYTES_MAX,
};

/// A kind of backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// Refuses everybody.
    Strict,
    /// Answers about when the time is over.
    Slow,
    Down,
    /// Is there for two seconds, and then is not for as long.
    Flapping,
    /// A gateway answers for it.
    Behind,
    Garbage,
    /// Answers 10 MB.
    Huge,
    Redirecting,
    /// Goes away without an answer.
    Broken,
}

const KINDS: [Kind; 10] = [
    Kind::Good,
    Kind::Strict,
    Kind::Slow,
    Kind::Down,
    Kind::Flapping,
    Kind::Behind,
    Kind::Garbage,
    Kind::Huge,
    Kind::Redirecting,
    Kind::Broken,
];

const GOOD: &[u8] = br#"{"grants":[{"rooms":"a","can":["join"]}],"ttl_s":2}"#;

impl Kind {
    /// The time that an answer takes, with its status and its body; `None` is no answer.
    fn answers(self, now: Timestamp, random: u64) -> (Duration, Response) {
        static HUGE: [u8; 10_000_000] = [b' '; 10_000_000];
        let soon = Duration::from_millis(1 + random % 40);
        match self {
            Self::Good => (soon, Some((200, GOOD))),
            Self::Strict => (soon, Some((403, b"{\"message\":\"no\"}"))),
            Self::Slow => {
                let late = Duration::from_millis(800 + random % 400);
                (late, Some((200, GOOD)))
            }
            Self::Down | Self::Broken => (soon, None),
            Self::Flapping if (now.as_millis() / 2000).is_multiple_of(2) => {
                (soon, Some((200, GOOD)))
            }
            Self::Flapping => (soon, Some((502, b""))),
            Self::Behind => (soon, Some((503, b""))),
            Self::Garbage => (soon, Some((200, b"<html>"))),
            Self::Huge => (soon, Some((200, &HUGE))),
            Self::Redirecting => (soon, Some((302, b""))),
        }
    }
}

/// A status and a body; `None` when nothing came.
type Response = Option<(u16, &'static [u8])>;

/// A world of one backend, and the questions to it.
struct World {
    kind: Kind,
    ask: Ask,
    limits: AskLimits,
    now: Timestamp,
    random: u64,
    /// Requests under way, by their end.
    under_way: BTreeMap<(Timestamp, u64), Response>,
    /// Questions that wait, with the time at which they were asked.
    open: BTreeMap<u64, Timestamp>,
    verdicts: Vec<Verdict>,
    requests: usize,
}

impl World {
    fn new(kind: Kind, limits: AskLimits) -> Self {
        Self {
            kind,
            ask: Ask::new("4f2a", limits),
            limits,
            now: Timestamp::ZERO,
            random: 1,
            under_way: BTreeMap::new(),
            open: BTreeMap::new(),
            verdicts: Vec::new(),
            requests: 0,
        }
    }

    fn ask(&mut self, user: u8, random: u64) {
        self.random = self.random.wrapping_mul(31).wrapping_add(random);
        let question = Question::Connect {
            namespace: "default".into(),
            user: None,
            headers: vec![("cookie".into(), format!("sid={user}"))],
        };
        match self.ask.ask(self.now, &question) {
            Asked::Answered(verdict) => self.verdicts.push(verdict),
            Asked::Waits(number) => {
                assert_eq!(self.open.insert(number, self.now), None, "a number twice");
            }
        }
        self.advance();
    }

    /// Sends what there is to send; gives the time to look again.
    fn advance(&mut self) -> Option<Timestamp> {
        let next = loop {
            match self.ask.poll(self.now) {
                AskPoll::Send(request) => {
                    let (time, answer) = self.kind.answers(self.now, self.random);
                    self.random = self.random.wrapping_mul(6_364_136_223_846_793_005) + 7;
                    let end = self.now + time;
                    // The host gives up in time.
                    let (end, answer) = if end > request.deadline {
                        (request.deadline, None)
                    } else {
                        (end, answer)
                    };
                    self.under_way.insert((end, request.number), answer);
                    self.requests += 1;
                    let limit = self.limits.in_flight_max;
                    assert!(self.under_way.len() <= limit, "over {limit} under way");
                }
                AskPoll::WaitUntil(at) => break Some(at),
                AskPoll::Idle => break None,
            }
        };
        for (number, verdict) in self.ask.take_answers() {
            let asked = self.open.remove(&number).expect("one answer each");
            let took = self.now.saturating_since(asked);
            assert!(took <= self.limits.timeout, "{took:?}");
            self.verdicts.push(verdict);
        }
        let counts = self.ask.counts();
        assert_eq!(counts.waiting, self.open.len());
        assert_eq!(counts.in_flight, self.under_way.len());
        assert!(counts.waiting <= self.limits.waiting_max);
        assert!(counts.kept <= self.limits.cached_max);
        assert!(counts.kept_bytes <= self.limits.cached_bytes_max);
        next
    }

    /// Lets time go on until then.
    fn run_until(&mut self, until: Timestamp) {
        loop {
            let look = self.advance();
            let end = self.under_way.first_key_value().map(|(&(at, _), _)| at);
            let next = look.into_iter().chain(end).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = self.now.max(until);
                return;
            };
            self.now = self.now.max(next);
            if end.is_some_and(|end| end <= self.now)
                && let Some(((_, number), answer)) = self.under_way.pop_first()
            {
                let outcome = match answer {
                    Some((status, body)) => AskOutcome::Answered { status, body },
                    None if self.kind == Kind::Broken => AskOutcome::Broken,
                    None => AskOutcome::Failed,
                };
                let report = self.ask.done(self.now, 7, number, outcome, self.random);
                assert_ne!(report, AskReport::Nothing);
            }
        }
    }

    fn count(&self, of: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|verdict| of(verdict)).count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each question is answered once and in time, and no limit is passed, whatever the backend
    /// does.
    #[test]
    fn each_question_is_answered_once_and_limits_hold(
        kind in prop::sample::select(KINDS.to_vec()),
        in_flight_max in 1_usize..4,
        waiting_max in 1_usize..20,
        cached_max in 0_usize..4,
        steps in prop::collection::vec((0_u64..300, 0_u8..8, any::<u64>()), 1..150),
    ) {
        let mut limits = AskLimits::default();
        limits.in_flight_max = in_flight_max;
        limits.waiting_max = waiting_max;
        limits.cached_max = cached_max;
        let mut world = World::new(kind, limits);
        let asked = steps.len();
        for (pause_ms, user, random) in steps {
            world.run_until(world.now + Duration::from_millis(pause_ms / 3));
            world.ask(user, random);
        }
        world.run_until(world.now + 2 * limits.timeout);
        prop_assert!(world.open.is_empty() && world.ask.is_idle());
        prop_assert_eq!(world.verdicts.len(), asked);
        let counts = world.ask.counts();
        let counted = counts.allowed + counts.refused + counts.unavailable + counts.overloaded;
        prop_assert_eq!(counted, asked as u64);
        let allowed = world.count(|verdict| matches!(verdict, Verdict::Allowed(_)));
        let expected = matches!(kind, Kind::Good | Kind::Slow | Kind::Flapping);
        prop_assert!(expected || allowed == 0, "{:?} let somebody in", kind);
    }
}

/// A minute of a question each 10 ms, of as many clients.
fn minute(kind: Kind) -> World {
    let mut world = World::new(kind, AskLimits::default());
    for at in 0..6000_u64 {
        world.run_until(Timestamp::from_millis(at * 10));
        world.ask(u8::try_from(at % 101).expect("small"), at);
    }
    world.run_until(world.now + Duration::from_secs(2));
    world
}

#[test]
fn a_backend_that_is_not_there_is_left_alone() {
    for kind in [Kind::Down, Kind::Behind] {
        let world = minute(kind);
        let refused = world.count(|verdict| *verdict == Verdict::Unavailable);
        assert_eq!(refused, 6000, "{kind:?}");
        // The failures that open the breaker, and up to four probes every 5 to 7.5 s.
        assert!(
            (10..70).contains(&world.requests),
            "{kind:?}: {}",
            world.requests
        );
    }
}

#[test]
fn a_backend_that_answers_is_asked_whatever_it_answers() {
    for kind in [Kind::Garbage, Kind::Huge, Kind::Redirecting, Kind::Broken] {
        let world = minute(kind);
        let refused = world.count(|verdict| *verdict == Verdict::Unavailable);
        assert_eq!((refused, world.requests), (6000, 6000), "{kind:?}");
    }
    const { assert!(ASK_ANSWER_BYTES_MAX < 10_000_000) };
}

#[test]
fn a_backend_that_is_too_slow_is_left_alone() {
    let mut world = World::new(Kind::Slow, AskLimits::default());
    world.limits.timeout = Duration::from_millis(500);
    world.ask = Ask::new("4f2a", world.limits);
    for at in 0..1000_u64 {
        world.run_until(Timestamp::from_millis(at * 10));
        world.ask(u8::try_from(at % 101).expect("small"), at);
    }
    assert!(world.ask.counts().is_open);
    assert!(world.requests < 100, "{}", world.requests);
}

#[test]
fn a_backend_that_comes_and_goes_is_asked_again() {
    let world = minute(Kind::Flapping);
    let allowed = world.count(|verdict| matches!(verdict, Verdict::Allowed(_)));
    let refused = world.count(|verdict| *verdict == Verdict::Unavailable);
    assert!(allowed > 1000 && refused > 1000, "{allowed} {refused}");
    assert_eq!(allowed + refused, 6000);
}

#[test]
fn a_good_backend_answers_each_client_once_in_the_time_of_its_answers() {
    let world = minute(Kind::Good);
    let allowed = world.count(|verdict| matches!(verdict, Verdict::Allowed(_)));
    assert_eq!(allowed, 6000);
    let without = minute(Kind::Strict);
    assert_eq!(without.requests, 6000, "nothing was kept");
    assert!((1900..3100).contains(&world.requests), "{}", world.requests);
}
