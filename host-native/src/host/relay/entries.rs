//! Calls that tell the relay who is in rooms.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures_util::stream::{FuturesUnordered, StreamExt};
use roomcast_core::relay::RelayEvent;

/// A call of the relay under way.
pub(super) type Call = Pin<Box<dyn Future<Output = Option<Answer>>>>;

/// The answer to a command of a namespace.
pub(super) struct Answer {
    pub(super) namespace: Arc<str>,
    pub(super) instance: u64,
    pub(super) event: RelayEvent,
}

/// Calls under way at one time. A node that enters all of its users anew has thousands: the time
/// that each has for its answer begins when its turn has come.
const UNDER_WAY_MAX: usize = 64;

/// Calls in the order in which they are begun: of two that are about one user the later one counts.
#[derive(Default)]
pub(super) struct Entries {
    queued: VecDeque<Call>,
    under_way: FuturesUnordered<Call>,
}

impl Entries {
    pub(super) fn push(&mut self, call: Call) {
        self.queued.push_back(call);
        self.begin();
    }

    fn begin(&mut self) {
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(call) = self.queued.pop_front()
        {
            self.under_way.push(call);
        }
    }

    /// The next answer; `None` when no call is under way. Nothing is lost when it is dropped early.
    pub(super) async fn next(&mut self) -> Option<Option<Answer>> {
        let answer = self.under_way.next().await;
        self.begin();
        answer
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Drops those that have not begun: the relay is lost, and hubs are told that they failed.
    pub(super) fn clear(&mut self) {
        self.queued.clear();
    }
}
