//! The rooms of all stories, and how their servers are run.

use roomcast_core::Limits;
use roomcast_tests::{Settings, Sleep};

use super::truth::LIST_MAX;

pub(crate) const ROOMS: [&str; 9] = [
    "log", "den", "hall", "booth", "feed", "news", "map", "marks", "plain",
];

/// Rooms whose presence shows their members.
pub(crate) const LISTED: [&str; 4] = ["den", "hall", "booth", "feed"];

/// Few frames and bytes: queues overflow in the time of a story.
pub(crate) fn settings(store: bool) -> Settings {
    let store = if store { " store=on" } else { "" };
    let limits = format!(
        "heartbeat_ms=off presence_list={LIST_MAX} outbox_frames=8 outbox_bytes=1500{store}"
    );
    let settings: Settings = limits.parse().expect("known settings");
    let rooms = "log history.messages=8 history.age_s=30\n\
                 den history.messages=4 history.age_s=60 presence=members presence_grace_s=5\n\
                 hall presence=members presence_grace_s=0\n\
                 booth presence=members presence_grace_s=5\n\
                 feed history.messages=9 history.bytes=500 history.age_s=40 presence=members overflow=drop-oldest\n\
                 news overflow=drop-oldest\n\
                 map overflow=latest\n\
                 marks history.messages=5 history.age_s=30 presence=counts overflow=latest";
    settings.with_rooms(rooms).expect("policies")
}

/// Ways in which the server of a story is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    pub(crate) sleep: Sleep,
    /// True when the server keeps histories through a crash.
    pub(crate) store: bool,
    /// True when the histories of the server have less memory than their policies let them take.
    /// Messages stored by the host take none of this memory, so which messages are dropped then
    /// depends on sleep.
    pub(crate) crowded: bool,
}

impl Host {
    pub(crate) fn limits(self, settings: &Settings) -> Limits {
        let mut limits = settings.limits();
        if self.crowded {
            limits.history_bytes = 1_200;
        }
        limits
    }
}

/// The server of a seed: awake or asleep between any two ops, with a store or without.
pub(crate) const fn host(seed: u64) -> Host {
    let sleeps = seed % 8 == 7;
    Host {
        sleep: if sleeps {
            Sleep::Persisted
        } else {
            Sleep::Never
        },
        store: !seed.is_multiple_of(3),
        crowded: seed.is_multiple_of(5) && !sleeps,
    }
}
