//! Several servers that share their rooms through one Redis, as processes of their own.

mod client;
mod cluster;
mod command;
mod crowd;
mod faults;
mod hook;
mod inquiries;
mod judge;
mod node;
mod rooms;
mod start;
mod top;
mod users;
mod withdrawals;

use std::time::Duration;

/// The time after which a condition that a test waits for has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
