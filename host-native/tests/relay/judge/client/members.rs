//! The users of the room, when all is over: nobody is lacking, and there are no ghosts.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use serde_json::Value;

use super::Client;

impl Client {
    /// True when it has all messages, and is to see who is there.
    pub(super) fn asks_members(&self) -> bool {
        self.is_joined && self.has_all && !self.is_done
    }

    pub(super) fn finish(&mut self) {
        if !self.is_done {
            self.is_done = true;
            self.world.done.fetch_add(1, SeqCst);
        }
    }

    /// Compares the users of the room with its clients: each is there, by one connection.
    pub(super) fn take_members(&mut self, frame: &Value) {
        let plan = &self.world.plan;
        let numbers = (self.room..plan.clients).step_by(plan.rooms());
        let expected: BTreeMap<_, _> = numbers.map(|it| (format!("user-{it}"), 1)).collect();
        let members = frame["data"]["members"].as_array();
        let members = members.into_iter().flatten().filter_map(|it| {
            let user = it["user"].as_str()?.to_owned();
            Some((user, it["conns"].as_u64()?))
        });
        let members: BTreeMap<_, _> = members.collect();
        if members == expected {
            return self.finish();
        }
        let wrong = members.iter().filter(|it| expected.get(it.0) != Some(it.1));
        let lacking = expected.keys().filter(|name| !members.contains_key(*name));
        let text = format!(
            "{:?} and not {:?}",
            wrong.collect::<Vec<_>>(),
            lacking.collect::<Vec<_>>()
        );
        self.last_members = text.into();
    }
}
