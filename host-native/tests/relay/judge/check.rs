//! The judge of a run: it compares the histories of all clients.
//!
//! Each acknowledged message reached every member of its room once, in one order, unless the member
//! was told of a loss that covers it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use super::history::{Acked, History, Id, Reading, Step, Stretch, Violation, read};

/// Violations of one kind that are kept.
const KEPT: usize = 5;

/// The promise that a run must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Losses are reported.
    Told,
    /// Nothing is lost.
    Whole,
}

/// The figures of a run, and the violations.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) publishes: u64,
    pub(super) acked: u64,
    pub(super) delivered: u64,
    pub(super) gaps: u64,
    pub(super) unrecovered: u64,
    /// Acknowledged messages that a reported loss took from some member.
    pub(super) covered: u64,
    /// The covered messages that were published before a gap and acknowledged after it: a retry got
    /// the answer of the first attempt.
    pub(super) late: u64,
    /// Messages that got a second position after the relay had lost the first.
    pub(super) again: u64,
    pub(super) violations: BTreeMap<&'static str, (u64, Vec<String>)>,
}

impl Verdict {
    pub(super) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    fn add(&mut self, violation: Violation) {
        let (count, texts) = self.violations.entry(violation.kind).or_default();
        *count += 1;
        if texts.len() < KEPT {
            texts.push(violation.text);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "publishes      {:>8}", self.publishes)?;
        writeln!(f, "acknowledged   {:>8}", self.acked)?;
        writeln!(f, "in doubt       {:>8}", self.publishes - self.acked)?;
        writeln!(f, "delivered      {:>8}", self.delivered)?;
        writeln!(f, "gaps told      {:>8}", self.gaps)?;
        writeln!(f, "not recovered  {:>8}", self.unrecovered)?;
        writeln!(f, "lost and told  {:>8}", self.covered)?;
        writeln!(
            f,
            "acknowledged   {:>8}  of these behind the gap",
            self.late
        )?;
        writeln!(
            f,
            "placed twice   {:>8}  over a loss of the relay",
            self.again
        )?;
        let count: u64 = self.violations.values().map(|(count, _)| count).sum();
        writeln!(f, "violations     {count:>8}")?;
        for (kind, (count, texts)) in &self.violations {
            writeln!(f, "  {kind}: {count}")?;
            for text in texts {
                writeln!(f, "    {text}")?;
            }
        }
        Ok(())
    }
}

/// A page of a history: its epoch, and offsets with messages.
type Page<'a> = (&'a Arc<str>, &'a [(u64, Id)]);

/// Positions of messages in one room, by epoch and offset.
#[derive(Default)]
struct Positions {
    ids: HashMap<(Arc<str>, u64), Id>,
    /// All that members got, with and without an offset.
    seen: HashSet<Id>,
    of: HashMap<Id, Vec<(Arc<str>, u64)>>,
    /// Offsets of messages that an epoch inherited from the one before it.
    kept: HashMap<(Arc<str>, Id), u64>,
}

/// Judges the histories of all clients.
pub(super) fn judge(histories: &[History], promise: Promise) -> Verdict {
    let mut verdict = Verdict::default();
    let mut rooms: BTreeMap<usize, Vec<(usize, Reading)>> = BTreeMap::new();
    let mut pages: BTreeMap<usize, Vec<Page<'_>>> = BTreeMap::new();
    for (client, history) in histories.iter().enumerate() {
        let mut reading = read(history);
        for violation in std::mem::take(&mut reading.violations) {
            let text = format!(
                "client {client} in room {}: {}",
                history.room, violation.text
            );
            verdict.add(Violation { text, ..violation });
        }
        verdict.publishes += u64::from(reading.invoked);
        verdict.acked += reading.acked.len() as u64;
        verdict.delivered += reading.delivered;
        verdict.gaps += reading.gaps;
        verdict.unrecovered += reading.unrecovered;
        if promise == Promise::Whole && reading.gaps + reading.unrecovered > 0 {
            let (gaps, joined) = (reading.gaps, &reading.first_unrecovered);
            let text = format!("client {client} was told of {gaps} gaps; {joined:?}");
            verdict.add(Violation { kind: "lost", text });
        }
        let pages = pages.entry(history.room).or_default();
        for step in &history.steps {
            if let Step::Page { epoch, messages } = step {
                pages.push((epoch, messages.as_slice()));
            }
        }
        rooms
            .entry(history.room)
            .or_default()
            .push((client, reading));
    }
    for (room, readings) in &rooms {
        let publishers: HashMap<u32, &Reading> = readings
            .iter()
            .filter_map(|(client, reading)| Some((histories[*client].publisher?, reading)))
            .collect();
        let pages = pages.remove(room).unwrap_or_default();
        judge_room(readings, &publishers, &pages, promise, &mut verdict);
    }
    verdict
}

fn judge_room(
    readings: &[(usize, Reading)],
    publishers: &HashMap<u32, &Reading>,
    pages: &[Page<'_>],
    promise: Promise,
    verdict: &mut Verdict,
) {
    let mut positions = Positions::default();
    let mut twice = HashSet::new();
    for (_, reading) in readings {
        let mut before = HashSet::new();
        for stretch in &reading.stretches {
            for (offset, id) in &stretch.messages {
                positions.seen.insert(*id);
                if let (Some(epoch), Some(offset)) = (&stretch.epoch, offset) {
                    positions.add(epoch, *offset, *id, verdict);
                }
            }
            let ids: HashSet<Id> = stretch.messages.iter().map(|it| it.1).collect();
            twice.extend(ids.intersection(&before).copied());
            before.extend(ids);
        }
    }
    for (epoch, messages) in pages {
        for (offset, id) in *messages {
            positions.add_kept(epoch, *offset, *id, verdict);
        }
    }
    let placed_twice = positions.of.iter().filter(|(_, of)| of.len() > 1);
    twice.extend(placed_twice.map(|(id, _)| *id));
    for (client, reading) in readings {
        for stretch in &reading.stretches {
            judge_stretch(*client, stretch, publishers, &twice, verdict);
        }
    }
    let again = positions.of.values().filter(|of| of.len() > 1).count();
    verdict.again += again as u64;
    if promise == Promise::Whole && again > 0 {
        let text = format!("{again} messages have two positions");
        verdict.add(Violation {
            kind: "twice",
            text,
        });
    }
    for (publisher, reading) in publishers {
        for (number, acked) in &reading.acked {
            let id = Id {
                publisher: *publisher,
                number: *number,
            };
            judge_acked((id, *acked), readings, &positions, promise, verdict);
        }
    }
    if let Some(cycle) = disorder(readings) {
        let text = format!("members disagree about the order of {cycle:?}");
        verdict.add(Violation {
            kind: "order",
            text,
        });
    }
}

impl Positions {
    fn add(&mut self, epoch: &Arc<str>, offset: u64, id: Id, verdict: &mut Verdict) {
        let place = (epoch.clone(), offset);
        match self.ids.get(&place) {
            Some(other) if *other == id => {}
            Some(other) => {
                let text = format!("{other:?} and {id:?} are both at {offset} of {epoch}");
                verdict.add(Violation {
                    kind: "conflict",
                    text,
                });
            }
            None => {
                self.ids.insert(place.clone(), id);
                let of = self.of.entry(id).or_default();
                let given = of.iter().find(|(of, _)| of == epoch).map(|it| it.1);
                let kept = self.kept.get(&(epoch.clone(), id)).copied();
                if let Some(other) = given.or(kept) {
                    let text = format!("{id:?} is at {other} and at {offset} of {epoch}");
                    verdict.add(Violation {
                        kind: "twice",
                        text,
                    });
                }
                of.push(place);
            }
        }
    }

    /// Adds a message of a page. An epoch continues from what the one before it kept.
    fn add_kept(&mut self, epoch: &Arc<str>, offset: u64, id: Id, verdict: &mut Verdict) {
        let place = (epoch.clone(), offset);
        let of = self.of.get(&id).map_or(&[][..], Vec::as_slice);
        let is_kept = of.iter().any(|of| of.1 == offset) && of.iter().all(|of| of.0 != *epoch);
        let is_new =
            !self.ids.contains_key(&place) && !self.kept.contains_key(&(epoch.clone(), id));
        if is_kept && is_new {
            self.ids.insert(place, id);
            self.kept.insert((epoch.clone(), id), offset);
        } else {
            self.add(epoch, offset, id, verdict);
        }
    }
}

/// Judges a stretch without losses of one client: each message once, those of a publisher in order,
/// and none missing between two. A message with positions before and after a loss may be late: a
/// stopped server still executes its pending requests.
fn judge_stretch(
    client: usize,
    stretch: &Stretch,
    publishers: &HashMap<u32, &Reading>,
    twice: &HashSet<Id>,
    verdict: &mut Verdict,
) {
    let mut last: HashMap<u32, u32> = HashMap::new();
    for (_, id) in &stretch.messages {
        let Some(publisher) = publishers.get(&id.publisher) else {
            let text = format!("client {client} has {id:?}, whose publisher is elsewhere");
            verdict.add(Violation {
                kind: "foreign",
                text,
            });
            continue;
        };
        if id.number >= publisher.invoked {
            let text = format!("client {client} has {id:?}, which nobody published");
            verdict.add(Violation {
                kind: "foreign",
                text,
            });
        }
        let before = last.get(&id.publisher).copied();
        if twice.contains(id) && before > Some(id.number) {
            continue;
        }
        last.insert(id.publisher, id.number);
        let Some(before) = before else {
            continue;
        };
        if before >= id.number {
            let kind = if before == id.number {
                "twice"
            } else {
                "order"
            };
            let text = format!("client {client} has {id:?} behind {before} of that publisher");
            verdict.add(Violation { kind, text });
        }
        for missing in before + 1..id.number {
            if publisher.acked.contains_key(&missing) {
                let text = format!("client {client} lacks {missing} of {}", id.publisher);
                verdict.add(Violation {
                    kind: "missing",
                    text,
                });
            }
        }
    }
}

/// Judges a message that was acknowledged, by its place.
fn judge_acked(
    (id, acked): (Id, Acked),
    readings: &[(usize, Reading)],
    positions: &Positions,
    promise: Promise,
    verdict: &mut Verdict,
) {
    let Some(of) = positions.of.get(&id) else {
        // Nobody received it: its publisher and its neighbours show whether the loss was reported.
        verdict.covered += 1;
        if !acked.is_before_loss && !positions.seen.contains(&id) {
            if acked.is_over_loss {
                verdict.late += 1;
            } else {
                let text = format!("{id:?} was acknowledged behind the last gap, and is nowhere");
                let kind = "nowhere";
                verdict.add(Violation { kind, text });
            }
        }
        // The final pages are read after the last publish, so one of them would contain it.
        if promise == Promise::Whole {
            let text = format!("{id:?} was acknowledged, and is nowhere");
            verdict.add(Violation { kind: "lost", text });
        }
        return;
    };
    if let Some(offset) = acked.offset
        && !acked.is_over_loss
        && of.iter().all(|(_, place)| *place != offset)
    {
        let text = format!("{id:?} was acknowledged at {offset}, and is at {of:?}");
        verdict.add(Violation {
            kind: "offset",
            text,
        });
    }
    let mut is_covered = false;
    for (epoch, offset) in of {
        for (client, reading) in readings {
            let in_epoch = reading
                .stretches
                .iter()
                .filter(|stretch| stretch.epoch.as_ref() == Some(epoch));
            let first = reading.stretches.first();
            let is_before = |stretch: &Stretch| {
                let from = stretch.span().map_or(stretch.from, |span| Some(span.0));
                stretch.epoch.as_ref() == Some(epoch) && from.is_none_or(|from| *offset <= from)
            };
            // A member is not owed messages from before its join.
            let mut has = first.is_some_and(is_before);
            for stretch in in_epoch {
                let Some((from, to)) = stretch.span() else {
                    continue;
                };
                if !(from + 1..=to).contains(offset) {
                    continue;
                }
                let at = usize::try_from(offset - from - 1).expect("a few");
                has = stretch.messages.get(at).is_some_and(|found| found.1 == id);
                if !has {
                    let text = format!("client {client} lacks {id:?} at {offset} of {epoch}");
                    verdict.add(Violation {
                        kind: "missing",
                        text,
                    });
                }
            }
            is_covered |= !has;
        }
    }
    verdict.covered += u64::from(is_covered);
}

/// Finds messages in a different order at different members: a cycle of "before" in one epoch.
fn disorder(readings: &[(usize, Reading)]) -> Option<Vec<Id>> {
    let mut below: HashMap<(&str, Id), HashSet<Id>> = HashMap::new();
    let mut above: HashMap<(&str, Id), usize> = HashMap::new();
    for stretch in readings.iter().flat_map(|(_, reading)| &reading.stretches) {
        let Some(epoch) = stretch.epoch.as_deref() else {
            continue;
        };
        for pair in stretch.messages.windows(2) {
            let [before, after] = [pair[0].1, pair[1].1];
            above.entry((epoch, before)).or_default();
            // Duplicates are reported elsewhere.
            let is_new = before != after && below.entry((epoch, before)).or_default().insert(after);
            if is_new {
                *above.entry((epoch, after)).or_default() += 1;
            }
        }
    }
    let free = above.iter().filter(|it| *it.1 == 0);
    let mut free: Vec<_> = free.map(|it| *it.0).collect();
    while let Some(message) = free.pop() {
        above.remove(&message);
        for id in below.get(&message).into_iter().flatten() {
            let next = (message.0, *id);
            let count = above.get_mut(&next).expect("it is below one");
            *count -= 1;
            if *count == 0 {
                free.push(next);
            }
        }
    }
    let mut left: Vec<Id> = above.into_keys().map(|(_, id)| id).collect();
    left.sort_unstable();
    left.truncate(KEPT);
    Some(left).filter(|left| !left.is_empty())
}
