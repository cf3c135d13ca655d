//! Events with typed payloads.

use std::{fmt, ops::RangeInclusive};

use proptest::{
    prelude::{BoxedStrategy, Strategy},
    strategy::Union,
};
use serde::Serialize;

use super::{Cast, ROOM};
use crate::{Op, op::json_string};

impl Cast {
    /// Lets actors send this event with payloads of a strategy: any values that can be serialised.
    /// The string `"<room>"` in a payload stands for one of the rooms. Payloads shrink by their
    /// strategy.
    ///
    /// ```
    /// use proptest::prelude::*;
    /// use roomcast_core::{Context, Router, ok};
    /// use roomcast_tests::{Cast, World};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, Clone, Serialize, Deserialize)]
    /// struct Bid {
    ///     lot: u8,
    ///     cents: u32,
    /// }
    ///
    /// fn auction() -> Router<[u32; 3]> {
    ///     Router::new([0; 3]).on("bid", |_: &mut Context, best: &mut [u32; 3], bid: Bid| {
    ///         let best = &mut best[usize::from(bid.lot)];
    ///         *best = bid.cents.max(*best);
    ///         ok(*best)
    ///     })
    /// }
    ///
    /// let bids = (0_u8..3, 0_u32..1000).prop_map(|(lot, cents)| Bid { lot, cents });
    /// let cast = Cast::default().with_event("bid", bids);
    /// proptest!(|(story in cast.events(1..=20))| {
    ///     let mut world = World::new(auction);
    ///     for op in &story {
    ///         let before = world.app().map(|app| *app.gateway().state());
    ///         world.perform(op)?;
    ///         for (before, after) in before.unwrap_or_default().iter().zip(world.state()) {
    ///             prop_assert!(before <= after);
    ///         }
    ///     }
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// While a story is generated, when a payload cannot be serialised as JSON.
    #[must_use]
    pub fn with_event<T: Serialize + fmt::Debug + 'static>(
        mut self,
        event: &str,
        data: impl Strategy<Value = T> + 'static,
    ) -> Self {
        let event = json_string(event);
        self.events
            .push(typed(format!(r#"{{"event":{event}"#), data));
        self
    }

    /// The same with one of the rooms as the `room` of the message: published to it, unless a
    /// handler of the application has a path that fits.
    ///
    /// # Panics
    ///
    /// As for [`with_event`](Self::with_event).
    #[must_use]
    pub fn with_room_event<T: Serialize + fmt::Debug + 'static>(
        mut self,
        event: &str,
        data: impl Strategy<Value = T> + 'static,
    ) -> Self {
        let event = json_string(event);
        let start = format!(r#"{{"event":{event},"room":{ROOM}"#);
        self.events.push(typed(start, data));
        self
    }

    /// A strategy for stories of an application's clients: they connect, disconnect, and send the
    /// [events](Self::with_event) of the cast.
    ///
    /// # Panics
    ///
    /// When the cast has no events.
    pub fn events(&self, count: RangeInclusive<usize>) -> BoxedStrategy<Vec<Op>> {
        assert!(
            !self.events.is_empty(),
            "the cast has no event: `Cast::with_event` adds one"
        );
        self.told(Union::new(self.events.clone()).boxed(), count)
    }
}

/// A strategy for messages that begin with `start` and have these payloads.
fn typed<T: Serialize + fmt::Debug + 'static>(
    start: String,
    data: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<String> {
    let message = data.prop_map(move |data| match serde_json::to_string(&data) {
        Ok(data) => format!(r#"{start},"data":{data}}}"#),
        Err(fault) => panic!("a payload of {start}}} has no form in JSON: {fault}"),
    });
    message.boxed()
}
