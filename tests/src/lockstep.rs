//! A driver and the model, side by side.

use std::fmt;

use roomcast_core::{Limits, Policies};

use crate::{Actor, Answer, Driver, Event, Known, Model, Op};

/// Performs every op on a driver and on the [`Model`], and compares what each actor got.
///
/// ```
/// use roomcast_tests::{Core, Lockstep, Settings};
///
/// let limits = Settings::default().limits();
/// let mut world = Lockstep::new(Core::new(&limits), &limits);
/// world.perform(&"alice connects".parse()?)?;
/// let seen = world.perform(&r#"alice sends {"event":"$rooms","id":1}"#.parse()?)?;
/// let frames: Vec<_> = seen.frames().collect();
/// assert_eq!(frames, [(&"alice".into(), r#"{"event":"$rooms","id":1,"data":[]}"#)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lockstep<D> {
    driver: D,
    model: Model,
    known: Known,
    story: Vec<String>,
}

/// Results of one op, the same in the driver and in the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The answer to the server side.
    pub answer: Answer,
    /// Events of each actor, in order for each.
    pub events: Vec<(Actor, Event)>,
}

impl Seen {
    /// The text messages among the events.
    pub fn frames(&self) -> impl Iterator<Item = (&Actor, &str)> {
        self.events.iter().filter_map(|(actor, event)| match event {
            Event::Text(text) => Some((actor, &**text)),
            Event::Binary(_) | Event::Ping | Event::Closed { .. } | Event::Lost => None,
        })
    }
}

/// A difference between the driver and the model. It prints the story so far, as a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// The story up to the op that went wrong.
    pub story: Vec<String>,
    /// Events and answers that should have followed.
    pub expected: Vec<String>,
    /// Events and answers that did follow.
    pub got: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.story {
            writeln!(f, "{line}")?;
        }
        let mut part = |title: &str, lines: &[String]| {
            writeln!(f, "# {title}:")?;
            match lines {
                [] => writeln!(f, "#     nothing"),
                _ => lines
                    .iter()
                    .try_for_each(|line| writeln!(f, "#     {line}")),
            }
        };
        part("expected", &self.expected)?;
        part("got", &self.got)
    }
}

impl<D: Driver> Lockstep<D> {
    /// A fresh driver beside a model with the driver's limits.
    pub fn new(driver: D, limits: &Limits) -> Self {
        Self {
            driver,
            model: Model::new(limits),
            known: Known::default(),
            story: Vec::new(),
        }
    }

    /// The same with these room policies, which are the driver's too.
    #[must_use]
    pub fn with_policies(mut self, policies: &Policies) -> Self {
        self.model = self.model.with_policies(policies);
        self
    }

    /// The driver, for actions that are not ops. Their events belong to the next op.
    pub const fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// The driver.
    pub const fn driver(&self) -> &D {
        &self.driver
    }

    /// The model.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The ops so far, as the lines of a trace.
    pub fn story(&self) -> &[String] {
        &self.story
    }

    /// The op, with the driver's ids and epochs in place of placeholders.
    pub fn addressed(&self, op: &Op) -> Op {
        self.known.address(op)
    }

    /// Performs the op on both sides.
    ///
    /// # Errors
    ///
    /// When the two disagree, or the driver fails.
    pub fn perform(&mut self, op: &Op) -> Result<Seen, Mismatch> {
        self.story.push(op.to_string());
        let prediction = self.model.perform(op);
        let answer = match self.driver.perform(&self.known.address(op)) {
            Ok(answer) => answer,
            Err(fault) => return Err(self.mismatch(Vec::new(), vec![fault.to_string()])),
        };
        if let Op::Connect { actor, .. } = op
            && let (Some(home), Some(id)) =
                (self.model.namespace_of(actor), self.driver.conn(actor))
        {
            self.known.connected(actor, home, id);
        }
        let namespace = self.known.namespace_of(op);
        let answered = prediction.answer.status == answer.status
            && self
                .known
                .matches(&namespace, &prediction.answer.body, &answer.body);
        if !answered {
            let line = |answer: &Answer| vec![format!("-> {answer}")];
            return Err(self.mismatch(line(&prediction.answer), line(&answer)));
        }
        let mut events = Vec::new();
        for actor in &self.known.actors() {
            let got = self.driver.take(actor);
            let expected = prediction.events.iter().filter(|(to, _)| to == actor);
            let expected: Vec<_> = expected.map(|(_, event)| event).collect();
            let mut pairs = got.iter().zip(&expected);
            let same = got.len() == expected.len()
                && pairs.all(|(got, expected)| self.known.fits(actor, expected, got));
            if !same {
                let expected = expected.iter().map(|event| {
                    let line = format!("{actor} {event}");
                    self.known.fill(&line).into_owned()
                });
                let got = got.iter().map(|event| format!("{actor} {event}"));
                return Err(self.mismatch(expected.collect(), got.collect()));
            }
            if !self.model.is_connected(actor) {
                self.known.ended(actor);
            }
            events.extend(got.into_iter().map(|event| (actor.clone(), event)));
        }
        Ok(Seen { answer, events })
    }

    fn mismatch(&self, expected: Vec<String>, got: Vec<String>) -> Mismatch {
        Mismatch {
            story: self.story.clone(),
            expected,
            got,
        }
    }
}
