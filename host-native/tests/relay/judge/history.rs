//! The history of a client: all that it did and was told, in its order.

use std::{collections::HashMap, sync::Arc};

/// A message, by its publisher and the publisher's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) publisher: u32,
    pub(super) number: u32,
}

/// A position that a client was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) epoch: Arc<str>,
    pub(super) offset: u64,
}

/// A step of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A join was answered.
    Joined(Box<Joined>),
    /// A message came; without an offset where the room keeps no history.
    Message { id: Id, offset: Option<u64> },
    /// A message came whose content nobody published.
    Foreign(Box<str>),
    /// `$gap` came.
    Gap,
    /// A page of the history was read at the end.
    Page {
        epoch: Arc<str>,
        messages: Vec<(u64, Id)>,
    },
    /// A publish was sent for the first time.
    Invoked(u32),
    /// The answer to a publish came.
    Acked { number: u32, offset: Option<u64> },
    /// A request was refused for good.
    Failed(Box<str>),
    /// The users of the room still differed from its clients when the run ended.
    Members(Box<str>),
    /// The run ended before the client had the last messages of all publishers of its room.
    Unfinished,
}

/// The answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) at: Position,
    /// True for a member, which asks for its position.
    pub(super) already: bool,
    /// The position that the client gave, and the messages that it missed since; `None` when they
    /// cannot be had.
    pub(super) since: Option<(Position, Option<u64>)>,
}

/// The history of one client, in one room.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) room: usize,
    /// Its number, when it publishes.
    pub(super) publisher: Option<u32>,
    pub(super) steps: Vec<Step>,
}

/// A period in which a client was told of no loss: it has all messages from the first to the last.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// Unknown behind a gap, until the client has asked.
    pub(super) epoch: Option<Arc<str>>,
    /// The offset before the first message; unknown behind a gap.
    pub(super) from: Option<u64>,
    pub(super) messages: Vec<(Option<u64>, Id)>,
}

impl Stretch {
    /// The offset of the last message, or that of the join.
    pub(super) fn last(&self) -> Option<u64> {
        self.messages.last().map_or(self.from, |last| last.0)
    }

    /// The offsets that it spans, where the room has some.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        let before = match (self.from, self.messages.first()) {
            (Some(from), _) => from,
            (None, Some((offset, _))) => (*offset)?.checked_sub(1)?,
            (None, None) => return None,
        };
        Some((before, self.last()?))
    }
}

/// A violation of what the server promises: its kind, and the details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// The stretches of a client, and what is wrong in its own history.
pub(super) struct Reading {
    pub(super) stretches: Vec<Stretch>,
    pub(super) violations: Vec<Violation>,
    /// Its publishes that were acknowledged.
    pub(super) acked: HashMap<u32, Acked>,
    pub(super) invoked: u32,
    /// Messages that came, gaps, and joins that could not recover.
    pub(super) delivered: u64,
    pub(super) gaps: u64,
    pub(super) unrecovered: u64,
    /// The first of these joins.
    pub(super) first_unrecovered: Option<Box<Joined>>,
}

/// A publish that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acked {
    pub(super) offset: Option<u64>,
    /// True if its publisher was told of a loss before the answer: the message may have a position
    /// on both sides.
    pub(super) is_over_loss: bool,
    /// True if the publisher was told of a loss after the answer: the message may be lost.
    pub(super) is_before_loss: bool,
}

/// A publish that is not answered.
struct Pending {
    number: u32,
    seen: bool,
    /// The number of stretches when it was sent.
    stretches: usize,
}

/// Reads the history of a client by itself.
pub(super) fn read(history: &History) -> Reading {
    let mut reading = Reading {
        stretches: Vec::new(),
        violations: Vec::new(),
        acked: HashMap::new(),
        invoked: 0,
        delivered: 0,
        gaps: 0,
        unrecovered: 0,
        first_unrecovered: None,
    };
    let mut pending: Option<Pending> = None;
    for step in &history.steps {
        match step {
            Step::Joined(joined) => reading.join(joined),
            Step::Message { id, offset } => {
                if let Some(pending) = &mut pending
                    && history.publisher == Some(id.publisher)
                    && pending.number == id.number
                {
                    pending.seen = true;
                }
                reading.take(*id, *offset);
            }
            Step::Foreign(text) => reading.violate("foreign", text.to_string()),
            Step::Gap => {
                reading.gaps += 1;
                reading.begin(Stretch::default());
            }
            Step::Invoked(number) => {
                reading.invoked = reading.invoked.max(number + 1);
                let (seen, stretches) = (false, reading.stretches.len());
                pending = Some(Pending {
                    number: *number,
                    seen,
                    stretches,
                });
            }
            Step::Acked { number, offset } => {
                let pending = pending.take();
                let is_over_loss = pending
                    .as_ref()
                    .is_none_or(|it| it.stretches != reading.stretches.len());
                let acked = Acked {
                    offset: *offset,
                    is_over_loss,
                    is_before_loss: false,
                };
                reading.acked.insert(*number, acked);
                // A member receives its own message before the answer with its position.
                let is_seen = pending.is_none_or(|it| it.seen);
                if offset.is_some() && !is_seen && !is_over_loss {
                    let text =
                        format!("{number} has offset {offset:?}, and its publisher lacks it");
                    reading.violate("unseen", text);
                }
            }
            Step::Failed(code) => reading.violate("refused", code.to_string()),
            Step::Members(text) => reading.violate("members", text.to_string()),
            Step::Unfinished => {
                let text = format!(
                    "{:?} is the last it has",
                    reading.stretches.last().and_then(Stretch::last)
                );
                reading.violate("unfinished", text);
            }
            Step::Page { .. } => {}
        }
    }
    reading
}

impl Reading {
    fn violate(&mut self, kind: &'static str, text: String) {
        self.violations.push(Violation { kind, text });
    }

    /// Begins a stretch after a loss.
    fn begin(&mut self, stretch: Stretch) {
        self.stretches.push(stretch);
        let acked = self.acked.values_mut();
        acked.for_each(|acked| acked.is_before_loss = true);
    }

    fn join(&mut self, joined: &Joined) {
        let Joined { at, already, since } = joined;
        let begins = Stretch {
            epoch: Some(at.epoch.clone()),
            from: Some(at.offset),
            messages: Vec::new(),
        };
        match (since, self.stretches.last_mut()) {
            (None, Some(stretch)) if *already => {
                let epoch = stretch
                    .epoch
                    .get_or_insert_with(|| at.epoch.clone())
                    .clone();
                let keeps = stretch.messages.last().is_none_or(|last| last.0.is_some());
                if stretch.messages.is_empty() && stretch.from.is_none() {
                    stretch.from = Some(at.offset);
                }
                let last = stretch.last();
                if epoch != at.epoch {
                    let text = format!("{epoch} became {} without a gap", at.epoch);
                    self.violate("epoch", text);
                } else if keeps && last != Some(at.offset) {
                    let text = format!("a member with {last:?} is told that it is at {at:?}");
                    self.violate("position", text);
                }
            }
            (Some((since, Some(missed))), Some(stretch)) => {
                let (epoch, last) = (stretch.epoch.clone(), stretch.last());
                let fits = epoch.as_ref() == Some(&at.epoch) && at.offset == since.offset + missed;
                if !fits || last != Some(since.offset) {
                    let text = format!("{missed} missed since {since:?} of {last:?}, at {at:?}");
                    self.violate("recovery", text);
                }
            }
            (since, _) => {
                if since.is_some() {
                    self.unrecovered += 1;
                    self.first_unrecovered
                        .get_or_insert_with(|| Box::new(joined.clone()));
                }
                self.begin(begins);
            }
        }
    }

    fn take(&mut self, id: Id, offset: Option<u64>) {
        self.delivered += 1;
        let Some(stretch) = self.stretches.last_mut() else {
            return self.violate("early", format!("{id:?} before the first join"));
        };
        let last = stretch.last();
        stretch.messages.push((offset, id));
        if let (Some(offset), Some(last)) = (offset, last)
            && offset != last + 1
        {
            let kind = if offset > last { "skipped" } else { "repeated" };
            self.violate(kind, format!("{id:?} at {offset} behind {last}"));
        }
    }
}
