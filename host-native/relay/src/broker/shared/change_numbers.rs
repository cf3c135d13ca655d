//! Tracking of presence changes that the server may have made for unanswered calls.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard},
};

use crate::{position::Address, presence::Change, ring::locked};

/// Changes of presence whose answers are missing, by the numbers of their calls.
///
/// The server remembers changes for a while. An answer contains the changes of earlier unanswered
/// calls for the same user too: each change counts with the first answer that contains it.
#[derive(Debug, Default)]
pub(crate) struct ChangeNumbers(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: u64,
    /// Unanswered calls that may have been carried out.
    unanswered: HashMap<(Address, Box<str>), BTreeSet<u64>>,
    /// Changes that reconciliations have made to users with unanswered calls. They count with the
    /// next answer: nobody knows yet what those calls have changed.
    corrected: HashMap<(Address, Box<str>), i64>,
    /// Reconciliations in flight.
    reconciling: usize,
    /// Users with a call that was answered while a reconciliation was in flight: true when the user
    /// is present by that answer.
    overtook: HashMap<(Address, Box<str>), bool>,
}

/// A reconciliation in flight.
pub(crate) struct Reconciling<'a>(&'a ChangeNumbers);

impl Drop for Reconciling<'_> {
    fn drop(&mut self) {
        let open = &mut *self.0.open();
        open.reconciling -= 1;
        if open.reconciling == 0 {
            open.overtook.clear();
        }
    }
}

impl ChangeNumbers {
    fn open(&self) -> MutexGuard<'_, Open> {
        locked(&self.0)
    }

    /// Begins a call about a user. Returns its number, and the number of the user's earliest call
    /// whose change is not known.
    pub(crate) fn begin(&self, address: &Address, user: &str) -> (u64, u64) {
        let open = &mut *self.open();
        open.last += 1;
        let key = (address.clone(), user.into());
        let numbers = open.unanswered.entry(key).or_default();
        numbers.insert(open.last);
        (open.last, numbers.first().copied().unwrap_or(open.last))
    }

    /// Takes the answer to a call, with changes by their numbers. A user who came and left since
    /// the last answer is no change.
    pub(crate) fn answered(
        &self,
        address: &Address,
        user: &str,
        number: u64,
        changes: &[(u64, i64)],
    ) -> Option<Change> {
        let open = &mut *self.open();
        let key = (address.clone(), user.into());
        let numbers = open.unanswered.get_mut(&key)?;
        let later = numbers.split_off(&(number + 1));
        let known = std::mem::replace(numbers, later);
        if numbers.is_empty() {
            open.unanswered.remove(&key);
        }
        let corrected = open.corrected.remove(&key).unwrap_or_default();
        let changes = changes.iter().filter(|(number, _)| known.contains(number));
        change_of(corrected + changes.map(|(_, change)| change).sum::<i64>())
    }

    /// Begins a reconciliation, which ends when the returned value is dropped.
    pub(crate) fn reconcile(&self) -> Reconciling<'_> {
        self.open().reconciling += 1;
        Reconciling(self)
    }

    /// Records whether a user is present by the answer to a call. It is called before `answered`.
    pub(crate) fn note(&self, address: &Address, user: &str, is_there: bool) {
        let open = &mut *self.open();
        if open.reconciling > 0 {
            open.overtook
                .insert((address.clone(), user.into()), is_there);
        }
    }

    /// Takes a change that a reconciliation made. It counts at once if the user has no unanswered
    /// call. It is dropped if a later call was answered first and showed the opposite.
    pub(crate) fn corrected(&self, address: &Address, user: &str, change: i64) -> Option<Change> {
        let open = &mut *self.open();
        let key = (address.clone(), user.into());
        let is_there = open.overtook.get(&key);
        if is_there.is_some_and(|is_there| *is_there != (change > 0)) {
            return None;
        }
        if open.unanswered.contains_key(&key) || open.corrected.contains_key(&key) {
            *open.corrected.entry(key).or_default() += change;
            return None;
        }
        change_of(change)
    }

    /// Forgets a call that was not carried out.
    pub(crate) fn failed(&self, address: &Address, user: &str, number: u64) {
        let unanswered = &mut self.open().unanswered;
        let key = (address.clone(), user.into());
        if let Some(numbers) = unanswered.get_mut(&key) {
            numbers.remove(&number);
            if numbers.is_empty() {
                unanswered.remove(&key);
            }
        }
    }

    /// Forgets everything: the server remembers nothing of the node's new incarnation.
    pub(crate) fn clear(&self) {
        let open = &mut *self.open();
        open.unanswered.clear();
        open.corrected.clear();
    }
}

const fn change_of(sum: i64) -> Option<Change> {
    match sum {
        1.. => Some(Change::Joined),
        0 => None,
        _ => Some(Change::Left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Address {
        Address::room("ns", "r")
    }

    #[test]
    fn a_change_counts_with_the_first_answer_that_has_it() {
        let (numbers, room) = (ChangeNumbers::default(), room());
        assert_eq!(numbers.begin(&room, "ann"), (1, 1));
        assert_eq!(numbers.begin(&room, "ann"), (2, 1));
        assert_eq!(numbers.begin(&room, "bob"), (3, 3));
        let joined = numbers.answered(&room, "ann", 1, &[(1, 1)]);
        assert_eq!(joined, Some(Change::Joined));
        let left = numbers.answered(&room, "ann", 2, &[(1, 1), (2, -1)]);
        assert_eq!(left, Some(Change::Left));
        assert_eq!(numbers.begin(&room, "ann"), (4, 4));
    }

    #[test]
    fn an_answer_has_the_changes_of_calls_without_one() {
        let (numbers, room) = (ChangeNumbers::default(), room());
        for number in 1..=3 {
            assert_eq!(numbers.begin(&room, "ann"), (number, 1));
        }
        numbers.failed(&room, "ann", 2);
        let joined = numbers.answered(&room, "ann", 3, &[(1, 1)]);
        assert_eq!(joined, Some(Change::Joined));
        assert_eq!(numbers.begin(&room, "ann"), (4, 4));
        assert_eq!(numbers.begin(&room, "ann"), (5, 4));
        let both = numbers.answered(&room, "ann", 5, &[(4, -1), (5, 1)]);
        assert_eq!(both, None, "gone and back");
    }

    #[test]
    fn a_correction_counts_with_the_answer_to_an_earlier_call() {
        let (numbers, room) = (ChangeNumbers::default(), room());
        let at_once = numbers.corrected(&room, "ann", 1);
        assert_eq!(at_once, Some(Change::Joined));
        // Ann joined by an unanswered call, and left by a reconciliation.
        assert_eq!(numbers.begin(&room, "ann"), (1, 1));
        assert_eq!(numbers.corrected(&room, "ann", -1), None);
        assert_eq!(numbers.begin(&room, "ann"), (2, 1));
        let answered = numbers.answered(&room, "ann", 2, &[(1, 1)]);
        assert_eq!(answered, None, "gone and back");
        // A later call was answered first: Bob has left.
        let reconciling = numbers.reconcile();
        numbers.note(&room, "bob", false);
        assert_eq!(numbers.corrected(&room, "bob", 1), None);
        drop(reconciling);
        assert_eq!(numbers.corrected(&room, "bob", 1), Some(Change::Joined));
        // That call was not carried out.
        assert_eq!(numbers.begin(&room, "ann"), (3, 3));
        assert_eq!(numbers.corrected(&room, "ann", 1), None);
        numbers.failed(&room, "ann", 3);
        assert_eq!(numbers.begin(&room, "ann"), (4, 4));
        let joined = numbers.answered(&room, "ann", 4, &[]);
        assert_eq!(joined, Some(Change::Joined));
    }
}
