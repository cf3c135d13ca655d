//! A backend that is asked who a connection is, and which rooms it may join.

mod breaker;
mod cache;
mod faults;
mod question;
mod refusal;
mod report;
mod settings;
mod verdict;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use roomcast_core::Timestamp;

use self::{breaker::Breaker, cache::Cache, faults::Faults, question::Key, verdict::AnswerError};
pub use self::{
    question::Question,
    refusal::AskRefusal,
    report::AskReport,
    settings::{AskEvent, AskOn, AskSettings, AskSettingsError, HeaderName},
    verdict::{Answer, Verdict},
};
use crate::request::Request;

/// Limits of a backend that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskLimits {
    /// Time for an answer, from the question on; default 1 s: a client that connects waits for it.
    pub timeout: Duration,
    /// Requests in flight at the same time; default 32, enough for thousands of answers a second.
    pub in_flight_max: usize,
    /// Questions that wait, those in flight included; default 1,024, as many as a backend answers
    /// within the time. Further questions are answered `overloaded`.
    pub waiting_max: usize,
    /// Answers in the cache; default 10,000. Above that, those that expire first are evicted.
    pub cached_max: usize,
    /// Bytes of the answers in the cache; default 16 MiB. Above that, the same.
    pub cached_bytes_max: usize,
    /// Failures in a row after which the backend is not asked for a while; default 5. A failure
    /// means that it cannot be reached or does not answer in time, also if a gateway says so.
    pub failures_max: u32,
    /// The time for which it is not asked, plus up to half as much; default 5 s.
    pub pause: Duration,
}

impl Default for AskLimits {
    fn default() -> Self {
        Self {
            timeout: AskSettings::TIMEOUT,
            in_flight_max: 32,
            waiting_max: 1024,
            cached_max: 10_000,
            cached_bytes_max: 16 << 20,
            failures_max: 5,
            pause: Duration::from_secs(5),
        }
    }
}

/// The questions to one backend: [`ask`](Self::ask) one; [`poll`](Self::poll) for the requests to
/// send; report the outcome of each by [`done`](Self::done); then
/// [`take_answers`](Self::take_answers), and poll again.
///
/// Each question is answered once, immediately or within the timeout, whatever the backend does.
/// Equal questions share a request, and its answer for as long as the backend allows.
#[derive(Debug, Clone)]
pub struct Ask {
    epoch: Box<str>,
    limits: AskLimits,
    next: u64,
    /// Requests to send and in flight, by their number: the oldest first.
    groups: BTreeMap<u64, Group>,
    by_key: BTreeMap<Key, u64>,
    /// Requests to send.
    line: VecDeque<u64>,
    /// Requests in flight, including those whose questions do not wait any more.
    in_flight: BTreeSet<u64>,
    /// Questions that wait.
    waiting: usize,
    answers: Vec<(u64, Verdict)>,
    cache: Cache,
    breaker: Breaker,
    faults: Faults,
    counts: AskCounts,
}

/// Equal questions, which share a request.
#[derive(Debug, Clone)]
struct Group {
    key: Key,
    /// The request, before it is sent.
    request: Option<Request>,
    questions: Vec<u64>,
    deadline: Timestamp,
}

/// The answer to a question, or the number under which it will come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The answer.
    Answered(Verdict),
    /// The verdict comes with [`Ask::take_answers`], under this number.
    Waits(u64),
}

/// The next thing to do for a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskPoll {
    /// Nothing until the next question or the end of a request.
    Idle,
    /// Poll again at this time, or when there is another question.
    WaitUntil(Timestamp),
    /// Send this request, and report its outcome.
    Send(AskRequest),
}

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRequest {
    /// The number to report the outcome with.
    pub number: u64,
    /// The request.
    pub request: Request,
    /// The time at which to give up: no question waits for the request any more.
    pub deadline: Timestamp,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskOutcome<'a> {
    /// A complete answer came. A redirect is an answer like any other: it is not followed.
    Answered {
        /// The status.
        status: u16,
        /// The body.
        body: &'a [u8],
    },
    /// The backend was reached, and its answer was incomplete or too long. Only the questions of
    /// this request are refused.
    Broken,
    /// The backend was not reached, or did not answer in time.
    Failed,
}

/// Counts of questions by their answer, and the current sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskCounts {
    /// Questions that the backend answered by allowing.
    pub allowed: u64,
    /// Questions that the backend answered by refusing.
    pub refused: u64,
    /// Questions to which the backend gave no usable answer.
    pub unavailable: u64,
    /// Questions that were refused because too many waited.
    pub overloaded: u64,
    /// Questions among all these that were answered from the cache.
    pub cached: u64,
    /// Questions that wait.
    pub waiting: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Answers in the cache.
    pub kept: usize,
    /// Bytes of the answers in the cache.
    pub kept_bytes: usize,
    /// True from the failures that open the circuit breaker until an answer closes it.
    pub is_open: bool,
}

impl Ask {
    /// A backend that was asked nothing yet. The epoch distinguishes its requests from those of
    /// other starts of the server, so it must be random.
    pub fn new(epoch: &str, limits: AskLimits) -> Self {
        Self {
            epoch: epoch.into(),
            limits,
            next: 0,
            groups: BTreeMap::new(),
            by_key: BTreeMap::new(),
            line: VecDeque::new(),
            in_flight: BTreeSet::new(),
            waiting: 0,
            answers: Vec::new(),
            cache: Cache::default(),
            breaker: Breaker::default(),
            faults: Faults::default(),
            counts: AskCounts::default(),
        }
    }

    /// Asks a question. Work: hashing it.
    pub fn ask(&mut self, now: Timestamp, question: &Question<'_>) -> Asked {
        let json = question.to_json();
        let key = Key::of(&json);
        if let Some(verdict) = self.cache.get(now, &key) {
            let verdict = verdict.clone();
            self.counts.cached += 1;
            return Asked::Answered(self.counted(verdict));
        }
        let group = self.by_key.get(&key).copied();
        if group.is_none() && self.breaker.refuses(now) {
            return Asked::Answered(self.counted(Verdict::Unavailable));
        }
        if self.waiting >= self.limits.waiting_max {
            return Asked::Answered(self.counted(Verdict::Overloaded(self.limits.waiting_max)));
        }
        let number = self.number();
        self.waiting += 1;
        if let Some(group) = group.and_then(|group| self.groups.get_mut(&group)) {
            group.questions.push(number);
            return Asked::Waits(number);
        }
        let request = Request::new(&self.epoch, number, json);
        let group = Group {
            key,
            request: Some(request),
            questions: [number].into(),
            deadline: now + self.limits.timeout,
        };
        self.groups.insert(number, group);
        self.by_key.insert(key, number);
        self.line.push_back(number);
        Asked::Waits(number)
    }

    /// The next thing to do. Work: the questions that have timed out.
    pub fn poll(&mut self, now: Timestamp) -> AskPoll {
        self.expire(now);
        let limit = self.limits.in_flight_max;
        if self.in_flight.len() < limit
            && self.breaker.may_send(now)
            && let Some(number) = self.line.pop_front()
            && let Some(group) = self.groups.get_mut(&number)
            && let Some(request) = group.request.take()
        {
            self.in_flight.insert(number);
            self.breaker.sent(number);
            return AskPoll::Send(AskRequest {
                number,
                request,
                deadline: group.deadline,
            });
        }
        // The oldest times out first: all have the same timeout.
        let first = self.groups.values().next();
        first.map_or(AskPoll::Idle, |group| AskPoll::WaitUntil(group.deadline))
    }

    /// Reports the outcome of a request. `unix_s` is the time in seconds since 1970; `random` is
    /// for the pause.
    pub fn done(
        &mut self,
        now: Timestamp,
        unix_s: u64,
        number: u64,
        outcome: AskOutcome<'_>,
        random: u64,
    ) -> AskReport {
        if !self.in_flight.remove(&number) {
            return AskReport::Nothing;
        }
        let AskOutcome::Answered { status, body } = outcome else {
            return self.unanswered(now, number, outcome == AskOutcome::Failed, random);
        };
        match verdict::read(now, unix_s, status, body) {
            Ok(verdict::Read { verdict, ttl }) => {
                if !ttl.is_zero()
                    && let Some(group) = self.groups.get(&number)
                {
                    let limits = (self.limits.cached_max, self.limits.cached_bytes_max);
                    let kept = (verdict.clone(), body.len());
                    self.cache.keep(now, group.key, kept, now + ttl, limits);
                }
                self.answer(number, &verdict);
                let recovered = self.breaker.answered();
                AskReport::Answered { recovered }
            }
            Err(AnswerError::Absent(fault)) => self.failed(now, number, Some(fault), random),
            Err(AnswerError::Unusable(fault)) => {
                self.answer(number, &Verdict::Unavailable);
                AskReport::Unusable {
                    fault: Some(fault),
                    count: self.faults.count(now),
                    recovered: self.breaker.answered(),
                    pause: None,
                }
            }
        }
    }

    /// Handles a request that ended without an answer.
    fn unanswered(
        &mut self,
        now: Timestamp,
        number: u64,
        is_failure: bool,
        random: u64,
    ) -> AskReport {
        if is_failure {
            return self.failed(now, number, None, random);
        }
        let pause = self.pause(random);
        let pause = self.breaker.ended(now, number, pause);
        self.refuse(number, pause.is_some());
        AskReport::Unusable {
            fault: None,
            count: self.faults.count(now),
            recovered: false,
            pause,
        }
    }

    /// Handles a failure: the backend cannot be reached, or is too slow.
    fn failed(
        &mut self,
        now: Timestamp,
        number: u64,
        fault: Option<String>,
        random: u64,
    ) -> AskReport {
        let (pause, failures_max) = (self.pause(random), self.limits.failures_max);
        let pause = self.breaker.failed(now, number, failures_max, pause);
        self.refuse(number, pause.is_some());
        AskReport::Failed {
            fault,
            failures: self.breaker.failures(),
            pause,
        }
    }

    /// Answers the questions of a request `unavailable`, and if the backend is not asked for a
    /// while, those of all requests still to send.
    fn refuse(&mut self, number: u64, is_left_alone: bool) {
        self.answer(number, &Verdict::Unavailable);
        while is_left_alone && let Some(number) = self.line.pop_front() {
            self.answer(number, &Verdict::Unavailable);
        }
    }

    /// Takes the answers since the last call, each with the number of its question.
    pub fn take_answers(&mut self) -> Vec<(u64, Verdict)> {
        core::mem::take(&mut self.answers)
    }

    /// Counts of questions by their answer, and the current sizes.
    pub fn counts(&self) -> AskCounts {
        AskCounts {
            waiting: self.waiting,
            in_flight: self.in_flight.len(),
            kept: self.cache.len(),
            kept_bytes: self.cache.bytes(),
            is_open: self.breaker.is_open(),
            ..self.counts
        }
    }

    /// True when no question waits and no request is in flight.
    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.in_flight.is_empty()
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The pause plus up to half as much, so that many servers do not retry at the same time.
    fn pause(&self, random: u64) -> Duration {
        let pause = self.limits.pause;
        let half_ms = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX - 1);
        pause + Duration::from_millis(random % (half_ms + 1))
    }

    /// Answers the questions that have timed out.
    fn expire(&mut self, now: Timestamp) {
        while let Some((&number, group)) = self.groups.first_key_value()
            && group.deadline <= now
        {
            // A request that was never sent means that there were too many.
            let verdict = if group.request.is_some() {
                Verdict::Overloaded(self.limits.in_flight_max)
            } else {
                Verdict::Unavailable
            };
            self.answer(number, &verdict);
            if self.line.front() == Some(&number) {
                self.line.pop_front();
            }
        }
    }

    /// Answers the questions that share a request.
    fn answer(&mut self, number: u64, verdict: &Verdict) {
        let Some(group) = self.groups.remove(&number) else {
            return; // their time was over
        };
        self.by_key.remove(&group.key);
        self.waiting -= group.questions.len();
        for question in group.questions {
            let verdict = self.counted(verdict.clone());
            self.answers.push((question, verdict));
        }
    }

    fn counted(&mut self, verdict: Verdict) -> Verdict {
        let counts = &mut self.counts;
        match verdict {
            Verdict::Allowed(_) => counts.allowed += 1,
            Verdict::Unauthorized(_) | Verdict::Forbidden(_) => counts.refused += 1,
            Verdict::Unavailable => counts.unavailable += 1,
            Verdict::Overloaded(_) => counts.overloaded += 1,
        }
        verdict
    }
}
