//! Limits on all namespaces of all threads together: on the memory of histories, and on the
//! idempotency keys of clients.
//!
//! Each input enforces them. A namespace whose input passes one gives up the excess at once, which
//! needs nobody else. But then those that came first would keep everything for good. So at the end
//! of the turn all namespaces, on all threads, give up the same share of what they have, and there
//! is room for what is said next.

use std::{rc::Rc, sync::atomic::Ordering::Relaxed};

use roomcast_core::Input;

use super::state::{Mail, Shard};

/// Each namespace keeps all that it has but one part of so many.
const PARTS: usize = 16;

impl Shard {
    /// Makes room where the limit was passed in this turn.
    pub(super) fn end_histories(self: &Rc<Self>) {
        self.give_up_share();
        for shard in 0..self.shards() {
            if shard != self.index {
                self.egress
                    .post(shard, Mail::task(|shard| shard.give_up_share()));
            }
        }
    }

    /// Makes room for keys of clients where their limit was passed in this turn.
    pub(super) fn end_client_keys(self: &Rc<Self>) {
        self.give_up_keys();
        for shard in 0..self.shards() {
            if shard != self.index {
                self.egress
                    .post(shard, Mail::task(|shard| shard.give_up_keys()));
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
            self.apply(&namespace, &Input::TrimClientKeys { keys_max });
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
            self.apply(&namespace, &Input::TrimHistories { bytes_max });
        }
        // It is no reason to do so again.
        self.histories_full.set(false);
    }
}
