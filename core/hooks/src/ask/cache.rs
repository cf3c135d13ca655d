//! Answers that are kept for as long as the backend said.

use alloc::collections::{BTreeMap, BTreeSet};

use roomcast_core::Timestamp;

use super::{question::Key, verdict::Verdict};

/// Answers by their question, within a limit of their number and one of their bytes. Past it, the
/// one that ends first is dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Cache {
    kept: BTreeMap<Key, Kept>,
    by_end: BTreeSet<(Timestamp, Key)>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Kept {
    verdict: Verdict,
    end: Timestamp,
    bytes: usize,
}

impl Cache {
    /// The answer to a question, if it still holds.
    pub(super) fn get(&self, now: Timestamp, key: &Key) -> Option<&Verdict> {
        let kept = self.kept.get(key).filter(|kept| now < kept.end);
        kept.map(|kept| &kept.verdict)
    }

    /// Keeps an answer of so many bytes until its end. Work: the answers that are dropped.
    pub(super) fn keep(
        &mut self,
        now: Timestamp,
        key: Key,
        (verdict, bytes): (Verdict, usize),
        end: Timestamp,
        (count_max, bytes_max): (usize, usize),
    ) {
        self.drop_key(&key);
        while let Some(&(first, key)) = self.by_end.first()
            && (first <= now || self.kept.len() >= count_max || self.bytes + bytes > bytes_max)
        {
            self.drop_key(&key);
        }
        if count_max == 0 || bytes > bytes_max || end <= now {
            return;
        }
        self.bytes += bytes;
        self.by_end.insert((end, key));
        let kept = Kept {
            verdict,
            end,
            bytes,
        };
        self.kept.insert(key, kept);
    }

    fn drop_key(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.by_end.remove(&(kept.end, *key));
            self.bytes -= kept.bytes;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
