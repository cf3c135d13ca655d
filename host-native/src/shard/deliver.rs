//! Inputs from outside of the connections, whose result counts.

use std::rc::Rc;

use roomcast_core::{Applied, Input};

use super::{Hosted, Shard};

impl Hosted {
    /// Puts an input in. Of a send it says what became of it: the queues are looked at, not only
    /// the rooms.
    #[allow(clippy::wildcard_enum_match_arm)] // only sends reach queues
    pub(crate) fn give(self: &Rc<Self>, shard: &Shard, input: &Input<'_>) -> Applied {
        let key = match input {
            Input::Send { key, .. } => key.as_deref(),
            Input::SendText { .. } | Input::SendBinary { .. } => None,
            input => return self.apply(shard, input),
        };
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        inner.fan_out.end_run(shard, now);
        inner.settle_overflow(shard, now);
        let mut applied = inner.namespace.apply(now, input);
        inner.carry_out(shard, now);
        inner.fan_out.end_run(shard, now);
        let dropped = inner.fan_out.overflowed();
        if let Applied::Sent(Ok(delivery)) = &mut applied {
            // A repeated key answers what the first one did, and that may be a loss.
            delivery.dropped += dropped;
            delivery.queued -= dropped.min(delivery.queued);
            if let Some(key) = key {
                if delivery.dropped > 0 {
                    let (key, delivery) = (key.into(), *delivery);
                    let settle = Input::SettleOnce { key, delivery };
                    inner.namespace.apply(now, &settle);
                }
                inner.keep_key(shard, now, key);
            }
        }
        self.finish(shard, now, inner);
        applied
    }
}
