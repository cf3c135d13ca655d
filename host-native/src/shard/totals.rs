//! Limits for all namespaces of all threads together: on the memory of histories, and on client
//! idempotency keys.
//!
//! Each input enforces them. A namespace whose input exceeds a limit trims the excess at once,
//! without the others. With that alone, the first namespaces would keep everything for good. So at
//! the end of the turn all namespaces, on all threads, trim the same share of their own, which
//! makes space for what follows.

use std::{rc::Rc, sync::atomic::Ordering::Relaxed};

use roomcast_core::Input;

use super::state::{Mail, Shard};

/// The share that each namespace trims is one part in this many.
const PARTS: usize = 16;

impl Shard {
    /// Makes space if the limit on histories was exceeded in this turn.
    pub(super) fn end_histories(self: &Rc<Self>) {
        self.give_up_share();
        for shard in 0..self.shards() {
            if shard != self.index {
                self.egress
                    .post(shard, Mail::task(|shard| shard.give_up_share()));
            }
        }
    }

    /// Makes space if the limit on client idempotency keys was exceeded in this turn.
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
            // At least one key goes: a few expired ones must not block others.
            let keys_max = keys - keys.div_ceil(PARTS);
            self.apply(&namespace, &Input::TrimClientKeys { keys_max });
        }
        // The trim itself must not cause another one.
        self.client_keys_full.set(false);
    }

    /// Trims a share of all histories here. If several threads exceed the limit at once, space is
    /// made only once.
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
        // The trim itself must not cause another one.
        self.histories_full.set(false);
    }
}
