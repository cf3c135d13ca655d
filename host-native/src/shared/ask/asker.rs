//! The asked backend: its questions, and the thread that sends them.

use std::{
    collections::HashMap,
    io,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use roomcast_core::Outcome;
use roomcast_hooks::{
    Ask, AskCounts, AskLimits, AskOutcome, AskPoll, AskRefusal, AskReport, AskRequest, AskSettings,
    Asked, Keys, Question, Verdict,
};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, oneshot},
    task::spawn_local,
    time::{sleep, timeout},
};

use crate::{
    clock::Clock,
    shared::{
        call_failure::is_broken_answer,
        keys,
        post::Client,
        spans::{Spans, TraceContext},
    },
};

/// A backend that is asked. Questions come from any thread; a separate thread sends them, so that
/// signatures and TLS take no time of a shard.
#[derive(Debug)]
pub(crate) struct Asker {
    /// The URL without its query, which may contain a secret.
    name: String,
    settings: AskSettings,
    keys: Keys,
    clock: Clock,
    spans: Arc<Spans>,
    state: Mutex<State>,
    /// Notified when there may be something to send.
    more: Notify,
    /// True when it is no longer in force.
    retired: AtomicBool,
    requests: AtomicU64,
    time_us: AtomicU64,
}

#[derive(Debug)]
struct State {
    ask: Ask,
    /// True when the thread has ended: further questions get no answer.
    is_over: bool,
    waiting: HashMap<u64, Waiting>,
}

/// A caller that waits for a verdict.
#[derive(Debug)]
struct Waiting {
    verdict: oneshot::Sender<Verdict>,
    /// The trace context of the client.
    link: Option<TraceContext>,
}

/// Counts of a backend.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AskerCounts {
    pub(crate) questions: AskCounts,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
}

impl AskerCounts {
    /// Adds the counts of another backend, without the state of its circuit breaker.
    pub(super) fn add(&mut self, more: &Self) {
        let (questions, more_questions) = (&mut self.questions, &more.questions);
        questions.allowed += more_questions.allowed;
        questions.refused += more_questions.refused;
        questions.unavailable += more_questions.unavailable;
        questions.overloaded += more_questions.overloaded;
        questions.cached += more_questions.cached;
        questions.waiting += more_questions.waiting;
        self.requests += more.requests;
        self.seconds += more.seconds;
    }
}

impl State {
    /// Delivers answers to the waiting callers.
    fn deliver(&mut self) {
        for (number, verdict) in self.ask.take_answers() {
            if let Some(waiting) = self.waiting.remove(&number) {
                let _ = waiting.verdict.send(verdict); // the caller may be gone
            }
        }
    }
}

impl Asker {
    /// Creates a backend without questions.
    ///
    /// # Errors
    ///
    /// When a key cannot be read.
    pub(super) fn open(
        settings: &AskSettings,
        clock: Clock,
        spans: Arc<Spans>,
    ) -> Result<Self, String> {
        let name = settings.url.shown().to_owned();
        let keys = keys::read(&settings.keys).map_err(|fault| format!("{name}: {fault}"))?;
        // Without randomness the time is the next best.
        let epoch = getrandom::u64().unwrap_or_else(|_| clock.unix_ms(clock.now()));
        let mut limits = AskLimits::default();
        limits.timeout = settings.timeout;
        let state = State {
            ask: Ask::new(&format!("{epoch:016x}"), limits),
            is_over: false,
            waiting: HashMap::new(),
        };
        Ok(Self {
            name,
            settings: settings.clone(),
            keys,
            clock,
            spans,
            state: Mutex::new(state),
            more: Notify::new(),
            retired: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            time_us: AtomicU64::new(0),
        })
    }

    /// True when the settings and the keys are the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings && self.keys.is_same(&other.keys)
    }

    /// The URL without its query, which may contain a secret.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn settings(&self) -> &AskSettings {
        &self.settings
    }

    /// Starts the thread that sends questions. It ends after [`retire`](Self::retire).
    ///
    /// # Errors
    ///
    /// When the thread cannot start.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        let asker = self.clone();
        thread::Builder::new()
            .name("roomcast-ask".into())
            .spawn(move || {
                let mut runtime = Builder::new_current_thread();
                match runtime.enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime.block_on(asker.run()),
                    Err(fault) => tracing::error!(%fault, "[ask] cannot start: nothing is asked"),
                }
            })?;
        Ok(())
    }

    /// Lets the thread end once all questions are answered.
    pub(super) fn retire(&self) {
        self.retired.store(true, Relaxed);
        self.more.notify_one();
    }

    /// Asks a question. The verdict arrives within the time of the settings.
    pub(crate) async fn ask(&self, question: &Question<'_>, link: Option<TraceContext>) -> Verdict {
        let answer = {
            let mut state = self.state();
            if state.is_over {
                return Verdict::Unavailable; // a reload has just replaced it
            }
            match state.ask.ask(self.clock.now(), question) {
                Asked::Answered(verdict) => return verdict,
                Asked::Waits(number) => {
                    let (verdict, answer) = oneshot::channel();
                    state.waiting.insert(number, Waiting { verdict, link });
                    answer
                }
            }
        };
        self.more.notify_one();
        // The thread enforces the time as well; this limit holds even if the thread is stuck.
        let answered = timeout(2 * self.settings.timeout, answer).await;
        answered.map_or(Verdict::Unavailable, |it| {
            it.unwrap_or(Verdict::Unavailable)
        })
    }

    /// Asks about a join; returns the rights in the room, or a failure for the client.
    pub(crate) async fn ask_join(
        &self,
        namespace: &str,
        user: Option<&str>,
        room: &str,
    ) -> Result<Outcome, Verdict> {
        let question = Question::Join {
            namespace: namespace.into(),
            user: user.map(Into::into),
            room: room.into(),
        };
        let verdict = self.ask(&question, None).await;
        let rights = verdict.rights(user, room);
        rights.map(Outcome::Grant).map_err(|it| self.refused(it))
    }

    /// The verdict for the client. An answer that could be parsed but makes no sense is logged.
    pub(crate) fn refused(&self, refusal: AskRefusal) -> Verdict {
        if let Some(fault) = refusal.fault {
            tracing::warn!(backend = self.name, "[ask]: {fault}");
        }
        refusal.verdict
    }

    pub(crate) fn counts(&self) -> AskerCounts {
        #[allow(clippy::cast_precision_loss)] // Prometheus has floats
        let seconds = self.time_us.load(Relaxed) as f64 / 1e6;
        AskerCounts {
            questions: self.state().ask.counts(),
            requests: self.requests.load(Relaxed),
            seconds,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let client = Rc::new(Client::new(self.settings.url.clone(), self.spans.clone()));
        loop {
            let now = self.clock.now();
            let (poll, is_over) = {
                let mut state = self.state();
                let poll = state.ask.poll(now);
                state.deliver();
                state.is_over = state.ask.is_idle() && self.retired.load(Relaxed);
                (poll, state.is_over)
            };
            let until = match poll {
                AskPoll::Send(request) => {
                    spawn_local(self.clone().send(client.clone(), request));
                    continue;
                }
                AskPoll::WaitUntil(at) => at.saturating_since(now),
                AskPoll::Idle if is_over => return,
                AskPoll::Idle => Duration::from_secs(3600),
            };
            tokio::select! {
                () = sleep(until.max(Duration::from_millis(1))) => {}
                () = self.more.notified() => {}
            }
        }
    }

    async fn send(self: Arc<Self>, client: Rc<Client>, request: AskRequest) {
        let (begun, sent) = (Instant::now(), self.clock.now());
        let left = request.deadline.saturating_since(sent);
        // Callers with the same question share the request, which is linked to the first one's
        // trace.
        let link = {
            let state = self.state();
            let first = state.waiting.get(&request.number);
            first.and_then(|waiting| waiting.link)
        };
        let ask = client.ask(
            &request.request,
            &self.keys,
            self.clock.unix_ms(sent) / 1000,
            link,
        );
        let answered = match timeout(left, ask).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(fault)) if is_broken_answer(&fault) => {
                Err((AskOutcome::Broken, fault.to_string()))
            }
            Ok(Err(fault)) => Err((AskOutcome::Failed, fault.to_string())),
            Err(_) => {
                let fault = format!("no answer within {:?}", self.settings.timeout);
                Err((AskOutcome::Failed, fault))
            }
        };
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Relaxed);
        self.time_us.fetch_add(took, Relaxed);
        let outcome = match &answered {
            Ok((status, body)) => AskOutcome::Answered {
                status: *status,
                body,
            },
            Err((outcome, _)) => *outcome,
        };
        // Without randomness there is no jitter.
        let random = getrandom::u64().unwrap_or_default();
        let now = self.clock.now();
        let unix_s = self.clock.unix_ms(now) / 1000;
        let report = {
            let mut state = self.state();
            let report = state.ask.done(now, unix_s, request.number, outcome, random);
            state.deliver();
            report
        };
        self.note(&report, answered.err().map(|(_, fault)| fault));
        self.more.notify_one();
    }

    /// Logs what an operator should see.
    fn note(&self, report: &AskReport, failure: Option<String>) {
        let backend = &self.name;
        let Some(text) = report.notice(failure.as_deref()) else {
            return;
        };
        match report {
            AskReport::Failed {
                failures,
                pause: Some(_),
                ..
            } => tracing::error!(backend, failures, "[ask]: {text}"),
            AskReport::Failed { failures, .. } => {
                tracing::warn!(backend, failures, "[ask]: {text}");
            }
            AskReport::Unusable {
                count,
                recovered: false,
                ..
            } => tracing::warn!(backend, count, "[ask]: {text}"),
            AskReport::Answered { .. } | AskReport::Unusable { .. } | AskReport::Nothing | _ => {
                tracing::info!(backend, "[ask]: {text}");
            }
        }
    }
}
