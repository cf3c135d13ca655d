//! Outcomes of recoveries, counted for operators.

use super::history::History;

/// Declares the outcomes, each with the value of its label.
macro_rules! outcomes {
    ($($(#[$doc:meta])* $outcome:ident = $label:literal;)*) => {
        /// The outcome of a join that asked for missed messages. The set is fixed: nothing that a
        /// client sends becomes a label.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RecoveryOutcome {
            $($(#[$doc])* $outcome,)*
        }

        impl RecoveryOutcome {
            /// All outcomes, each at the place that [`index`](Self::index) gives.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$outcome),*];

            /// The value of the label.
            pub const fn as_str(self) -> &'static str {
                [$($label),*][self.index()]
            }

            /// The place in [`ALL`](Self::ALL), for a table of counters.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

outcomes! {
    /// The client has everything, even if it had missed nothing.
    Recovered = "recovered";
    /// The client may not read the history of the room.
    Right = "right";
    /// The room keeps no history.
    NoHistory = "no_history";
    /// The history has restarted: the client's position has another epoch.
    Epoch = "epoch";
    /// The client's position is one that the room has not reached.
    Ahead = "ahead";
    /// Messages that it missed were dropped: they were too many, too large or too old for the
    /// policy of the room, or for the memory of all histories.
    Dropped = "dropped";
    /// More messages, or bytes, were missed than one join replays.
    TooMany = "too_many";
}

impl RecoveryOutcome {
    /// The reason why a position is none to recover from.
    #[cold]
    pub(crate) fn lost(history: &History, epoch: &str, offset: u64) -> Self {
        let position = history.position();
        if *position.epoch != *epoch {
            Self::Epoch
        } else if offset > position.offset {
            Self::Ahead
        } else {
            Self::Dropped
        }
    }
}

/// The number of recoveries since a hub started, by outcome. Counters for operators: not part of
/// the state, so that they restart at zero in a restored hub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recoveries {
    counts: [u64; RecoveryOutcome::ALL.len()],
    total: u64,
}

impl Recoveries {
    /// All recoveries.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Recoveries with an outcome.
    pub const fn count(&self, outcome: RecoveryOutcome) -> u64 {
        self.counts[outcome.index()]
    }

    pub(crate) const fn add(&mut self, outcome: RecoveryOutcome) {
        self.counts[outcome.index()] += 1;
        self.total += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_its_own_place_and_word() {
        for (index, outcome) in RecoveryOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), index);
            let same = |other: &RecoveryOutcome| other.as_str() == outcome.as_str();
            assert_eq!(RecoveryOutcome::ALL.iter().filter(|it| same(it)).count(), 1);
        }
    }
}
