//! Frames that a client is owed, in order, and which of them may be dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomcast_core::policy::Overflow;
use roomcast_tests::Actor;

/// A connection, until the client knows that it ended.
pub(crate) struct Link {
    pub(crate) id: u64,
    /// The server is done with it.
    pub(crate) ended: bool,
    pub(crate) stalled: bool,
    /// Frames on their way to the client, in order.
    pub(crate) due: VecDeque<Due>,
    /// Rooms with dropped messages that it was not told of, by the first dropped offset.
    pub(crate) unmarked: BTreeMap<String, u64>,
    /// The close code, when the client was told that the server closes.
    pub(crate) bye: Option<u64>,
}

/// A frame that it must get.
#[derive(Debug)]
pub(crate) enum Due {
    Answer {
        id: u64,
        room: String,
        answer: Answer,
    },
    Said(Said),
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// The answer to a join: the position then, and the number of messages that follow when it goes
    /// on.
    Joined {
        epoch: String,
        top: u64,
        /// Behind which offset, and how many.
        missed: Option<(u64, usize)>,
        data: String,
    },
    /// The answer to another request.
    Data(String),
    /// The answer to `$members`: who is there, or how many.
    Members {
        list: Option<BTreeSet<String>>,
        users: u64,
        conns: u64,
    },
    Rejected(&'static str),
}

/// A message.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) said: u64,
    pub(crate) room: Option<String>,
    pub(crate) event: String,
    pub(crate) offset: Option<u64>,
    /// All of it.
    pub(crate) frame: String,
    pub(crate) replayed: bool,
    /// True when the client knows that it may have lost it.
    pub(crate) told: bool,
    /// The way in which it may be dropped; `Close` when it may not.
    pub(crate) overflow: Overflow,
}

impl Link {
    pub(crate) const fn new(id: u64) -> Self {
        Self {
            id,
            ended: false,
            stalled: false,
            due: VecDeque::new(),
            unmarked: BTreeMap::new(),
            bye: None,
        }
    }

    /// Removes a received frame from the frames due. Those before it must have been dropped
    /// rightfully.
    pub(crate) fn take(&mut self, is_it: impl Fn(&Due) -> bool, frame: &str) -> Option<Due> {
        let at = self.due.iter().position(is_it)?;
        for _ in 0..at {
            let lost = self.due.pop_front();
            let Some(Due::Said(lost)) = lost else {
                panic!("I24: {lost:?} was dropped before {frame}");
            };
            self.i13_dropped_by_right(&lost, frame);
        }
        self.due.pop_front()
    }

    fn i13_dropped_by_right(&mut self, lost: &Said, frame: &str) {
        let room = lost.room.clone().unwrap_or_default();
        match lost.overflow {
            Overflow::Close => panic!("I13: {lost:?} was dropped before {frame}"),
            Overflow::DropOldest if lost.told => {}
            Overflow::DropOldest => {
                let offset = lost.offset.unwrap_or_default();
                self.unmarked.entry(room).or_insert(offset);
            }
            Overflow::Latest => {
                let newer = self.due.iter().any(|due| {
                    let Due::Said(due) = due else {
                        return false;
                    };
                    (&due.room, &due.event) == (&lost.room, &lost.event) && !due.replayed
                });
                assert!(newer, "I13: {lost:?} was the latest, and dropped");
            }
        }
    }

    /// A client that reads has all messages, except for those that were dropped by right.
    pub(crate) fn i13_i24_nothing_is_missing(&mut self, actor: &Actor) {
        while let Some(due) = self.due.pop_front() {
            let Due::Said(lost) = due else {
                panic!("I24: {actor} never got {due:?}");
            };
            self.i13_dropped_by_right(&lost, "the end");
        }
        assert!(
            self.unmarked.is_empty(),
            "I13: {actor} was not told what it lost in {:?}",
            self.unmarked
        );
    }
}
