//! Limits on all namespaces of all threads together: on the memory of histories, and on the
//! idempotency keys of clients.
//!
//! Each input holds them. A namespace whose input passes one gives up at once what is too much:
//! that needs nobody else. But then those that came first would keep all of it for good. So at the
//! end of the turn all namespaces, on all threads, give up the same share of what they have, and
//! there is room for what is said next.

use std::{
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use roomcast_core::{Input, Timestamp};

use super::state::{Inner, Mail, Shard};

/// Each namespace keeps all that it has but one part of so many.
const PARTS: usize = 16;

impl Shard {
    /// Counts what a namespace's histories take in place of what they took; gives what all take.
    pub(crate) fn count_histories(&self, before: usize, now: usize) -> usize {
        count(&self.shared.history_bytes, before, now)
    }

    /// The same for the keys of its clients.
    pub(crate) fn count_client_keys(&self, before: usize, now: usize) -> usize {
        count(&self.shared.client_keys, before, now)
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

    /// Makes room for keys of clients where their limit was passed in this turn.
    pub(super) fn end_client_keys(self: &Rc<Self>) {
        self.give_up_keys();
        for shard in 0..self.posts.len() {
            if shard != self.index {
                self.post(shard, Mail::task(|shard| shard.give_up_keys()));
            }
        }
    }

    fn give_up_keys(self: &Rc<Self>) {
        let all_max = self.shared.settings.client_keys_max;
        if self.shared.client_keys.load(Relaxed) < all_max - all_max / PARTS {
            return;
        }
        for namespace in self.namespaces() {
            let keys = namespace.client_keys();
            // One at least: a few that have expired must not stand in the way of others.
            let keys_max = keys - keys.div_ceil(PARTS);
            namespace.apply(self, &Input::TrimClientKeys { keys_max });
        }
        // It is no reason to do so again.
        self.client_keys_full.set(false);
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

    /// The same for idempotency keys of clients.
    pub(super) fn count_client_keys(&mut self, shard: &Shard, now: Timestamp, keys: usize) {
        let all = shard.count_client_keys(self.client_keys, keys);
        self.client_keys = keys;
        let over = all.saturating_sub(shard.shared.settings.client_keys_max);
        if over == 0 {
            return;
        }
        let keys_max = keys.saturating_sub(over);
        let trim = Input::TrimClientKeys { keys_max };
        self.namespace.apply(now, &trim);
        self.carry_out(shard, now);
        let left = self.namespace.app().hub().client_keys();
        shard.count_client_keys(keys, left);
        self.client_keys = left;
        shard.client_keys_full.set(true);
        shard.ring();
    }
}

/// Counts so many in place of so many; gives the sum of all.
fn count(all: &AtomicUsize, before: usize, now: usize) -> usize {
    if now >= before {
        let more = now - before;
        all.fetch_add(more, Relaxed) + more
    } else {
        let less = before - now;
        all.fetch_sub(less, Relaxed) - less
    }
}
