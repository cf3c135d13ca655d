//! The share of a namespace in the limits for all namespaces of all threads.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use roomcast_core::{Input, Timestamp};

use super::{Hosted, Inner};
use crate::{shard::egress::Egress, shared::Shared};

impl Hosted {
    /// Returns its share of the limits for all namespaces.
    pub(in crate::shard) fn leave_totals(&self, shared: &Shared) {
        count(&shared.history_bytes, self.history_bytes(), 0);
        count(&shared.client_keys, self.client_keys(), 0);
    }
}

impl Inner {
    /// Counts the histories' bytes, and enforces the limit for all namespaces of all threads: this
    /// namespace trims the excess at once. Returns whether the limit was exceeded: if so, all
    /// namespaces trim a share when the turn ends.
    pub(super) fn count_histories<S>(
        &mut self,
        egress: &Egress<S>,
        now: Timestamp,
        bytes: usize,
    ) -> bool {
        let all = count(&egress.shared.history_bytes, self.history_bytes, bytes);
        self.history_bytes = bytes;
        let over = all.saturating_sub(egress.shared.settings.hub.history_bytes);
        if over == 0 {
            return false;
        }
        let bytes_max = bytes.saturating_sub(over);
        let trim = Input::TrimHistories { bytes_max };
        self.namespace.apply(now, &trim);
        self.carry_out(egress, now);
        let left = self.namespace.app().hub().counts().history_bytes;
        count(&egress.shared.history_bytes, bytes, left);
        self.history_bytes = left;
        true
    }

    /// Counts and limits client idempotency keys in the same way.
    pub(super) fn count_client_keys<S>(
        &mut self,
        egress: &Egress<S>,
        now: Timestamp,
        keys: usize,
    ) -> bool {
        let all = count(&egress.shared.client_keys, self.client_keys, keys);
        self.client_keys = keys;
        let over = all.saturating_sub(egress.shared.settings.client_keys_max);
        if over == 0 {
            return false;
        }
        let keys_max = keys.saturating_sub(over);
        let trim = Input::TrimClientKeys { keys_max };
        self.namespace.apply(now, &trim);
        self.carry_out(egress, now);
        let left = self.namespace.app().hub().client_keys();
        count(&egress.shared.client_keys, keys, left);
        self.client_keys = left;
        true
    }
}

/// Replaces one share in a total; returns the new total.
fn count(all: &AtomicUsize, before: usize, now: usize) -> usize {
    if now >= before {
        let more = now - before;
        all.fetch_add(more, Relaxed) + more
    } else {
        let less = before - now;
        all.fetch_sub(less, Relaxed) - less
    }
}
