//! The backend that a namespace asks who a connection is, and what it may join.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use roomcast_core::{Timestamp, gateway::Token};
use roomcast_hooks::{
    Ask, AskLimits, AskOutcome, AskPoll, AskSettings, Asked, Keys, Question, Verdict,
};

use super::{
    backends,
    post::{Post, PostKind},
};

/// The most requests in flight: the platform opens this many connections of an object at a time,
/// and further requests would spend their time in its queue.
const IN_FLIGHT_MAX: usize = 6;
/// The most cached answers; objects share 128 MB.
const CACHED_MAX: usize = 1_000;
/// The most bytes of cached answers.
const CACHED_BYTES_MAX: usize = 1 << 20;

/// The questions of one namespace, and the clients that wait for answers. All are in memory: an
/// object does not sleep while any is pending, and a restarted one reports the loss to the clients.
#[derive(Debug)]
pub(crate) struct Asker {
    settings: AskSettings,
    keys: Keys,
    limits: AskLimits,
    ask: Ask,
    waiting: BTreeMap<u64, Asking>,
    /// Answers that were not taken yet.
    answered: VecDeque<(Asking, Verdict)>,
    /// Verdicts on clients that connect, by their numbers.
    verdicts: BTreeMap<u64, Verdict>,
    /// The number of the last client.
    clients: u64,
}

/// The purpose of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Identifies the connecting client of this number.
    Client(u64),
    Join(AskedJoin),
}

/// A join that waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AskedJoin {
    /// The number that the platform knows it by.
    pub(crate) id: u32,
    pub(crate) token: Token,
    pub(crate) user: Option<Box<str>>,
    pub(crate) room: Box<str>,
}

impl Asker {
    /// Creates the state for a backend, without questions. `random` makes the ids of its requests
    /// unique.
    pub(crate) fn new((settings, keys): backends::Asked, random: u64) -> Self {
        let mut limits = AskLimits::default();
        limits.timeout = settings.timeout;
        limits.in_flight_max = IN_FLIGHT_MAX;
        (limits.cached_max, limits.cached_bytes_max) = (CACHED_MAX, CACHED_BYTES_MAX);
        Self {
            settings,
            keys,
            limits,
            ask: Ask::new(&format!("{random:016x}"), limits),
            waiting: BTreeMap::new(),
            answered: VecDeque::new(),
            verdicts: BTreeMap::new(),
            clients: 0,
        }
    }

    pub(crate) const fn settings(&self) -> &AskSettings {
        &self.settings
    }

    /// Returns a number for a connecting client.
    pub(crate) const fn client(&mut self) -> u64 {
        self.clients += 1;
        self.clients
    }

    /// Asks a question. Its answer comes with [`take_answer`](Self::take_answer).
    pub(crate) fn ask(&mut self, now: Timestamp, question: &Question<'_>, asking: Asking) {
        match self.ask.ask(now, question) {
            Asked::Answered(verdict) => self.answered.push_back((asking, verdict)),
            Asked::Waits(number) => {
                self.waiting.insert(number, asking);
            }
        }
    }

    /// Returns the next request to send, if any is due. A question whose time is up before it is
    /// sent is answered when a request in flight ends, at the latest at that request's timeout.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<Post> {
        let poll = self.ask.poll(now);
        self.collect();
        let AskPoll::Send(request) = poll else {
            return None;
        };
        let left = request.deadline.saturating_since(now);
        let (kind, url) = (PostKind::Ask(request.number, left), &self.settings.url);
        Some(Post::new(kind, url, &request.request, &self.keys, now))
    }

    /// Takes the outcome of a request; returns a notice for the operator, if there is any.
    pub(crate) fn done(
        &mut self,
        now: Timestamp,
        number: u64,
        (outcome, fault): (AskOutcome<'_>, Option<&str>),
        random: u64,
    ) -> Option<String> {
        let unix_s = now.as_millis() / 1000;
        let report = self.ask.done(now, unix_s, number, outcome, random);
        self.collect();
        report.notice(fault).map(|notice| self.told(&notice))
    }

    /// Returns the text as the operator reads it in the log.
    pub(crate) fn told(&self, text: &str) -> String {
        format!("[ask] {}: {text}", self.settings.url.shown())
    }

    fn collect(&mut self) {
        for (number, verdict) in self.ask.take_answers() {
            if let Some(asking) = self.waiting.remove(&number) {
                self.answered.push_back((asking, verdict));
            }
        }
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.answered.is_empty()
    }

    pub(crate) fn take_answer(&mut self) -> Option<(Asking, Verdict)> {
        self.answered.pop_front()
    }

    /// Keeps the verdict on a client until it is [taken](Self::take_verdict). Above the limit the
    /// oldest are dropped: their clients have gone.
    pub(crate) fn keep_verdict(&mut self, client: u64, verdict: Verdict) {
        self.verdicts.insert(client, verdict);
        if self.verdicts.len() > self.limits.waiting_max {
            self.verdicts.pop_first();
        }
    }

    /// Takes the verdict on a client. Without one the client is refused.
    pub(crate) fn take_verdict(&mut self, client: Option<u64>) -> Verdict {
        let verdict = client.and_then(|client| self.verdicts.remove(&client));
        verdict.unwrap_or(Verdict::Unavailable)
    }

    /// Forgets a join that nobody waits for; returns its number, if it existed.
    pub(crate) fn cancel(&mut self, token: Token) -> Option<u32> {
        let all = self.waiting.values();
        let mut all = all.chain(self.answered.iter().map(|(asking, _)| asking));
        let id = all.find_map(|asking| match asking {
            Asking::Join(join) if join.token == token => Some(join.id),
            Asking::Join(_) | Asking::Client(_) => None,
        })?;
        self.forget_joins(|join| join.token == token);
        Some(id)
    }

    /// Forgets all joins, because the namespace restarts.
    pub(crate) fn forget_all_joins(&mut self) {
        self.forget_joins(|_| true);
    }

    fn forget_joins(&mut self, is_meant: impl Fn(&AskedJoin) -> bool) {
        let stays = |asking: &Asking| match asking {
            Asking::Join(join) => !is_meant(join),
            Asking::Client(_) => true,
        };
        self.waiting.retain(|_, asking| stays(asking));
        let answered = mem::take(&mut self.answered).into_iter();
        self.answered = answered.filter(|(asking, _)| stays(asking)).collect();
    }
}
