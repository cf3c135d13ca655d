//! A cache of answers, each for as long as the backend allows.

use alloc::collections::{BTreeMap, BTreeSet};

use roomcast_core::Timestamp;

use super::{question::Key, verdict::Verdict};

/// Answers by their question, within limits of their number and their bytes. Above a limit, the
/// answer that expires first is evicted.
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
    /// The answer to a question, if it is still valid.
    pub(super) fn get(&self, now: Timestamp, key: &Key) -> Option<&Verdict> {
        let kept = self.kept.get(key).filter(|kept| now < kept.end);
        kept.map(|kept| &kept.verdict)
    }

    /// Stores an answer of this number of bytes until its end. Work: the answers that are evicted.
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
