//! Traces that are written from actual results.

use std::{env, fmt::Write, fs};

use super::{Performance, Step, Trace, TraceError};
use crate::{Actor, Driver, Event, Op, escape::escape};

/// The environment variable that, with the value `1`, makes [`Trace::check`] write traces.
const BLESS: &str = "ROOMCAST_BLESS";

impl Trace {
    /// A trace that has only the ops of a story, such as one that a property test shrank;
    /// [`bless`](Self::bless) adds their results. `shows` is its first line.
    ///
    /// ```
    /// use roomcast_tests::{Op, Trace};
    ///
    /// let story: Vec<Op> = vec![
    ///     "ann connects".parse()?,
    ///     r#"ann sends {"event":"$rooms","id":1}"#.parse()?,
    /// ];
    /// let trace = Trace::from_story("rooms", "A connection begins without rooms.", &story)?;
    /// let trace = trace.bless(&mut trace.settings().core())?;
    /// assert_eq!(
    ///     trace.to_string(),
    ///     r#"# A connection begins without rooms.
    /// ann connects
    /// ann sends {"event":"$rooms","id":1}
    /// ann gets {"event":"$rooms","id":1,"data":[]}
    /// "#
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When an op cannot be written as a line.
    pub fn from_story<'o>(
        name: impl Into<String>,
        shows: &str,
        story: impl IntoIterator<Item = &'o Op>,
    ) -> Result<Self, TraceError> {
        let mut source = format!("# {}\n", escape(shows));
        for op in story {
            let _ = writeln!(source, "{op}");
        }
        Self::parse(name, source)
    }

    /// Performs the ops of the trace, and returns the trace with actual results in place of the
    /// expected ones.
    ///
    /// Comments, settings, the order of lines, and each line that fits are kept. In new lines, ids
    /// of connections, epochs, the texts of errors and times become placeholders of
    /// [`Known`](crate::Known). Review the result before you keep it: it records actual behaviour,
    /// right or wrong.
    ///
    /// # Errors
    ///
    /// When the driver fails, or [may be late](Driver::is_late): late events would be missing.
    pub fn bless(&self, driver: &mut dyn Driver) -> Result<Self, TraceError> {
        if driver.is_late() {
            return Err(self.error(1, "only a driver whose clock can be moved blesses a trace"));
        }
        let mut scribe = Scribe {
            run: Performance::new(driver),
            lines: Vec::new(),
        };
        for (number, line) in (1..).zip(self.source.lines()) {
            let steps = self.steps.iter().filter(|(at, _)| *at == number);
            let steps: Vec<_> = steps.map(|(_, step)| step).collect();
            let Some(&first) = steps.first() else {
                scribe.lines.push(line.into());
                continue;
            };
            match first {
                Step::Do { op, answer } => {
                    let written = scribe.perform(line, op, answer.as_deref());
                    written.map_err(|fault| self.error(number, fault))?;
                    for actor in scribe.waiting() {
                        if !self.tells_later(&actor, number) {
                            scribe.write_all(&actor);
                        }
                    }
                }
                Step::SeesNothing { actor } => scribe.sees_nothing(line, actor),
                Step::Sees { actor, .. } => {
                    scribe.sees(line, actor, &steps);
                    if !self.tells_later(actor, number) {
                        scribe.write_all(actor);
                    }
                }
            }
        }
        for actor in scribe.waiting() {
            scribe.write_all(&actor);
        }
        let blessed = Self::parse(self.name.clone(), scribe.lines.join("\n"))?;
        let path = self.path.clone();
        Ok(Self { path, ..blessed })
    }

    /// [Runs](Self::run) the trace, and returns it. With `ROOMCAST_BLESS=1` in the environment, the
    /// trace is [blessed](Self::bless) instead, and written to the file from which it was read.
    ///
    /// # Errors
    ///
    /// As for [`run`](Self::run) and [`bless`](Self::bless), and when the file cannot be written.
    pub fn check(&self, driver: &mut dyn Driver) -> Result<Self, TraceError> {
        if env::var(BLESS).as_deref() != Ok("1") {
            return self.run(driver).map(|()| self.clone());
        }
        let blessed = self.bless(driver)?;
        if let Some(path) = &self.path
            && blessed.source != self.source
        {
            let written = fs::write(path, blessed.to_string());
            written.map_err(|fault| self.error(1, fault.to_string()))?;
        }
        Ok(blessed)
    }

    /// True when a later line expects an event of the actor before the actor acts again.
    fn tells_later(&self, actor: &Actor, number: usize) -> bool {
        let later = self.steps.iter().filter(|(at, _)| *at > number);
        let mut told = later.filter_map(|(_, step)| match step {
            Step::Do { op, .. } => (op.client() == Some(actor)).then_some(false),
            Step::Sees { actor: who, .. } | Step::SeesNothing { actor: who } => {
                (who == actor).then_some(true)
            }
        });
        told.next().unwrap_or_default()
    }
}

/// A trace that is being written.
struct Scribe<'d> {
    run: Performance<'d>,
    lines: Vec<String>,
}

impl Scribe<'_> {
    fn perform(&mut self, line: &str, op: &Op, expected: Option<&str>) -> Result<(), String> {
        if let Some(actor) = op.client() {
            self.write_all(actor);
        }
        self.run.known.said(op);
        let (home, answer) = self.run.act(op)?;
        let got = answer.to_string();
        let fits = match expected {
            Some(expected) => self.run.known.matches(&home, expected, &got),
            // A list is always written with its answer, which is its purpose.
            None => {
                let lists = matches!(op, Op::ListRooms { .. } | Op::ListConnections { .. });
                answer.status == 200 && !lists
            }
        };
        if fits {
            self.lines.push(line.into());
            return Ok(());
        }
        let bare = expected.map(|expected| format!(" -> {expected}"));
        let bare = bare.and_then(|tail| line.strip_suffix(&*tail));
        let got = self.run.known.pattern(&home, &got);
        self.lines
            .push(format!("{} -> {got}", bare.unwrap_or(line)));
        Ok(())
    }

    fn sees_nothing(&mut self, line: &str, actor: &Actor) {
        if self
            .run
            .inboxes
            .get(actor)
            .is_none_or(|inbox| inbox.is_empty())
        {
            self.lines.push(line.into());
        } else {
            self.write_all(actor);
        }
    }

    /// Keeps a line if it fits the next events, or writes these events instead.
    fn sees(&mut self, line: &str, actor: &Actor, steps: &[&Step]) {
        let inbox = self.run.inboxes.entry(actor.clone()).or_default();
        let count = steps.len().min(inbox.len());
        let events: Vec<_> = inbox.drain(..count).collect();
        let known = &mut self.run.known;
        let fits = count == steps.len()
            && steps.iter().zip(&events).all(|(step, event)| {
                matches!(step, Step::Sees { expect, .. } if known.fits(actor, expect, event))
            });
        if fits {
            self.lines.push(line.into());
            events.iter().for_each(|event| self.ended(actor, event));
        } else {
            events.iter().for_each(|event| self.write(actor, event));
        }
    }

    /// Actors with events that no line has expected yet.
    fn waiting(&self) -> Vec<Actor> {
        let waiting = self
            .run
            .inboxes
            .iter()
            .filter(|(_, inbox)| !inbox.is_empty());
        waiting.map(|(actor, _)| actor.clone()).collect()
    }

    fn write_all(&mut self, actor: &Actor) {
        let events = self.run.inboxes.get_mut(actor).map(std::mem::take);
        for event in events.unwrap_or_default() {
            self.write(actor, &event);
        }
    }

    fn write(&mut self, actor: &Actor, event: &Event) {
        self.lines.push(self.run.known.line(actor, event));
        self.ended(actor, event);
    }

    fn ended(&mut self, actor: &Actor, event: &Event) {
        if matches!(event, Event::Closed { .. } | Event::Lost) {
            self.run.known.ended(actor);
        }
    }
}
