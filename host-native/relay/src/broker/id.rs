//! Unique ids.

use std::str;

const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of an id: 80 bits.
const LENGTH: usize = 16;
/// The number of letters at the end of an id that count.
const COUNTED: usize = 4;

/// An id of 16 letters, 80 bits.
pub(crate) fn random_id() -> Box<str> {
    Ids::new().next()
}

/// A series of ids from one random value: randomness costs a system call.
#[derive(Debug)]
pub(crate) struct Ids {
    letters: [u8; LENGTH],
    next: usize,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let mut letters = [0; LENGTH];
        // A system without randomness cannot make ids.
        #[allow(clippy::expect_used)]
        getrandom::fill(&mut letters).expect("randomness of the system");
        let letters = letters.map(|byte| LETTERS[usize::from(byte % 32)]);
        Self { letters, next: 0 }
    }

    /// Returns the next id. The later ones differ from the first in their last letters.
    pub(crate) fn next(&mut self) -> Box<str> {
        if self.next >= 1 << (5 * COUNTED) {
            *self = Self::new();
        }
        let mut letters = self.letters;
        if self.next > 0 {
            for (place, letter) in letters.iter_mut().rev().take(COUNTED).enumerate() {
                let value = LETTERS.iter().position(|it| it == letter);
                let more = self.next >> (5 * place) & 31;
                *letter = LETTERS[value.unwrap_or_default() ^ more];
            }
        }
        self.next += 1;
        str::from_utf8(&letters).unwrap_or_default().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_one_beginning_are_all_different() {
        let mut ids = Ids::new();
        let count = (1 << (5 * COUNTED)) + 2;
        let all: HashSet<_> = (0..2_000).map(|_| ids.next()).collect();
        assert_eq!(all.len(), 2_000);
        ids.next = count - 2;
        let beyond = [ids.next(), ids.next()];
        assert!(beyond.iter().all(|id| id.len() == LENGTH));
        assert_ne!(beyond[0], beyond[1]);
    }
}
