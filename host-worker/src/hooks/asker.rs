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

/// Requests under way: the platform opens as many connections of an object at a time, and further
/// ones would spend their time in its line.
const IN_FLIGHT_MAX: usize = 6;
/// Answers that are kept; objects share 128 MB.
const CACHED_MAX: usize = 1_000;
/// Bytes of them.
const CACHED_BYTES_MAX: usize = 1 << 20;

/// The questions of one namespace, and who waits for an answer. All are in memory: an object does
/// not sleep over them, and one that begins anew tells those who waited.
#[derive(Debug)]
pub(crate) struct Asker {
    settings: AskSettings,
    keys: Keys,
    limits: AskLimits,
    ask: Ask,
    waiting: BTreeMap<u64, Asking>,
    /// Answers that were not given yet.
    answered: VecDeque<(Asking, Verdict)>,
    /// Verdicts on clients that connect, by their numbers.
    verdicts: BTreeMap<u64, Verdict>,
    /// The number of the last client.
    clients: u64,
}

/// The purpose of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// A client that connects has this number.
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
    /// A backend that was asked nothing yet; `random` tells its requests from others.
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

    /// A number for a client that connects.
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

    /// The next request to send, if any is due. Who waits for one in vain is answered when another
    /// one ends, which none does later than its time.
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

    /// Takes the outcome of a request; gives what an operator should know.
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

    /// The text as an operator reads it.
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

    /// Keeps the verdict on a client until it is [taken](Self::take_verdict). Of more than may
    /// wait, the oldest are those of clients that have gone.
    pub(crate) fn keep_verdict(&mut self, client: u64, verdict: Verdict) {
        self.verdicts.insert(client, verdict);
        if self.verdicts.len() > self.limits.waiting_max {
            self.verdicts.pop_first();
        }
    }

    /// The verdict on a client. Where there is none, nobody comes in.
    pub(crate) fn take_verdict(&mut self, client: Option<u64>) -> Verdict {
        let verdict = client.and_then(|client| self.verdicts.remove(&client));
        verdict.unwrap_or(Verdict::Unavailable)
    }

    /// Forgets a join that nobody waits for any more; its number, if it was there.
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

    /// Forgets all joins: their connections begin anew.
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
