//! The part of a namespace in the limits on all namespaces of all threads together.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use roomcast_core::{Input, Timestamp};

use super::{Hosted, Inner};
use crate::{shard::egress::Egress, shared::Shared};

impl Hosted {
    /// Gives back its share of the limits on all namespaces together.
    pub(in crate::shard) fn leave_totals(&self, shared: &Shared) {
        count(&shared.history_bytes, self.history_bytes(), 0);
        count(&shared.client_keys, self.client_keys(), 0);
    }
}

impl Inner {
    /// Counts what the histories take now, and enforces the limit on those of all namespaces of all
    /// threads together: this namespace gives up the excess at once. Says whether the limit was
    /// passed: if so, all namespaces give up a share when the turn ends.
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

    /// The same for idempotency keys of clients.
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
