//! A heartbeat: every second everybody is told how many are there. The count of beats goes on where
//! it was when the namespace slept.

use std::time::Duration;

use roomcast_core::{Context, Desk, Router};
use serde::{Deserialize, Serialize};

/// How long a beat takes.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// What everybody is told.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Beat {
    number: u64,
    connections: usize,
}

/// The application.
pub(crate) fn heartbeat() -> Router<Beat> {
    Router::new(Beat::default())
        .persistent()
        .every(BEAT, beat)
        .on("last", |_: &mut Context, last: &mut Beat| *last)
}

fn beat(desk: &mut Desk<'_>, last: &mut Beat) {
    last.number += 1;
    last.connections = desk.counts().connections;
    if let Err(fault) = desk.broadcast("beat", last) {
        desk.report("beat", fault);
    }
}
