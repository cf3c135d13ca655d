//! The limit on the memory of all histories: of all namespaces of all threads together.
//!
//! Each input holds it. A namespace whose input passes it gives up at once what is too much: that
//! needs nobody else. But then those that came first would keep all of it for good. So at the end
//! of the turn all namespaces, on all threads, give up the same share of what they have, and there
//! is room for what is said next.

use std::{rc::Rc, sync::atomic::Ordering::Relaxed};

use roomcast_core::{Input, Timestamp};

use super::state::{Inner, Mail, Shard};

/// Each namespace keeps all of its bytes but one part of so many.
const PARTS: usize = 16;

impl Shard {
    /// Counts what a namespace's histories take in place of what they took; gives what all take.
    pub(crate) fn count_histories(&self, before: usize, now: usize) -> usize {
        let all = &self.shared.history_bytes;
        if now >= before {
            let more = now - before;
            all.fetch_add(more, Relaxed) + more
        } else {
            let less = before - now;
            all.fetch_sub(less, Relaxed) - less
        }
    }

    /// Has all namespaces give up their share when the turn ends.
    pub(crate) fn share_histories(&self) {
        self.histories_full.set(true);
        self.ring();
    }

    /// Makes room where the limit was passed in this turn.
    pub(super) fn end_histories(self: &Rc<Self>) {
        self.give_up_share();
        for shard in 0..self.posts.len() {
            if shard != self.index {
                self.post(shard, Mail::task(|shard| shard.give_up_share()));
            }
        }
    }

    /// Several threads that pass the limit at once make room once.
    fn give_up_share(self: &Rc<Self>) {
        let bytes_max = self.shared.settings.hub.history_bytes;
        if self.shared.history_bytes.load(Relaxed) < bytes_max - bytes_max / PARTS {
            return;
        }
        for namespace in self.namespaces() {
            let bytes = namespace.history_bytes();
            let bytes_max = bytes - bytes / PARTS;
            namespace.apply(self, &Input::TrimHistories { bytes_max });
        }
        // It is no reason to do so again.
        self.histories_full.set(false);
    }
}

impl Inner {
    /// Counts what the histories take now, and holds the limit on those of all namespaces of all
    /// threads together: what this input is too much, this namespace gives up at once. Which share
    /// each gives up is then seen to when the turn ends.
    pub(super) fn count_histories(&mut self, shard: &Shard, now: Timestamp, bytes: usize) {
        let all = shard.count_histories(self.history_bytes, bytes);
        self.history_bytes = bytes;
        let over = all.saturating_sub(shard.shared.settings.hub.history_bytes);
        if over == 0 {
            return;
        }
        let bytes_max = bytes.saturating_sub(over);
        let trim = Input::TrimHistories { bytes_max };
        self.namespace.apply(now, &trim);
        self.carry_out(shard, now);
        let left = self.namespace.app().hub().counts().history_bytes;
        shard.count_histories(bytes, left);
        self.history_bytes = left;
        shard.share_histories();
    }
}
