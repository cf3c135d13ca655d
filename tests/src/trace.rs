//! Traces: stories in a text format, with their expected results.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Actor, Answer, Driver, Event, Expect, Known, Op, Settings};

mod bless;
mod parse;

/// The time by which a timed effect of a server may be late. Its end is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// A story of ops, with every frame that they must lead to.
///
/// The first line is a comment that describes the trace. Empty lines and lines that begin with `#`
/// are ignored. `limits rooms_per_connection=2` before the story asks for a server with these
/// [`Settings`], and `rooms chat:* history.messages=3` after it for a policy of rooms. Each other
/// line is an [`Op`], or an event that an actor must see:
///
/// ```text
/// alice gets TEXT
/// alice gets 3 times TEXT
/// alice gets binary 00ff
/// alice gets a ping
/// alice gets nothing
/// alice is closed 4410 "signed out"
/// alice is closed 1009
/// ```
///
/// `TEXT` is the rest of the line, compared byte for byte except for the placeholders of [`Known`];
/// [`expand`](crate::expand) expands its abbreviations. An op of the server side has its expected
/// answer after ` -> `; without that, it must succeed.
///
/// Events after `time passes` are waited for if the driver [may be late](Driver::is_late); with a
/// [relay](Driver::is_relayed) all events are.
///
/// An unexpected event fails the trace at the next step of its actor, or at the end.
///
/// ```
/// use roomcast_tests::Trace;
///
/// let trace = Trace::parse("rooms", r#"
/// ## A connection begins without rooms.
/// alice connects
/// alice sends {"event":"$rooms","id":1}
/// alice gets {"event":"$rooms","id":1,"data":[]}
/// "#)?;
/// trace.run(&mut trace.settings().core())?;
/// # Ok::<(), roomcast_tests::TraceError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trace {
    name: String,
    /// The file from which it was read.
    path: Option<PathBuf>,
    source: String,
    settings: Settings,
    /// Steps with the numbers of their lines, from 1.
    steps: Vec<(usize, Step)>,
}

#[derive(Debug, Clone)]
enum Step {
    Do { op: Box<Op>, answer: Option<String> },
    Sees { actor: Actor, expect: Expect },
    SeesNothing { actor: Actor },
}

/// The error of a trace that cannot be read, or that failed. It prints the trace and the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TraceError {
    name: String,
    source_text: String,
    /// The number of the line, from 1; one past the last for the end of the story.
    pub line: usize,
    /// A description of the fault in that line.
    pub fault: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, line {}:", self.name, self.line)?;
        let fault = |f: &mut fmt::Formatter<'_>| {
            let mut lines = self.fault.lines();
            lines.try_for_each(|line| writeln!(f, "     !! {line}"))
        };
        for (number, line) in (1..).zip(self.source_text.lines()) {
            let mark = if number == self.line { '>' } else { ' ' };
            writeln!(f, "{mark}{number:3} {line}")?;
            if number == self.line {
                fault(f)?;
            }
        }
        if self.line > self.source_text.lines().count() {
            fault(f)?;
        }
        Ok(())
    }
}

impl Trace {
    /// All `.trace` files in a directory, by name.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or is no trace.
    pub fn read_dir(directory: impl AsRef<Path>) -> io::Result<Vec<Self>> {
        let mut traces = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "trace")
            {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let trace = Self::parse(name, fs::read_to_string(&path)?);
                let mut trace = trace.map_err(io::Error::other)?;
                trace.path = Some(path);
                traces.push(trace);
            }
        }
        traces.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(traces)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The limits that the story needs.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The first op that the driver does not support; `None` when it can run the trace.
    pub fn unsupported(&self, driver: &dyn Driver) -> Option<&Op> {
        self.steps.iter().find_map(|(_, step)| match step {
            Step::Do { op, .. } if !driver.supports(op) => Some(&**op),
            Step::Do { .. } | Step::Sees { .. } | Step::SeesNothing { .. } => None,
        })
    }

    /// The time that passes in the story.
    pub fn duration(&self) -> Duration {
        let waits = self.steps.iter().map(|(_, step)| match step {
            Step::Do { op, .. } => {
                let millis = if let Op::Wait { millis } = **op {
                    millis
                } else {
                    0
                };
                Duration::from_millis(millis)
            }
            Step::Sees { .. } | Step::SeesNothing { .. } => Duration::ZERO,
        });
        waits.sum()
    }

    /// Performs the story and compares its results.
    ///
    /// # Errors
    ///
    /// When a result differs from the trace, or the driver fails.
    pub fn run(&self, driver: &mut dyn Driver) -> Result<(), TraceError> {
        let mut run = Performance::new(driver);
        for (line, step) in &self.steps {
            run.step(step).map_err(|fault| self.error(*line, fault))?;
        }
        let actors: Vec<_> = run.inboxes.keys().cloned().collect();
        for actor in actors {
            run.nothing_left(&actor)
                .map_err(|fault| self.error(self.source.lines().count() + 1, fault))?;
        }
        Ok(())
    }

    pub(crate) fn error(&self, line: usize, fault: impl Into<String>) -> TraceError {
        TraceError {
            name: self.name.clone(),
            source_text: self.source.clone(),
            line,
            fault: fault.into(),
        }
    }
}

/// The text of the file.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.source)
    }
}

/// A run of a trace.
struct Performance<'d> {
    driver: &'d mut dyn Driver,
    known: Known,
    /// Events that no step has expected yet.
    inboxes: BTreeMap<Actor, VecDeque<Event>>,
    /// The end of the time for which late events are waited for.
    late: Option<Instant>,
}

impl<'d> Performance<'d> {
    fn new(driver: &'d mut dyn Driver) -> Self {
        let known = Known::default().with_relay(driver.is_relayed());
        Self {
            known: known.with_several(driver.is_divided()),
            driver,
            inboxes: BTreeMap::new(),
            late: None,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Do { op, answer } => {
                let op = &**op;
                let mut done = self.perform(op, answer.as_deref());
                // The end of a room is not reported to anybody: lists must be requested again.
                if matches!(op, Op::ListRooms { .. } | Op::ListConnections { .. }) {
                    while done.is_err() && self.is_waiting() {
                        self.pause()?;
                        done = self.perform(op, answer.as_deref());
                    }
                } else {
                    let waited = matches!(op, Op::Wait { .. }) && self.driver.is_late();
                    let waited = waited || self.driver.is_relayed();
                    self.late = waited.then(|| Instant::now() + PATIENCE);
                }
                done
            }
            Step::SeesNothing { actor } => self.nothing_left(actor),
            Step::Sees { actor, expect } => {
                let is_empty = |inbox: &VecDeque<_>| inbox.is_empty();
                while self.inboxes.get(actor).is_none_or(is_empty) && self.is_waiting() {
                    self.pause()?;
                }
                let got = self.inboxes.get_mut(actor).and_then(VecDeque::pop_front);
                if let Some(got) = &got
                    && self.known.fits(actor, expect, got)
                {
                    if matches!(got, Event::Closed { .. } | Event::Lost) {
                        self.known.ended(actor);
                    }
                    return Ok(());
                }
                let expected = cut(&self.known.fill(&expect.to_string()));
                let got = got.map_or("gets nothing".into(), |got| cut(&got.to_string()));
                Err(format!(
                    "expected: {actor} {expected}\n     got: {actor} {got}"
                ))
            }
        }
    }

    fn perform(&mut self, op: &Op, expected: Option<&str>) -> Result<(), String> {
        if let Some(actor) = op.client() {
            self.nothing_left(actor)?;
        }
        let (home, answer) = self.act(op)?;
        let got = answer.to_string();
        match expected {
            Some(expected) if self.known.answers(op, &home, expected, &got) => Ok(()),
            Some(expected) => {
                let expected = self.known.fill(expected);
                Err(format!("expected: -> {expected}\n     got: -> {got}"))
            }
            None if answer.status == 200 => Ok(()),
            None => Err(format!("refused: {got}")),
        }
    }

    /// Performs the op; returns the namespace that answers, and the answer.
    fn act(&mut self, op: &Op) -> Result<(String, Answer), String> {
        if let Some(actor) = op.client() {
            self.inboxes.entry(actor.clone()).or_default();
        }
        let home = self.known.namespace_of(op);
        let addressed = self.known.address(op);
        let answer = self.driver.perform(&addressed);
        let answer = answer.map_err(|fault| fault.to_string())?;
        if let Op::Connect { actor, .. } = op
            && let Some(id) = self.driver.conn(actor)
        {
            self.known.connected(actor, &home, id);
        }
        if let Op::Disconnect { actor } | Op::Vanish { actor } = op {
            self.known.ended(actor);
        }
        if let Op::Crash = op {
            for actor in self.known.actors() {
                self.known.ended(&actor);
            }
        }
        self.take_all();
        Ok((home, answer))
    }

    fn take_all(&mut self) {
        for (actor, inbox) in &mut self.inboxes {
            inbox.extend(self.driver.take(actor));
        }
    }

    /// True while expected events may still come.
    fn is_waiting(&self) -> bool {
        self.late.is_some_and(|late| Instant::now() < late)
    }

    /// Lets a moment pass, and reads the events of it.
    fn pause(&mut self) -> Result<(), String> {
        let moment = self.driver.perform(&Op::Wait { millis: 1 });
        moment.map_err(|fault| fault.to_string())?;
        self.take_all();
        Ok(())
    }

    fn nothing_left(&self, actor: &Actor) -> Result<(), String> {
        match self.inboxes.get(actor).and_then(VecDeque::front) {
            Some(event) => Err(format!("unexpected: {actor} {}", cut(&event.to_string()))),
            None => Ok(()),
        }
    }
}

/// Cuts a line to a readable length.
fn cut(line: &str) -> String {
    const CHARS_MAX: usize = 400;
    match line.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}... ({} bytes)", &line[..at], line.len()),
        None => line.into(),
    }
}
